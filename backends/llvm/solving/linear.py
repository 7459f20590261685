"""Small dense matrices in memory: systems, inverses, determinants and factors, of one sequence.

Every function is ``void(ptr matrix, ptr result)`` on components in C order and destroys the matrix,
of ``n`` rows. (Golub and Van Loan, *Matrix Computations*, 2013, algorithms 3.4.1 and 4.2.1.)
"""

from __future__ import annotations

from collections.abc import Callable

from .. import vecmath
from ..body import POINTER, VOID, Body, Type, Value, define
from ..ir import Module

_NAN = float("nan")
#: Bytes of a register, and up to how many of them a row is without a loop.
REGISTER, FEW = 32, 4


def linear_system(module: Module, n: int, real: str, columns: int = 1) -> str:
    """The name of a function whose ``result`` holds right sides and becomes the solution.

    It has ``n`` rows of so many columns. If the matrix is singular all of it becomes NaN.
    """
    name = f"solve.linear.{n}.{columns}.{real}"
    return _defined(module, name, lambda b: _Elimination(b, n, Type(real), columns).solve())


def inverse(module: Module, n: int, real: str) -> str:
    """The name of a function whose ``result`` becomes the inverse, or NaN."""
    name = f"solve.inverse.{n}.{real}"
    return _defined(module, name, lambda b: _Elimination(b, n, Type(real), n).invert())


def log_determinant(module: Module, n: int, real: str) -> str:
    """The name of a function whose ``result`` becomes ``log |det matrix|``."""
    name = f"solve.logdet.{n}.{real}"
    return _defined(module, name, lambda b: _Elimination(b, n, Type(real), 0).measure())


def cholesky(module: Module, n: int, real: str) -> str:
    """The name of a function whose ``result`` becomes the lower factor of the symmetric part.

    If that is not positive definite all of it becomes NaN.
    """
    return _defined(
        module, f"solve.cholesky.{n}.{real}", lambda b: cholesky_factor(b, n, Type(real), *b.args)
    )


def _defined(module: Module, name: str, write: Callable[[Body], None]) -> str:
    return define(module, name, VOID, (POINTER, POINTER), write)


class _Elimination:
    """Elimination with row exchanges, on right sides of so many columns as well."""

    def __init__(self, b: Body, n: int, kind: Type, columns: int) -> None:
        self.b = b
        self.n = n
        self.kind = kind
        self.columns = columns
        self.matrix, self.right = b.args

    def entry(self, i: Value, j: Value | int) -> Value:
        return self.b.at(self.matrix, i * self.n + j, self.kind)

    def side(self, i: Value, j: Value | int) -> Value:
        """The address of an entry of the right sides."""
        at = i if self.columns == 1 else i * self.columns + j
        return self.b.at(self.right, at, self.kind)

    def load(self, at: Value) -> Value:
        return self.b.load(at, self.kind)

    def along(self, count: int, body: Callable[[Value | int, Type], None]) -> None:
        """Once for each register of so many numbers: where it begins, and its type."""
        element = self.kind.element
        width = REGISTER // (4 if element == "float" else 8)
        whole = count // width
        start, wide = whole * width, Type(element, width)
        if whole > FEW:
            self.over(whole, lambda c: body(c * width, wide))
        else:
            for c in range(whole):
                body(c * width, wide)
        while start < count:
            while width > count - start:
                width //= 2
            body(start, Type(element, width))
            start += width

    def each(self, body: Callable[[Value | int, Type], None]) -> None:
        """The same for the columns on the right."""
        self.along(self.columns, body)

    def over(self, stop: int, body: Callable[[Value], None], start: Value | int = 0) -> None:
        def one(i: Value, _: list[Value]) -> list[Value]:
            body(i)
            return []

        self.b.loop(stop, [], one, start=start)

    def solve(self) -> None:
        self.over(self.n, self.column)
        self.over(self.n, self.back)

    def invert(self) -> None:
        def row(i: Value) -> None:
            def one(j: Value) -> None:
                value = i.eq(j).select(self.b.const(self.kind, 1.0), 0.0)
                self.b.store(value, self.side(i, j))

            self.over(self.n, one)

        self.over(self.n, row)
        self.solve()

    def measure(self) -> None:
        """The sum of the pivots' logarithms."""

        def one(k: Value, total: list[Value]) -> list[Value]:
            self.exchange(k)
            pivot = self.load(self.entry(k, k))
            # Below a pivot that is 0 all are.
            self.clear(k, pivot.eq(0.0).select(1.0, pivot))
            size = self.b.intrinsic("fabs", pivot)
            return [total[0] + self.b.wrap(vecmath.emit(self.b.f, "log", size))]

        (total,) = self.b.loop(self.n, [self.b.const(self.kind, 0.0)], one)
        self.b.store(total, self.right)

    def column(self, k: Value) -> None:
        """Bring the largest entry of column ``k`` to the diagonal, and zeros below it."""
        self.exchange(k)
        at = self.entry(k, k)
        pivot = self.load(at)
        # A pivot that is NaN spreads to whatever is left, and from there backward to all.
        safe = pivot.eq(0.0).select(_NAN, pivot)
        self.b.store(safe, at)
        self.clear(k, safe)

    def exchange(self, k: Value) -> None:
        b = self.b
        start = b.intrinsic("fabs", self.load(self.entry(k, k)))

        def larger(i: Value, best: list[Value]) -> list[Value]:
            size = b.intrinsic("fabs", self.load(self.entry(i, k)))
            wins = size.gt(best[0])
            return [wins.select(size, best[0]), wins.select(i, best[1])]

        pivot = b.loop(self.n, [start, k], larger, start=k + 1)[1]
        # Whole rows: what stands left of the diagonal is not read any more.
        self.along(self.n, lambda j, t: self.swap(self.entry(k, j), self.entry(pivot, j), t))
        self.each(lambda j, t: self.swap(self.side(k, j), self.side(pivot, j), t))

    def swap(self, p: Value, q: Value, kind: Type) -> None:
        x, y = self.b.load(p, kind), self.b.load(q, kind)
        self.b.store(y, p)
        self.b.store(x, q)

    def clear(self, k: Value, pivot: Value) -> None:
        """Take multiples of row ``k`` from those below."""

        def row(i: Value) -> None:
            b, factor = self.b, -(self.load(self.entry(i, k)) / pivot)

            def less(at: Value, upper: Value, kind: Type) -> None:
                taken = b.madd(b.splat(factor, kind.lanes), b.load(upper, kind), b.load(at, kind))
                b.store(taken, at)

            self.along(self.n, lambda j, t: less(self.entry(i, j), self.entry(k, j), t))
            self.each(lambda j, t: less(self.side(i, j), self.side(k, j), t))

        self.over(self.n, row, k + 1)

    def back(self, step: Value) -> None:
        """Solve for one row of the unknown, the last one first."""
        b = self.b
        i = (self.n - 1) - step

        def column(c: Value | int, kind: Type) -> None:
            def term(j: Value, sums: list[Value]) -> list[Value]:
                factor = b.splat(-self.load(self.entry(i, j)), kind.lanes)
                return [b.madd(factor, b.load(self.side(j, c), kind), sums[0])]

            at = self.side(i, c)
            (total,) = b.loop(self.n, [b.load(at, kind)], term, start=i + 1)
            b.store(total / b.splat(self.load(self.entry(i, i)), kind.lanes), at)

        self.each(column)


def cholesky_factor(b: Body, n: int, kind: Type, matrix: Value, result: Value) -> None:
    """Column by column; what a column needs of those before it is in the result.

    With several lanes these are matrices of several sequences.
    """

    def at(place: Value, i: Value, j: Value) -> Value:
        return b.at(place, i * n + j, kind)

    def load(place: Value, i: Value, j: Value) -> Value:
        return b.load(at(place, i, j), kind)

    def rest(i: Value, j: Value) -> Value:
        """An entry of the symmetric part without the columns before ``j``."""

        def term(k: Value, sums: list[Value]) -> list[Value]:
            return [b.madd(-load(result, i, k), load(result, j, k), sums[0])]

        start = (load(matrix, i, j) + load(matrix, j, i)) * 0.5
        return b.loop(j, [start], term)[0]

    def column(j: Value, fits: list[Value]) -> list[Value]:
        square = rest(j, j)
        root = b.intrinsic("sqrt", square)
        b.store(root, at(result, j, j))

        def below(i: Value, _: list[Value]) -> list[Value]:
            b.store(rest(i, j) / root, at(result, i, j))
            b.store(b.const(kind, 0.0), at(result, j, i))
            return []

        b.loop(n, [], below, start=j + 1)
        return [fits[0] & square.gt(0.0)]

    (fits,) = b.loop(n, [b.const(kind.of("i1"), 1)], column)

    def spoil() -> list[Value]:
        def one(k: Value, _: list[Value]) -> list[Value]:
            to = b.at(result, k, kind)
            b.store(fits.select(b.load(to, kind), _NAN), to)
            return []

        b.loop(n * n, [], one)
        return []

    b.when(b.any(fits ^ 1), spoil)


__all__ = ["cholesky", "cholesky_factor", "inverse", "linear_system", "log_determinant"]
