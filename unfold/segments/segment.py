"""The program of one segment.

before:  h[t] = tanh(W @ x[t] + U @ h[t-1])
after:   h[t] = tanh(W @ x[t] + U @ h[t-1])     for t in first..first+count-1
         h[t] = h_left[t]                       for t = first-1
         h_edge[t] = h[t]                       for t = first+count-1
requires: the levels of the program, and how far its equations read (`unfold.segments.cut`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..domain import Domain
from ..expr import Reduce, Ref, fresh, names
from ..poly import Poly
from ..program import Axis, Equation, Output, Program, Var, equation, verify
from ..transform.common import zero
from .levels import FORWARD, direction
from .local import local
from .parts import Halo, Sweep, Window
from .totals import Total, time_axis

if TYPE_CHECKING:
    from .cut import Cutter


class Segment:
    """The making of a sweep's program."""

    def __init__(
        self,
        cutter: Cutter,
        number: int,
        needed: set[str],
        lag: dict[str, int],
        lead: dict[str, int],
    ) -> None:
        self.cutter = cutter
        self.program = cutter.program
        self.number = number
        self.needed = needed
        self.lag, self.lead = lag, lead
        self.first = Poly.symbol(cutter.start)
        self.last = self.first + Poly.symbol(cutter.count) - 1
        self.taken = {*self.program.vars, *self.program.indices, cutter.start, cutter.count}
        gap = cutter.hi - self.last
        self.given = self.program.given & Domain.of(
            (gap, self.first - cutter.lo, Poly.symbol(cutter.count) - 1)
        )
        self.vars: dict[str, Var] = {}
        self.equations: list[Equation] = []
        self.outputs: list[Output] = []

    def build(self, asked: list[Output], totals: list[Total]) -> Sweep:
        program, cutter = self.program, self.cutter
        combined = {t.name: t.op for t in totals}
        moving = [n for n in cutter.pieces if n in self.needed and n not in combined]
        for name in moving:
            self._variable(name)
        halos = [h for name in moving for h in self._halos(name)]
        for name in combined:
            self._total(name)
        shown = {o.name: self._shown(o) for o in asked}
        for name in {v.adjoint_of for v in self.vars.values() if v.adjoint_of}:
            self.vars.setdefault(name, program.vars[name])
        windows, fixed = self._given()
        segment = program.with_(
            indices={**program.indices, cutter.span: (self.first, self.last)},
            vars=self.vars,
            equations=tuple(self.equations),
            outputs=tuple(self.outputs),
            losses=(),
            minimum={**program.minimum, cutter.start: cutter.lo.constant or 0, cutter.count: 1},
            assumed=program.assumed & Domain.of((cutter.hi - self.last,)),
        )
        segment = cutter.closed(segment)
        segment = verify(local(segment, self.first, self._moving(segment)))
        read = segment.vars
        return Sweep(
            self.number, segment,
            tuple(h for h in halos if h.edge is not None or h.name in read),
            tuple(w for w in windows if w.name in read),
            tuple(n for n in fixed if n in read), combined, shown, (),
        )  # fmt: skip

    def _moving(self, segment: Program) -> dict[str, int]:
        """What has the positions of the segment, with the axis that is time."""
        return {
            n: k for n, v in segment.vars.items() for k, a in enumerate(v.axes)
            if self.cutter.start in a.lo.symbols
        }  # fmt: skip

    def _variable(self, name: str) -> None:
        """A variable on the steps of the segment."""
        v = self.cutter.marked(self.program.vars[name])
        k = time_axis(self.program, v)
        assert k is not None
        self.vars[name] = _on(v, k, self.first, self.last)
        for eq in self.cutter.pieces[name]:
            position = eq.element[k]
            domain = eq.domain & Domain.of((position - self.first, self.last - position))
            if not domain.is_empty(self.given):
                self.equations.append(replace(eq, domain=domain.simplified(self.given)))

    def _total(self, name: str) -> None:
        """The part of a total that a segment holds."""
        self.vars[name] = self.cutter.marked(self.program.vars[name])
        total = self.cutter.totals.totals[name]
        step = Poly.symbol(total.index) + self.cutter.order.shift[name]
        here = Domain.of((step - self.first, self.last - step))
        for eq in self.cutter.pieces[name]:
            assert isinstance(eq.rhs, Reduce)
            rhs = Reduce(eq.rhs.op, eq.rhs.indices, eq.rhs.domain & here, eq.rhs.body)
            self.equations.append(replace(eq, rhs=rhs))
        v = self.vars[name]
        self.outputs.append(Output(name, tuple((a.lo, a.hi) for a in v.axes)))

    def _shown(self, out: Output) -> tuple[int, Poly, Poly]:
        """A part of a result, over the steps of the segment."""
        v = self.program.vars[out.name]
        k = time_axis(self.program, v)
        assert k is not None
        ranges = (*out.ranges[:k], (self.first, self.last), *out.ranges[k + 1 :])
        self.outputs.append(Output(out.name, ranges))
        return (k, *out.ranges[k])

    # --- what is given ---

    def _given(self) -> tuple[list[Window], list[str]]:
        """Declare what the equations read and the segment does not compute."""
        windows: list[Window] = []
        fixed: list[str] = []
        read = {n for eq in self.equations for n in names(eq.rhs)} - set(self.vars)
        for name in (n for n in self.program.vars if n in read):
            v = self.program.vars[name]
            k = time_axis(self.program, v)
            if v.role == "variable":
                v = self.cutter.as_given(v)
            elif k is not None and name not in self.cutter.totals.whole:
                lag, lead = self.lag.get(name, 0), self.lead.get(name, 0)
                windows.append(Window(name, k, v.axes[k].lo, lag, lead))
                self.vars[name] = _on(v, k, self.first - lag, self.last + lead)
                continue
            fixed.append(name)
            self.vars[name] = v
        return windows, fixed

    # --- borders ---

    def _halos(self, name: str) -> list[Halo]:
        """The steps of a variable before and behind the segment."""
        way, own = direction(self.number), self.cutter.order.sweep[name]
        found = []
        lag, lead = self.lag.get(name, 0), self.lead.get(name, 0)
        k = time_axis(self.program, self.program.vars[name])
        assert k is not None
        for before, steps in ((True, lag), (False, lead)):
            if steps > 0:
                given = self._name(f"{name}_{'left' if before else 'right'}")
                handed = before == (way == FORWARD)
                edge = self._name(f"{name}_edge") if handed else None
                # What ran this way has left its own side only; the sweep before had the other.
                source = own if direction(own) != way else self.number - 1
                source = self.number if handed else source
                self._halo(name, given, before, steps)
                found.append(Halo(name, self.vars[given], k, before, steps, edge, source))
        v = self.vars[name]
        self.vars[name] = _on(v, k, self.first - max(lag, 0), self.last + max(lead, 0))
        for halo in found:
            if halo.edge is not None:
                self._edge(halo)
        return found

    def _name(self, stem: str) -> str:
        name = fresh(stem, self.taken)
        self.taken.add(name)
        return name

    def _halo(self, name: str, given: str, before: bool, steps: int) -> None:
        """Elements outside of the segment are those that are given."""
        v = self.program.vars[name]
        k = time_axis(self.program, v)
        assert k is not None
        lo = self.first - steps if before else self.last + 1
        hi = self.first - 1 if before else self.last + steps
        axes = _on(v, k, lo, hi).axes
        self.vars[given] = self.cutter.as_given(v, given, axes)
        index = tuple(a.index for a in axes)
        read = Ref(given, tuple(Poly.symbol(i) for i in index), v.shape, v.type)
        self.equations.append(equation(name, index, self.vars[given].domain, read))

    def _edge(self, halo: Halo) -> None:
        """The steps that the next segment is given; zero where the variable has no element."""
        assert halo.edge is not None
        v = self.program.vars[halo.variable]
        k = time_axis(self.program, v)
        assert k is not None
        lo = self.last + 1 - halo.steps if halo.before else self.first
        hi = self.last if halo.before else self.first + halo.steps - 1
        own = replace(_on(v, k, lo, hi), name=halo.edge, generated=True, adjoint_of=None)
        self.vars[halo.edge] = own
        index = tuple(a.index for a in own.axes)
        read = Ref(v.name, tuple(Poly.symbol(i) for i in index), v.shape, v.type)
        gaps, parts = [own.domain], []
        for eq in self.equations:
            if eq.name == v.name:
                here = eq.domain.subs(
                    {i: Poly.symbol(j) for i, j in zip(eq.indices, index, strict=True)}
                )
                parts.append(here)
                gaps = [rest for gap in gaps for rest in gap.minus(here, self.given)]
        if not gaps:
            parts = [Domain()]
        for domain in (own.domain & here for here in parts):
            if not domain.is_empty(self.given):
                simple = domain.simplified(self.given)
                self.equations.append(equation(halo.edge, index, simple, read))
        for gap in gaps:
            self.equations.append(equation(halo.edge, index, gap, zero(read)))
        self.outputs.append(Output(halo.edge, tuple((a.lo, a.hi) for a in own.axes)))


def _on(v: Var, k: int, lo: Poly, hi: Poly) -> Var:
    """A variable on other positions of one axis."""
    axis = Axis(v.axes[k].index, lo, hi)
    return replace(v, axes=(*v.axes[:k], axis, *v.axes[k + 1 :]))


__all__ = ["Segment"]
