"""Bringing a matrix into panels: for each panel, its rows along K one after the other."""

from __future__ import annotations

from collections.abc import Callable

from ..body import INT, Body, Type, Value
from .tiling import Panel, Tiling

Write = Callable[[Body], None]


def copy_panel(b: Body, t: Tiling, panel: Panel, source: Value, stride: Value, terms: Value,
               packed: Value) -> None:  # fmt: skip
    """Pack ``terms`` rows of a panel of a matrix whose rows are along its columns.

    ``source`` is the address of the panel's first column in the first row. Columns that only fill
    up the last vector are 0.
    """
    full = panel.vectors if panel.is_full else panel.vectors - 1
    kind = Type(t.element.element, panel.width)

    def row(k: Value, _: list[Value]) -> list[Value]:
        line = b.at(source, k * stride, t.element)
        to = b.at(packed, k * panel.padded, t.element)
        for n in range(full):
            here = n * panel.width
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


def transpose_panel(b: Body, t: Tiling, panel: Panel, source: Value, stride: Value, terms: int,
                    packed: Value) -> None:  # fmt: skip
    """Pack a panel of a matrix whose rows are along K, square by square.

    ``source`` is the address of the panel's first column, which is a row of the matrix.
    """
    width = panel.width
    kind = Type(t.element.element, width)
    whole = terms - terms % width

    def columns(first: Value, height: int, k: Value, deep: int) -> None:
        """``height`` columns of the panel from ``first``, ``deep`` terms from k."""
        rows = []
        for i in range(width):
            if i >= height:
                rows.append(b.const(kind, 0.0))
                continue
            line = b.at(source, (first + i) * stride + k, t.element)
            if deep == width:
                rows.append(b.load(line, kind))
                continue
            part = b.const(kind, 0.0)
            for lane in range(deep):
                part = b.with_lane(part, b.load(b.at(line, lane, t.element), t.element), lane)
            rows.append(part)
        to = b.at(packed, k * panel.padded + first, t.element)
        for i, row in enumerate(transposed(b, rows)[:deep]):
            b.store(row, b.at(to, i * panel.padded, t.element))

    def strip(first: Value, height: int) -> None:
        def square(k: Value, _: list[Value]) -> list[Value]:
            columns(first, height, k, width)
            return []

        b.loop(whole, [], square, by=width)
        if terms > whole:
            columns(first, height, b.const(INT, whole), terms - whole)

    full = panel.vectors if panel.is_full else panel.vectors - 1

    def each(first: Value, _: list[Value]) -> list[Value]:
        strip(first, width)
        return []

    b.loop(full * width, [], each, by=width)
    if full < panel.vectors:
        strip(b.const(INT, full * width), panel.last)


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

        b.loop(len(full) * full[0].columns, [], each, by=full[0].columns)
    for panel in panels[len(full) :]:
        body(panel, b.const(INT, panel.first))
