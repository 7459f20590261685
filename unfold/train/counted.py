"""Which steps of a sequence its losses count: what windows of it have to share.

A loss over windows is that of the whole sequence only if it is made of a value for each step, added
up: `sum[t](f(t))`, a mean, and what is computed from these. One that stops before the end, as
`mean[t < T]((y[t] - x[t+1]) ** 2)` does, would lose the last step of each window: windows overlap
by the steps it leaves out. All else (the last state, a maximum over time, pairs of steps) means
something else in a window than in the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ..domain import Domain
from ..errors import InputError
from ..expr import Call, Expr, Guard, Position, Reduce, Ref, free_symbols, reads, walk
from ..poly import Poly
from ..program import TIME, Equation, Program

Refuse = Callable[[Equation, str], InputError]
PAIRS = "it counts pairs of steps, and the two may lie in different windows"


def left_out(program: Program, time: Mapping[str, int | None], refuse: Refuse) -> int:
    """How many of the last steps no loss counts: 1 for sums over `t < T`, 0 for sums over all.

    Args:
        program: what is trained.
        time: of each variable the axis that is time.
        refuse: makes the error of an equation.

    Raises:
        InputError: an equation without time that is no sum over steps, two that end at different
            steps, or one over t that needs such a total.
    """
    ends: dict[int, Equation] = {}
    totals = _totals(program, time)
    for eq in program.equations:
        if time[eq.name] is None:
            for k in _Static(program, time, totals, refuse, eq).ends():
                ends.setdefault(k, eq)
        else:
            for read in reads(eq.rhs):
                if read.ref.name in totals:
                    raise refuse(eq, f"this equation needs {read.ref.name}, of the whole sequence")
    if len(ends) > 1:
        few, many = min(ends), max(ends)
        raise refuse(
            ends[few],
            f"the last step that counts is {_end(few)} in this equation and {_end(many)} in that "
            f"of {ends[many].name}: let both end at {_end(many)}",
        )
    return next(iter(ends), 0)


def _end(k: int) -> str:
    return str(Poly.symbol(TIME) - k)


def _totals(program: Program, time: Mapping[str, int | None]) -> set[str]:
    """The variables without time that depend on steps, or on how many there are."""
    found: set[str] = set()
    static = [eq for eq in program.equations if time[eq.name] is None]
    while True:
        more = {
            eq.name
            for eq in static
            if TIME in free_symbols(eq.rhs)
            or any(time.get(r.ref.name) is not None or r.ref.name in found for r in reads(eq.rhs))
        }
        if more <= found:
            return found
        found |= more


@dataclass(frozen=True)
class _Static:
    """One equation without time."""

    program: Program
    time: Mapping[str, int | None]
    totals: set[str]
    refuse: Refuse
    eq: Equation

    def ends(self) -> set[int]:
        """How many of the last steps each of its sums leaves out."""
        found: set[int] = set()
        self._walk(self.eq.rhs, Domain(), {}, found)
        return found

    def _walk(self, e: Expr, domain: Domain, over: dict[str, str], found: set[int]) -> None:
        """Look at an expression in its reductions' ``domain``; ``over`` names the operations of
        those that run over the steps."""
        if isinstance(e, Reduce):
            inner = domain & e.domain
            steps = over_steps(e, over)
            if steps and (over or len(steps) > 1):
                raise self.refuse(self.eq, PAIRS)
            self._walk(e.body, inner, over | dict.fromkeys(steps, e.op), found)
            return
        inner = domain & e.domain if isinstance(e, Guard) else domain
        if isinstance(e, (Guard, Position)):
            named = (e.domain if isinstance(e, Guard) else e.poly).symbols
            found.update(self._end(i, inner) for i in over if i in named)
            if isinstance(e, Position) and TIME in named and named & set(over):
                raise self.refuse(self.eq, "it counts a step by how far the sequence's end is")
        elif isinstance(e, Ref):
            axis = self.time.get(e.name)
            if axis is not None:
                found.add(self._end(self._step(e, e.index[axis], over), domain))
            elif over and e.name in self.totals:
                raise self.refuse(self.eq, f"this equation needs {e.name} at every step")
        for child in e.operands:
            self._walk(child, inner, over, found)

    def _step(self, e: Ref, position: Poly, over: Mapping[str, str]) -> str:
        """The index that runs over the steps in the read of a sequence."""
        steps = [i for i in position.symbols if i in over]
        if not steps and TIME in position.symbols:
            raise self.refuse(
                self.eq,
                f"this equation reads the end of {e.name}, which only the last window has; a loss "
                "is the sum or mean of a value for each step",
            )
        if not steps:
            raise self.refuse(self.eq, f"this equation reads one fixed step of {e.name}")
        if position.coefficient(steps[0]) != 1 or TIME in position.symbols:
            raise self.refuse(self.eq, f"this equation reads {e.name} in another order of steps")
        if over[steps[0]] != "sum":
            raise self.refuse(
                self.eq,
                f"a {over[steps[0]]} over all steps is not made of those of windows, as a sum or a "
                "mean is",
            )
        return steps[0]

    def _end(self, index: str, domain: Domain) -> int:
        """How many of the last steps the index does not reach."""
        usual = self.program.given & Domain.range(index, 1, TIME)
        least = 0
        for q in domain.gist(usual).constraints:
            if q.coefficient(index):
                rest = (Poly.symbol(TIME) - Poly.symbol(index) - q).constant
                if rest is None or rest < 0:
                    raise self.refuse(self.eq, "it counts some steps and not others, by number")
                least = max(least, rest)
        return least


def over_steps(e: Reduce, outer: Iterable[str] = ()) -> list[str]:
    """The indices of a reduction that run over time: T bounds them, or another one that does, of
    this reduction or of one around it."""
    found = {TIME, *outer}
    while True:
        more = {
            i
            for i in e.indices
            if any(q.symbols & found for bounds in e.domain.bounds(i) for q in bounds)
        }
        if more <= found:
            return [i for i in e.indices if i in found]
        found |= more


def divides_by_none(program: Program, steps: int) -> Equation | None:
    """An equation that divides by a number of steps which is 0 for sequences of so many, as a mean
    over `t < T` does where there is one step only."""
    for eq in program.equations:
        for e in walk(eq.rhs):
            if isinstance(e, Call) and e.op == "div" and isinstance(e.args[1], Position):
                count = e.args[1].poly
                if count.symbols == {TIME} and count.evaluate({TIME: steps}) == 0:
                    return eq
    return None


__all__ = ["divides_by_none", "left_out", "over_steps"]
