"""Runs of which every variable is kept: sequence by sequence, in portions that fit in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler import Compiler, Derived, everything
from ..errors import SolverError
from ..inputs import Call
from ..program import Program, Var
from ..transform import adjoint, simplify
from .elements import Lengths

Array = NDArray[Any]
#: Sequences are run together while all of their variables take no more bytes than this.
_TOGETHER = 2**28


def forward(compiler: Compiler) -> Derived:
    """The model, simplified as for a call, with all of its variables as results."""

    def build() -> tuple[Program, dict[str, str]]:
        program = compiler.program
        return simplify(program.with_(outputs=everything(program), losses=())), {}

    return compiler.observed(("forward",), build)


def backward(
    compiler: Compiler, wrt: tuple[str, ...], losses: tuple[str, ...], simplified: bool = True
) -> Derived:
    """The program of a gradient, with all of its variables as results; its ``names`` tell the
    adjoint of each of ``wrt``. Not ``simplified``, it has an adjoint for each variable."""

    def build() -> tuple[Program, dict[str, str]]:
        result = adjoint(compiler.differentiated.with_(outputs=()), wrt, losses, simplified)
        shown = {o.name for o in result.outputs}
        bars = {v.adjoint_of: n for n, v in result.vars.items() if n in shown and v.adjoint_of}
        return result, {name: bars[name] for name in wrt}

    return compiler.observed(("backward", wrt, losses, simplified), build)


@dataclass(frozen=True)
class Portion:
    """What was computed for some sequences of equal lengths.

    Attributes:
        sequences: their numbers; ``None`` for a call without a batch.
        lengths: the program at their lengths.
        given: inputs and parameters by name, ``results`` the variables; inputs and variables have
            a leading axis for the sequences if there is a batch.
        error: if an element was not found by its solver.
    """

    sequences: tuple[int, ...] | None
    lengths: Lengths
    given: Mapping[str, Array]
    results: Mapping[str, Array]
    error: SolverError | None

    def rows(self) -> Iterator[tuple[int | None, dict[str, Array]]]:
        """The number and all arrays of each sequence."""
        if self.sequences is None:
            yield None, {**self.given, **self.results}
            return
        inputs = {v.name for v in self.lengths.program.inputs}
        for row, number in enumerate(self.sequences):
            yield (
                number,
                {
                    **{n: a[row] if n in inputs else a for n, a in self.given.items()},
                    **{n: a[row] for n, a in self.results.items()},
                },
            )


def portions(derived: Derived, call: Call) -> Iterator[Portion]:
    """Run a program on a call's arrays."""
    program = derived.program
    if call.batch is None:
        yield _run(derived, None, call.lengths, call.arrays)
        return
    own = [call.lengths.get("T", 0)] * call.batch if call.ragged is None else call.ragged.tolist()
    by_length: dict[int, list[int]] = {}
    for number, steps in enumerate(own):
        by_length.setdefault(steps, []).append(number)
    for steps, numbers in by_length.items():
        lengths = {**call.lengths, "T": steps} if "T" in call.lengths else dict(call.lengths)
        size = nbytes(program, lengths, derived.signature.dtype)
        most = max(_TOGETHER // max(size, 1), 1)
        for first in range(0, len(numbers), most):
            part = numbers[first : first + most]
            arrays = dict(call.arrays)
            for v in program.inputs:
                cut = call.arrays[v.name][part]
                cut = cut[(slice(None), *(slice(n) for n in _extents(v, lengths)))]
                arrays[v.name] = np.ascontiguousarray(cut)
            yield _run(derived, tuple(part), lengths, arrays)


def nbytes(program: Program, lengths: Mapping[str, int], dtype: Any) -> int:
    """The bytes of all variables of one sequence."""
    return sum(
        prod(_extents(v, lengths)) * prod(_shape(v)) * _kind(v, dtype).itemsize
        for v in program.vars.values()
        if v.role == "variable"
    )


def _run(
    derived: Derived,
    sequences: tuple[int, ...] | None,
    lengths: Mapping[str, int],
    arrays: Mapping[str, Array],
) -> Portion:
    program = derived.program
    batch = None if sequences is None else len(sequences)
    rows = () if batch is None else (batch,)
    results = {
        v.name: np.zeros(
            (*rows, *_extents(v, lengths), *_shape(v)), _kind(v, derived.signature.dtype)
        )
        for v in program.vars.values()
        if v.role == "variable"
    }
    error = None
    kernel: Any = derived.kernel
    try:
        kernel(dict(arrays), dict(lengths), batch, None, results)
    except SolverError as caught:
        error = caught
    known = {v.name: arrays[v.name] for v in (*program.inputs, *program.params)}
    return Portion(sequences, Lengths(program, dict(lengths)), known, results, error)


def _extents(v: Var, lengths: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(max((a.hi - a.lo + 1).evaluate(lengths), 0) for a in v.axes)


def _shape(v: Var) -> tuple[int, ...]:
    return tuple(n.evaluate({}) for n in v.shape)


def _kind(v: Var, dtype: Any) -> np.dtype[Any]:
    return np.dtype({"int": np.int64, "bool": np.bool_}.get(v.type.kind, dtype))


__all__ = ["Portion", "backward", "forward", "nbytes", "portions"]
