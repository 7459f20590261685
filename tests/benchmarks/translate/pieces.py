"""Variables as arrays: the pieces that equations define, and the elements that are read of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from unfold.poly import Poly

from .arrays import Array, Shape, Source, aligned, filled

Ranges = Mapping[str, range]


class Untranslated(Exception):
    """A program that has no translation yet, and why."""


@dataclass
class Piece:
    """A box of elements: the positions along each axis.

    Attributes:
        value: an array of one axis for each that is named in its ``dims``; it repeats along others.
        names: what the axes are called there.
        shape: of the components.
        src: where the array of all axes is written, if it is asked for.
        zero: whether all of it is zero. Where an equation does not hold in all of its box, the
            array is zero elsewhere.
    """

    box: tuple[range, ...]
    value: Array
    names: tuple[str, ...]
    shape: Shape
    src: Source
    zero: bool = False

    @cached_property
    def array(self) -> Array:
        """The array with all axes, in order."""
        shape = (*map(len, self.box), *self.shape)
        return replace(filled(self.src, self.value, self.names, shape), dims=())


def whole(src: Source, box: tuple[range, ...], array: Array) -> Piece:
    """A piece whose array has all of its axes, in order."""
    names = tuple(f"axis {k}" for k in range(len(box)))
    return Piece(box, replace(array, dims=names), names, array.shape[len(box) :], src)


def extent(p: Poly, ranges: Ranges) -> range:
    """The positions that an affine expression takes."""
    ends = [p.offset, p.offset]
    for mono, coef in p.terms:
        if mono:
            r = ranges[mono[0]]
            one, two = coef * r[0], coef * r[-1]
            ends = [ends[0] + min(one, two), ends[1] + max(one, two)]
    return range(ends[0], ends[1] + 1)


def inside(small: range, large: range) -> bool:
    return large.start <= small.start and small.stop <= large.stop


def read(src: Source, pieces: list[Piece], index: Sequence[Poly], ranges: Ranges) -> Array:
    """The elements of a variable at affine positions, where each index runs over its range.

    Positions that no piece has are those of what a mask takes out: any number will do.
    """
    want = [extent(p, ranges) for p in index]
    for piece in pieces:
        if all(inside(w, b) for w, b in zip(want, piece.box, strict=True)):
            break
    else:
        piece = _whole(src, pieces)
    bare = _element(piece, index)
    if bare is not None:
        return bare
    names = [s for p in index for s in p.symbols]
    plain = all(len(p.symbols) <= 1 and p.coefficient(next(iter(p.symbols), "")) in (0, 1, -1)
                for p in index)  # fmt: skip
    if plain and len(names) == len(set(names)):
        return _sliced(src, piece, index, want)
    return _gathered(src, piece, index, ranges)


def _element(piece: Piece, index: Sequence[Poly]) -> Array | None:
    """The value of a piece of one element, as it was computed."""
    shape = piece.value.shape
    if any(p.symbols for p in index) or piece.value.dims or len(shape) != len(piece.shape):
        return None
    return piece.value


def _whole(src: Source, pieces: list[Piece]) -> Piece:
    """All pieces of a variable in one array."""
    if not pieces:
        raise Untranslated("nothing is there to be read")
    if len(pieces) == 1:
        return pieces[0]
    box = tuple(
        range(min(r.start for r in rs), max(r.stop for r in rs))
        for rs in zip(*(p.box for p in pieces), strict=True)
    )
    front = tuple(map(len, box))
    components = pieces[0].array.shape[len(box) :]
    shape = front + components
    joined = _joined(src, pieces, box, shape)
    if joined is not None:
        return joined
    table: Array | None = None
    for p in pieces:
        if p.zero:
            continue
        if p.box == box and table is None:
            table = p.array
            continue
        at = ", ".join(
            f"{r.start - b.start}:{r.stop - b.start}" for r, b in zip(p.box, box, strict=True)
        )
        base = table.code if table is not None else f"jnp.zeros({shape})"
        table = src.let(f"{base}.at[{at}].add({p.array.code})", (), shape)
    made = whole(src, box, table or src.let(f"jnp.zeros({shape})", (), shape))
    pieces.insert(0, made)
    return made


def _joined(
    src: Source, pieces: list[Piece], box: tuple[range, ...], shape: tuple[int, ...]
) -> Piece | None:
    """Pieces that lie one after the other along one axis."""
    for k in range(len(box)):
        row = sorted(pieces, key=lambda p: p.box[k].start)
        same = all(p.box[:k] + p.box[k + 1 :] == box[:k] + box[k + 1 :] for p in row)
        if same and all(a.box[k].stop == b.box[k].start for a, b in pairwise(row)):
            parts = ", ".join(p.array.code for p in row)
            made = whole(src, box, src.let(f"lax.concatenate([{parts}], {k})", (), shape))
            pieces.insert(0, made)
            return made
    return None


def _sliced(src: Source, piece: Piece, index: Sequence[Poly], want: Sequence[range]) -> Array:
    """Positions that are one index, plus or minus a number, or a number."""
    starts, stops, pads, turned, fixed = [], [], [], [], []
    dims: list[str] = []
    for k, (p, w, b) in enumerate(zip(index, want, piece.box, strict=True)):
        lo, hi = max(w.start, b.start), min(w.stop, b.stop)
        if lo >= hi:
            raise Untranslated("nothing of a variable is inside of what is read")
        starts.append(lo - b.start)
        stops.append(hi - b.start)
        pads.append((lo - w.start, w.stop - hi))
        name = next(iter(p.symbols), None)
        if name is None:
            fixed.append(k)
        else:
            dims.append(name)
            if p.coefficient(name) < 0:
                turned.append(k)
    a, rest = piece.array, piece.array.shape[len(index) :]
    code, shape = a.code, [*map(len, piece.box), *rest]
    tail = [0] * len(rest)
    if any(n - m != s for n, m, s in zip(stops, starts, shape, strict=False)):
        lows, highs = [*starts, *tail], [*stops, *rest]
        shape = [h - n for h, n in zip(highs, lows, strict=True)]
        changed = [k for k in range(len(index)) if shape[k] != len(piece.box[k])]
        if len(changed) == 1:
            k = changed[0]
            code = f"lax.slice_in_dim({code}, {lows[k]}, {highs[k]}, axis={k})"
        else:
            code = f"lax.slice({code}, {lows}, {highs})"
    if any(p != (0, 0) for p in pads):
        code = f'jnp.pad({code}, {[*pads, *((0, 0) for _ in rest)]}, mode="edge")'
        shape = [
            n + x + y for n, (x, y) in zip(shape, [*pads, *((0, 0) for _ in rest)], strict=True)
        ]
    if turned:
        code = f"lax.rev({code}, {turned})"
    if fixed:
        code = f"lax.squeeze({code}, {fixed})"
        shape = [n for k, n in enumerate(shape) if k not in fixed]
    if code == a.code:
        return replace(a, dims=tuple(dims))
    return src.let(code, dims, shape)


def _gathered(src: Source, piece: Piece, index: Sequence[Poly], ranges: Ranges) -> Array:
    """Positions of any affine kind, as arrays of integers."""
    places = [positions(src, p, ranges, piece.box[k]) for k, p in enumerate(index)]
    dims, arrays = aligned(src, places)
    rest = piece.array.shape[len(index) :]
    front = np.broadcast_shapes(*(a.shape for a in arrays))
    code = f"{piece.array.code}[{', '.join(a.code for a in arrays)}]"
    return src.let(code, dims, (*front, *rest))


def positions(src: Source, p: Poly, ranges: Ranges, box: range | None = None) -> Array:
    """An affine expression as an array of integers; counted from the start of ``box``, if given."""
    dims = tuple(sorted(p.symbols))
    value = np.asarray(p.offset)
    for k, name in enumerate(dims):
        along = np.asarray(ranges[name]) * p.coefficient(name)
        value = value + along.reshape((-1,) + (1,) * (len(dims) - k - 1))
    if box is not None:
        value = np.clip(value - box.start, 0, len(box) - 1)
    return src.constant(value, dims)
