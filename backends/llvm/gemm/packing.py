"""Bringing a matrix into panels: for each panel, its rows along K one after the other."""

from __future__ import annotations

from collections.abc import Callable

from .. import ir
from ..body import INT, POINTER, VOID, Body, Type, Value, define
from .tiling import ROWS, Panel, Tiling

#: The side of the squares that are transposed in registers: longer ones take long to compile.
SIDE = 8
#: How many rows ahead what is copied is asked for, if it is far from the processor.
AHEAD = 8


def copy_panel(b: Body, t: Tiling, panel: Panel, source: Value, stride: Value, terms: Value,
               packed: Value, far: bool = False) -> None:  # fmt: skip
    """Pack ``terms`` rows of a panel of a matrix whose rows are along its columns.

    ``source`` is the address of the panel's first column in the first row. Columns that only fill
    up the last vector are 0.
    """
    b.call_void(copy_function(b.module, t, panel, far), source, stride, terms, packed)


def copy_function(module: ir.Module, t: Tiling, panel: Panel, far: bool = False) -> str:
    """``void (source, stride, terms, packed)``."""
    full = panel.vectors if panel.is_full else panel.vectors - 1
    kind = Type(t.element.element, panel.width)

    def write(b: Body) -> None:
        source, stride, terms, packed = b.args

        def row(k: Value, _: list[Value]) -> list[Value]:
            line = b.at(source, k * stride, t.element)
            to = b.at(packed, k * panel.padded, t.element)
            for n in range(full):
                here = n * panel.width
                if far:
                    b.prefetch(b.at(b.at(line, stride * AHEAD, t.element), here, t.element))
                b.store(b.load(b.at(line, here, t.element), kind), b.at(to, here, t.element))
            if full < panel.vectors:
                here = full * panel.width
                rest = b.const(kind, 0.0)
                for lane in range(panel.last):
                    one = b.load(b.at(line, here + lane, t.element), t.element)
                    rest = b.with_lane(rest, one, lane)
                b.store(rest, b.at(to, here, t.element))
            return []

        b.loop(terms, [], row)

    name = f"unfold.copy.{panel.columns}.{kind.suffix}{'.far' if far else ''}"
    return define(module, name, VOID, (POINTER, INT, INT, POINTER), write)


def copy_slices(b: Body, t: Tiling, source: Value, stride: Value, terms: Value, columns: int,
                packed: Value, far: bool = False) -> None:  # fmt: skip
    """Pack ``terms`` rows of some columns of a matrix in slices of `ROWS` columns.

    Slices stand one after the other; in a slice the rows do. The last one has the columns that are
    left.
    """
    count, rest = divmod(columns, ROWS)

    def row(k: Value, _: list[Value]) -> list[Value]:
        line = b.at(source, k * stride, t.element)

        def one(n: Value | int, width: int) -> None:
            kind = Type(t.element.element, width)
            to = b.at(b.at(packed, terms * n, t.element), k * width, t.element)
            if far:
                b.prefetch(b.at(b.at(line, stride * AHEAD, t.element), n, t.element))
            b.store(b.load(b.at(line, n, t.element), kind), to)

        def each(n: Value, _: list[Value]) -> list[Value]:
            one(n, ROWS)
            return []

        b.loop(count * ROWS, [], each, by=ROWS)
        if rest:
            one(b.const(INT, count * ROWS), rest)
        return []

    b.loop(terms, [], row)


def transpose_panel(b: Body, t: Tiling, panel: Panel, source: Value, stride: Value, terms: int,
                    packed: Value) -> None:  # fmt: skip
    """Pack a panel of a matrix whose rows are along K.

    ``source`` is the address of the panel's first column, which is a row of the matrix. Columns
    that only fill up the last vector repeat the last one.
    """
    side = min(SIDE, panel.width)
    if terms < side:
        for n in range(panel.padded):
            line = b.at(source, stride * min(n, panel.columns - 1), t.element)
            for k in range(terms):
                x = b.load(b.at(line, k, t.element), t.element)
                b.store(x, b.at(packed, k * panel.padded + n, t.element))
        return
    name = _transposition(b.module, t, side, panel.columns == panel.padded and terms % side == 0)
    sizes = [b.const(INT, n) for n in (panel.columns, panel.padded, terms, panel.padded)]
    b.call_void(name, source, stride, packed, *sizes)


def pack_whole(module: ir.Module, t: Tiling, panel: Panel, transposed: bool) -> str:
    """``void (source, stride, packed, N, K)``: a matrix of such panels, all of them full.

    Where rows of the source are along K, that must be a multiple of the side of the squares.
    """
    if transposed:
        inner = _transposition(module, t, min(SIDE, panel.width), True)
    else:
        inner = copy_function(module, t, panel)

    def write(b: Body) -> None:
        source, stride, packed, N, K = b.args

        def each(first: Value, _: list[Value]) -> list[Value]:
            to = b.at(packed, first * K, t.element)
            start = b.at(source, first * stride if transposed else first, t.element)
            columns = b.const(INT, panel.columns)
            sizes = (stride, to, columns, columns, K, columns) if transposed else (stride, K, to)
            b.call_void(inner, start, *sizes)
            return []

        b.loop(N, [], each, by=panel.columns)

    name = f"unfold.pack{'.t' if transposed else ''}.{t.element.suffix}"
    return define(module, name, VOID, (POINTER, INT, POINTER, INT, INT), write)


def _transposition(module: ir.Module, t: Tiling, side: int, whole: bool) -> str:
    """``void (source, stride, to, rows, room, columns, to_stride)``: square by square.

    ``room`` is how many rows to write, the last of the source for all that it lacks.

    Squares that would stand out at the end of a row are moved back over the one before, whose
    entries are then written twice. With ``whole`` there are none, and no row lacks.
    """
    kind = Type(t.element.element, side)
    name, exact = f"unfold.transpose.{kind.suffix}", ".whole"
    if name in module.defined:
        return name

    def write(b: Body) -> None:
        source, stride, to, height, room, width, to_stride = b.args

        def least(x: Value, y: Value) -> Value:
            return x if whole else x.lt(y).select(x, y)

        def strip(first: Value, _: list[Value]) -> list[Value]:
            lines = [
                b.at(source, least(first + i, height - 1) * stride, t.element) for i in range(side)
            ]
            column = b.at(to, first, t.element)

            def square(k: Value, _: list[Value]) -> list[Value]:
                k = least(k, width - side)
                rows = [b.load(b.at(line, k, t.element), kind) for line in lines]
                line = b.at(column, k * to_stride, t.element)
                for row in transposed(b, rows):
                    b.store(row, line)
                    line = b.at(line, to_stride, t.element)
                return []

            b.loop(width, [], square, by=side)
            return []

        b.loop(room, [], strip, by=side)

    params = (POINTER, INT, POINTER, INT, INT, INT, INT)
    return define(module, name + exact if whole else name, VOID, params, write)


def transposed(b: Body, rows: list[Value]) -> list[Value]:
    """A square of vectors with rows and columns exchanged: blocks of 1, 2, 4, … swap places."""
    width = len(rows)
    step = 1
    while step < width:
        for i in range(width):
            if not i & step:
                low, high = rows[i], rows[i + step]
                even = [j if not j & step else width + j - step for j in range(width)]
                odd = [j + step if not j & step else width + j for j in range(width)]
                rows[i], rows[i + step] = b.shuffle(low, high, even), b.shuffle(low, high, odd)
        step *= 2
    return rows


def over_panels(b: Body, panels: list[Panel], body: Callable[[Panel, Value], None]) -> None:
    """``body(panel, first column)`` for all panels: one loop for the full ones, then the last."""
    full = [p for p in panels if p.is_full and p.padded == panels[0].padded]
    if full:

        def each(first: Value, _: list[Value]) -> list[Value]:
            body(full[0], first)
            return []

        start, width = full[0].first, full[0].columns
        b.loop(start + len(full) * width, [], each, start=start, by=width)
    for panel in panels[len(full) :]:
        body(panel, b.const(INT, panel.first))
