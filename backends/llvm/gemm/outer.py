"""Sums of outer products: the gradient of a weight, as one matrix product over all rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from .. import ir
from ..body import BOOL, INT, POINTER, VOID, Body, Value, define
from ..jit import HostTarget
from .kernel import Operands, block_function, blocks, columns_ahead, slice_blocks, zeros
from .packing import copy_function, copy_panel, copy_slices, over_panels
from .tiling import ROWS, Panel, Tiling, tiling

#: From so many rows of C on, a panel of B is read often enough to be packed first.
PACK_FROM = 24
#: Bytes of the slices of A that all panels of B pass over: they stay in the second-level cache.
SLICES_BYTES = 96 * 1024
#: Up to so many bytes of packed panels of B do so beside them, by the vectors of a panel.
PANELS_BYTES = {2: 384 * 1024, 4: 768 * 1024}
#: Rows of A from so many bytes on are many enough to have left the caches when they are summed.
FAR = 1024


def outer_work(target: HostTarget, dtype: str, N1: int, *N2: int) -> int:
    """How many elements of work space `outer_sum` needs for one N2, `outer_sums` for several,
    whatever the number of rows; may be 0."""
    t = tiling(target, dtype)
    panels = [p for n in N2 for p in t.panels(n)]
    if all(_is_sliced(t, N1, n) for n in N2):
        return t.terms * (_band(t, N1) + sum(p.padded for p in panels))
    return max((t.terms * p.padded for p in panels if _is_packed(p, N1)), default=0)


def shares_left(target: HostTarget, dtype: str, N1: int, N2: Sequence[int]) -> bool:
    """Whether sums of one left matrix are faster by `outer_sums`: all pack it, and the panels of
    all right matrices stay in the cache together.

    Where they do not, every band of A reads them from further away; where not even those of one do,
    the sums are as fast, but come back to all of C when it has left the last cache: an LSTM with
    512 units was 2 % slower.
    """
    t = tiling(target, dtype)
    padded = sum(p.padded for n in N2 for p in t.panels(n))
    stay = t.terms * padded * t.itemsize <= PANELS_BYTES[t.vectors]
    return stay and all(_is_sliced(t, N1, n) for n in N2)


def _is_sliced(t: Tiling, N1: int, N2: int) -> bool:
    """Whether columns of A are packed as well. Where they stand a few numbers of each row are read,
    from as many lines of the cache as there are terms, which often fall on the same places."""
    return N1 >= PACK_FROM and t.columns < N2


def _band(t: Tiling, N1: int) -> int:
    """How many columns of A are packed at once: whole slices."""
    most = SLICES_BYTES // (t.terms * t.itemsize)
    return min(most, N1 + ROWS - 1) // ROWS * ROWS


def _is_packed(panel: Panel, N1: int) -> bool:
    """Columns that do not fill a vector must not be read beyond the end of a row."""
    return N1 >= PACK_FROM or not panel.is_full


def outer_sum(
    f: ir.Function, target: HostTarget, dtype: str, N1: int, N2: int, operands: Sequence[ir.Value]
) -> None:
    """Emit ``C[N1, N2] = A[rows, N1]^T @ B[rows, N2]`` (or ``+=``): a sum of outer products.

    The operands are ``rows, A, lda, B, ldb, C, ldc, accumulate, work``: the numbers are ``i64``,
    ``accumulate`` is an ``i1``. The sum over the rows is in a fixed order; their number is a
    run-time one and may be large (steps times batch). ``work`` has room for `outer_work` elements.
    C overlaps neither A nor B.
    """
    t = tiling(target, dtype)
    b = Body(f)
    panel, *others = t.panels(N2)
    if others or not panel.is_full:
        b.call_void(_by_panels(b.module, t, N1, [N2]), *map(b.wrap, operands))
        return
    copy = b.const(POINTER, 0)
    if _is_packed(panel, N1):
        copy = b.function(copy_function(b.module, t, panel))
    kernel = b.function(block_function(b.module, t, panel, N1))
    sizes = b.const(INT, N1), b.const(INT, N2)
    b.call_void(_by_panel(b.module, t), *map(b.wrap, operands), *sizes, kernel, copy)


def outer_sums(
    f: ir.Function, target: HostTarget, dtype: str, N1: int, N2: Sequence[int],
    operands: Sequence[ir.Value],
) -> None:  # fmt: skip
    """Emit `outer_sum` of one A with several B, each with its N2 and its C; A is packed only once.

    The operands are ``rows, A, lda``, then ``B, ldb, C, ldc`` of each, then ``accumulate, work``.
    Requires `shares_left`. Every C has the bits that `outer_sum` gives it.
    """
    b = Body(f)
    b.call_void(_by_panels(b.module, tiling(target, dtype), N1, N2), *map(b.wrap, operands))


_LEFT, _RIGHT, _LAST = (INT, POINTER, INT), (POINTER, INT, POINTER, INT), (BOOL, POINTER)


def _by_panel(module: ir.Module, t: Tiling) -> str:
    """``void (operands…, N1, N2, kernel, copy)``: the sum for any size with a single panel.

    ``kernel`` does the blocks of all rows of C; ``copy`` packs the panel, if it is not null.
    """

    def write(b: Body) -> None:
        rows, a, lda, from_b, ldb, c, ldc, accumulate, work, N1, N2, kernel, copy = b.args

        def chunk(start: Value, _: list[Value]) -> list[Value]:
            rest = rows - start
            terms = rest.lt(t.terms).select(rest, t.terms)
            add = accumulate | start.gt(0)
            source, packed = b.at(from_b, start * ldb, t.element), copy.ne(0)

            def pack() -> list[Value]:
                b.call_at(copy, source, ldb, terms, work)
                return []

            b.when(packed, pack)
            o = Operands(
                a=b.at(a, start * lda, t.element), a_row=b.const(INT, 1), a_k=lda,
                b=packed.select(work, source), b_k=packed.select(N2, ldb),
                start=add.select(c, zeros(b, t)), start_row=add.select(ldc, 0),
                c=c, c_row=ldc, terms=terms,
            )  # fmt: skip
            b.call_at(kernel, N1, *o.values())
            return []

        b.loop(rows, [], chunk, by=t.terms)
        nothing = rows.le(0) & accumulate.eq(0)
        b.when(nothing, lambda: _clear(b, t, N1, N2, c, ldc))

    params = (*_LEFT, *_RIGHT, *_LAST, INT, INT, POINTER, POINTER)
    return define(module, f"unfold.outer.{t.element.suffix}", VOID, params, write)


def _by_panels(module: ir.Module, t: Tiling, N1: int, widths: Sequence[int]) -> str:
    """``void (operands…)``: the sums of one A with some B of these widths.

    Large ones go the way of Goto and van de Geijn, *Anatomy of high-performance matrix
    multiplication*, ACM Transactions on Mathematical Software 34 (3), 2008: a panel of B stays in
    the first-level cache while slices of A, as wide as a block has rows, pass over it.
    """

    def write(b: Body) -> None:
        rows, a, lda, *rights, accumulate, work = b.args
        given = [rights[k : k + len(_RIGHT)] for k in range(0, len(rights), len(_RIGHT))]

        def chunk(start: Value, _: list[Value]) -> list[Value]:
            rest = rows - start
            terms = rest.lt(t.terms).select(rest, t.terms)
            add = accumulate | start.gt(0)
            parts, room = [], work
            for N2, (from_b, ldb, c, ldc) in zip(widths, given, strict=True):
                parts.append(_Right(
                    t.panels(N2), b.at(from_b, start * ldb, t.element), ldb,
                    add.select(c, zeros(b, t)), add.select(ldc, 0), add.convert("zext", "i64"),
                    c, ldc, room,
                ))  # fmt: skip
                room = b.at(room, t.terms * sum(p.padded for p in t.panels(N2)), t.element)
            left = _Left(N1, terms, b.at(a, start * lda, t.element), lda)
            if all(_is_sliced(t, N1, N2) for N2 in widths):
                _sliced(b, t, left, parts, room)
            else:
                for part in parts:
                    _in_place(b, t, left, part)
            return []

        b.loop(rows, [], chunk, by=t.terms)
        nothing = rows.le(0) & accumulate.eq(0)
        for N2, (_, _, c, ldc) in zip(widths, given, strict=True):
            sizes = b.const(INT, N1), b.const(INT, N2)
            b.when(nothing, partial(_clear, b, t, *sizes, c, ldc))

    name = f"unfold.outer.{t.element.suffix}.{N1}x{'_'.join(map(str, widths))}"
    return define(module, name, VOID, (*_LEFT, *_RIGHT * len(widths), *_LAST), write)


@dataclass(frozen=True)
class _Left:
    """Some terms of the sum: how many, and where the columns of A stand, and how many these are."""

    columns: int
    terms: Value
    a: Value
    lda: Value


@dataclass(frozen=True)
class _Right:
    """Where B and C stand, what the sums begin with, and where panels of B are packed.

    ``column`` is 1 where the start moves on with the columns, 0 where it is the same for all.
    """

    panels: list[Panel]
    b: Value
    ldb: Value
    start: Value
    start_row: Value
    column: Value
    c: Value
    ldc: Value
    packed: Value


def _in_place(b: Body, t: Tiling, left: _Left, p: _Right) -> None:
    """A is read where it stands."""
    one = b.const(INT, 1)

    def panel_of(panel: Panel, first: Value) -> None:
        source, stride = b.at(p.b, first, t.element), p.ldb
        following = b.at(source, panel.columns, t.element)
        if _is_packed(panel, left.columns):
            copy_panel(b, t, panel, source, p.ldb, left.terms, p.packed)
            source, stride = p.packed, b.const(INT, panel.padded)
        near = len(p.panels) == 1
        o = Operands(
            a=left.a, a_row=one, a_k=left.lda, b=source, b_k=stride,
            start=b.at(p.start, first * p.column, t.element), start_row=p.start_row,
            c=b.at(p.c, first, t.element), c_row=p.ldc, terms=left.terms,
            ahead=None if near else columns_ahead(b, t, following, p.ldb, panel.padded),
        )  # fmt: skip
        blocks(b, t, panel, left.columns, o)

    over_panels(b, p.panels, panel_of)


def _sliced(b: Body, t: Tiling, left: _Left, rights: Sequence[_Right], slices: Value) -> None:
    """All of every B is packed, then A band by band: some slices at a time."""
    terms, far = left.terms, left.columns * t.itemsize >= FAR
    for p in rights:

        def pack(panel: Panel, first: Value, p: _Right = p) -> None:
            to = b.at(p.packed, first * t.terms, t.element)
            copy_panel(b, t, panel, b.at(p.b, first, t.element), p.ldb, terms, to, far)

        over_panels(b, p.panels, pack)

    def band(first: Value | int, columns: int) -> None:
        copy_slices(b, t, b.at(left.a, first, t.element), left.lda, terms, columns, slices, far)
        for p in rights:
            _band_by(b, t, terms, p, first, columns, slices)

    width = _band(t, left.columns)
    whole = left.columns - left.columns % width

    def each(first: Value, _: list[Value]) -> list[Value]:
        band(first, width)
        return []

    if whole > width:
        b.loop(whole, [], each, by=width)
    elif whole:
        band(0, width)
    if whole < left.columns:
        band(whole, left.columns - whole)


def _band_by(
    b: Body, t: Tiling, terms: Value, p: _Right, first: Value | int, columns: int, slices: Value
) -> None:
    """The rows of C from ``first`` on, of packed columns of A and packed panels of B."""
    count, rest = divmod(columns, ROWS)
    start, c = (
        b.at(at, step * first, t.element) for at, step in ((p.start, p.start_row), (p.c, p.ldc))
    )

    def panel_of(panel: Panel, column: Value) -> None:
        o = Operands(
            a=slices, a_row=b.const(INT, 1), a_k=b.const(INT, ROWS),
            b=b.at(p.packed, column * t.terms, t.element), b_k=b.const(INT, panel.padded),
            start=b.at(start, column * p.column, t.element), start_row=p.start_row,
            c=b.at(c, column, t.element), c_row=p.ldc, terms=terms,
        )  # fmt: skip
        if count:
            slice_blocks(b, t, panel, count, o)
        if rest:
            last = replace(
                o.advanced(b, t, count * ROWS),
                a=b.at(slices, terms * (count * ROWS), t.element), a_k=b.const(INT, rest),
            )  # fmt: skip
            blocks(b, t, panel, rest, last)

    over_panels(b, p.panels, panel_of)


def _clear(b: Body, t: Tiling, N1: Value, N2: Value, c: Value, ldc: Value) -> list[Value]:
    """The sum over no rows."""

    name, size = "llvm.memset.p0.i64", N2 * t.itemsize
    b.module.declare(name, "void", ["ptr", "i8", "i64", "i1"])

    def row(i: Value, _: list[Value]) -> list[Value]:
        b.f.emit(f"call void @{name}({b.at(c, i * ldc, t.element)}, i8 0, {size}, i1 0)")
        return []

    b.loop(N1, [], row)
    return []
