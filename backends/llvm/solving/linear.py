"""A small dense linear system: elimination with row exchanges, of one sequence.

(Golub and Van Loan, *Matrix Computations*, 2013, algorithm 3.4.1.) A singular matrix gives
infinities or NaN, which whoever asked takes for what they are.
"""

from __future__ import annotations

from ..body import POINTER, VOID, Body, Type, Value, define
from ..ir import Module


def linear_system(module: Module, n: int, real: str) -> str:
    """The name of ``void(ptr matrix, ptr right)``: ``right`` becomes the solution.

    The matrix has ``n`` rows of ``n`` numbers and is destroyed.
    """

    def write(b: Body) -> None:
        _Elimination(b, n, Type(real)).write()

    return define(module, f"solve.linear.{n}.{real}", VOID, (POINTER, POINTER), write)


class _Elimination:
    def __init__(self, b: Body, n: int, kind: Type) -> None:
        self.b = b
        self.n = n
        self.kind = kind
        self.matrix, self.right = b.args

    def entry(self, i: Value, j: Value | int) -> Value:
        return self.b.at(self.matrix, i * self.n + j, self.kind)

    def load(self, at: Value) -> Value:
        return self.b.load(at, self.kind)

    def write(self) -> None:
        self.b.loop(self.n, [], self.column)
        self.b.loop(self.n, [], self.back)

    def column(self, k: Value, _: list[Value]) -> list[Value]:
        """Bring the largest entry of column ``k`` to the diagonal, and zeros below it."""
        b = self.b
        start = b.intrinsic("fabs", self.load(self.entry(k, k)))

        def larger(i: Value, best: list[Value]) -> list[Value]:
            size = b.intrinsic("fabs", self.load(self.entry(i, k)))
            wins = size.gt(best[0])
            return [wins.select(size, best[0]), wins.select(i, best[1])]

        pivot = b.loop(self.n, [start, k], larger, start=k + 1)[1]

        def exchange(j: Value, _: list[Value]) -> list[Value]:
            self.swap(self.entry(k, j), self.entry(pivot, j))
            return []

        b.loop(self.n, [], exchange, start=k)
        self.swap(b.at(self.right, k, self.kind), b.at(self.right, pivot, self.kind))
        diagonal = self.load(self.entry(k, k))

        def row(i: Value, _: list[Value]) -> list[Value]:
            factor = self.load(self.entry(i, k)) / diagonal

            def one(j: Value, _: list[Value]) -> list[Value]:
                at = self.entry(i, j)
                b.store(self.load(at) - factor * self.load(self.entry(k, j)), at)
                return []

            b.loop(self.n, [], one, start=k + 1)
            at = b.at(self.right, i, self.kind)
            b.store(self.load(at) - factor * self.load(b.at(self.right, k, self.kind)), at)
            return []

        b.loop(self.n, [], row, start=k + 1)
        return []

    def swap(self, p: Value, q: Value) -> None:
        x, y = self.load(p), self.load(q)
        self.b.store(y, p)
        self.b.store(x, q)

    def back(self, step: Value, _: list[Value]) -> list[Value]:
        """Solve for one unknown, the last one first."""
        b = self.b
        i = (self.n - 1) - step

        def term(j: Value, sums: list[Value]) -> list[Value]:
            x = self.load(b.at(self.right, j, self.kind))
            return [sums[0] - self.load(self.entry(i, j)) * x]

        at = b.at(self.right, i, self.kind)
        (total,) = b.loop(self.n, [self.load(at)], term, start=i + 1)
        b.store(total / self.load(self.entry(i, i)), at)
        return []


__all__ = ["linear_system"]
