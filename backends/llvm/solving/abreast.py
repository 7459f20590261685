"""Small dense matrices of several sequences abreast: a register holds one entry of each.

Pivots are searched for by choices, so that matrices side by side may need different exchanges of
rows, and no instruction waits for a branch. Every matrix has the operations of `.linear`, in their
order: results have the same bits. (Golub and Van Loan, *Matrix Computations*, 2013, algorithms
3.4.1 and 4.2.1.)
"""

from __future__ import annotations

from collections.abc import Callable

from .. import vecmath
from ..body import INT, POINTER, VOID, Body, Type, Value, define
from ..gemm.packing import SIDE
from ..ir import Module
from ..stock import COMMON
from .linear import cholesky_factor
from .memory import NEAR, gather, room, spread

_NAN = float("nan")
#: How many entries of a row are taken at once.
TOGETHER = 4


def lanes_abreast(op: str, n: int, columns: int, real: str, lanes: int) -> int:
    """How many systems of so many rows and right sides go abreast where a register has so many
    lanes; 1 if they are better done one by one."""
    width = min(lanes, SIDE)
    numbers = n * n if op == "logdet" else n * (n + (n if op in ("inv", "cholesky") else columns))
    size = 4 if real == "float" else 8
    fits = numbers * width * size <= NEAR
    return width if fits and n > 1 else 1


def abreast(module: Module, op: str, n: int, columns: int, real: str, lanes: int) -> str:
    """The name of ``void(ptr matrix, i64 step, ptr result, i64 step, i64 rows)``.

    It does what ``op`` (solve, inv, logdet, cholesky) asks for in every one of the rows, at least
    one, whose matrices and results are so many numbers apart. Matrices are left as they are; for
    solve a result holds so many columns of right sides before.
    """

    def write(b: Body) -> None:
        _Systems(b, op, n, columns, Type(real, lanes)).write()

    name = f"{COMMON}solve.{op}.{n}.{columns}.{real}.{lanes}"
    return define(module, name, VOID, (POINTER, INT, POINTER, INT, INT), write)


class _Systems:
    def __init__(self, b: Body, op: str, n: int, columns: int, kind: Type) -> None:
        self.b = b
        self.op = op
        self.n = n
        self.kind = kind
        self.single = Type(kind.element)
        self.given = columns if op == "solve" else 0
        self.columns = {"solve": columns, "inv": n, "cholesky": 0, "logdet": 0}[op]
        #: Numbers of a row of the matrix with its right sides.
        self.width = n + self.columns
        self.inside = room(b, kind, n * self.width)
        self.masks = room(b, kind.bits, n)
        self.row = room(b, kind, self.width)
        self.found = room(b, kind, {"logdet": 1, "cholesky": n * n}.get(op, 1))

    def write(self) -> None:
        b, lanes = self.b, self.kind.lanes
        matrix, matrix_step, result, result_step, rows = b.args
        last = rows - 1

        def group(first: Value, _: list[Value]) -> list[Value]:
            numbers = [b.intrinsic("smin", first + k, last) for k in range(lanes)]
            matrices = [b.at(matrix, k * matrix_step, self.single) for k in numbers]
            results = [b.at(result, k * result_step, self.single) for k in numbers]
            gather(b, self.kind, matrices, self.n, self.n, self.inside, self.width)
            side = b.at(self.inside, self.n, self.kind)
            if self.given:
                gather(b, self.kind, results, self.n, self.given, side, self.width)
            if self.op == "inv":
                self.unit(side)
            if self.op == "cholesky":
                cholesky_factor(b, self.n, self.kind, self.inside, self.found)
                spread(b, self.kind, self.found, self.n, results, self.n, self.n)
            elif self.op == "logdet":
                self.measure()
                for k, to in enumerate(results):
                    b.store(b.lane(b.load(self.found, self.kind), k), to)
            else:
                self.over(self.n, self.column)
                self.over(self.n, self.back)
                spread(b, self.kind, side, self.width, results, self.n, self.columns)
            return []

        b.loop(rows, [], group, by=lanes)

    def over(self, stop: int, body: Callable[[Value], None], start: Value | int = 0) -> None:
        def one(i: Value, _: list[Value]) -> list[Value]:
            body(i)
            return []

        self.b.loop(stop, [], one, start=start)

    # --- elimination ------------------------------------------------------------------------------

    def entry(self, i: Value, j: Value | int) -> Value:
        return self.b.at(self.inside, i * self.width + j, self.kind)

    def load(self, at: Value) -> Value:
        return self.b.load(at, self.kind)

    def unit(self, side: Value) -> None:
        """Unit matrices on the right."""
        b = self.b

        def row(i: Value) -> None:
            def one(j: Value) -> None:
                value = i.eq(j).select(b.const(self.kind, 1.0), 0.0)
                b.store(value, b.at(side, i * self.width + j, self.kind))

            self.over(self.n, one)

        self.over(self.n, row)

    def column(self, k: Value) -> None:
        """Bring the largest entry of column ``k`` to the diagonal, and zeros below it."""
        pivot = self.exchange(k)
        # A pivot that is NaN spreads to whatever is left, and from there backward to all.
        safe = pivot.eq(0.0).select(_NAN, pivot)
        self.b.store(safe, self.entry(k, k))
        self.clear(k, safe)

    def measure(self) -> None:
        """The sum of the pivots' logarithms."""
        b = self.b

        def one(k: Value, total: list[Value]) -> list[Value]:
            pivot = self.exchange(k)
            # Below a pivot that is 0 all are.
            self.clear(k, pivot.eq(0.0).select(1.0, pivot))
            size = b.intrinsic("fabs", pivot)
            return [total[0] + b.wrap(vecmath.emit(b.f, "log", size))]

        (total,) = b.loop(self.n, [b.const(self.kind, 0.0)], one)
        b.store(total, self.found)

    def exchange(self, k: Value) -> Value:
        """Put the row with the largest entry of column ``k`` into row ``k``, which is kept beside;
        its pivot. ``masks`` then says of every row below whether it was that one."""
        b, whole = self.b, self.kind.bits
        start = b.intrinsic("fabs", self.load(self.entry(k, k)))
        nobody = b.const(whole, -1)

        def larger(i: Value, best: list[Value]) -> list[Value]:
            size = b.intrinsic("fabs", self.load(self.entry(i, k)))
            wins = size.gt(best[0])
            return [wins.select(size, best[0]), wins.select(self.numbered(i), best[1])]

        chosen = b.loop(self.n, [start, nobody], larger, start=k + 1)[1]
        first = self.entry(k, 0)

        def keep(j: Value | int) -> None:
            b.store(self.load(b.at(first, j, self.kind)), b.at(self.row, j, self.kind))

        self.along(k, keep)

        def take(i: Value) -> None:
            is_pivot = chosen.eq(self.numbered(i))
            mask = b.op(f"sext {is_pivot} to {whole}", whole)
            b.store(mask, b.at(self.masks, i, whole))

            def choose() -> list[Value]:
                line = self.entry(i, 0)

                def one(j: Value | int) -> None:
                    to = b.at(first, j, self.kind)
                    here = self.load(b.at(line, j, self.kind))
                    b.store(is_pivot.select(here, self.load(to)), to)

                self.along(k, one)
                return []

            b.when(b.any(is_pivot), choose)

        self.over(self.n, take, k + 1)
        return self.load(self.entry(k, k))

    def numbered(self, i: Value) -> Value:
        """A row's number in all lanes."""
        whole = self.kind.bits
        if whole.element != "i64":
            i = self.b.op(f"trunc {i} to {whole.element}", Type(whole.element))
        return self.b.splat(i, whole.lanes)

    def along(self, k: Value, body: Callable[[Value | int], None]) -> None:
        """For every entry of a row from column ``k`` on, some at once, and for some before it:
        what stands left of the diagonal is not read any more."""
        whole = self.width // TOGETHER * TOGETHER

        def several(block: Value) -> None:
            for j in range(TOGETHER):
                body(block * TOGETHER + j)

        self.over(whole // TOGETHER, several, k.udiv(TOGETHER))
        for j in range(whole, self.width):
            body(j)

    def clear(self, k: Value, pivot: Value) -> None:
        """Take multiples of row ``k`` from those below; the row that was exchanged for it has what
        was kept."""
        b = self.b
        first = self.entry(k, 0)

        def row(i: Value) -> None:
            moved = b.load(b.at(self.masks, i, self.kind.bits), self.kind.bits).lt(0)
            line = self.entry(i, 0)

            def here(j: Value | int) -> Value:
                kept = self.load(b.at(self.row, j, self.kind))
                return moved.select(kept, self.load(b.at(line, j, self.kind)))

            factor = -(here(k) / pivot)

            def one(j: Value | int) -> None:
                upper = self.load(b.at(first, j, self.kind))
                b.store(b.madd(factor, upper, here(j)), b.at(line, j, self.kind))

            self.along(k + 1, one)

        self.over(self.n, row, k + 1)

    def back(self, step: Value) -> None:
        """Solve for one row of the unknown, the last one first."""
        b = self.b
        i = (self.n - 1) - step

        def column(c: Value) -> None:
            def term(j: Value, sums: list[Value]) -> list[Value]:
                factor = -self.load(self.entry(i, j))
                return [b.madd(factor, self.load(self.entry(j, c + self.n)), sums[0])]

            at = self.entry(i, c + self.n)
            (total,) = b.loop(self.n, [self.load(at)], term, start=i + 1)
            b.store(total / self.load(self.entry(i, i)), at)

        self.over(self.columns, column)


__all__ = ["abreast", "lanes_abreast"]
