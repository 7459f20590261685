"""Several sums of the same vectors, each with numbers of its own: attention's read-outs."""

from __future__ import annotations

from .. import ir
from ..body import BOOL, INT, POINTER, VOID, Body, Type, Value, define
from ..jit import HostTarget
from .tiling import Tiling, tiling

#: How many sums go side by side: with two or three vectors of each they leave room for operands.
SIDE = 4


def weighted_sums(module: ir.Module, target: HostTarget, dtype: str, N: int) -> str:
    """``void (i64 rows, ptr a * SIDE, i64 lda, ptr B, i64 ldb, ptr c * SIDE, i1 accumulate)``.

    ``c_r[N] = sum over rows of a_r[row * lda] * B[row * ldb : + N]`` (or ``+=``), in their order.
    A vector of B is loaded once for all sums. No ``c_r`` overlaps what is read.
    """
    t = tiling(target, dtype)

    def write(b: Body) -> None:
        rows, a, lda = b.args[0], b.args[1 : 1 + SIDE], b.args[1 + SIDE]
        from_b, ldb, *rest = b.args[2 + SIDE :]
        for group in _groups(N, t):
            _columns(b, t, group, rows, a, lda, from_b, ldb, rest[:SIDE], rest[SIDE])

    params = (INT, *[POINTER] * SIDE, INT, POINTER, INT, *[POINTER] * SIDE, BOOL)
    return define(module, f"unfold.weighted.{SIDE}.{t.element.suffix}.{N}", VOID, params, write)


def _groups(N: int, t: Tiling) -> list[list[tuple[int, int]]]:
    """The columns in groups of vectors, (first, width), as many as have sums at once.

    What is left of whole vectors is in narrower ones, which a group of its own may have more of.
    """
    most = 4 if t.vectors == 4 else 3
    count, rest = divmod(N, t.lanes)
    whole = [(k * t.lanes, t.lanes) for k in range(count)]
    parts = -(-count // most)
    groups = [whole[count * k // parts : count * (k + 1) // parts] for k in range(parts)]
    start, width, narrow = N - rest, t.lanes, list[tuple[int, int]]()
    while start < N:
        width //= 2
        if width <= N - start:
            narrow.append((start, width))
            start += width
    if groups and narrow and len(groups[-1]) + len(narrow) <= most:
        groups[-1] += narrow
        return groups
    return [*groups, *(narrow[k : k + most] for k in range(0, len(narrow), most))]


def _columns(
    b: Body, t: Tiling, parts: list[tuple[int, int]], rows: Value, a: list[Value], lda: Value,
    from_b: Value, ldb: Value, c: list[Value], accumulate: Value,
) -> None:  # fmt: skip
    kinds = [Type(t.element.element, width) for _, width in parts]

    def step(row: Value, sums: list[Value]) -> list[Value]:
        line, at = b.at(from_b, row * ldb, t.element), row * lda
        vectors = [
            b.load(b.at(line, start, t.element), kind)
            for (start, _), kind in zip(parts, kinds, strict=True)
        ]
        found, before = [], iter(sums)
        for numbers in a:
            weight = b.load(b.at(numbers, at, t.element), t.element)
            for v in vectors:
                w = b.splat(weight, v.kind.lanes) if v.kind.lanes > 1 else weight
                found.append(b.madd(w, v, next(before)))
        return found

    zeros = [b.const(kind, 0.0) for _ in a for kind in kinds]
    sums = b.loop(rows, zeros, step)
    places = [b.at(to, start, t.element) for to in c for start, _ in parts]

    def old() -> list[Value]:
        return [b.load(p, z.kind) for p, z in zip(places, zeros, strict=True)]

    before = b.when(accumulate.ne(0), old, zeros)
    for place, x, y in zip(places, before, sums, strict=True):
        b.store(x + y, place)
