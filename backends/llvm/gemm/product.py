"""Packing and products with packed panels."""

from __future__ import annotations

from .. import ir
from ..body import BOOL, INT, POINTER, VOID, Body, Value, define
from ..jit import HostTarget
from .dot import dot_rows
from .kernel import Operands, blocks
from .packing import copy_panel, over_panels, transpose_panel
from .tiling import DOT_COLUMNS, ROWS, ROWS_BYTES, Panel, Tiling, evenly, tiling


def _by_dots(t: Tiling, N: int, K: int) -> bool:
    """Whether a row of C is made of dot products along K (B is then kept by columns)."""
    return N <= DOT_COLUMNS and 2 * t.lanes <= K


def packed_size(target: HostTarget, dtype: str, N: int, K: int) -> int:
    """How many elements `pack` writes for a matrix B[K, N] (its columns are padded)."""
    t = tiling(target, dtype)
    if _by_dots(t, N, K):
        return N * K
    return K * sum(panel.padded for panel in t.panels(N))


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
            if transposed:
                start = b.at(source, first * stride, t.element)
                transpose_panel(b, t, panel, start, stride, K, to)
            else:
                start = b.at(source, first, t.element)
                copy_panel(b, t, panel, start, stride, b.const(INT, K), to)

        over_panels(b, t.panels(N), one)

    name = f"unfold.pack{'.t' if transposed else ''}.{t.element.suffix}.{N}x{K}"
    return define(module, name, VOID, (POINTER, INT, POINTER), write)


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
    """``void (i64 rows, ptr A, i64 lda, ptr packed, ptr C, i64 ldc, i1 accumulate)``.

    ``C[rows, N] = A[rows, K] @ B``, or ``+=`` with ``accumulate``; ``packed`` is what `pack` made
    of B. ``lda`` and ``ldc`` are the strides of the rows in elements. A and C do not overlap.
    """
    t = tiling(target, dtype)

    def write(b: Body) -> None:
        rows, a, lda, packed, c, ldc, accumulate = b.args
        if _by_dots(t, N, K):
            dot_rows(b, t, N, K, rows, a, lda, packed, c, ldc, accumulate)
            return
        chunks = evenly(K, t.chunk)
        panels = t.panels(N)

        def some(first_row: Value, count: Value) -> None:
            from_a = b.at(a, first_row * lda, t.element)
            to_c = b.at(c, first_row * ldc, t.element)
            start = 0
            for terms in chunks:
                step(from_a, to_c, count, start, terms)
                start += terms

        def step(from_a: Value, to_c: Value, count: Value, start: int, terms: int) -> None:
            def one(panel: Panel, first: Value) -> None:
                at = first * K + start * panel.padded
                o = Operands(
                    a=b.at(from_a, start, t.element), a_row=lda, a_k=b.const(INT, 1),
                    b=b.at(packed, at, t.element), b_k=b.const(INT, panel.padded),
                    c=b.at(to_c, first, t.element), c_row=ldc, terms=b.const(INT, terms),
                    accumulate=accumulate if start == 0 else b.const(BOOL, 1),
                )  # fmt: skip
                blocks(b, t, panel, count, o)

            over_panels(b, panels, one)

        if len(panels) == 1 and len(chunks) == 1:
            some(b.const(INT, 0), rows)
            return
        # So many rows of A that they stay in the cache while all panels pass over them.
        most = max(ROWS, ROWS_BYTES // (max(chunks) * t.itemsize) // ROWS * ROWS)

        def part(first: Value, _: list[Value]) -> list[Value]:
            left = rows - first
            some(first, left.lt(most).select(left, most))
            return []

        b.loop(rows, [], part, by=most)

    params = (INT, POINTER, INT, POINTER, POINTER, INT, BOOL)
    return define(module, f"unfold.product.{t.element.suffix}.{N}x{K}", VOID, params, write)


def matvec(
    module: ir.Module, target: HostTarget, dtype: str, N: int, K: int, *, transposed: bool
) -> str:
    """``void (ptr source, i64 stride, ptr x, ptr y, i1 accumulate)``: one product, no packing.

    ``y[N] = x[K] @ B`` (or ``+=``), where the source is B[K, N], or with ``transposed`` W[N, K]
    and B = W^T (so ``y = W x``). For a matrix that is used once or a few times.
    """
    t = tiling(target, dtype)

    def write(b: Body) -> None:
        source, stride, x, y, accumulate = b.args
        one = b.const(INT, 1)
        if transposed:
            dot_rows(b, t, 1, K, b.const(INT, N), source, stride, x, y, one, accumulate)
            return

        def panel_of(panel: Panel, first: Value) -> None:
            o = Operands(
                a=x, a_row=one, a_k=one, b=b.at(source, first, t.element), b_k=stride,
                c=b.at(y, first, t.element), c_row=one, terms=b.const(INT, K),
                accumulate=accumulate,
            )  # fmt: skip
            blocks(b, t, panel, 1, o)

        over_panels(b, t.exact_panels(N), panel_of)

    name = f"unfold.matvec{'.t' if transposed else ''}.{t.element.suffix}.{N}x{K}"
    return define(module, name, VOID, (POINTER, INT, POINTER, POINTER, BOOL), write)
