"""Loops over pairs of positions in blocks: several positions share one pass over the others.

before:  for t in 1..T: all s in 1..t: e[t,s] = k[s] @ q[t]
after:   for 16 neighbouring s: K = their keys, transposed; all t that have all of them:
         e[t,16 of s] = q[t] @ K, a product of matrices; the other t the same aside, and copied

before:  for t in 1..T: z[t] = sum over s in 1..t of a[t,s] * v[s]
after:   for 4 neighbouring t: all s that they have in common: four sums, v[s] loaded once;
         then for each t the s that are left

requires: tiles of one row, and a loop over the first position that does nothing else, so that its
turns may have any order and go side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from unfold.domain import Domain
from unfold.poly import Poly

from .. import gemm
from ..gemm.packing import SIDE as SQUARE
from ..gemm.tiling import tiling
from ..ir import Value, integer
from .nodes import Contract, Product, Repeat, Stretch, View
from .products import NULL

if TYPE_CHECKING:
    from .emit import TileEmitter

#: The first and the last position of a block.
_FIRST, _LAST = "%block", "%block.last"


def emit(te: TileEmitter, op: Repeat) -> bool:
    """Write a loop in blocks, if it can be; whether it could."""
    if not te.generator.alone or not te.is_whole or len(op.body) != 1:
        return False
    stretch = op.body[0]
    if not isinstance(stretch, Stretch) or len(stretch.body) != 1:
        return False
    (inner,) = stretch.body
    bounds = (*stretch.lows, *stretch.highs)
    if not all(_is_affine(p, op.index) for p in bounds):
        return False
    if isinstance(inner, Product):
        return _scores(te, op, stretch, inner)
    return isinstance(inner, Contract) and _read_outs(te, op, stretch, inner)


def _is_affine(p: Poly, index: str) -> bool:
    return index not in (p - Poly.symbol(index) * p.coefficient(index)).symbols


def _moves(v: View, index: str) -> bool:
    return any(index in p.symbols for p in v.position)


def _apart(te: TileEmitter, v: View, target: View) -> bool:
    """Whether nothing that is read stands where something is written."""

    def place(name: str) -> tuple[str, int, int]:
        member = te.generator.members.get(name)
        buffer = te.generator.plan.buffers.get(name)
        size = (buffer or te.generator.temporaries[name]).size
        return (name, 0, size) if member is None else (member.base, member.offset, size)

    (a, start, length), (b, first, size) = place(v.storage), place(target.storage)
    return a != b or start + length <= first or first + size <= start


def _distance(te: TileEmitter, v: View, index: str) -> Value:
    """How far a view moves with an index, in components."""
    f, total = te.f, integer(0)
    for p, step in zip(v.position, te.tile.storages[v.storage].steps, strict=True):
        if p.coefficient(index):
            moved = f.binary("mul nsw", integer(p.coefficient(index)), step)
            total = f.binary("add nsw", total, moved)
    return total


@contextmanager
def _at(te: TileEmitter, index: str, at: Value) -> Iterator[None]:
    with te.tile.index_scope(index):
        te.tile.env[index] = at
        yield


# --- sums of vectors times numbers ----------------------------------------------------------------


def _read_outs(te: TileEmitter, op: Repeat, stretch: Stretch, inner: Contract) -> bool:
    """Sums for `gemm.SIDE` neighbouring positions at once, as far as they go over the same rows."""
    t, s, target = op.index, stretch.index, inner.target
    views = (inner.left, inner.right)
    if (
        inner.left.size != 1 or target.strides[-1] != 1 or inner.right.strides[-1] != 1
        or any(v.shared or v.pick is not None or not _apart(te, v, target) for v in views)
        or not _moves(target, t) or _moves(inner.right, t)
        or not all(_is_affine(p, t) for v in (target, inner.left) for p in v.position)
    ):  # fmt: skip
        return False
    f, tile, g = te.f, te.tile, te.generator
    kernel = gemm.weighted_sums(g.module, g.target, g.dtype, target.size)
    first, last = te.hull(op.ranges)
    count = f.binary("add", f.binary("sub", last, first), integer(1))
    blocks = f.binary("sdiv", f.intrinsic("llvm.smax", count, integer(0)), integer(gemm.SIDE))
    loop = f.loop(integer(0), te.last(blocks), 1)
    with tile.scope():
        start = f.binary("add", first, f.binary("mul nsw", loop.index, integer(gemm.SIDE)))
        turns = [f.binary("add", start, integer(r)) for r in range(gemm.SIDE)]
        lows, highs = [], []
        for turn in turns:
            with _at(te, t, turn):
                lo, hi = _ends(te, stretch)
                lows.append(lo)
                highs.append(hi)
        lo, hi = tile.ends(lows, highs)
        rows = f.binary("add", f.binary("sub", hi, lo), integer(1))
        left, to = [], []
        for turn in turns:
            with _at(te, t, turn), _at(te, s, lo):
                left.append(tile.base(inner.left))
                to.append(tile.base(target))
        with _at(te, s, lo):
            right = tile.base(inner.right)
            steps = [tile.row_distance(v) for v in views]
        add = integer(not inner.fresh, "i1")
        f.call_void(kernel, rows, *left, steps[0], right, steps[1], *to, add)
        _rest(te, op, stretch, inner, (turns[0], turns[-1]), (lo, hi))
    loop.close()
    done = f.binary("add", first, f.binary("mul nsw", blocks, integer(gemm.SIDE)))
    te.counted(t, done, last, 1, op.body)
    return True


def _ends(te: TileEmitter, stretch: Stretch) -> tuple[Value, Value]:
    tile = te.tile
    return tile.ends(tile.place(stretch.lows), tile.place(stretch.highs))


def _rest(
    te: TileEmitter, op: Repeat, stretch: Stretch, inner: Contract, turns: tuple[Value, Value],
    common: tuple[Value, Value],
) -> None:  # fmt: skip
    """What each turn of a block has before and after the rows that all have in common."""
    f, tile = te.f, te.tile
    before, after = (
        any(op.index in p.symbols for p in ends) for ends in (stretch.lows, stretch.highs)
    )
    if not before and not after:
        return
    loop = f.loop(*turns, 1)
    one = integer(1)
    with _at(te, op.index, loop.index):
        lo, hi = _ends(te, stretch)
        ranges = []
        if before:
            end = f.binary("sub", common[0], one)
            ranges.append((lo, f.intrinsic("llvm.smin", end, hi)))
        if after:
            begin = f.binary("add", common[1], one)
            # Where turns have nothing in common, all is done once.
            begin = f.intrinsic("llvm.smax", begin, common[0])
            ranges.append((f.intrinsic("llvm.smax", begin, lo), hi))
        for begin, end in ranges:
            rows = f.binary("add", f.binary("sub", end, begin), one)
            some = f.compare("icmp sgt", rows, integer(0))
            with f.when(some), _at(te, stretch.index, begin), tile.portion(integer(0), rows):
                te.contract(replace(inner, fresh=False))
    loop.close()


# --- inner products -------------------------------------------------------------------------------


def _scores(te: TileEmitter, op: Repeat, stretch: Stretch, inner: Product) -> bool:
    """Inner products of the vectors at two positions, as products with some of them transposed."""
    t, s, target, g = op.index, stretch.index, inner.target, te.generator
    keys, query = inner.left, inner.right
    if keys.shared:
        keys, query = query, keys
    K, width = query.size, tiling(g.target, g.dtype).columns
    if (
        target.shape != () or inner.start is not None or len(keys.shape) != 1
        or len(query.shape) != 1 or keys.shared or not query.shared or K < SQUARE
        or keys.strides != (1,) or query.strides != (1,) or target.shared
        or any(v.pick is not None for v in (keys, query, target))
        or not _apart(te, keys, target) or not _apart(te, query, target)
        or _moves(keys, t) or not _moves(query, t) or not _moves(target, t)
        or target.walked is not None or te.tile.row_step(target) != 1
        or not all(_is_affine(p, t) for v in (target, query) for p in v.position)
    ):  # fmt: skip
        return False
    f, tile = te.f, te.tile
    first, last = te.hull(op.ranges)
    lo, hi = _all(te, op, stretch, first, last)
    extent = f.binary("add", f.binary("sub", hi, lo), integer(1))
    there = f.compare("icmp sle", first, last)
    many = f.binary("and", there, f.compare("icmp sge", extent, integer(width)))
    few = f.binary("xor", many, integer(1, "i1"))
    with f.when(few), tile.scope():
        te.counted(t, first, last, 1, op.body)
    with f.when(many), tile.scope():
        room = g.scratch(f, K * width + width * width)
        aside = f.offset(room, tile.formats.real, integer(K * width))
        blocks = f.binary("sdiv", f.binary("add", extent, integer(width - 1)), integer(width))
        loop = f.loop(integer(0), te.last(blocks), 1)
        with tile.scope():
            start = f.binary("add", lo, f.binary("mul nsw", loop.index, integer(width)))
            # The last block ends where the others do: some of it is computed twice.
            end = f.binary("sub", hi, integer(width - 1))
            start = f.intrinsic("llvm.smin", start, end)
            with _at(te, s, start):
                stride = tile.row_distance(keys)
                gemm.bring(
                    f, g.target, g.dtype, width, K, (tile.base(keys), stride, room), transposed=True
                )
                _block(te, op, stretch, (query, target), (room, aside), (first, last), K, width)
        loop.close()
    return True


def _all(
    te: TileEmitter, op: Repeat, stretch: Stretch, first: Value, last: Value
) -> tuple[Value, Value]:
    """Positions between which those of all turns are: bounds are largest or least at the ends."""
    f, found = te.f, []
    for polys, name in ((stretch.lows, "llvm.smin"), (stretch.highs, "llvm.smax")):
        ends = []
        for at in (first, last):
            with _at(te, op.index, at):
                ends.append(te.tile.place(polys))
        found.append([f.intrinsic(name, a, b) for a, b in zip(*ends, strict=True)])
    return te.tile.ends(*found)


def _block(
    te: TileEmitter, op: Repeat, stretch: Stretch, views: tuple[View, View],
    rooms: tuple[Value, Value], turns: tuple[Value, Value], K: int, width: int,
) -> None:  # fmt: skip
    """The products of a block of ``width`` neighbouring keys with all vectors that they meet."""
    f, tile, t = te.f, te.tile, op.index
    one, start = integer(1), tile.env[stretch.index]
    tile.env[_FIRST] = start
    tile.env[_LAST] = f.binary("add", start, integer(width - 1))
    block = Poly.symbol(_FIRST), Poly.symbol(_LAST)
    some = _range(te, op, turns, _meeting(stretch, block))
    whole = _range(te, op, some, _meeting(stretch, block[::-1]))
    none = f.compare("icmp sgt", *whole)
    whole = (
        f.select(none, f.binary("add", some[1], one), whole[0]),
        f.select(none, some[1], whole[1]),
    )
    query, target = views
    with _at(te, t, whole[0]):
        to, step = tile.base(target), _distance(te, target, t)
        _multiply(te, query, op, whole, rooms[0], to, step, K, width)
    before = (some[0], f.binary("sub", whole[0], one))
    after = (f.binary("add", whole[1], one), some[1])
    sides = f.loop(integer(0), one, 1)
    with tile.scope():
        second = f.compare("icmp eq", sides.index, one)
        lo, hi = (f.select(second, b, a) for a, b in zip(before, after, strict=True))
        count = f.binary("add", f.binary("sub", hi, lo), one)
        parts = f.binary("sdiv", f.binary("add", count, integer(width - 1)), integer(width))
        loop = f.loop(integer(0), te.last(parts), 1)
        with tile.scope():
            begin = f.binary("add", lo, f.binary("mul nsw", loop.index, integer(width)))
            end = f.binary("add", begin, integer(width - 1))
            end = f.intrinsic("llvm.smin", end, hi)
            with _at(te, t, begin):
                part = begin, end
                _multiply(te, query, op, part, rooms[0], rooms[1], integer(width), K, width)
            _copy(te, op, stretch, target, (begin, end), rooms[1], width)
        loop.close()
    sides.close()
    del tile.env[_FIRST], tile.env[_LAST]


def _meeting(stretch: Stretch, block: tuple[Poly, Poly]) -> Domain:
    """Turns that have some of a block's positions; of a block turned round, those that have all."""
    first, last = block
    lows = [last - p for p in stretch.lows]
    return Domain.of([*lows, *(p - first for p in stretch.highs)])


def _range(
    te: TileEmitter, op: Repeat, turns: tuple[Value, Value], domain: Domain
) -> tuple[Value, Value]:
    """The turns that a condition leaves. Bounds that are the same for all turns hold anyway."""
    tile = te.tile
    lows, highs = [turns[0]], [turns[1]]
    for p in domain.constraints:
        if coef := p.coefficient(op.index):
            rest = tile.position(p - Poly.symbol(op.index) * coef)
            at = tile.quotient(rest, abs(coef))
            if coef > 0:
                lows.append(te.f.binary("sub", integer(0), at))
            else:
                highs.append(at)
    return tile.ends(lows, highs)


def _multiply(
    te: TileEmitter, query: View, op: Repeat, turns: tuple[Value, Value], packed: Value, to: Value,
    step: Value, K: int, width: int,
) -> None:  # fmt: skip
    """The products of a block with the vectors at some turns, the first of which is open."""
    f, g = te.f, te.generator
    rows = f.binary("add", f.binary("sub", turns[1], turns[0]), integer(1))
    apart = _distance(te, query, op.index)
    none = (NULL, integer(0))
    operands = (rows, te.tile.base(query), apart, packed, *none, to, step)
    gemm.multiply(f, g.target, g.dtype, width, K, operands)


def _copy(
    te: TileEmitter, op: Repeat, stretch: Stretch, target: View, turns: tuple[Value, Value],
    source: Value, width: int,
) -> None:  # fmt: skip
    """Bring products that were computed aside to where they belong, turn by turn."""
    f, tile = te.f, te.tile
    kind, size = tile.formats.real, tile.formats.bytes("real")
    loop = f.loop(*turns, 1)
    with _at(te, op.index, loop.index):
        lo, hi = _ends(te, stretch)
        lo = f.intrinsic("llvm.smax", lo, tile.env[_FIRST])
        hi = f.intrinsic("llvm.smin", hi, tile.env[_LAST])
        line = f.binary("mul nsw", f.binary("sub", loop.index, turns[0]), integer(width))
        line, to = f.offset(source, kind, line), tile.base(target)
        each = f.loop(lo, hi, 1)
        at = f.binary("sub", each.index, tile.env[_FIRST])
        value = f.load(kind, f.offset(line, kind, at), size)
        f.store(value, f.offset(to, kind, at), size)
        each.close()
    loop.close()


__all__ = ["emit"]
