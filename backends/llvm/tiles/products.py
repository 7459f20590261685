"""Matrix products on tiles: which kernel does one, and where its operands stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..ir import Value, integer
from .kernels import contraction, rows_by_matrix
from .nodes import Contract, Product, View

if TYPE_CHECKING:
    from .emit import TileEmitter


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
    """``target = left @ right`` in every row."""
    a, b = as_left(op.left), as_right(op.right)
    c = Matrix(op.target, a.rows, b.columns, *_result_strides(op, a, b))
    if b.columns == 1 and op.left.shared and not op.right.shared:
        # One matrix and a vector in each row: the rows' vectors are the left matrix of a product.
        a, b, c = b.transposed, a.transposed, c.transposed
    elif b.columns == 1 and a.rows > 1 and a.down == 1:
        a, b, c = b.transposed, a.transposed, c.transposed
    tile = te.tile
    if a.rows == 1 and b.view.shared and not a.view.shared:
        many_rows(te, a, b, c, tile.rows, tile.row_step(a.view), tile.row_step(c.view))
        return
    steps = tile.row_step(a.view), tile.row_step(c.view)
    if b.view.shared and not a.view.shared and steps == (a.rows * a.down, a.rows * c.down):
        # The rows of all matrices stand in one line.
        total = te.f.binary("mul nsw", tile.rows, integer(a.rows))
        many_rows(te, a, b, c, total, a.down, c.down)
        return

    def row(at: Value) -> None:
        pointers = [tile.row_base(m.view, at) for m in (a, b, c)]
        call(te, a, b, c, *pointers, integer(a.rows), a.down, c.down)

    te.over_rows(op.target, row)


def _result_strides(op: Product, a: Matrix, b: Matrix) -> tuple[int, int]:
    strides = iter(op.target.strides)
    down = next(strides) if len(op.left.shape) == 2 else 0
    right = next(strides) if len(op.right.shape) == 2 else 0
    return down, right


def many_rows(
    te: TileEmitter, a: Matrix, b: Matrix, c: Matrix, rows: Value, a_step: int, c_step: int
) -> None:
    """One product whose left matrix is made of all rows of the tile."""
    pointers = [te.tile.base(m.view) for m in (a, b, c)]
    if a.view.pick is None and c.view.pick is None and b.view.pick is None:
        call(te, a, b, c, *pointers, rows, a_step, c_step)
        return

    def row(at: Value) -> None:
        found = [te.tile.row_base(m.view, at) for m in (a, b, c)]
        call(te, a, b, c, *found, integer(1), a_step, c_step)

    loop = te.f.loop(integer(0), te.last(rows), 1)
    with te.tile.scope():
        row(loop.index)
    loop.close()


def call(
    te: TileEmitter,
    a: Matrix,
    b: Matrix,
    c: Matrix,
    a_at: Value,
    b_at: Value,
    c_at: Value,
    rows: Value,
    a_step: int,
    c_step: int,
) -> None:
    """Call the kernel for ``rows`` rows of ``a``; ``b`` is copied first if its rows have gaps."""
    if b.columns > 1 and b.right != 1:
        packed = te.packed(b)
        if packed is not None:
            b, b_at = packed
    name = rows_by_matrix(
        te, a.columns, b.columns, a_step, a.right, b.down, b.right, c_step, c.right
    )
    te.f.call_void(name, a_at, b_at, c_at, rows)


def contract(te: TileEmitter, op: Contract) -> None:
    """``target += sum over rows of outer(left, right)``."""
    tile = te.tile
    u, v = op.left, op.right
    target = op.target
    name = contraction(
        te, u.size, v.size, tile.row_step(u), u.strides[0], tile.row_step(v), v.strides[0],
        *target.strides,
    )  # fmt: skip
    if u.pick is None and v.pick is None:
        te.f.call_void(name, tile.base(u), tile.base(v), tile.base(target), tile.rows)
        return
    loop = te.f.loop(integer(0), te.last(tile.rows), 1)
    with tile.scope():
        left, right = (tile.row_base(x, loop.index) for x in (u, v))
        te.f.call_void(name, left, right, tile.base(target), integer(1))
    loop.close()
