"""Truncated backpropagation through time, as a rewriting of the equations.

`Window`: the derivative does not pass from one window of steps to the one before (Williams and Peng
1990, "An efficient gradient-based algorithm for on-line training of recurrent network
trajectories").

before:  h[t] = tanh(W @ x[t] + U @ h[t-1])
after:   h[t] = tanh(W @ x[t] + U @ where(crosses, detach(h[t-1]), h[t-1]))
         with crosses = ((t-1) // 10 != (t-2) // 10 and t-1 >= 1)

`Horizon`: every use of a state sees a fixed number of steps back.

before:  h[t] = tanh(U @ h[t-1])                 loss = sum[t](norm(h[t]))
after:   h[t] = tanh(U @ h[t-1])                 loss = sum[t](norm(h_past[t, 0]))
         h_past[t, d] = tanh(U @ h_past[t, d+1])      for d <= 19, d <= t-2
         h_past[t, 20] = tanh(U @ detach(h[t-21]))    …

requires: a recurrence over the index that the truncation names, at constant distances.

Values do not change. Truncation is a directive of the compilation, apart from the equations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from unfold.dependence import dependences, distances
from unfold.domain import Domain
from unfold.expr import (
    BOOL,
    INT,
    Call,
    Const,
    Expr,
    Guard,
    Position,
    Reduce,
    Ref,
    fresh,
    rewrite,
    subs_positions,
    walk,
    with_operands,
)
from unfold.ops import call
from unfold.ops.record import where
from unfold.poly import Poly
from unfold.program import Axis, Equation, Program, Var, equation, verify

from .common import prune


@dataclass(frozen=True)
class Window:
    """Cut the gradient at the borders of windows of ``steps`` steps: after steps k, 2k, 3k, …

    Initial values before the first step are not cut off.
    """

    steps: int
    index: str = "t"


@dataclass(frozen=True)
class Horizon:
    """Let every use of a state (each loss term) see ``steps`` steps back and no further.

    Costs ``steps`` times the work of the recurrence.
    """

    steps: int
    index: str = "t"


def truncate(program: Program, how: Window | Horizon) -> Program:
    """The same values with a gradient that is cut as ``how`` says.

    Raises:
        ValueError: less than one step, no recurrence over that index, or (for a horizon) one that
            is not at constant distances in one direction.
    """
    if how.steps < 1:
        raise ValueError(f"a truncation keeps at least one step, not {how.steps}")
    loops = _recurrences(program, how.index)
    if not loops:
        raise ValueError(f"{program.name} has no recurrence over {how.index} to truncate")
    if isinstance(how, Window):
        return verify(_windows(program, how, loops))
    return verify(prune(_horizons(program, how, loops)))


@dataclass(frozen=True)
class _Recurrence:
    """One cycle of the dependence graph: its pieces, its variables, which way it runs."""

    pieces: frozenset[int]
    names: frozenset[str]
    direction: int | None


def _recurrences(program: Program, index: str) -> list[_Recurrence]:
    import networkx as nx

    edges = dependences(program)
    graph = nx.DiGraph((e.source, e.reader) for e in edges)
    found = []
    for part in nx.strongly_connected_components(graph):
        own = [e for e in edges if e.source in part and e.reader in part]
        if not own or not all(index in program.equations[n].indices for n in part):
            continue
        steps = [distances(e, program).get(index) for e in own]
        exact = [s.exact if s is not None else None for s in steps]
        known = [d for d in exact if d is not None]
        direction = None
        if len(known) == len(exact):
            forward = all(d >= 0 for d in known)
            direction = 1 if forward else (-1 if all(d <= 0 for d in known) else None)
        names = frozenset(program.equations[n].name for n in part)
        found.append(_Recurrence(frozenset(part), names, direction))
    return found


def _axis_of(program: Program, name: str, index: str) -> int:
    return next(k for k, axis in enumerate(program.vars[name].axes) if axis.index == index)


# --- windows ------------------------------------------------------------------------------------


def _windows(program: Program, how: Window, loops: list[_Recurrence]) -> Program:
    targets = {n: loop.names for loop in loops for n in loop.pieces}

    def cut(read: Ref) -> Expr:
        here = Poly.symbol(how.index)
        position = read.index[_axis_of(program, read.name, how.index)]
        if position == here:
            return read
        borders = call("ne", _window(here, how), _window(position, how))
        started = call("ge", Position(position), Const(1, (), INT))
        crosses = Call("and", (borders, started), (), (), BOOL)
        return where(crosses, call("detach", read), read)

    def rewritten(number: int, eq: Equation) -> Equation:
        names = targets.get(number, frozenset())

        def one(e: Expr) -> Expr:
            return cut(e) if isinstance(e, Ref) and e.name in names and e.is_real else e

        return replace(eq, rhs=rewrite(eq.rhs, one))

    equations = tuple(rewritten(n, eq) for n, eq in enumerate(program.equations))
    return program.with_(equations=equations)


def _window(position: Poly, how: Window) -> Expr:
    """The number of the window that a position lies in, from 0."""
    return call("floordiv", Position(position - 1), Const(how.steps, (), INT))


# --- horizons -----------------------------------------------------------------------------------


def _horizons(program: Program, how: Horizon, loops: list[_Recurrence]) -> Program:
    lag = fresh("d", {*program.indices, *program.vars, *program.lengths, *program.sizes})
    variables = dict(program.vars)
    past: dict[str, str] = {}
    way: dict[str, int] = {}
    for loop in loops:
        if loop.direction is None:
            raise ValueError(
                f"{program.name}: a horizon needs constant steps in one direction; the recurrence "
                f"of {', '.join(sorted(loop.names))} has none"
            )
        for name in sorted(loop.names):
            v = program.vars[name]
            if v.type.kind == "real":
                past[name] = fresh(f"{name}_past", variables)
                way[name] = loop.direction
                axis = Axis(lag, Poly(), Poly.const(how.steps - 1))
                variables[past[name]] = Var(
                    past[name], "variable", (*v.axes, axis), v.shape, v.type, generated=True
                )
    maker = _Past(program, how, lag, past, way)
    inside = {n for loop in loops for n in loop.pieces}
    extra = [
        piece
        for n in sorted(inside)
        if program.equations[n].name in past
        for piece in maker.pieces(program.equations[n])
    ]
    outside = [
        eq if n in inside else replace(eq, rhs=maker.now(eq))
        for n, eq in enumerate(program.equations)
    ]
    return program.with_(
        vars=variables,
        indices={**program.indices, lag: (Poly(), Poly.const(how.steps - 1))},
        equations=(*outside, *extra),
    )


@dataclass(frozen=True)
class _Past:
    """States as seen from later: ``h_past[t, d]`` is h[t-d] with a gradient of limited reach."""

    program: Program
    how: Horizon
    lag: str
    past: Mapping[str, str]
    way: Mapping[str, int]

    def now(self, eq: Equation) -> Expr:
        """A right-hand side outside the recurrence: it reads states at lag 0."""

        def go(e: Expr, domain: Domain) -> Expr:
            if isinstance(e, Ref) and e.name in self.past:
                if domain.subset(self.defined(e.name, e.index), self.program.given):
                    return Ref(self.past[e.name], (*e.index, Poly()), e.shape, e.type)
                return e
            inner = domain & e.domain if isinstance(e, (Reduce, Guard)) else domain
            return with_operands(e, tuple(go(c, inner) for c in e.operands))

        return go(eq.rhs, eq.domain)

    def defined(self, name: str, index: tuple[Poly, ...]) -> Domain:
        """Where an element of a state is computed by the recurrence (not a boundary value)."""
        k = _axis_of(self.program, name, self.how.index)
        lo, hi = self.program.indices[self.how.index]
        return Domain.of((index[k] - lo, hi - index[k]))

    def pieces(self, eq: Equation) -> list[Equation]:
        """The equation of ``h_past[t, d]``, one piece for each way its reads can end."""
        t, d = Poly.symbol(self.how.index), Poly.symbol(self.lag)
        away = d * self.way[eq.name]
        # The equation at position t - d, as a function of t and d.
        moved = {self.how.index: t - away}
        name, indices = self.past[eq.name], (*eq.indices, self.lag)
        domain = eq.domain.subs(moved) & Domain.range(self.lag, 0, self.how.steps - 1)
        domain = domain & Domain.range(self.how.index, *self.program.indices[self.how.index])
        rhs = subs_positions(eq.rhs, moved)
        cells = [domain]
        reads = [e for e in _refs(rhs) if e.name in self.past]
        for read in reads:
            for condition in self.conditions(read):
                cells = [part for cell in cells for part in self.divide(cell, condition)]
        return [
            equation(name, indices, cell, self.seen(rhs, cell), eq.span, eq.solver)
            for cell in cells
        ]

    def divide(self, cell: Domain, by: Domain) -> list[Domain]:
        given = self.program.given
        inside = cell & by
        parts = [*([] if inside.is_empty(given) else [inside]), *cell.minus(by, given)]
        return [p.simplified(given) for p in parts]

    def back(self, read: Ref) -> Poly:
        """How many steps before t an element lies."""
        k = _axis_of(self.program, read.name, self.how.index)
        return (Poly.symbol(self.how.index) - read.index[k]) * self.way[read.name]

    def conditions(self, read: Ref) -> list[Domain]:
        near = Domain.of((Poly.const(self.how.steps - 1) - self.back(read),))
        return [self.defined(read.name, read.index), near]

    def seen(self, rhs: Expr, cell: Domain) -> Expr:
        given = self.program.given

        def one(e: Expr) -> Expr:
            if not isinstance(e, Ref) or e.name not in self.past:
                return e
            recurrent, near = self.conditions(e)
            if not cell.subset(recurrent, given):
                return e  # an initial value: its own gradient is within reach
            if not cell.subset(near, given):
                return call("detach", e)
            k = _axis_of(self.program, e.name, self.how.index)
            index = (*e.index[:k], Poly.symbol(self.how.index), *e.index[k + 1 :], self.back(e))
            return Ref(self.past[e.name], index, e.shape, e.type)

        return rewrite(rhs, one)


def _refs(e: Expr) -> list[Ref]:
    return [n for n in walk(e) if isinstance(n, Ref)]
