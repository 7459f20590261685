"""Matrix products on tiles: which kernel does one, and where its operands stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import gemm
from ..ir import Value, integer
from . import packing, pieces
from .kernels import rows_by_matrix
from .nodes import Contract, Product, View

if TYPE_CHECKING:
    from .emit import TileEmitter

NULL = Value("ptr", "null")


@dataclass(frozen=True)
class Matrix:
    """A view as a matrix: its extents and strides (0 along an axis of one component)."""

    view: View
    rows: int
    columns: int
    down: int
    right: int

    @property
    def transposed(self) -> Matrix:
        return Matrix(self.view, self.columns, self.rows, self.right, self.down)

    @property
    def is_by_rows(self) -> bool:
        """Whether the entries of a row are adjacent."""
        return self.right == 1 or self.columns == 1


def as_left(v: View) -> Matrix:
    """A vector on the left of a product is a row."""
    if len(v.shape) == 1:
        return Matrix(v, 1, v.shape[0], 0, v.strides[0])
    return Matrix(v, *v.shape, *v.strides)


def as_right(v: View) -> Matrix:
    """A vector on the right of a product is a column."""
    if len(v.shape) == 1:
        return Matrix(v, v.shape[0], 1, v.strides[0], 0)
    return Matrix(v, *v.shape, *v.strides)


def product(te: TileEmitter, op: Product) -> None:
    """``target = start + left @ right`` in every row."""
    a, b = as_left(op.left), as_right(op.right)
    c = _result(op, op.target)
    d = None if op.start is None else _result(op, op.start)
    # One matrix and a vector in each row: the rows' vectors are the left matrix of a product.
    # With a matrix in each row, the vector goes to the left too: as a matrix of one column it would
    # be the right side of a product of numbers.
    if b.columns == 1 and a.rows > 1 and (op.left.shared or 1 in (a.down, a.right)):
        a, b, c = b.transposed, a.transposed, c.transposed
        d = None if d is None else d.transposed
    # Of two vectors, the one that all rows share goes to the right.
    if a.rows == 1 and b.columns == 1 and op.left.shared and not op.right.shared:
        a, b = b.transposed, a.transposed
    tile = te.tile
    operands = [m for m in (a, b, c, d) if m is not None]
    if b.view.shared and not a.view.shared and not any(m.view.pick for m in operands):
        steps = {m: tile.row_step(m.view) for m in operands}
        start = [tile.base(m.view) for m in operands]
        if a.rows == 1:
            call(te, operands, start, tile.rows, steps)
            return
        if all(steps[m] == a.rows * m.down for m in operands if m is not b):
            # The rows of all matrices stand in one line.
            total = te.f.binary("mul nsw", tile.rows, integer(a.rows))
            call(te, operands, start, total, {m: m.down for m in operands})
            return

    def row(at: Value) -> None:
        start = [tile.row_base(m.view, at) for m in operands]
        call(te, operands, start, integer(a.rows), {m: m.down for m in operands})

    te.over_rows(op.target, row)


def _result(op: Product, v: View) -> Matrix:
    """A view of the product's shape as a matrix."""
    extents, strides = iter(v.shape), iter(v.strides)
    rows, down = (next(extents), next(strides)) if len(op.left.shape) == 2 else (1, 0)
    columns, right = (next(extents), next(strides)) if len(op.right.shape) == 2 else (1, 0)
    return Matrix(v, rows, columns, down, right)


def call(
    te: TileEmitter,
    operands: Sequence[Matrix],
    addresses: Sequence[Value],
    rows: Value,
    steps: Mapping[Matrix, int],
) -> None:
    """The product of ``rows`` rows of ``a`` (``steps[a]`` apart) with the matrix ``b`` into ``c``.

    ``operands`` are a, b, c and possibly what the sum starts with.
    """
    f, g = te.f, te.generator
    a, b, c = operands[:3]
    a_at, b_at, c_at = addresses[:3]
    N, K = b.columns, b.rows
    by_rows = b.is_by_rows
    stride = integer(b.down if by_rows else b.right)
    plain = all(m.is_by_rows for m in operands if m is not b)
    begin, skip = (addresses[3], steps[operands[3]]) if len(operands) > 3 else (NULL, 0)
    if not plain or not (by_rows or b.transposed.is_by_rows):
        starts = len(operands) > 3
        if starts:
            copy_start(te, operands[3], begin, skip, c, c_at, steps[c], rows)
        name = rows_by_matrix(
            te, K, N, steps[a], a.right, b.down, b.right, steps[c], c.right, starts
        )
        f.call_void(name, a_at, b_at, c_at, rows)
    elif b.view.shared and (rows.name != "1" or te.is_repeated):
        packed = b_at
        if not gemm.is_packed(g.target, g.dtype, N, K, b.down, b.right):
            packed = packing.packed(te, b, b_at, stride, not by_rows)
        if pieces.divided(g, N, K):
            start = None if begin is NULL else begin
            pieces.product(
                te, N, K, rows, a_at, steps[a], packed, start, skip, c_at, steps[c]
            )  # fmt: skip
            return
        gemm.multiply(
            f, g.target, g.dtype, N, K,
            (rows, a_at, integer(steps[a]), packed, begin, integer(skip), c_at, integer(steps[c])),
        )  # fmt: skip
    else:
        name = gemm.matvec(g.module, g.target, g.dtype, N, K, transposed=not by_rows)
        loop = f.loop(integer(0), te.last(rows), 1)
        kind = g.formats.real

        def at(pointer: Value, step: int) -> Value:
            return f.offset(pointer, kind, f.binary("mul nsw", loop.index, integer(step)))

        x, y = at(a_at, steps[a]), at(c_at, steps[c])
        first = begin if begin is NULL else at(begin, skip)
        f.call_void(name, b_at, stride, x, first, y)
        loop.close()


def copy_start(
    te: TileEmitter, d: Matrix, d_at: Value, d_step: int, c: Matrix, c_at: Value, c_step: int,
    rows: Value,
) -> None:  # fmt: skip
    """Put what sums start with where they are made, entry by entry; it may stand there already."""
    f, kind = te.f, te.generator.formats.real
    size = te.generator.formats.bytes("real")
    loop = f.loop(integer(0), te.last(rows), 1)
    inner = f.loop(integer(0), integer(c.columns - 1), 1)
    places = []
    for pointer, step, right in ((c_at, c_step, c.right), (d_at, d_step, d.right)):
        line = f.offset(pointer, kind, f.binary("mul nsw", loop.index, integer(step)))
        places.append(f.offset(line, kind, f.binary("mul nsw", inner.index, integer(right))))
    f.store(f.load(kind, places[1], size), places[0], size)
    inner.close()
    loop.close()


def contracts(te: TileEmitter, ops: Sequence[Contract]) -> None:
    """Sums of outer products with one left factor, which is packed once for all."""
    f, g, tile = te.f, te.generator, te.tile
    u = as_left(ops[0].left)
    ops = sorted(ops, key=lambda op: op.right.size)  # so is what is foreseen
    pairs = [(as_left(op.right), as_right(op.target)) for op in ops]
    N1, widths = u.columns, [v.columns for v, _ in pairs]
    if (
        len(ops) == 1
        or any(m.view.pick is not None for m in (u, *(v for v, _ in pairs)))
        or any(pieces.divided(g, max(N1, N2), min(N1, N2)) for N2 in widths)
        or not gemm.shares_left(g.target, g.dtype, N1, widths)
    ):
        for op in ops:
            contract(te, op)
        return
    operands = [tile.rows, tile.base(u.view), tile.row_distance(u.view)]
    for v, c in pairs:
        operands += [tile.base(v.view), tile.row_distance(v.view)]
        operands += [tile.base(c.view), integer(c.down)]
    work = g.scratch(f, gemm.outer_work(g.target, g.dtype, N1, *widths))
    operands += [integer(not ops[0].fresh, "i1"), work]
    gemm.outer_sums(f, g.target, g.dtype, N1, widths, operands)


def contract(te: TileEmitter, op: Contract) -> None:
    """``target += sum over rows of outer(left, right)``."""
    f, g, tile = te.f, te.generator, te.tile
    u, v, c = as_left(op.left), as_left(op.right), as_right(op.target)
    N1, N2 = u.columns, v.columns
    divided = pieces.divided(g, max(N1, N2), min(N1, N2))
    steps = [tile.row_distance(m.view) for m in (u, v)]

    def sums(rows: Value, left: Value, right: Value, add: bool) -> None:
        target = tile.base(c.view)
        if u.columns == 1 and c.right == 1:
            weighted = gemm.weighted_sum(g.module, g.target, g.dtype, v.columns)
            f.call_void(weighted, rows, left, steps[0], right, steps[1], target, integer(add, "i1"))
            return
        if divided:
            pieces.outer(te, N1, N2, rows, left, steps[0], right, steps[1], target, c.down, add)
            return
        work = g.scratch(f, gemm.outer_work(g.target, g.dtype, N1, N2))
        gemm.outer_sum(
            f, g.target, g.dtype, N1, N2,
            (rows, left, steps[0], right, steps[1], target, integer(c.down), integer(add, "i1"),
             work),
        )  # fmt: skip

    alone = u.view.pick is None and v.view.pick is None
    if alone or op.fresh:
        # Over no rows it only clears the target.
        rows = tile.rows if alone else integer(0)
        sums(rows, tile.base(u.view), tile.base(v.view), not op.fresh)
        if alone:
            return
    loop = f.loop(integer(0), te.last(tile.rows), 1)
    with tile.scope():
        left, right = (tile.row_base(m.view, loop.index) for m in (u, v))
        sums(integer(1), left, right, True)
    loop.close()
