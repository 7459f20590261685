"""Elements that were not found: native code notes them, the caller raises the error.

Every sequence has three words in the workspace: a key, the last residual and the number of steps.
The key says which element it is, so that the smallest one is the failure to report: first those
that are no consequence of another one (what is not a number from the first step on was given
something that was none), then the variables in the order of the program, then their elements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfold.errors import SolverError
from unfold.implicit import tolerance
from unfold.plan import Plan, statements

from ..body import DOUBLE, INT, POINTER, VOID, Body, Value, define
from ..ir import Module

#: The name of the words in the record of a call.
FIELD = "%failures"
#: The key of a sequence without a failure.
NONE = 2**63 - 1
_WORDS = 3
_VARIABLE, _LATE = 40, 62

Words = NDArray[np.int64]


def words(plan: Plan, batch: int, lanes: int) -> int:
    """How many bytes the failures of a call take; 0 where nothing is solved."""
    if not is_needed(plan):
        return 0
    return 8 * _WORDS * (batch + lanes)


def is_needed(plan: Plan) -> bool:
    """Whether a plan solves implicit equations."""
    return any(s.solver is not None for s in statements((*plan.shared, *plan.body)))


def clear(noted: Words) -> None:
    """Forget what a call before this one has noted."""
    noted[::_WORDS] = NONE


def raise_first(
    noted: Words,
    plan: Plan,
    lengths: Mapping[str, int],
    batch: int | None,
    ragged: Any,
    dtype: str,
    first: int = 0,
) -> None:
    """Raise `SolverError` about the first sequence that has a failure, if there is one.

    ``first`` is the number of the first of these sequences in the whole batch.
    """
    rows = noted.reshape(-1, _WORDS)[: 1 if batch is None else batch]
    failed = np.flatnonzero(rows[:, 0] != NONE)
    if not failed.size:
        return
    row = int(failed[0])
    key, residual, steps = rows[row]
    names = list(plan.program.vars)
    name = names[(int(key) >> _VARIABLE) & ((1 << (_LATE - _VARIABLE)) - 1)]
    number = int(key) & ((1 << _VARIABLE) - 1)
    own = dict(lengths) if ragged is None else {**lengths, "T": int(ragged[row])}
    index: list[int] = []
    for lo, hi in reversed(plan.buffers[name].axes):
        extent = (hi - lo + 1).evaluate(lengths)
        index.insert(0, lo.evaluate(own) + number % extent)
        number //= extent
    solver = next(
        s.solver for s in statements((*plan.shared, *plan.body)) if s.target == name and s.solver
    )
    raise SolverError(
        name, tuple(index), None if batch is None else first + row,
        float(np.int64(residual).view(np.float64)), int(steps),
        solver.method, tolerance(solver, float(np.finfo(dtype).eps)),
    )  # fmt: skip


@dataclass(frozen=True)
class Reporter:
    """Notes failures of the sequences from ``row`` on, of which ``used`` exist.

    Attributes:
        noted: the address of the words of the first sequence of the batch.
        variables: all variables, in the order of the program.
    """

    noted: Any
    row: Any
    used: Any
    variables: tuple[str, ...]

    def note(
        self, b: Body, name: str, number: Value, lane: int | Value, residual: Value, steps: Value
    ) -> None:
        """Note that an element of a variable was not found in one of the sequences.

        ``number`` counts the variable's elements row by row.
        """
        at = b.wrap(self.row) + lane
        slot = b.at(b.wrap(self.noted), at * _WORDS, INT)
        if residual.kind != DOUBLE:
            residual = residual.convert("fpext", "double")
        first = self.variables.index(name) << _VARIABLE
        b.call_void(_note(b.module), slot, number + first, residual, steps)

    def exists(self, b: Body, lane: int) -> Value:
        """Whether there is a sequence in a lane."""
        return b.wrap(self.used).gt(lane)


def _note(module: Module) -> str:
    """The name of ``void(ptr words, i64 key, double residual, i64 steps)``."""

    def write(b: Body) -> None:
        at, key, residual, steps = b.args
        finite = b.intrinsic("fabs", residual).lt(float("inf"))
        late = finite.select(b.const(INT, 0), b.const(INT, 1 << _LATE))
        key = key + steps.eq(1).select(late, 0)

        def put() -> list[Value]:
            b.store(key, at)
            b.store(residual, b.at(at, 1, INT))
            b.store(steps, b.at(at, 2, INT))
            return []

        b.when(key.lt(b.load(at, INT)), put)

    return define(module, "solve.note", VOID, (POINTER, INT, DOUBLE, INT), write,
                  attributes="nounwind cold noinline")  # fmt: skip


__all__ = ["FIELD", "Reporter", "clear", "is_needed", "raise_first", "words"]
