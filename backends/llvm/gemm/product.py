"""Packing and products with packed panels."""

from __future__ import annotations

from collections.abc import Sequence

from .. import ir
from ..body import INT, POINTER, VOID, Body, Value, define
from ..jit import HostTarget
from .dot import dot_rows
from .kernel import Operands, blocks, columns_ahead, packed_ahead, zeros
from .packing import SIDE, copy_panel, over_panels, pack_whole, transpose_panel
from .single import panels_at_once, together
from .tiling import DOT_COLUMNS, NEAR_BYTES, ROWS, ROWS_BYTES, Panel, Tiling, evenly, tiling


def _by_dots(t: Tiling, N: int, K: int) -> bool:
    """Whether a row of C is made of dot products along K (B is then kept by columns)."""
    return N <= DOT_COLUMNS and t.lanes <= K


def packed_size(target: HostTarget, dtype: str, N: int, K: int) -> int:
    """How many elements `pack` writes for a matrix B[K, N] (its columns are padded)."""
    t = tiling(target, dtype)
    if _by_dots(t, N, K):
        return N * K
    return K * sum(panel.padded for panel in t.panels(N))


def is_packed(
    target: HostTarget, dtype: str, N: int, K: int, row_step: int, column_step: int
) -> bool:
    """Whether `pack` changes nothing about a matrix whose entries are so far apart."""
    return _by_dots(tiling(target, dtype), N, K) and row_step == 1 and (N == 1 or column_step == K)


def bring(
    f: ir.Function, target: HostTarget, dtype: str, N: int, K: int,
    operands: Sequence[ir.Value], *, transposed: bool,
) -> None:  # fmt: skip
    """Emit a call of `pack` with its operands, or of a function that does it for many sizes."""
    t = tiling(target, dtype)
    b = Body(f)
    source, stride, packed = map(b.wrap, operands)
    panel, *others = t.panels(N)
    side = min(SIDE, panel.width)
    direct = not _by_dots(t, N, K) and not (transposed and side > K)
    if direct and not others:
        _pack_panel(b, t, panel, K, source, stride, packed, transposed)
    elif not direct or N % t.columns or (transposed and K % side):
        f.call_void(pack(b.module, target, dtype, N, K, transposed=transposed), *operands)
    else:
        name = pack_whole(b.module, t, panel, transposed)
        b.call_void(name, source, stride, packed, b.const(INT, N), b.const(INT, K))


def pack(
    module: ir.Module, target: HostTarget, dtype: str, N: int, K: int, *, transposed: bool
) -> str:
    """``void (ptr source, i64 stride, ptr packed)``: bring a matrix into panels for `product`.

    Args:
        dtype: ``float32`` or ``float64``.
        transposed: False: the source is B[K, N]; True: the source is W[N, K] and B = W^T, as in
            ``y = W x``. ``stride`` is the distance of its rows in elements.

    ``packed`` has room for `packed_size` elements; 64-byte alignment is fastest.
    """
    t = tiling(target, dtype)

    def write(b: Body) -> None:
        source, stride, packed = b.args
        if _by_dots(t, N, K):
            _pack_columns(b, t, N, K, source, stride, packed, transposed)
            return

        def one(panel: Panel, first: Value) -> None:
            to = b.at(packed, first * K, t.element)
            start = b.at(source, first * stride if transposed else first, t.element)
            _pack_panel(b, t, panel, K, start, stride, to, transposed)

        over_panels(b, t.panels(N), one)

    name = f"unfold.pack{'.t' if transposed else ''}.{t.element.suffix}.{N}x{K}"
    return define(module, name, VOID, (POINTER, INT, POINTER), write)


def _pack_panel(
    b: Body, t: Tiling, panel: Panel, K: int, source: Value, stride: Value, packed: Value,
    transposed: bool,
) -> None:  # fmt: skip
    if transposed:
        transpose_panel(b, t, panel, source, stride, K, packed)
    else:
        copy_panel(b, t, panel, source, stride, b.const(INT, K), packed)


def _pack_columns(
    b: Body,
    t: Tiling,
    N: int,
    K: int,
    source: Value,
    stride: Value,
    packed: Value,
    transposed: bool,
) -> None:
    """B's columns one after the other."""
    for n in range(N):
        to = b.at(packed, n * K, t.element)

        def one(k: Value, _: list[Value], n: int = n, to: Value = to) -> list[Value]:
            at = stride * n + k if transposed else k * stride + n
            b.store(b.load(b.at(source, at, t.element), t.element), b.at(to, k, t.element))
            return []

        b.loop(K, [], one)


def product(module: ir.Module, target: HostTarget, dtype: str, N: int, K: int) -> str:
    """``void (i64 rows, ptr A, i64 lda, ptr packed, ptr start, i64 lds, ptr C, i64 ldc)``.

    ``C[rows, N] = start[rows, N] + A[rows, K] @ B``; ``packed`` is what `pack` made of B. ``start``
    may be null (zeros), C itself (add to it), or a row for all rows (a bias; its stride is then 0).
    ``lda``, ``lds`` and ``ldc`` are the strides of the rows in elements. C overlaps neither A nor
    ``start``, unless it is ``start``.
    """
    t = tiling(target, dtype)

    def write(b: Body) -> None:
        rows, a, lda, packed, start, lds, c, ldc = b.args
        if _by_dots(t, N, K):
            dot_rows(b, t, N, K, rows, a, lda, packed, start, lds, c, ldc)
        elif not _is_shared(t, N, K):
            chunks = evenly(K, t.chunk)
            # So many rows of A that they stay in the cache while all panels pass over them.
            most = max(ROWS, ROWS_BYTES // (max(chunks) * t.itemsize) // ROWS * ROWS)
            _by_panels(b, t, N, K, chunks, most, b.args)
        else:
            if len(t.panels(N)) == 1:
                given = start.ne(0)
                start, lds = given.select(start, zeros(b, t)), given.select(lds, 0)
            _call_shared(b, t, N, K, [rows, a, lda, packed, start, lds, c, ldc])

    return define(module, f"unfold.product.{t.element.suffix}.{N}x{K}", VOID, _PARAMS, write)


def multiply(
    f: ir.Function, target: HostTarget, dtype: str, N: int, K: int, operands: Sequence[ir.Value]
) -> None:
    """Emit a call of `product` with its operands, or of the function that does it there."""
    t = tiling(target, dtype)
    if not _by_dots(t, N, K) and _is_shared(t, N, K):
        b = Body(f)
        _call_shared(b, t, N, K, [b.wrap(v) for v in operands])
    else:
        f.call_void(product(f.module, target, dtype, N, K), *operands)


_PARAMS = (INT, POINTER, INT, POINTER, POINTER, INT, POINTER, INT)


def _is_shared(t: Tiling, N: int, K: int) -> bool:
    """Whether a product has no function of its own: a single panel, or a matrix that stays in the
    first-level cache, where nothing need be asked for."""
    return t.chunk >= K and (len(t.panels(N)) == 1 or N * K * t.itemsize <= NEAR_BYTES)


def _call_shared(b: Body, t: Tiling, N: int, K: int, operands: Sequence[Value]) -> None:
    """The product by a function that others share; a single panel's start is null or it is not."""
    panel, *others = t.panels(N)
    if others:
        _near(b, t, N, operands, b.const(INT, K))
        return
    rows, a, lda, packed, start, lds, c, ldc = operands
    if start.name == "null":
        start, lds = zeros(b, t), b.const(INT, 0)
    one, terms, b_k = (b.const(INT, n) for n in (1, K, panel.padded))
    o = Operands(a, lda, one, packed, b_k, start, lds, c, ldc, terms)
    blocks(b, t, panel, rows, o)


def _near(b: Body, t: Tiling, N: int, operands: Sequence[Value], K: Value) -> None:
    """`product` for any K that lets the matrix stay near: by a function for every N where all
    panels are full, else by one for this N."""
    if N % t.columns == 0:
        b.call_void(_near_whole(b.module, t), *operands, K, b.const(INT, N))
        return
    most = max(ROWS, ROWS_BYTES // (NEAR_BYTES // N) // ROWS * ROWS)

    def write(b: Body) -> None:
        *operands, K = b.args
        _by_panels(b, t, N, K, [K], most, operands)

    name = f"unfold.product.{t.element.suffix}.{N}"
    b.call_void(define(b.module, name, VOID, (*_PARAMS, INT), write), *operands, K)


def _near_whole(module: ir.Module, t: Tiling) -> str:
    """``void (operands…, K, N)``: full panels only."""
    (panel,) = t.panels(t.columns)
    group = together(t) * t.columns
    # Rows of at most NEAR_BYTES / N each: a multiple of ROWS that stays below ROWS_BYTES.
    per_column = ROWS_BYTES // NEAR_BYTES // ROWS * ROWS

    def write(b: Body) -> None:
        rows, a, lda, packed, start, lds, c, ldc, K, N = b.args
        given = start.ne(0)
        start, lds = given.select(start, zeros(b, t)), given.select(lds, 0)
        column = given.convert("zext", "i64")
        grouped, most = N & -group, N * per_column

        def some(row: Value, _: list[Value]) -> list[Value]:
            left = rows - row
            count = left.lt(most).select(left, most)
            alone = count.eq(1)
            from_a, to_c = b.at(a, row * lda, t.element), b.at(c, row * ldc, t.element)
            begin = b.at(start, row * lds, t.element)

            def operands(first: Value) -> Operands:
                return Operands(
                    a=from_a, a_row=lda, a_k=b.const(INT, 1),
                    b=b.at(packed, first * K, t.element), b_k=b.const(INT, panel.padded),
                    start=b.at(begin, first * column, t.element), start_row=lds,
                    c=b.at(to_c, first, t.element), c_row=ldc, terms=K,
                )  # fmt: skip

            def at_once(first: Value, _: list[Value]) -> list[Value]:
                panels_at_once(b, t, operands(first), K * t.columns, column * t.columns)
                return []

            def one(first: Value, _: list[Value]) -> list[Value]:
                blocks(b, t, panel, count, operands(first))
                return []

            b.when(alone, lambda: b.loop(grouped, [], at_once, by=group))
            b.loop(N, [], one, start=alone.select(grouped, 0), by=t.columns)
            return []

        b.loop(rows, [], some, by=most)

    name = f"unfold.product.{t.element.suffix}"
    return define(module, name, VOID, (*_PARAMS, INT, INT), write)


def _by_panels(
    b: Body, t: Tiling, N: int, K: int | Value, chunks: Sequence[int | Value], most: int,
    operands: Sequence[Value],
) -> None:  # fmt: skip
    """The product panel by panel, ``most`` rows at a time; K in chunks."""
    rows, a, lda, packed, start, lds, c, ldc = operands
    panels = t.panels(N)
    full = sum(p.columns == t.columns for p in panels)
    grouped = full - full % together(t)
    given = start.ne(0)
    first_start = given.select(start, zeros(b, t))
    first_lds = given.select(lds, 0)
    first_column = given.convert("zext", "i64")

    def some(row: Value, count: Value) -> None:
        from_a = b.at(a, row * lda, t.element)
        to_c = b.at(c, row * ldc, t.element)
        begin = (b.at(first_start, row * first_lds, t.element), first_lds, first_column)
        done = 0
        for terms in chunks:
            step(from_a, to_c, begin, count, done, terms)
            begin = (to_c, ldc, b.const(INT, 1))
            if isinstance(terms, int):
                done += terms

    def step(
        from_a: Value, to_c: Value, begin: tuple[Value, Value, Value], count: Value, done: int,
        terms: int | Value,
    ) -> None:  # fmt: skip
        def operands(panel: Panel, first: Value) -> Operands:
            from_b = b.at(packed, first * K + done * panel.padded, t.element)
            ahead, length = None, terms if isinstance(terms, Value) else b.const(INT, terms)
            if isinstance(K, int) and isinstance(terms, int) and len(panels) > 1:
                following = b.at(from_b, K * panel.padded, t.element)
                ahead = packed_ahead(b, t, following, terms, panel.padded)
            return Operands(
                a=b.at(from_a, done, t.element), a_row=lda, a_k=b.const(INT, 1),
                b=from_b, b_k=b.const(INT, panel.padded),
                start=b.at(begin[0], first * begin[2], t.element), start_row=begin[1],
                c=b.at(to_c, first, t.element), c_row=ldc, terms=length, ahead=ahead,
            )  # fmt: skip

        def one(panel: Panel, first: Value) -> None:
            blocks(b, t, panel, count, operands(panel, first))

        def group(first: Value, _: list[Value]) -> list[Value]:
            o, apart = operands(panels[0], first), b.const(INT, t.columns) * K
            panels_at_once(b, t, o, apart, begin[2] * t.columns)
            return []

        def single() -> list[Value]:
            b.loop(grouped * t.columns, [], group, by=together(t) * t.columns)
            over_panels(b, panels[grouped:], one)
            return []

        def several() -> list[Value]:
            over_panels(b, panels, one)
            return []

        if grouped:
            b.when(count.eq(1), single)
            b.when(count.ne(1), several)
        else:
            several()

    def part(first: Value, _: list[Value]) -> list[Value]:
        left = rows - first
        some(first, left.lt(most).select(left, most))
        return []

    b.loop(rows, [], part, by=most)


def matvec(
    module: ir.Module, target: HostTarget, dtype: str, N: int, K: int, *, transposed: bool
) -> str:
    """``void (ptr source, i64 stride, ptr x, ptr start, ptr y)``: one product, no packing.

    ``y[N] = start[N] + x[K] @ B``, where the source is B[K, N], or with ``transposed`` W[N, K]
    and B = W^T (so ``y = W x``); ``start`` may be null (zeros) or y. For a matrix that is used
    once or a few times.
    """
    t = tiling(target, dtype)

    def write(b: Body) -> None:
        source, stride, x, start, y = b.args
        one = b.const(INT, 1)
        if transposed:
            dot_rows(b, t, 1, K, b.const(INT, N), source, stride, x, start, one, y, one)
            return

        given = start.ne(0)
        begin = given.select(start, zeros(b, t))
        column = given.convert("zext", "i64")

        def panel_of(panel: Panel, first: Value) -> None:
            following = b.at(source, first + panel.columns, t.element)
            ahead = columns_ahead(b, t, following, stride, panel.padded)
            o = Operands(
                a=x, a_row=one, a_k=one, b=b.at(source, first, t.element), b_k=stride,
                start=b.at(begin, first * column, t.element), start_row=one,
                c=b.at(y, first, t.element), c_row=one, terms=b.const(INT, K),
                ahead=None if len(panels) == 1 else ahead,
            )  # fmt: skip
            blocks(b, t, panel, 1, o)

        panels = t.exact_panels(N)
        over_panels(b, panels, panel_of)

    name = f"unfold.matvec{'.t' if transposed else ''}.{t.element.suffix}.{N}x{K}"
    return define(module, name, VOID, (POINTER, INT, POINTER, POINTER, POINTER), write)
