"""The native half of `unfold.backends.llvm.failures`: noting elements that were not found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unfold.implicit import tolerance
from unfold.plan import Plan, statements

from ..body import DOUBLE, INT, POINTER, VOID, Body, Value, define
from ..failures import LATE, VARIABLE, WORDS, Solved
from ..ir import Module


def is_needed(plan: Plan) -> bool:
    """Whether a plan solves implicit equations."""
    return any(s.solver is not None for s in statements((*plan.shared, *plan.body)))


def solved(plan: Plan, dtype: str) -> tuple[Solved, ...]:
    """The variables that a plan searches for."""
    numbers = {n: k for k, n in enumerate(plan.program.vars)}
    least = float(np.finfo(dtype).eps)
    found = {}
    for s in statements((*plan.shared, *plan.body)):
        if s.solver is not None and s.target not in found:
            found[s.target] = Solved(
                s.target, numbers[s.target], plan.buffers[s.target].axes, s.solver.method,
                tolerance(s.solver, least),
            )  # fmt: skip
    return tuple(found.values())


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
        slot = b.at(b.wrap(self.noted), at * WORDS, INT)
        if residual.kind != DOUBLE:
            residual = residual.convert("fpext", "double")
        first = self.variables.index(name) << VARIABLE
        b.call_void(_note(b.module), slot, number + first, residual, steps)

    def exists(self, b: Body, lane: int) -> Value:
        """Whether there is a sequence in a lane."""
        return b.wrap(self.used).gt(lane)


def _note(module: Module) -> str:
    """The name of ``void(ptr words, i64 key, double residual, i64 steps)``."""

    def write(b: Body) -> None:
        at, key, residual, steps = b.args
        finite = b.intrinsic("fabs", residual).lt(float("inf"))
        late = finite.select(b.const(INT, 0), b.const(INT, 1 << LATE))
        key = key + steps.eq(1).select(late, 0)

        def put() -> list[Value]:
            b.store(key, at)
            b.store(residual, b.at(at, 1, INT))
            b.store(steps, b.at(at, 2, INT))
            return []

        b.when(key.lt(b.load(at, INT)), put)

    return define(module, "solve.note", VOID, (POINTER, INT, DOUBLE, INT), write,
                  attributes="nounwind cold noinline")  # fmt: skip


__all__ = ["Reporter", "is_needed", "solved"]
