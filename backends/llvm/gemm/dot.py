"""Products with few columns: each entry of C is a dot product along K, summed in vectors."""

from __future__ import annotations

from collections.abc import Sequence

from ..body import INT, POINTER, VOID, Body, Type, Value, define
from .packing import transposed
from .tiling import Tiling

#: Sums at once at most: two a cycle with a latency of four hide the latency of additions.
SUMS = 8
#: So many sums are added up together, side by side.
GROUP = 4
#: Rows that share the loads of B.
ROWS = 4


def dot_rows(
    b: Body, t: Tiling, N: int, K: int, rows: Value, a: Value, lda: Value, columns: Value,
    start: Value, lds: Value, c: Value, ldc: Value,
) -> None:  # fmt: skip
    """``C[rows, N] = start + A @ B`` with B by columns, each of K adjacent entries.

    ``start`` may be null.
    """
    given = start.ne(0)

    def step(height: int, first: Value | int, end: Value) -> None:
        name = _kernel(b, t, height, N, K)

        def run(row: Value, _: list[Value]) -> list[Value]:
            from_a = b.at(a, row * lda, t.element)
            to_c = b.at(c, row * ldc, t.element)
            begin = given.select(b.at(start, row * lds, t.element), start)
            b.call_void(name, from_a, lda, columns, begin, lds, to_c, ldc)
            return []

        b.loop(end, [], run, start=first, by=height)

    first: Value | int = 0
    for height in (SUMS, ROWS, 1) if N == 1 else (ROWS, 1):
        end = rows if height == 1 else rows - rows.srem(height)
        step(height, first, end)
        first = end


def _kernel(b: Body, t: Tiling, height: int, N: int, K: int) -> str:
    """``void (A, lda, columns, start, lds, C, ldc)`` for ``height`` rows."""
    kind = Type(t.element.element, t.lanes)
    whole = K - K % t.lanes
    grouped = t.lanes >= GROUP and K % GROUP == 0 == height * N % GROUP

    def write(b: Body) -> None:
        a, lda, columns, start, lds, _, ldc = b.args
        lines = [b.at(a, lda * i, t.element) for i in range(height)]

        def terms(k: Value | int, kind: Type, state: Sequence[Value]) -> list[Value]:
            left = [b.load(b.at(line, k, t.element), kind) for line in lines]
            right = [
                b.load(b.at(b.at(columns, n * K, t.element), k, t.element), kind) for n in range(N)
            ]
            pairs = [(x, y) for x in left for y in right]
            return [b.madd(x, y, s) for (x, y), s in zip(pairs, state, strict=True)]

        def round_(k: Value, state: list[Value]) -> list[Value]:
            return terms(k, kind, state)

        totals = b.loop(whole, [b.const(kind, 0.0)] * (height * N), round_, by=t.lanes)
        # The lanes are added by halves; what does not fill a vector joins in at its width.
        k, width = whole, t.lanes
        last = GROUP if grouped else 1
        while width > last:
            width //= 2
            totals = [_halved(b, s) for s in totals]
            if K - k >= width:
                totals = terms(k, Type(t.element.element, width), totals)
                k += width
        if grouped:
            totals = [_sums(b, totals[n : n + GROUP]) for n in range(0, len(totals), GROUP)]
        by_row = grouped and N == GROUP
        if grouped and N == 1:
            # Of neighbouring rows whose entries are neighbours, several are written at once.
            beside = ldc.eq(1) & (start.eq(0) | lds.eq(1))
            b.when(beside, lambda: deliver(b, totals, [(i, 0) for i in range(0, height, GROUP)]))
            b.when(
                beside ^ 1, lambda: deliver(b, apart(b, totals), [(i, 0) for i in range(height)])
            )
            return
        if grouped and not by_row:
            totals = apart(b, totals)
        width = totals[0].kind.lanes
        deliver(b, totals, [(i, n) for i in range(height) for n in range(0, N, width)])

    def apart(b: Body, totals: Sequence[Value]) -> list[Value]:
        return [b.lane(v, n) for v in totals for n in range(GROUP)]

    def deliver(b: Body, totals: Sequence[Value], places: Sequence[tuple[int, int]]) -> list[Value]:
        """Write sums, each to its row and column (or to several), on what they start with."""
        _, _, _, start, lds, c, ldc = b.args
        one = totals[0].kind

        def begin() -> list[Value]:
            return [
                b.load(b.at(b.at(start, lds * i, t.element), n, t.element), one) for i, n in places
            ]

        first = b.when(start.ne(0), begin, [b.const(one, 0.0)] * len(places))
        for (i, n), total, old in zip(places, totals, first, strict=True):
            b.store(old + total, b.at(b.at(c, ldc * i, t.element), n, t.element))
        return []

    name = f"unfold.dots.{height}x{N}x{K}.{t.element.suffix}"
    return define(b.module, name, VOID, (POINTER, INT, POINTER, POINTER, INT, POINTER, INT), write)


def _sums(b: Body, group: list[Value]) -> Value:
    """The sum of the lanes of each of four vectors, in the order in which `_halved` adds them."""
    x, y, z, w = transposed(b, group)
    return (x + z) + (y + w)


def _halved(b: Body, x: Value) -> Value:
    """The lower half of the lanes plus the upper half."""
    half = x.kind.lanes // 2
    low, high = (
        b.shuffle(x, x, range(start, start + half)) if half > 1 else b.lane(x, start)
        for start in (0, half)
    )
    return low + high
