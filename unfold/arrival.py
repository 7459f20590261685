"""Steps that a flow did not get to the end of are errors.

A flow that chooses its steps ends with ``arrived(value, part, attempts, rtol)``: the value, which
a call must not use unless ``part`` is 1. Before a program is compiled, `watched` takes these
apart: what has to be 1 becomes one more output, which `Watched` looks at after every call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .domain import Domain
from .errors import SolverError
from .expr import Call, Const, Expr, Guard, Reduce, fresh, kinds, rewrite, walk
from .ops.record import fn
from .poly import Poly
from .program import Axis, Equation, Output, Program, Var, equation

if TYPE_CHECKING:
    from .segments import Kernel

Array = NDArray[Any]


@dataclass(frozen=True)
class Arrival:
    """One thing to look at.

    Attributes:
        output: holds how much of each step was done.
        variable: whose steps they are; the positions of its first elements are ``starts``.
        attempts, rtol: as `unfold.SolverError` tells them.
    """

    output: str
    variable: str
    starts: tuple[Poly, ...]
    attempts: int
    rtol: float


def watched(program: Program) -> tuple[Program, tuple[Arrival, ...]]:
    """The program without `arrived`, with an output for each equation that has it."""
    equations: list[Equation] = []
    variables = dict(program.vars)
    outputs = list(program.outputs)
    found: list[Arrival] = []
    for eq in program.equations:
        part = _part(eq.rhs) if "arrived" in kinds(eq.rhs) else None
        if part is None:
            equations.append(eq)
            continue
        equations.append(eq.with_rhs(rewrite(eq.rhs, _value)))
        name = fresh(f"{eq.name}.arrived", variables)
        from .transform.common import axis_range  # not needed by what comes from the cache

        axes = []
        for index in eq.indices:
            axes.append(Axis(index, *axis_range([eq.domain], index, eq.indices, program.given)))
        whole = Domain()
        for axis in axes:
            whole = whole & Domain.range(axis.index, axis.lo, axis.hi)
        # Beside the elements of the equation, in its hull, nothing has to arrive.
        part = Const(1.0) - Guard(eq.domain, Const(1.0) - part)
        equations.append(equation(name, eq.indices, whole, part, eq.span))
        variables[name] = Var(name, "variable", tuple(axes), generated=True)
        outputs.append(Output(name, tuple((a.lo, a.hi) for a in axes)))
        first = next(n for n in walk(eq.rhs) if isinstance(n, Call) and n.op == "arrived")
        attempts, rtol = (a.value if isinstance(a, Const) else np.nan for a in first.args[2:])
        starts = tuple(a.lo for a in axes)
        found.append(Arrival(name, eq.name, starts, int(np.nan_to_num(attempts)), float(rtol)))
    changed = program.with_(vars=variables, equations=tuple(equations), outputs=tuple(outputs))
    return changed, tuple(found)


def _value(e: Expr) -> Expr:
    return e.args[0] if isinstance(e, Call) and e.op == "arrived" else e


def _part(e: Expr) -> Expr | None:
    """The least of all that has to be 1 in an expression; ``None`` if nothing has to."""
    found = [p for p in map(_part, e.operands) if p is not None]
    if isinstance(e, Call) and e.op == "arrived":
        found.append(e.args[1])
    if not found:
        return None
    least = found[0]
    for other in found[1:]:
        least = fn("minimum", least, other)
    if isinstance(e, Reduce):
        return Reduce("min", e.indices, e.domain, least)
    if isinstance(e, Guard):
        return Const(1.0) - Guard(e.domain, Const(1.0) - least)
    return least


@dataclass(frozen=True)
class Watched:
    """A kernel whose calls raise `SolverError` where a step did not arrive."""

    kernel: Kernel
    arrivals: tuple[Arrival, ...]

    def __call__(
        self,
        arrays: dict[str, Array],
        lengths: dict[str, int],
        batch: int | None,
        ragged: NDArray[np.int64] | None,
    ) -> dict[str, Array]:
        results = self.kernel(arrays, lengths, batch, ragged)
        failed: list[tuple[tuple[int, ...], int]] = []
        parts = [results.pop(a.output) for a in self.arrivals]
        for number, part in enumerate(parts):
            if not np.all(part >= 1):
                wrong = np.argwhere(~(np.atleast_1d(part) >= 1))[0]
                failed.append((tuple(map(int, wrong[: np.ndim(part)])), number))
        if failed:
            where, number = min(failed)
            raise self.error(self.arrivals[number], where, parts[number][where], lengths, batch)
        return results

    def workspace(
        self, lengths: dict[str, int], batch: int | None, ragged: bool = False
    ) -> dict[str, int]:
        """As that of the kernel."""
        return self.kernel.workspace(lengths, batch, ragged)

    def together(self, batch: int | None) -> int:
        """As that of the kernel."""
        return self.kernel.together(batch)

    def error(
        self,
        arrival: Arrival,
        where: tuple[int, ...],
        part: float,
        lengths: Mapping[str, int],
        batch: int | None,
    ) -> SolverError:
        sequence = None if batch is None else where[0]
        places = where if batch is None else where[1:]
        index = tuple(
            p + start.evaluate(lengths) for p, start in zip(places, arrival.starts, strict=True)
        )
        return SolverError(
            arrival.variable, index, sequence, float("nan"), arrival.attempts,
            "dopri5", arrival.rtol, reached=float(part),
        )  # fmt: skip


__all__ = ["Arrival", "Watched", "watched"]
