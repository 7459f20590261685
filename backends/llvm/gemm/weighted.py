"""The sum of some vectors, each times a number of its own: attention's read-out."""

from __future__ import annotations

from collections.abc import Sequence

from .. import ir
from ..body import BOOL, INT, POINTER, VOID, Body, Type, Value, define
from ..jit import HostTarget
from .tiling import Tiling, tiling

#: How many vector registers hold sums at once.
SUMS = 8


def weighted_sum(module: ir.Module, target: HostTarget, dtype: str, N: int) -> str:
    """``void (i64 rows, ptr a, i64 lda, ptr B, i64 ldb, ptr c, i1 accumulate)``.

    ``c[N] = sum over rows of a[row * lda] * B[row * ldb : + N]`` (or ``+=``), in a fixed order.
    The sums stay in registers over all rows. ``c`` overlaps neither ``a`` nor ``B``.
    """
    t = tiling(target, dtype)

    def write(b: Body) -> None:
        rows, a, lda, from_b, ldb, c, accumulate = b.args
        for group in _groups(_parts(N, t)):
            _columns(b, t, group, rows, a, lda, from_b, ldb, c, accumulate)

    params = (INT, POINTER, INT, POINTER, INT, POINTER, BOOL)
    return define(module, f"unfold.weighted.{t.element.suffix}.{N}", VOID, params, write)


def _parts(N: int, t: Tiling) -> list[tuple[int, int]]:
    """Columns in vectors, (first, width): full ones, the last one where it ends with the columns.

    What two of them share has the same sums in both, so they must be written together. Otherwise
    the last ones are halves of vectors.
    """
    if t.lanes <= N <= t.lanes * SUMS:
        return [(min(start, N - t.lanes), t.lanes) for start in range(0, N, t.lanes)]
    found, start, width = [], 0, t.lanes
    while start < N:
        while width > N - start:
            width //= 2
        found.append((start, width))
        start += width
    return found


def _groups(parts: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    return [parts[k : k + SUMS] for k in range(0, len(parts), SUMS)]


def _columns(
    b: Body, t: Tiling, parts: list[tuple[int, int]], rows: Value, a: Value, lda: Value,
    from_b: Value, ldb: Value, c: Value, accumulate: Value,
) -> None:  # fmt: skip
    kinds = [Type(t.element.element, width) for _, width in parts]
    # With few sums, those of even and odd rows are kept apart to hide the latency of additions.
    side = 2 if len(parts) * 2 <= SUMS else 1

    def step(row: Value, sums: Sequence[Value]) -> list[Value]:
        weight = b.load(b.at(a, row * lda, t.element), t.element)
        line = b.at(from_b, row * ldb, t.element)
        found = []
        for (start, width), kind, s in zip(parts, kinds, sums, strict=True):
            v = b.load(b.at(line, start, t.element), kind)
            found.append(b.madd(b.splat(weight, width) if width > 1 else weight, v, s))
        return found

    def several(row: Value, state: list[Value]) -> list[Value]:
        n = len(parts)
        return [s for k in range(side) for s in step(row + k, state[k * n : (k + 1) * n])]

    zeros = [b.const(kind, 0.0) for kind in kinds]
    whole = rows - rows.srem(side) if side > 1 else rows
    state = b.loop(whole, zeros * side, several, by=side)
    n = len(parts)
    sums = state[:n]
    for k in range(1, side):
        sums = [x + y for x, y in zip(sums, state[k * n :], strict=True)]
    if side > 1:
        sums = b.loop(rows, sums, step, start=whole)
    places = [b.at(c, start, t.element) for start, _ in parts]

    def old() -> list[Value]:
        return [b.load(place, kind) for place, kind in zip(places, kinds, strict=True)]

    before = b.when(accumulate.ne(0), old, zeros)
    for place, x, y in zip(places, before, sums, strict=True):
        b.store(x + y, place)
