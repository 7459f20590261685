"""One step of Anderson acceleration (Walker and Ni 2011), for several sequences side by side.

The same arithmetic as in `unfold.backends.numpy.solve`, without branches: a column that is left out
has the weight 0, and where a step is taken back all columns become 0. Only where no sequence of
these extrapolates yet is the step a plain one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from unfold.implicit import DEPTH, GROWTH, dependent

from ..body import INT, POINTER, VOID, Body, Type, Value, define
from ..gemm.packing import SIDE
from ..ir import Module
from ..stock import COMMON
from .memory import NEAR, gather, room, spread

#: Vectors of ``n`` components in the state: changes of the residual, changes of the value, an
#: orthogonal basis, and the last residual and value.
_CHANGES, _MOVED, _BASIS, _LAST, _IMAGE = 0, DEPTH, 2 * DEPTH, 3 * DEPTH, 3 * DEPTH + 1
_VECTORS = 3 * DEPTH + 2
#: Numbers behind them: the square of the last residual, whether extrapolation has begun, and
#: whether the last step was one.
_SQUARE, _BEGUN, _EXTRAPOLATED = 0, 1, 2

#: What is done with some neighbouring components: given how to read and write them, the terms that
#: they add to sums.
Part: TypeAlias = "Callable[[_Components], Sequence[Value]]"


def state_size(n: int) -> int:
    """How many numbers (of all lanes) the state of ``n`` unknowns has."""
    return _VECTORS * n + 3


def anderson(module: Module, n: int, real: str, lanes: int, across: int = 1) -> str:
    """The name of ``void(ptr state, ptr x, ptr image, i64 step, real patience)``.

    ``x`` holds the unknowns and ``image`` the value of the map there, each ``n`` numbers of
    ``lanes`` lanes; ``x`` becomes the next point. ``step`` counts from 0, which begins a new state.
    ``patience`` is that of `unfold.implicit.patience`. For one sequence, ``across`` components are
    taken at once.
    """

    def write(b: Body) -> None:
        *given, patience = b.args
        _Step(b, n, Type(real, lanes), across if lanes == 1 else 1, given).write(patience)

    name = f"{COMMON}solve.anderson.{n}.{real}.{lanes}.{across}"
    return define(module, name, VOID, (POINTER, POINTER, POINTER, INT, Type(real)), write)


#: What is done with a row: it stays as it is; its step was a plain one, and it has moved; it goes
#: on with extrapolation; it begins with that.
FOUND, PLAIN, EXTRAPOLATED, FRESH = 0, 1, 2, 3


def rows_abreast(n: int, real: str, lanes: int) -> int:
    """How many sequences of so many unknowns take their steps abreast where a register has so many
    lanes; 1 if their states would not stay in the nearest cache together."""
    width = min(lanes, SIDE)
    return width if _VECTORS * n * width * (4 if real == "float" else 8) <= NEAR else 1


def anderson_rows(module: Module, n: int, real: str, lanes: int, across: int = 1) -> str:
    """The name of ``void(ptr state, ptr marks, ptr x, i64 step, ptr image, i64 step, ptr last, i64
    step, i64 rows, i64 count)``: steps of several sequences, one in each row.

    It moves the rows that are `EXTRAPOLATED` or `FRESH`, as the first of two integers in ``marks``
    says. Rows of ``x``, ``image`` and ``last`` are so many numbers apart; ``last`` holds the last
    residual, and its square, of a row that is fresh. There are states for rows in multiples of
    ``lanes``.
    """

    def write(b: Body) -> None:
        _Rows(b, n, Type(real, lanes), across if lanes == 1 else 1).write()

    name = f"{COMMON}solve.anderson.rows.{n}.{real}.{lanes}.{across}"
    params = (POINTER, POINTER, *(POINTER, INT) * 3, INT, INT)
    return define(module, name, VOID, params, write)


class _Components:
    """Neighbouring components of vectors in memory: those that fill a ``kind``, from ``at`` on."""

    def __init__(self, b: Body, kind: Type, at: Value, unit: Type) -> None:
        self.b = b
        self.kind = kind
        self.at = at
        self.unit = unit

    def load(self, vector: Value) -> Value:
        return self.b.load(self.b.at(vector, self.at, self.unit), self.kind)

    def store(self, value: Value, vector: Value) -> None:
        self.b.store(value, self.b.at(vector, self.at, self.unit))

    def all(self, value: Value) -> Value:
        """A number of the whole sequence, for each of the components."""
        lanes = self.kind.lanes
        return value if value.kind.lanes == lanes else self.b.splat(value, lanes)


class _Step:
    def __init__(self, b: Body, n: int, kind: Type, across: int, given: Sequence[Value]) -> None:
        self.b = b
        self.n = n
        self.kind = kind
        self.across = across
        self.state, self.x, self.image, self.step = given
        epsilon = 2.0**-52 if kind.element == "double" else 2.0**-23
        self.smallest = dependent(epsilon) ** 2

    # --- vectors ---

    def vector(self, which: int) -> Value:
        return self.b.at(self.state, which * self.n, self.kind)

    def ring(self, block: int, slot: Value) -> Value:
        """The vector of a block that is at a run-time place."""
        return self.b.at(self.state, (slot + block) * self.n, self.kind)

    def zero(self) -> Value:
        return self.b.const(self.kind, 0.0)

    def each(self, part: Part, sums: int = 0, count: int | None = None) -> list[Value]:
        """Do something with all components, a register of them at a time; the sums of the terms."""
        b = self.b
        n = self.n if count is None else count
        whole = n - n % self.across
        totals = [self.zero()] * sums
        for width, start, stop in ((self.across, 0, whole), (1, whole, n)):
            if start == stop:
                continue
            kind = Type(self.kind.element, width) if self.across > 1 else self.kind

            def one(i: Value, carried: list[Value], kind: Type = kind) -> list[Value]:
                terms = part(_Components(b, kind, i, self.kind))
                return [a + t for a, t in zip(carried, terms, strict=True)]

            begin = [b.const(kind, 0.0)] * sums
            found = b.loop(stop, begin, one, start=start, by=width)
            totals = [a + self.across_lanes(v) for a, v in zip(totals, found, strict=True)]
        return totals

    def across_lanes(self, v: Value) -> Value:
        """The sum over components that were taken at once."""
        if self.across == 1 or v.kind.lanes == 1:
            return v
        name = f"llvm.vector.reduce.fadd.{v.kind.suffix}"
        scalar = Type(v.kind.element)
        self.b.module.declare(name, str(scalar), [str(scalar), v.type])
        zero = self.b.const(scalar, -0.0)
        return self.b.wrap(self.b.f.call(str(scalar), name, zero, v, flags="reassoc "))

    def residual(self, c: _Components) -> Value:
        return c.load(self.image) - c.load(self.x)

    # --- the step ---

    def number(self, which: int) -> Value:
        """The address of one of the numbers behind the vectors."""
        return self.b.at(self.state, _VECTORS * self.n + which, self.kind)

    def write(self, patience: Value) -> None:
        """A plain step, or an extrapolation once such steps have been too slow."""
        b = self.b
        first = self.step.eq(0)
        now = self.square()

        def number(which: int) -> Value:
            """0 where a state begins, whatever stands there."""
            return first.select(self.zero(), b.load(self.number(which), self.kind))

        before, begun, extrapolated = map(number, (_SQUARE, _BEGUN, _EXTRAPOLATED))
        factor = b.splat(patience, self.kind.lanes)
        slow = first.select(False, now.gt(before * (factor * factor)))
        extrapolates = begun.gt(0.0) | slow
        b.store(extrapolates.select(b.const(self.kind, 1.0), 0.0), self.number(_BEGUN))

        def clear() -> list[Value]:
            self.clear()
            return []

        b.when(b.any(slow) & (b.any(begun.gt(0.0)) ^ 1), clear)
        several = b.any(extrapolates)

        def extrapolate() -> list[Value]:
            self.extrapolate(extrapolates, before, extrapolated, now)
            return []

        def plain() -> list[Value]:
            b.store(now, self.number(_SQUARE))
            b.store(self.zero(), self.number(_EXTRAPOLATED))
            last, image = self.vector(_LAST), self.vector(_IMAGE)

            def one(c: _Components) -> Sequence[Value]:
                value = c.load(self.image)
                c.store(self.residual(c), last)
                c.store(value, image)
                c.store(value, self.x)
                return ()

            return self.each(one)

        b.when(several, extrapolate)
        b.when(several ^ 1, plain)

    def square(self) -> Value:
        """The square of the residual."""
        return self.each(lambda c: (self.residual(c) * self.residual(c),), 1)[0]

    def clear(self) -> None:
        """A state without changes."""
        self.each(lambda c: self.put(c, self.state), count=_LAST * self.n)

    def extrapolate(
        self, extrapolates: Value, before: Value, extrapolated: Value, now: Value
    ) -> None:
        """A step, plain where nothing is extrapolated; the squares of the last residual and of
        this one are given."""
        b = self.b
        # Where the residual has grown much after an extrapolation, that step is undone.
        back = extrapolated.gt(0.0) & now.gt(before * GROWTH**2)
        more = (extrapolates & (back ^ 1)).select(b.const(self.kind, 1.0), 0.0)
        b.store(more, self.number(_EXTRAPOLATED))
        b.store(back.select(before, now), self.number(_SQUARE))
        self.remember(back, extrapolates)
        self.move(back, self.weights())

    def put(self, c: _Components, vector: Value) -> Sequence[Value]:
        """Zeros."""
        c.store(self.b.const(c.kind, 0.0), vector)
        return ()

    def remember(self, back: Value, extrapolates: Value) -> None:
        """The newest changes go into the ring; where a step is taken back, all become 0."""
        b = self.b
        slot = b.op(f"urem {self.step + (DEPTH - 1)}, {DEPTH}", INT)
        newest, moved = self.ring(_CHANGES, slot), self.ring(_MOVED, slot)
        last, image = self.vector(_LAST), self.vector(_IMAGE)
        counts = extrapolates & (back ^ 1)

        def clear(c: _Components) -> Sequence[Value]:
            zero = b.const(c.kind, 0.0)
            c.store(back.select(zero, c.load(self.state)), self.state)
            return ()

        def push(c: _Components) -> Sequence[Value]:
            zero = b.const(c.kind, 0.0)
            change = self.residual(c) - c.load(last)
            step = c.load(self.image) - c.load(image)
            c.store(counts.select(change, zero), newest)
            c.store(counts.select(step, zero), moved)
            return ()

        def forget() -> list[Value]:
            return self.each(clear, count=_BASIS * self.n)

        b.when(b.any(back), forget)
        self.each(push)

    def weights(self) -> list[tuple[Value, Value]]:
        """The ring's slots, the newest first, each with the weight of its change of the value."""
        b = self.b
        slots, diagonal, right = [], [], []
        upper: dict[tuple[int, int], Value] = {}
        basis = [self.vector(_BASIS + j) for j in range(DEPTH)]
        for j in range(DEPTH):
            slots.append(b.op(f"urem {self.step + (2 * DEPTH - 1 - j)}, {DEPTH}", INT))
            (size,) = self.copy(self.ring(_CHANGES, slots[j]), basis[j])
            for k in range(j):
                upper[k, j] = self.dot(basis[k], basis[j])
                self.subtract(basis[k], upper[k, j], basis[j])
            left = self.dot(basis[j], basis[j])
            kept = left.gt(size * self.smallest)
            norm = kept.select(b.intrinsic("sqrt", left), 1.0)
            diagonal.append(norm)
            right += self.scale(basis[j], kept.select(1.0 / norm, 0.0))
        found: list[Value] = [self.zero()] * DEPTH
        for j in reversed(range(DEPTH)):
            total = right[j]
            for k in range(j + 1, DEPTH):
                total = total - upper[j, k] * found[k]
            found[j] = total / diagonal[j]
        return list(zip(slots, found, strict=True))

    def copy(self, source: Value, target: Value) -> list[Value]:
        """Copy a vector; the square of its length."""

        def one(c: _Components) -> Sequence[Value]:
            v = c.load(source)
            c.store(v, target)
            return (v * v,)

        return self.each(one, 1)

    def scale(self, vector: Value, factor: Value) -> list[Value]:
        """``vector *= factor``; its product with the residual."""

        def one(c: _Components) -> Sequence[Value]:
            v = c.load(vector) * c.all(factor)
            c.store(v, vector)
            return (v * self.residual(c),)

        return self.each(one, 1)

    def dot(self, u: Value, v: Value) -> Value:
        return self.each(lambda c: (c.load(u) * c.load(v),), 1)[0]

    def subtract(self, u: Value, times: Value, v: Value) -> None:
        """``v -= times * u``"""

        def one(c: _Components) -> Sequence[Value]:
            c.store(c.load(v) - c.all(times) * c.load(u), v)
            return ()

        self.each(one)

    def move(self, back: Value, weights: list[tuple[Value, Value]]) -> None:
        """The next point, and what is remembered of this one."""
        last, image = self.vector(_LAST), self.vector(_IMAGE)
        moved = [(self.ring(_MOVED, slot), weight) for slot, weight in weights]

        def one(c: _Components) -> Sequence[Value]:
            here, value, before = self.residual(c), c.load(self.image), c.load(image)
            total = self.b.const(c.kind, 0.0)
            for vector, weight in moved:
                total = total + c.all(weight) * c.load(vector)
            c.store(back.select(before, value - total), self.x)
            c.store(back.select(c.load(last), here), last)
            c.store(back.select(before, value), image)
            return ()

        self.each(one)


class _Rows:
    """Sequences in rows, as many at once as a register has lanes."""

    def __init__(self, b: Body, n: int, kind: Type, across: int) -> None:
        self.b = b
        self.n = n
        self.kind = kind
        self.across = across
        self.single = Type(kind.element)
        self.rooms = [room(b, kind, n) for _ in range(3)] if kind.lanes > 1 else []
        # Where the next points of rows go that stay as they are.
        self.aside = room(b, self.single, n)

    def write(self) -> None:
        b, lanes = self.b, self.kind.lanes
        state, marks, x, x_step, image, image_step, last, last_step, rows, count = b.args

        def group(first: Value, _: list[Value]) -> list[Value]:
            numbers = [b.intrinsic("smin", first + k, rows - 1) for k in range(lanes)]
            said = [b.load(b.at(marks, k * 2, INT), INT) for k in numbers]

            def lines(start: Value, step: Value) -> list[Value]:
                return [b.at(start, k * step, self.single) for k in numbers]

            def step() -> list[Value]:
                place = b.at(state, first * state_size(self.n), self.single)
                here, there, past = (
                    lines(x, x_step),
                    lines(image, image_step),
                    lines(last, last_step),
                )
                self.group(place, said, here, there, past, count)
                return []

            b.when(self.some([m.ge(EXTRAPOLATED) for m in said]), step)
            return []

        b.loop(rows, [], group, by=lanes)

    def some(self, truths: list[Value]) -> Value:
        found = truths[0]
        for truth in truths[1:]:
            found = found | truth
        return found

    def side_by_side(self, values: list[Value]) -> Value:
        """A value of each sequence, in its lane."""
        if len(values) == 1:
            return values[0]
        kind = Type(values[0].kind.element, len(values))
        found = self.b.const(kind, 0)
        for k, v in enumerate(values):
            found = self.b.with_lane(found, v, k)
        return found

    def gathered(self, lines: list[Value], which: int) -> Value:
        """Where the rows are in registers."""
        if not self.rooms:
            return lines[0]
        gather(self.b, self.kind, lines, 1, self.n, self.rooms[which], self.n)
        return self.rooms[which]

    def group(
        self, state: Value, said: list[Value], x: list[Value], image: list[Value],
        last: list[Value], count: Value,
    ) -> None:  # fmt: skip
        b = self.b
        here, there = self.gathered(x, 0), self.gathered(image, 1)
        s = _Step(b, self.n, self.kind, self.across, (state, here, there, count))
        fresh = [m.eq(FRESH) for m in said]

        def begin() -> list[Value]:
            def clear() -> list[Value]:
                s.clear()
                return []

            b.when(self.some([m.eq(EXTRAPOLATED) for m in said]) ^ 1, clear)
            past, new = self.gathered(last, 2), self.side_by_side(fresh)
            squares = [b.load(b.at(line, self.n, self.single), self.single) for line in last]

            def number(value: Value, which: int) -> None:
                kept = b.load(s.number(which), self.kind)
                b.store(new.select(value, kept), s.number(which))

            number(self.side_by_side(squares), _SQUARE)
            number(s.zero(), _EXTRAPOLATED)

            def one(c: _Components) -> Sequence[Value]:
                # A plain step has put the last value of the map into the place of the unknowns.
                for source, target in ((past, s.vector(_LAST)), (here, s.vector(_IMAGE))):
                    c.store(new.select(c.load(source), c.load(target)), target)
                return ()

            return s.each(one)

        b.when(self.some(fresh), begin)
        moves = [m.ge(EXTRAPOLATED) for m in said]
        before, extrapolated = (
            b.load(s.number(which), self.kind) for which in (_SQUARE, _EXTRAPOLATED)
        )
        s.extrapolate(self.side_by_side(moves), before, extrapolated, s.square())
        if self.rooms:
            to = [on.select(line, self.aside) for on, line in zip(moves, x, strict=True)]
            spread(b, self.kind, here, self.n, to, 1, self.n)


__all__ = ["EXTRAPOLATED", "FOUND", "FRESH", "PLAIN", "anderson", "anderson_rows", "state_size"]
