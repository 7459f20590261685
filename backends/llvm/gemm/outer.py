"""Sums of outer products: the gradient of a weight, as one matrix product over all rows."""

from __future__ import annotations

from .. import ir
from ..body import BOOL, INT, POINTER, VOID, Body, Value, define
from ..jit import HostTarget
from .kernel import Operands, blocks, zeros
from .packing import SIDE, copy_panel, over_panels, transpose
from .tiling import Panel, Tiling, tiling

#: From so many rows of C on, a panel of B is read often enough to be packed first.
PACK_FROM = 24
#: From so many panels on, A is read often enough to be transposed first.
TRANSPOSE_FROM = 24


def outer_work(target: HostTarget, dtype: str, N1: int, N2: int) -> int:
    """How many elements of work space `outer_sum` needs, whatever the number of rows; may be 0."""
    t = tiling(target, dtype)
    return _left_work(t, N1, N2) + max(
        (t.chunk * p.padded for p in t.panels(N2) if _is_packed(p, N1)), default=0
    )


def _left_work(t: Tiling, N1: int, N2: int) -> int:
    """The elements of a transposed chunk of A; 0 if A is read where it stands.

    Where it stands, the terms of a sum are a row of A apart, often a power of two, and would
    share few lines of the nearest cache.
    """
    return t.chunk * N1 if N1 >= SIDE and len(t.panels(N2)) >= TRANSPOSE_FROM else 0


def _is_packed(panel: Panel, N1: int) -> bool:
    """Columns that do not fill a vector must not be read beyond the end of a row."""
    return N1 >= PACK_FROM or not panel.is_full


def outer_sum(module: ir.Module, target: HostTarget, dtype: str, N1: int, N2: int) -> str:
    """``void (i64 rows, ptr A, i64 lda, ptr B, i64 ldb, ptr C, i64 ldc, i1 accumulate, ptr work)``.

    ``C[N1, N2] = A[rows, N1]^T @ B[rows, N2]`` (or ``+=``): the sum of the outer products of the
    rows, in a fixed order. ``rows`` is a run-time number and may be large (steps times batch).
    ``work`` has room for `outer_work` elements. C overlaps neither A nor B.
    """
    t = tiling(target, dtype)

    def write(b: Body) -> None:
        rows, a, lda, from_b, ldb, c, ldc, accumulate, work = b.args
        one = b.const(INT, 1)

        def chunk(start: Value, _: list[Value]) -> list[Value]:
            rest = rows - start
            terms = rest.lt(t.chunk).select(rest, t.chunk)
            add = accumulate | start.gt(0)
            from_c, from_row = add.select(c, zeros(b, t)), add.select(ldc, 0)
            column = add.convert("zext", "i64")

            left_at, left_row, left_k = b.at(a, start * lda, t.element), one, lda
            space = work
            if _left_work(t, N1, N2):
                transpose(b, t, left_at, lda, terms, N1, work, t.chunk)
                left_at, left_row, left_k = work, b.const(INT, t.chunk), one
                space = b.at(work, _left_work(t, N1, N2), t.element)

            def panel_of(panel: Panel, first: Value) -> None:
                source = b.at(b.at(from_b, start * ldb, t.element), first, t.element)
                stride, following = ldb, b.at(source, panel.columns, t.element)
                if _is_packed(panel, N1):
                    copy_panel(b, t, panel, source, ldb, terms, space)
                    source, stride = space, b.const(INT, panel.padded)
                o = Operands(
                    a=left_at, a_row=left_row, a_k=left_k, b=source, b_k=stride,
                    start=b.at(from_c, first * column, t.element), start_row=from_row,
                    c=b.at(c, first, t.element), c_row=ldc, terms=terms,
                    ahead=following, ahead_k=ldb,
                )  # fmt: skip
                blocks(b, t, panel, N1, o)

            over_panels(b, t.panels(N2), panel_of)
            return []

        b.loop(rows, [], chunk, by=t.chunk)
        nothing = rows.le(0) & accumulate.eq(0)
        b.when(nothing, lambda: _clear(b, t, N1, N2, c, ldc))

    params = (INT, POINTER, INT, POINTER, INT, POINTER, INT, BOOL, POINTER)
    return define(module, f"unfold.outer.{t.element.suffix}.{N1}x{N2}", VOID, params, write)


def _clear(b: Body, t: Tiling, N1: int, N2: int, c: Value, ldc: Value) -> list[Value]:
    """The sum over no rows."""

    def row(i: Value, _: list[Value]) -> list[Value]:
        def column(j: Value, _: list[Value]) -> list[Value]:
            b.store(b.const(t.element, 0.0), b.at(c, i * ldc + j, t.element))
            return []

        b.loop(N2, [], column)
        return []

    b.loop(N1, [], row)
    return []
