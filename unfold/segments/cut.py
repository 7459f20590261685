"""Cut a program at the borders of segments: programs that a loop outside of them can run.

before:  h[t] = tanh(W @ x[t] + U @ h[t-1])         loss = sum[t](norm(h[t])) / T
after:   for one segment, from step ``first``, ``count`` steps:
             h[t] = tanh(W @ x[t] + U @ h[t-1])     for t in first..first+count-1
             h[t] = h_left[t]                       for t = first-1
             h_edge[t] = h[t]                       for t = first+count-1
             loss_total = sum[t](norm(h[t]))        over first..first+count-1
         and for what has no time: loss = loss_total / T
requires: the levels of the program (`unfold.segments.levels`).

Positions keep their meaning: a segment's equations are the program's own, on a part of their
domain. So everything that depends on where a step lies in the sequence stays right. What a segment
reads outside of itself is given: ``h_left`` by the segment before it, ``h_right`` by the one behind
it, either as it was handed over just now or as it was kept by an earlier sweep.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..expr import Reduce, fresh, names
from ..plan.build import results_of, shared_variables
from ..poly import Poly
from ..program import Axis, Equation, Output, Program, Var, verify
from ..transform.common import axis_range, prune
from .levels import FORWARD, Levels, direction, levels, near
from .parts import Cut, Sweep
from .segment import Segment
from .totals import TIME, Totals, find_totals, refusal, time_axis


def cut(program: Program) -> Cut:
    """Cut a program over time. Raises `InputError` with an equation that prevents it."""
    if TIME not in program.lengths:
        from ..errors import InputError

        raise InputError(f"{program.name} has no time axis to cut into segments")
    program = prune(program)
    totals = find_totals(program)
    return Cutter(program, totals, levels(totals)).run()


def _params_of(program: Program) -> dict[str, str]:
    """The parameter of each result that is the adjoint of one, or the tangent of that."""
    found = {}
    for result in results_of(program):
        if result.summed:
            v = program.vars[result.name]
            while v.tangent_of is not None and v.tangent_of in program.vars:
                v = program.vars[v.tangent_of]
            assert v.adjoint_of is not None
            found[result.name] = v.adjoint_of
    return found


class Cutter:
    def __init__(self, original: Program, totals: Totals, order: Levels) -> None:
        self.original = original
        self.totals = totals
        self.order = order
        self.program = totals.program
        self.shared = frozenset(shared_variables(self.program))
        taken = {
            *self.program.vars, *self.program.indices, *self.program.lengths, *self.program.sizes
        }  # fmt: skip
        self.start = fresh("first", taken)
        self.count = fresh("count", taken)
        self.span = fresh("segment", taken)
        self.pieces: dict[str, list[Equation]] = {}
        for eq in self.program.equations:
            self.pieces.setdefault(eq.name, []).append(eq)
        self.results = [Output(r.name, r.ranges) for r in results_of(original)]
        self.of_param = _params_of(original)
        # Steps that later sweeps want an earlier one to keep at its borders.
        self.wanted: dict[tuple[int, str], int] = {}

    def run(self) -> Cut:
        self.lo, self.hi = self._range()
        sweeps = [self._sweep(k) for k in range(self.order.count, 0, -1)][::-1]
        done = tuple(s for s in sweeps if s is not None)
        used = {n for s in done for n in s.fixed}
        between = self._between(used)
        least = max((h.steps for s in done for h in s.halos), default=1)
        return Cut(
            self.original, tuple(between), done, self.lo, self.hi, self.start, self.count,
            self.shared, self.totals.sums, least,
        )  # fmt: skip

    # --- how far time reaches ---

    def _range(self) -> tuple[Poly, Poly]:
        """Constant first and ``T + constant`` last position of everything that has time."""
        least = self.program.minimum.get(TIME, 1)
        los: list[int] = []
        his: list[int] = []
        for eq in self.program.equations:
            for lo, hi in self._ranges_of(eq):
                shift = lo - Poly.symbol(TIME) if TIME in lo.symbols else lo
                first, last = lo.subs({TIME: least}).constant, hi - Poly.symbol(TIME)
                if TIME not in hi.symbols:
                    last = hi - least
                if first is None or last.constant is None or shift.constant is None:
                    why = "its steps do not lie between a number and T plus a number"
                    raise refusal(self.program, eq, why)
                los.append(first)
                his.append(last.constant)
        return Poly.const(min(los, default=1)), Poly.symbol(TIME) + max(his, default=0)

    def _ranges_of(self, eq: Equation) -> list[tuple[Poly, Poly]]:
        k = time_axis(self.program, self.program.vars[eq.name])
        if k is not None:
            axis = self.program.vars[eq.name].axes[k]
            return [(axis.lo, axis.hi)]
        if eq.name not in self.totals.totals:
            return []
        total, shift = self.totals.totals[eq.name], self.order.shift[eq.name]
        assert isinstance(eq.rhs, Reduce)
        others = (*eq.indices, *(i for i in eq.rhs.indices if i != total.index))
        domain = eq.domain & eq.rhs.domain
        try:
            lo, hi = axis_range([domain], total.index, (total.index, *others), self.program.given)
        except ValueError as error:
            raise refusal(self.program, eq, str(error)) from None
        return [(lo + shift, hi + shift)]

    # --- between the sweeps ---

    def _between(self, used: set[str]) -> list[Program | None]:
        """The programs of what has no time: before the first sweep, after it, …"""
        used = set(used) | {o.name for o in self.results}
        used |= {n for parts in self.totals.sums.values() for n in parts}
        found: list[Program | None] = []
        for level in range(self.order.count, -1, -1):
            own = {n for n, k in self.order.after.items() if k == level}
            outputs = [self._shown(n) for n in self.program.vars if n in own and n in used]
            equations = tuple(eq for eq in self.program.equations if eq.name in own)
            made = self._made(own, equations, outputs) if outputs else None
            if made is not None:
                used |= {n for eq in made.equations for n in names(eq.rhs)}
            found.append(made)
        return found[::-1]

    def _shown(self, name: str) -> Output:
        asked = next((o for o in self.results if o.name == name), None)
        axes = self.program.vars[name].axes
        whole = Output(name, tuple((a.lo, a.hi) for a in axes))
        read = any(name in names(eq.rhs) for eq in self.program.equations)
        return whole if asked is None or read else asked

    def _made(
        self, own: set[str], equations: tuple[Equation, ...], outputs: Iterable[Output]
    ) -> Program:
        """A program without time of some variables; whatever else they read is given."""
        variables = {
            n: self.marked(v) if n in own else self.as_given(v) if v.role == "variable" else v
            for n, v in self.program.vars.items()
        }
        return self.closed(
            self.program.with_(
                vars=variables, equations=equations, outputs=tuple(outputs), losses=()
            )
        )

    def as_given(
        self, v: Var, name: str | None = None, axes: tuple[Axis, ...] | None = None
    ) -> Var:
        """A computed variable as something that is given."""
        role = "param" if v.name in self.shared else "input"
        return Var(name or v.name, role, v.axes if axes is None else axes, v.shape, v.type)

    def marked(self, v: Var) -> Var:
        """A variable that counts as an adjoint only if it is (a part of) one of a parameter."""
        of = self.of_param.get(self.totals.parts.get(v.name, v.name))
        return replace(v, adjoint_of=of, tangent_of=None)

    def closed(self, program: Program) -> Program:
        """The program without what is given and not read, and with the parameters whose adjoints
        it returns."""
        program = prune(program)
        read = {n for eq in program.equations for n in names(eq.rhs)}
        read |= {v.adjoint_of for v in program.vars.values() if v.adjoint_of}
        kept = {n: v for n, v in program.vars.items() if v.role == "variable" or n in read}
        return verify(program.with_(vars=kept))

    # --- sweeps ---

    def _sweep(self, number: int) -> Sweep | None:
        order = self.order
        asked = [o for o in self.results if order.sweep.get(o.name) == number
                 and o.name not in self.totals.totals]  # fmt: skip
        totals = [t for n, t in self.totals.totals.items() if order.sweep[n] == number]
        start = {o.name for o in asked} | {t.name for t in totals}
        start |= {n for k, n in self.wanted if k == number}
        if not start:
            return None
        needed = self._needed(start)
        lag, lead = self._distances(needed, number)
        way = direction(number)
        for (k, name), steps in self.wanted.items():
            if k == number:
                far = lag if way == FORWARD else lead
                far[name] = max(far.get(name, 0), steps)
        building = Segment(self, number, needed, lag, lead)
        sweep = building.build(asked, totals)
        for halo in sweep.halos:
            if halo.edge is None:
                key = halo.source, halo.variable
                self.wanted[key] = max(self.wanted.get(key, 0), halo.steps)
        return replace(
            sweep,
            kept=tuple(h.name for h in sweep.halos if h.edge is not None
                       and (number, h.variable) in self.wanted),
        )  # fmt: skip

    def _needed(self, start: set[str]) -> set[str]:
        """What a sweep computes: everything with time that its results depend on."""
        found, work = set(start), list(start)
        while work:
            for eq in self.pieces[work.pop()]:
                for name in names(eq.rhs) - found:
                    v = self.program.vars[name]
                    if v.role == "variable" and time_axis(self.program, v) is not None:
                        found.add(name)
                        work.append(name)
        return found

    def _distances(self, needed: set[str], number: int) -> tuple[dict[str, int], dict[str, int]]:
        """How far before and behind a segment its equations read each variable."""
        lag: dict[str, int] = {}
        lead: dict[str, int] = {}
        for name in needed:
            shift = self.order.shift.get(name, 0)
            for eq in self.pieces[name]:
                for n in near(self.totals, eq):
                    lag[n.name] = max(lag.get(n.name, 0), shift - n.lo)
                    lead[n.name] = max(lead.get(n.name, 0), n.hi - shift)
        return lag, lead


__all__ = ["cut"]
