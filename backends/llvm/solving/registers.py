"""Implicit equations of few components: the search for a solution, every component a value.

Sequences side by side are searched for together. One that is found, or lost, stays as it is while
the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

from unfold.derivative import Forward
from unfold.expr import Call, Const, Expr, Position, Ref, rewrite, walk
from unfold.implicit import is_affine, parts, patience, tolerance
from unfold.plan import Statement
from unfold.program import Solver

from ..body import INT, Body, Type, Value
from ..components import Components, dims
from ..emitter import Emitter
from ..ir import Value as Plain
from ..vectors import apart, together
from .anderson import anderson, state_size
from .linear import linear_system
from .memory import room
from .reporting import Reporter

#: Names that no program has: the unknown while a map is differentiated, and its change.
_UNKNOWN, _CHANGE = ".z", ".dz"


def solve(e: Emitter, s: Statement, unknown: Ref, reporter: Reporter) -> Components:
    """The components of an element that a statement defines implicitly; NaN where there are none.

    Args:
        unknown: the element, as the statement's right-hand side reads it.
        reporter: notes the sequences in which no solution is found.
    """
    return _Search(e, s, unknown, reporter).run()


class _Search:
    def __init__(self, e: Emitter, s: Statement, unknown: Ref, reporter: Reporter) -> None:
        assert s.solver is not None
        self.e = e
        self.b = Body(e.f)
        self.statement = s
        self.solver: Solver = s.solver
        self.unknown = unknown
        self.reporter = reporter
        self.rhs, self.start = parts(s.rhs)
        self.n = prod(dims(unknown.shape))
        self.lanes = e.memory.lanes_of([s.target])
        self.real = Type(e.formats.real, self.lanes)
        self.affine = is_affine(self.rhs, unknown)
        epsilon = 2.0**-52 if self.real.element == "double" else 2.0**-23
        self.tolerance = tolerance(self.solver, epsilon)

    def run(self) -> Components:
        b = self.b
        first = self.begin()
        for e in still(self.rhs, self.unknown):
            self.e.value(e)
        method: _Picard | _Anderson | _Newton = METHODS[self.solver.method](self)
        inside = b.const(self.real.of("i1"), 1)
        never = b.const(self.real, 0.0)
        state = [*first, inside, never, b.const(self.real.of("i64"), 0), b.const(INT, 0)]

        def step(values: list[Value]) -> tuple[Value, list[Value]]:
            z, (active, residual, steps, count) = values[: self.n], values[self.n :]
            with self.e.scope():
                self.e.remember(self.unknown, self.together(z))
                image = self.widened(self.e.value(self.rhs))
                found, onward = method.next(z, image, count)
            change = self.change(z, found)
            ok = change.le(self.tolerance)
            # A change that is NaN is not less than infinity either.
            going = (ok ^ 1) & change.lt(float("inf"))
            number = count + 1
            kept = [
                active.select(ok.select(a, c), old)
                for a, c, old in zip(found, onward, z, strict=True)
            ]
            residual = active.select(change, residual)
            steps = active.select(b.splat(number, self.lanes), steps)
            active = active & going
            more = b.any(active) & number.lt(self.solver.max_steps)
            return more, [*kept, active, residual, steps, number]

        *z, _, residual, steps, _ = b.repeat(state, step)
        lost = residual.le(self.tolerance) ^ 1
        self.report(lost, residual, steps)
        return self.together([lost.select(float("nan"), v) for v in z])

    def begin(self) -> list[Value]:
        if self.start is None:
            return [self.b.const(self.real, 0.0)] * self.n
        return self.widened(self.e.value(self.start))

    def widened(self, values: Sequence[Plain]) -> list[Value]:
        """Every component of the element by itself, in every lane."""
        single = apart(self.e, list(values), dims(self.unknown.shape))
        return [self.b.wrap(v) for v in self.e.widened(single, self.lanes)]

    def together(self, values: Sequence[Plain]) -> Components:
        """The element as expressions read it."""
        return together(self.e, list(values), dims(self.unknown.shape))

    def change(self, old: Sequence[Value], new: Sequence[Value]) -> Value:
        """The largest change of a component, as `unfold.program.Solver` measures it; NaN wins."""
        b = self.b
        moved = [b.intrinsic("fabs", y - x) for x, y in zip(old, new, strict=True)]
        sizes = [b.intrinsic("fabs", y) for y in new]
        if not self.affine:
            return self.largest([m / (s + 1.0) for m, s in zip(moved, sizes, strict=True)])
        top = self.largest(moved)
        whole = self.largest([*sizes, *(b.intrinsic("fabs", x) for x in old)])
        return top.eq(0.0).select(0.0, top / whole)

    def largest(self, values: Sequence[Value]) -> Value:
        top = values[0]
        for v in values[1:]:
            # The comparison is also true where `v` is NaN; a NaN that is there already stays.
            wins = v.le(top) ^ 1
            top = (top.is_nan() | (wins ^ 1)).select(top, v)
        return top

    def report(self, lost: Value, residual: Value, steps: Value) -> None:
        """Note every sequence that has no solution."""
        b, e = self.b, self.e

        def note() -> list[Value]:
            with e.scope():
                number = self.number()
                for lane in range(self.lanes):
                    is_lost = b.lane(lost, lane) & self.reporter.exists(b, lane)

                    def one(lane: int = lane) -> list[Value]:
                        name = self.statement.target
                        at = b.lane(residual, lane), b.lane(steps, lane)
                        self.reporter.note(b, name, number, lane, *at)
                        return []

                    b.when(is_lost, one)
            return []

        b.when(b.any(lost), note)

    def number(self) -> Value:
        """Which element of its variable this is, counted row by row."""
        b, e = self.b, self.e
        place = e.memory.places[self.statement.target]
        total = b.const(INT, 0)
        at = e.place(self.statement.position)
        for p, low, stride in zip(at, place.lows, place.strides, strict=True):
            total = total + (b.wrap(p) - b.wrap(low)) * b.wrap(stride)
        return b.op(f"sdiv {total}, {place.buffer.size * place.lanes}", INT)


# --- methods --------------------------------------------------------------------------------------


@dataclass
class _Picard:
    """``z = F(z)``."""

    search: _Search

    def next(
        self, z: Sequence[Value], image: list[Value], count: Value
    ) -> tuple[list[Value], list[Value]]:
        """What a step arrives at, and where it goes on if that is not the solution."""
        return image, image


class _Anderson:
    """Extrapolation, in memory."""

    def __init__(self, search: _Search) -> None:
        self.search = search
        b, kind = search.b, search.real
        self.name = anderson(b.module, search.n, kind.element, kind.lanes)
        self.patience = b.const(
            Type(kind.element), patience(search.solver, search.rhs, search.unknown)
        )
        self.state = room(b, kind, state_size(search.n))
        self.x, self.image = room(b, kind, search.n), room(b, kind, search.n)

    def next(
        self, z: Sequence[Value], image: list[Value], count: Value
    ) -> tuple[list[Value], list[Value]]:
        b, kind = self.search.b, self.search.real
        for k, (x, y) in enumerate(zip(z, image, strict=True)):
            b.store(x, b.at(self.x, k, kind))
            b.store(y, b.at(self.image, k, kind))
        b.call_void(self.name, self.state, self.x, self.image, count, self.patience)
        return image, [b.load(b.at(self.x, k, kind), kind) for k in range(self.search.n)]


class _Newton:
    """``z += (I - dF/dz)^-1 (F(z) - z)``; the Jacobian's columns are tangents along the axes."""

    def __init__(self, search: _Search) -> None:
        self.search = search
        unknown = search.unknown
        name = Ref(_UNKNOWN, (), unknown.shape, unknown.type)
        self.change = Ref(_CHANGE, (), unknown.shape, unknown.type)
        named = rewrite(search.rhs, lambda e: name if e is unknown else e)
        slope = Forward({_UNKNOWN: _CHANGE}).of(named)
        self.slope = slope and rewrite(slope, lambda e: unknown if e is name else e)
        if self.slope is not None:
            for e in still(self.slope, unknown, self.change):
                search.e.value(e)
        b, n, lanes = search.b, search.n, search.lanes
        self.scalar = Type(search.real.element)
        if n > 1:
            self.matrix = room(b, self.scalar, lanes * n * n)
            self.right = room(b, self.scalar, lanes * n)
            self.name = linear_system(b.module, n, self.scalar.element)

    def next(
        self, z: Sequence[Value], image: list[Value], count: Value
    ) -> tuple[list[Value], list[Value]]:
        residual = [y - x for x, y in zip(z, image, strict=True)]
        if self.slope is None:
            return image, image
        if self.search.n == 1:
            one = self.search.b.const(self.scalar, 1.0)
            (column,) = self.column([one])
            moved = [residual[0] / (1.0 - column)]
        else:
            moved = self.general(residual)
        found = [x + d for x, d in zip(z, moved, strict=True)]
        return found, found

    def column(self, direction: list[Value]) -> list[Value]:
        """The tangent of the map along a direction."""
        assert self.slope is not None
        self.search.e.remember(self.change, self.search.together(direction))
        return self.search.widened(self.search.e.value(self.slope))

    def general(self, residual: list[Value]) -> list[Value]:
        search = self.search
        b, n, lanes, scalar = search.b, search.n, search.lanes, self.scalar
        one, zero = b.const(scalar, 1.0), b.const(scalar, 0.0)

        def columns(j: Value, _: list[Value]) -> list[Value]:
            with search.e.scope():
                unit = [j.eq(i).select(one, zero) for i in range(n)]
                for i, v in enumerate(self.column(unit)):
                    for lane in range(lanes):
                        at = b.at(self.matrix, (lane * n + i) * n, scalar)
                        b.store(unit[i] - b.lane(v, lane), b.at(at, j, scalar))
            return []

        b.loop(n, [], columns)
        for i, v in enumerate(residual):
            for lane in range(lanes):
                b.store(b.lane(v, lane), b.at(self.right, lane * n + i, scalar))

        def system(lane: Value, _: list[Value]) -> list[Value]:
            b.call_void(
                self.name,
                b.at(self.matrix, lane * (n * n), scalar),
                b.at(self.right, lane * n, scalar),
            )
            return []

        b.loop(lanes, [], system)
        moved = []
        for i in range(n):
            v = b.const(search.real, 0.0)
            for lane in range(lanes):
                x = b.load(b.at(self.right, lane * n + i, scalar), scalar)
                v = x if lanes == 1 else b.with_lane(v, x, lane)
            moved.append(v)
        return moved


METHODS: dict[str, Callable[[_Search], _Picard | _Anderson | _Newton]] = {
    "picard": _Picard,
    "anderson": _Anderson,
    "newton": _Newton,
}


# --- small parts ----------------------------------------------------------------------------------


def still(e: Expr, *moving: Ref) -> Iterator[Expr]:
    """The largest parts of an expression that do not change while a solution is searched for.

    What stands under a guard or a reduction is left there: it may not be computed outside.
    """
    changing: set[Expr] = set()
    for node in walk(e):
        if node in moving or any(c in changing for c in node.operands):
            changing.add(node)
    stack = [e]
    seen: set[Expr] = set()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node not in changing:
            if not isinstance(node, (Const, Position)):
                yield node
        elif isinstance(node, Call):
            stack.extend(node.operands)


__all__ = ["solve"]
