"""Causal models over many steps from a carried state, and models that read what they wrote.

before:  h = tanh(W @ x + U @ h_lag1)                  (one step: a program without time)
         y = V @ h
after:   h_lag0[t] = h.before[t] for t <= 0            (over t = 1..T, from a state)
         h_lag0[t] = h[t] for t >= 1
         h[t] = tanh(W @ x[t] + U @ h_lag0[t-1])
         y[t] = V @ h[t]
and with `y` fed back to `x`, what the step before the first has written being `y.before`:
         x[t] = y.fed[t-1]
requires: a `StepProgram`; what is fed back has the shape and the kind of what reads it, unless the
equations of a `Link` stand between the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .domain import Domain
from .expr import Expr, Ref, fresh, names, rewrite
from .poly import ONE, Poly
from .program import TIME, Axis, Equation, Output, Program, Var, equation, verify
from .streaming import StepProgram
from .transform import simplify

T, t, INDEX = Poly.symbol(TIME), Poly.symbol("t"), "t"


@dataclass(frozen=True)
class Link:
    """Equations between an output and the input that it is fed back to.

    Attributes:
        program: over ``t``, its sizes bound.
        reads: its input over t, which stands for the output.
        gives: the variable over t that the model reads.
        shown: variables over t that are returned beside it.
    """

    program: Program
    reads: str
    gives: str
    shown: tuple[str, ...]


@dataclass(frozen=True)
class Feed:
    """``source``, an output, is read by the input ``target`` one step later."""

    target: str
    source: str
    link: Link | None = None

    def inner(self, name: str) -> str:
        """What a variable of the link is called in the whole program."""
        return f"{self.target}.{name}"


@dataclass(frozen=True)
class Carried:
    """A value that goes from one rollout to the next.

    Attributes:
        variable: as in `unfold.streaming.State`; of what is fed back alone, the output.
        before, after: the input and the output that hold the last ``depth`` values, oldest first,
            along ``axis``.
    """

    variable: str
    before: str
    after: str
    depth: int
    axis: int


@dataclass(frozen=True)
class Rollout:
    """Many steps: the program over t = 1..T, and what it carries."""

    program: Program
    carried: tuple[Carried, ...]


def rollout(plan: StepProgram, axes: Mapping[str, int], feed: Feed | None = None) -> Rollout:
    """Many steps of a program from a carried state.

    Args:
        axes: which axis of a variable is time; the first, for those that are not there.
        feed: what is fed back, if anything.
    """
    return _Rolling(plan, axes, feed).run()


class _Rolling:
    def __init__(self, plan: StepProgram, axes: Mapping[str, int], feed: Feed | None) -> None:
        self.plan, self.step, self.feed = plan, plan.program, feed
        self.axes = {**axes, **{s.newest: axes.get(s.variable, 0) for s in plan.states}}
        self.taken = set(self.step.vars)
        #: name of a lag -> what holds its values over time, and the lag
        self.lags = {
            name: (s.newest, lag + 1) for s in plan.states for lag, name in enumerate(s.names)
        }
        self.vars: dict[str, Var] = {}
        self.equations: list[Equation] = []
        self.outputs: list[Output] = []
        self.carried: list[Carried] = []
        self.moving = self._moving()

    def run(self) -> Rollout:
        p, feed = self.step, self.feed
        for v in p.vars.values():
            if v.name not in self.lags:
                self.vars[v.name] = self._lengthened(v)
        self.equations += [self._at_steps(eq) for eq in p.equations]
        for o in p.outputs:
            if o.name in self.plan.outputs:
                self._show(o.name, o.ranges, ONE)
        for s in self.plan.states:
            self._carry(s.variable, s.newest, len(s.names))
        if feed is not None:
            self._feed(feed)
        indices = {**p.indices, INDEX: (ONE, T)}
        if feed is not None and feed.link is not None:
            indices = {**feed.link.program.indices, **indices}
        minimum = {**p.minimum, TIME: 1}
        whole = p.with_(
            indices=indices, vars=self.vars, equations=tuple(self.equations),
            outputs=tuple(self.outputs), minimum=minimum,
        )  # fmt: skip
        return Rollout(verify(simplify(verify(whole))), tuple(self.carried))

    def _moving(self) -> set[str]:
        """What has another value at every step."""
        found = {*self.plan.moving, *self.lags, *self.plan.outputs}
        found |= {s.newest for s in self.plan.states}
        size = 0
        while size < len(found):
            size = len(found)
            found |= {eq.name for eq in self.step.equations if names(eq.rhs) & found}
        return found

    def _lengthened(self, v: Var) -> Var:
        if v.name not in self.moving:
            return v
        return replace(v, axes=_with(v.axes, self.axes.get(v.name, 0), Axis(INDEX, ONE, T)))

    def _at_steps(self, eq: Equation) -> Equation:
        """An equation of one step at every step."""
        if eq.name not in self.moving:
            return eq

        def read(e: Expr) -> Expr:
            if not isinstance(e, Ref) or e.name not in self.moving:
                return e
            name, lag = self.lags.get(e.name, (e.name, 0))
            return Ref(name, _with(e.index, self.axes.get(name, 0), t - lag), e.shape, e.type)

        indices = _with(eq.indices, self.axes.get(eq.name, 0), INDEX)
        domain = eq.domain & Domain.range(INDEX, 1, T)
        return replace(eq, indices=indices, domain=domain, rhs=rewrite(eq.rhs, read))

    def _show(self, name: str, ranges: tuple[tuple[Poly, Poly], ...], first: Poly) -> None:
        self.outputs.append(Output(name, _with(ranges, self.axes.get(name, 0), (first, T))))

    def _carry(self, variable: str, name: str, depth: int) -> None:
        """Have a variable over time begin with values that are given, and return its last ones."""
        v, k = self.vars[name], self.axes.get(name, 0)
        before = self._name(f"{variable}.before")
        rest = v.axes[:k] + v.axes[k + 1 :]
        past = Axis(INDEX, Poly.const(1 - depth), Poly())
        self.vars[before] = replace(
            v, name=before, role="input", axes=_with(rest, k, past), generated=False
        )
        whole = Axis(INDEX, Poly.const(1 - depth), T)
        v = self.vars[name] = replace(v, axes=_with(rest, k, whole))
        at = tuple(Poly.symbol(a.index) for a in v.axes)
        domain = self.vars[before].domain
        given = Ref(before, at, v.shape, v.type)
        self.equations.append(equation(name, tuple(a.index for a in v.axes), domain, given))
        self._show(name, tuple((a.lo, a.hi) for a in rest), T - (depth - 1))
        self.carried.append(Carried(variable, before, name, depth, k))

    def _feed(self, feed: Feed) -> None:
        """Have the model read what it wrote."""
        source, target = self.vars[feed.source], self.vars[feed.target]
        fed = self._name(f"{feed.source}.fed")
        k = self.axes[fed] = self.axes.get(feed.source, 0)
        self.vars[fed] = replace(source, name=fed)
        at = tuple(a.index for a in source.axes)
        now = Ref(source.name, tuple(map(Poly.symbol, at)), source.shape, source.type)
        self.equations.append(equation(fed, at, source.domain, now))
        self._carry(f"{feed.source}.fed", fed, 1)
        self.vars[target.name] = replace(target, role="variable", noise=None)
        here = tuple(a.index for a in target.axes)
        if feed.link is None:
            rest = tuple(Poly.symbol(i) for i in (*here[:k], *here[k + 1 :]))
            value: Expr = Ref(fed, _with(rest, k, t - 1), source.shape, source.type)
        else:
            self._link(feed, feed.link, fed)
            value = Ref(feed.inner(feed.link.gives), (t,), target.shape, target.type)
        self.equations.append(equation(target.name, here, target.domain, value))
        self._show(target.name, tuple((a.lo, a.hi) for a in target.axes if a.index != INDEX), ONE)

    def _link(self, feed: Feed, link: Link, fed: str) -> None:
        """Take over the equations that stand in between."""

        def renamed(e: Expr) -> Expr:
            if not isinstance(e, Ref):
                return e
            if e.name == link.reads:
                return Ref(fed, tuple(p - 1 for p in e.index), e.shape, e.type)
            return replace(e, name=feed.inner(e.name))

        for v in link.program.vars.values():
            if v.name != link.reads:
                self.vars[feed.inner(v.name)] = replace(v, name=feed.inner(v.name))
        for eq in link.program.equations:
            self.equations.append(
                replace(eq, name=feed.inner(eq.name), rhs=rewrite(eq.rhs, renamed))
            )
        for name in link.shown:
            self._show(feed.inner(name), (), ONE)

    def _name(self, stem: str) -> str:
        found = fresh(stem, self.taken)
        self.taken.add(found)
        return found


def _with(items: tuple, k: int, item: object) -> tuple:
    """A tuple with one item more, at a place."""
    return (*items[:k], item, *items[k:])


__all__ = ["Carried", "Feed", "Link", "Rollout", "rollout"]
