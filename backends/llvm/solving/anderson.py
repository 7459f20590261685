"""One step of Anderson acceleration (Walker and Ni 2011), for several sequences side by side.

The same arithmetic as in `unfold.backends.numpy.solve`, without branches: a column that is left out
has the weight 0, and where a step is taken back all columns become 0.
"""

from __future__ import annotations

from unfold.implicit import DEPTH, GROWTH, dependent

from ..body import INT, POINTER, VOID, Body, Type, Value, define
from ..ir import Module

#: Vectors of ``n`` components in the state: changes of the residual, changes of the value, an
#: orthogonal basis, and the last residual and value.
_CHANGES, _MOVED, _BASIS, _LAST, _IMAGE = 0, DEPTH, 2 * DEPTH, 3 * DEPTH, 3 * DEPTH + 1
_VECTORS = 3 * DEPTH + 2


def state_size(n: int) -> int:
    """How many numbers (of all lanes) the state of ``n`` unknowns has."""
    return _VECTORS * n + 1


def anderson(module: Module, n: int, real: str, lanes: int) -> str:
    """The name of ``void(ptr state, ptr x, ptr image, i64 step)``.

    ``x`` holds the unknowns and ``image`` the value of the map there, each ``n`` numbers of
    ``lanes`` lanes; ``x`` becomes the next point. ``step`` counts from 0, which begins a new state.
    """

    def write(b: Body) -> None:
        _Step(b, n, Type(real, lanes)).write()

    return define(
        module, f"solve.anderson.{n}.{real}.{lanes}", VOID, (POINTER, POINTER, POINTER, INT), write
    )


class _Step:
    def __init__(self, b: Body, n: int, kind: Type) -> None:
        self.b = b
        self.n = n
        self.kind = kind
        self.state, self.x, self.image, self.step = b.args
        epsilon = 2.0**-52 if kind.element == "double" else 2.0**-23
        self.smallest = dependent(epsilon) ** 2

    def vector(self, which: int) -> Value:
        return self.b.at(self.state, which * self.n, self.kind)

    def ring(self, block: int, slot: Value) -> Value:
        """The vector of a block that is at a run-time place."""
        at = (slot + block) * self.n
        return self.b.at(self.state, at, self.kind)

    def load(self, vector: Value, i: Value) -> Value:
        return self.b.load(self.b.at(vector, i, self.kind), self.kind)

    def store(self, value: Value, vector: Value, i: Value) -> None:
        self.b.store(value, self.b.at(vector, i, self.kind))

    def zero(self) -> Value:
        return self.b.const(self.kind, 0.0)

    def residual(self, i: Value) -> Value:
        return self.load(self.image, i) - self.load(self.x, i)

    def write(self) -> None:
        b = self.b
        extrapolated = b.at(self.state, _VECTORS * self.n, self.kind)

        def begin() -> list[Value]:
            def clear(i: Value, _: list[Value]) -> list[Value]:
                b.store(self.zero(), b.at(self.state, i, self.kind))
                return []

            b.loop(_VECTORS * self.n + 1, [], clear)
            return []

        first = self.step.eq(0)
        b.when(first, begin)
        back = self.taken_back(b.load(extrapolated, self.kind))
        self.remember(first, back)
        # A first step has nothing to extrapolate from, nor has one that is taken back.
        more = first.select(self.zero(), b.const(self.kind, 1.0))
        b.store(back.select(self.zero(), more), extrapolated)
        weights = self.weights()
        self.move(back, weights)

    def taken_back(self, extrapolated: Value) -> Value:
        """Where the residual has grown so much that the last step is undone."""
        last = self.vector(_LAST)

        def add(i: Value, sums: list[Value]) -> list[Value]:
            here, before = self.residual(i), self.load(last, i)
            return [self.b.madd(here, here, sums[0]), self.b.madd(before, before, sums[1])]

        now, before = self.b.loop(self.n, [self.zero(), self.zero()], add)
        return extrapolated.gt(0.0) & now.gt(before * GROWTH**2)

    def remember(self, first: Value, back: Value) -> None:
        """The newest changes go into the ring; where a step is taken back, all become 0."""
        b = self.b
        slot = b.op(f"urem {self.step + (DEPTH - 1)}, {DEPTH}", INT)
        newest, moved = self.ring(_CHANGES, slot), self.ring(_MOVED, slot)
        last, image = self.vector(_LAST), self.vector(_IMAGE)

        def forget() -> list[Value]:
            def clear(i: Value, _: list[Value]) -> list[Value]:
                at = b.at(self.state, i, self.kind)
                b.store(back.select(self.zero(), b.load(at, self.kind)), at)
                return []

            b.loop(_BASIS * self.n, [], clear)
            return []

        b.when(b.any(back), forget)

        def push() -> list[Value]:
            def one(i: Value, _: list[Value]) -> list[Value]:
                change = self.residual(i) - self.load(last, i)
                step = self.load(self.image, i) - self.load(image, i)
                self.store(back.select(self.zero(), change), newest, i)
                self.store(back.select(self.zero(), step), moved, i)
                return []

            b.loop(self.n, [], one)
            return []

        b.when(first ^ 1, push)

    def weights(self) -> list[tuple[Value, Value]]:
        """The ring's slots, the newest first, each with the weight of its change of the value."""
        b = self.b
        slots, diagonal, right = [], [], []
        upper: dict[tuple[int, int], Value] = {}
        basis = [self.vector(_BASIS + j) for j in range(DEPTH)]
        for j in range(DEPTH):
            slots.append(b.op(f"urem {self.step + (2 * DEPTH - 1 - j)}, {DEPTH}", INT))
            column, rest = self.ring(_CHANGES, slots[j]), basis[j]

            def copy(
                i: Value, sums: list[Value], column: Value = column, rest: Value = rest
            ) -> list[Value]:
                v = self.load(column, i)
                self.store(v, rest, i)
                return [b.madd(v, v, sums[0])]

            (size,) = b.loop(self.n, [self.zero()], copy)
            for k in range(j):
                upper[k, j] = self.dot(basis[k], rest)
                self.subtract(basis[k], upper[k, j], rest)
            left = self.dot(rest, rest)
            kept = left.gt(size * self.smallest)
            norm = b.intrinsic("sqrt", left)
            diagonal.append(kept.select(norm, 1.0))
            factor = kept.select(1.0 / kept.select(norm, 1.0), 0.0)

            def scale(
                i: Value, sums: list[Value], rest: Value = rest, factor: Value = factor
            ) -> list[Value]:
                v = self.load(rest, i) * factor
                self.store(v, rest, i)
                return [b.madd(v, self.residual(i), sums[0])]

            right += b.loop(self.n, [self.zero()], scale)
        found: list[Value] = [self.zero()] * DEPTH
        for j in reversed(range(DEPTH)):
            total = right[j]
            for k in range(j + 1, DEPTH):
                total = total - upper[j, k] * found[k]
            found[j] = total / diagonal[j]
        return list(zip(slots, found, strict=True))

    def dot(self, u: Value, v: Value) -> Value:
        def add(i: Value, sums: list[Value]) -> list[Value]:
            return [self.b.madd(self.load(u, i), self.load(v, i), sums[0])]

        return self.b.loop(self.n, [self.zero()], add)[0]

    def subtract(self, u: Value, times: Value, v: Value) -> None:
        """``v -= times * u``"""

        def one(i: Value, _: list[Value]) -> list[Value]:
            self.store(self.load(v, i) - times * self.load(u, i), v, i)
            return []

        self.b.loop(self.n, [], one)

    def move(self, back: Value, weights: list[tuple[Value, Value]]) -> None:
        """The next point, and what is remembered of this one."""
        b = self.b
        last, image = self.vector(_LAST), self.vector(_IMAGE)
        moved = [(self.ring(_MOVED, slot), weight) for slot, weight in weights]

        def one(i: Value, _: list[Value]) -> list[Value]:
            here, value = self.residual(i), self.load(self.image, i)
            before = self.load(image, i)
            total = self.zero()
            for vector, weight in moved:
                total = b.madd(weight, self.load(vector, i), total)
            self.store(back.select(before, value - total), self.x, i)
            self.store(back.select(self.load(last, i), here), last, i)
            self.store(back.select(before, value), image, i)
            return []

        b.loop(self.n, [], one)


__all__ = ["anderson", "state_size"]
