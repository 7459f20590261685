"""Sums of outer products: the gradient of a weight, as one matrix product over all rows."""

from __future__ import annotations

from .. import ir
from ..body import BOOL, INT, POINTER, VOID, Body, Value, define
from ..jit import HostTarget
from .kernel import Operands, blocks, zeros
from .packing import copy_panel, over_panels
from .tiling import Panel, Tiling, tiling

#: From so many rows of C on, a panel of B is read often enough to be packed first.
PACK_FROM = 24
#: From so many bytes between the rows of A on, columns of A are packed as well: read where they
#: stand, a few numbers of each row, they come late from memory and share few lines of the caches.
STRIDE = 2048
#: The least columns of C for which that is worth its while.
WIDE = 128


def outer_work(target: HostTarget, dtype: str, N1: int, N2: int) -> int:
    """How many elements of work space `outer_sum` needs, whatever the number of rows; may be 0."""
    t = tiling(target, dtype)
    if _is_left_packed(t, N1, N2):
        return t.chunk * (t.columns + sum(p.padded for p in t.panels(N2)))
    return max((t.chunk * p.padded for p in t.panels(N2) if _is_packed(p, N1)), default=0)


def _is_left_packed(t: Tiling, N1: int, N2: int) -> bool:
    return N1 * t.itemsize >= STRIDE and N2 >= WIDE


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

            left_at, right_at = (
                b.at(a, start * lda, t.element),
                b.at(from_b, start * ldb, t.element),
            )

            def panel_of(panel: Panel, first: Value) -> None:
                source = b.at(right_at, first, t.element)
                stride, following = ldb, b.at(source, panel.columns, t.element)
                if _is_packed(panel, N1):
                    copy_panel(b, t, panel, source, ldb, terms, work)
                    source, stride = work, b.const(INT, panel.padded)
                o = Operands(
                    a=left_at, a_row=one, a_k=lda, b=source, b_k=stride,
                    start=b.at(from_c, first * column, t.element), start_row=from_row,
                    c=b.at(c, first, t.element), c_row=ldc, terms=terms,
                    ahead=following, ahead_k=ldb,
                )  # fmt: skip
                blocks(b, t, panel, N1, o)

            def pack_right(panel: Panel, first: Value) -> None:
                to = b.at(work, first * t.chunk, t.element)
                copy_panel(b, t, panel, b.at(right_at, first, t.element), ldb, terms, to)

            def left_panel(left: Panel, row: Value) -> None:
                """Some rows of C: a panel of columns of A, and all panels of B."""
                packed = b.at(work, t.chunk * sum(p.padded for p in t.panels(N2)), t.element)
                copy_panel(b, t, left, b.at(left_at, row, t.element), lda, terms, packed)
                start_at = b.at(from_c, row * from_row, t.element)
                to_c = b.at(c, row * ldc, t.element)

                def right_panel(panel: Panel, first: Value) -> None:
                    source = b.at(work, first * t.chunk, t.element)
                    o = Operands(
                        a=packed, a_row=one, a_k=b.const(INT, left.padded),
                        b=source, b_k=b.const(INT, panel.padded),
                        start=b.at(start_at, first * column, t.element), start_row=from_row,
                        c=b.at(to_c, first, t.element), c_row=ldc, terms=terms,
                        ahead=b.at(source, t.chunk * panel.padded, t.element),
                        ahead_k=b.const(INT, panel.padded),
                    )  # fmt: skip
                    blocks(b, t, panel, left.columns, o)

                over_panels(b, t.panels(N2), right_panel)

            if _is_left_packed(t, N1, N2):
                over_panels(b, t.panels(N2), pack_right)
                over_panels(b, t.panels(N1), left_panel)
                return []
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
