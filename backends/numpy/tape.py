"""A graph as a list of NumPy calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfold.expr import Type
from unfold.graph import NARY, Graph, Node
from unfold.ops import OPS
from unfold.poly import Poly, Shape

Array = NDArray[Any]
#: Where the elements of each array start: the position of its first element on each axis.
Origins = Mapping[str, tuple[int, ...]]


def number(value: Any) -> Any:
    """An attribute with sizes as integers."""
    if isinstance(value, Poly):
        return value.evaluate({})
    if isinstance(value, tuple):
        return tuple(number(v) for v in value)
    return value


def storage(kind: Type, dtype: str) -> Any:
    """The NumPy type of a value."""
    return {"real": np.dtype(dtype), "int": np.dtype(np.int64), "bool": np.dtype(np.bool_)}[
        kind.kind
    ]


def constant(value: Any, shape: Shape, kind: Type, dtype: str) -> Array:
    """The array of a constant."""
    array = np.asarray(number(value), dtype=storage(kind, dtype))
    return np.broadcast_to(array, number(shape))


def function(op: str, attrs: Mapping[str, Any]) -> Callable[..., Array]:
    """The NumPy meaning of an op with its attributes filled in."""
    record = OPS[op] if op in OPS else NARY[op]
    given = {name: number(value) for name, value in attrs.items()}
    return partial(record.numpy, **given) if given else record.numpy


class Tape:
    """The steps that compute the outputs of a graph, in order.

    Values are dropped after their last use, so that a long sequence needs the memory of what is
    alive and no more.
    """

    def __init__(self, graph: Graph, dtype: str) -> None:
        self.outputs = graph.outputs
        self.dtype = dtype
        self.origins: Origins = {
            v.name: tuple(axis.lo.evaluate(graph.lengths) for axis in v.axes)
            for v in graph.program.vars.values()
            if v.role in ("input", "param")
        }
        last: dict[int, int] = {}
        for position, node in enumerate(graph.table):
            for operand in node.operands:
                last[operand] = position
        for result in graph.outputs.values():
            for cell in result.cells:
                last.pop(cell, None)
        dead: dict[int, list[int]] = {}
        for operand, position in last.items():
            dead.setdefault(position, []).append(operand)
        known: dict[tuple[str, Any], Callable[..., Array]] = {}
        self.leaves: list[tuple[int, str, tuple[int, ...]]] = []
        self.constants: list[tuple[int, Array]] = []
        self.steps: list[tuple[int, Callable[..., Array], tuple[int, ...], Any, list[int]]] = []
        for position, node in enumerate(graph.table):
            if node.op in ("input", "param"):
                origin = self.origins[node.var]
                at = tuple(i - o for i, o in zip(node.index, origin, strict=True))
                self.leaves.append((position, node.var, at))
            elif node.op == "const":
                array = constant(node.attr("value"), node.shape, node.type, dtype)
                self.constants.append((position, array))
            else:
                key = (node.op, node.attrs)
                if key not in known:
                    known[key] = _meaning(node)
                kind = storage(node.type, dtype)
                self.steps.append(
                    (position, known[key], node.operands, kind, dead.get(position, []))
                )
        self.size = len(graph.table)

    def run(self, arrays: Mapping[str, Array]) -> dict[str, list[Array]]:
        """The cells of every output, for the inputs and parameters of one sequence."""
        values: list[Any] = [None] * self.size
        for position, name, at in self.leaves:
            values[position] = arrays[name][at]
        for position, array in self.constants:
            values[position] = array
        with np.errstate(all="ignore"):
            for position, meaning, operands, kind, dead in self.steps:
                value = meaning(*[values[o] for o in operands])
                # Some NumPy functions answer in double precision whatever they are given.
                if value.dtype != kind:
                    value = value.astype(kind)
                values[position] = value
                for operand in dead:
                    values[operand] = None
        return {name: [values[c] for c in r.cells] for name, r in self.outputs.items()}


def _meaning(node: Node) -> Callable[..., Array]:
    if node.op == "copy":
        return np.asarray
    return function(node.op, dict(node.attrs))
