"""A graph as a list of NumPy calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from unfold.graph import Graph, Node

from .solve import Unsolved, solution
from .values import Array, constant, function, storage

#: Where the elements of each array start: the position of its first element on each axis.
Origins = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Failure:
    """An element that was not found: its node, the last residual, and how many steps were taken."""

    node: Node
    residual: float
    steps: int


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
                    known[key] = _meaning(node, dtype)
                kind = storage(node.type, dtype)
                self.steps.append(
                    (position, known[key], node.operands, kind, dead.get(position, []))
                )
        self.table = graph.table

    def run(self, arrays: Mapping[str, Array]) -> tuple[dict[str, list[Array]], list[Failure]]:
        """The cells of every output, for the inputs and parameters of one sequence, and the
        elements that were not found (NaN in the cells)."""
        failures: list[Failure] = []
        values: list[Any] = [None] * len(self.table)
        for position, name, at in self.leaves:
            values[position] = arrays[name][at]
        for position, array in self.constants:
            values[position] = array
        with np.errstate(all="ignore"):
            for position, meaning, operands, kind, dead in self.steps:
                try:
                    value = meaning(*[values[o] for o in operands])
                except Unsolved as error:
                    value = error.value
                    failures.append(Failure(self.table[position], error.residual, error.steps))
                # Some NumPy functions answer in double precision whatever they are given.
                if value.dtype != kind:
                    value = value.astype(kind)
                values[position] = value
                for operand in dead:
                    values[operand] = None
        cells = {name: [values[c] for c in r.cells] for name, r in self.outputs.items()}
        return cells, failures


def _meaning(node: Node, dtype: str) -> Callable[..., Array]:
    if node.op == "copy":
        return np.asarray
    if node.op == "implicit":
        return solution(node, dtype)
    return function(node.op, dict(node.attrs))
