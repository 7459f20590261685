"""A kernel for products of matrices whose entries stand at any distances.

The kernels of `unfold.backends.llvm.gemm` want adjacent entries; this one is for the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..ir import Function, Value, integer, real, vector

if TYPE_CHECKING:
    from .emit import TileEmitter

#: Rows and vectors of a register block.
ROWS, VECTORS = 4, 4


def rows_by_matrix(
    te: TileEmitter,
    inner: int,
    columns: int,
    a_step: int,
    a_stride: int,
    b_step: int,
    b_stride: int,
    c_step: int,
    c_stride: int,
    add: bool,
) -> str:
    """``void(a, b, c, rows)``: ``c[r, j] = sum_k a[r, k] b[k, j]``; all distances are constants.

    With ``add`` the sums begin with what is in c.
    """
    key = ("rows", inner, columns, a_step, a_stride, b_step, b_stride, c_step, c_stride, add)
    name = "product." + ".".join(str(k) for k in key[1:])

    def write(f: Function) -> None:
        a, b, c, rows = f.args
        kind = te.tile.formats.real
        size = te.tile.formats.bytes("real")

        def block(row: Value, height: int, at: Value, count: int, width: int) -> None:
            """``height`` rows and ``count`` vectors of columns from column ``at`` on."""
            wide = vector(kind, width)
            left = [_at(f, a, kind, row, k, a_step) for k in range(height)]
            right = f.offset(b, kind, _times(f, at, b_stride))
            lines = []
            for i in range(height):
                line = _at(f, c, kind, row, i, c_step)
                lines.append(f.offset(line, kind, _times(f, at, c_stride)))
            skips = [n * width * c_stride for n in range(count)]
            start = [real(0.0, wide)] * (height * count)
            if add:
                start = [
                    _load(f, line, kind, size, skip, width, c_stride)
                    for line in lines
                    for skip in skips
                ]
            loop = f.loop(integer(0), integer(inner - 1), 1, start)
            k = loop.index
            line = f.offset(right, kind, _times(f, k, b_step))
            vectors = [
                _load(f, line, kind, size, n * width * b_stride, width, b_stride)
                for n in range(count)
            ]
            state = []
            for i in range(height):
                here = f.offset(left[i], kind, _times(f, k, a_stride))
                x = f.splat(f.load(kind, here, size), width)
                for n in range(count):
                    old = loop.state[i * count + n]
                    term = f.binary("fmul contract", x, vectors[n])
                    state.append(f.binary("fadd contract", old, term))
            sums = loop.close(state)
            places = [(line, skip) for line in lines for skip in skips]
            for value, (line, skip) in zip(sums, places, strict=True):
                _store(f, value, line, kind, size, skip, c_stride)

        lanes = te.lanes if b_stride == 1 or columns == 1 else 1
        over_blocks(f, rows, columns, lanes, block)

    return te.function(name, write)


def over_blocks(
    f: Function,
    rows: Value,
    columns: int,
    lanes: int,
    block: Callable[[Value, int, Value, int, int], None],
) -> None:
    """All rows and columns in blocks: full ones first, then single rows and narrower vectors."""

    def over_columns(row: Value, height: int) -> None:
        start, width = 0, lanes
        counts = [VECTORS, 1] if width > 1 else [1]
        while start < columns:
            for count in counts:
                span = count * width
                times = (columns - start) // span
                if times == 1:
                    block(row, height, integer(start), count, width)
                elif times:
                    loop = f.loop(integer(0), integer(times - 1), 1)
                    at = f.binary("add nsw", _times(f, loop.index, span), integer(start))
                    block(row, height, at, count, width)
                    loop.close()
                start += times * span
            width, counts = max(1, width // 2), [1]

    whole = f.binary("sdiv", rows, integer(ROWS))
    loop = f.loop(integer(0), f.binary("sub", whole, integer(1)), 1)
    over_columns(_times(f, loop.index, ROWS), ROWS)
    loop.close()
    done = _times(f, whole, ROWS)
    rest = f.loop(done, f.binary("sub", rows, integer(1)), 1)
    over_columns(rest.index, 1)
    rest.close()


def _times(f: Function, v: Value, n: int) -> Value:
    if n == 1 or v.name == "0":
        return v
    return f.binary("mul nsw", v, integer(n))


def _at(f: Function, base: Value, kind: str, row: Value, more: int, step: int) -> Value:
    line = f.offset(base, kind, _times(f, row, step)) if step else base
    return f.offset(line, kind, integer(more * step))


def _load(
    f: Function, line: Value, kind: str, size: int, skip: int, width: int, stride: int
) -> Value:
    at = f.offset(line, kind, integer(skip))
    if width == 1 or stride == 1:
        return f.load(vector(kind, width), at, size)
    value = Value(vector(kind, width), "poison")
    for k in range(width):
        here = f.offset(at, kind, integer(k * stride))
        value = f.with_lane(value, f.load(kind, here, size), k)
    return value


def _store(
    f: Function, v: Value, line: Value, kind: str, size: int, skip: int, stride: int
) -> None:
    at = f.offset(line, kind, integer(skip))
    width = int(v.type[1:].split()[0]) if v.type.startswith("<") else 1
    if width == 1 or stride == 1:
        f.store(v, at, size)
        return
    for k in range(width):
        f.store(f.lane(v, k), f.offset(at, kind, integer(k * stride)), size)
