"""The inner kernel: blocks of rows of C, each as wide as one panel, summed in registers.

The operands are addressed so generally that one kernel serves for products with packed panels and
for sums of outer products: A by a stride between rows and one along K, the panel by a stride along
K with its columns adjacent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

from .. import ir
from ..body import INT, POINTER, VOID, Body, Type, Value, define
from ..machine import LINE
from .tiling import ROWS, Panel, Tiling


@dataclass(frozen=True)
class Operands:
    """What a kernel works on: addresses, and strides in elements.

    Attributes:
        a, a_row, a_k: A, the distances of its rows and along K.
        b, b_k: the panel, the distance along K; the columns of a panel are adjacent.
        start, start_row: what the sums begin with, laid out as C is: C itself, zeros, a bias.
        c, c_row: C at the first column of the panel, the distance of its rows.
        terms: the length of the sum, at least 1.
        ahead, ahead_k: what will be needed next, read into the caches on the way: a cache line
            every ``ahead_k`` elements.
        onward, end: each block begins ``onward`` elements after the one before, up to ``end``.
    """

    a: Value
    a_row: Value
    a_k: Value
    b: Value
    b_k: Value
    start: Value
    start_row: Value
    c: Value
    c_row: Value
    terms: Value
    ahead: Value
    ahead_k: Value
    onward: Value
    end: Value

    def values(self) -> list[Value]:
        return [getattr(self, f.name) for f in fields(self)]

    def advanced(self, b: Body, t: Tiling, rows: Value | int) -> Operands:
        """The same some rows further down."""
        return replace(
            self,
            a=b.at(self.a, self.a_row * rows, t.element),
            start=b.at(self.start, self.start_row * rows, t.element),
            c=b.at(self.c, self.c_row * rows, t.element),
        )


_PARAMS = (POINTER, INT, INT, POINTER, INT, POINTER, INT, POINTER, INT, INT, POINTER, INT, INT,
           POINTER)  # fmt: skip
_ZEROS = "unfold.zeros"
#: So many blocks together read a packed panel ahead: all at once there would be more lines on their
#: way than the processor keeps account of.
SPREAD = 4


def packed_ahead(b: Body, t: Tiling, at: Value, terms: int, padded: int) -> dict[str, Value]:
    """The operands that read ``terms`` rows of a packed panel ahead."""
    step = max(1, padded // SPREAD)
    return {
        "ahead": at, "ahead_k": b.const(INT, step), "onward": b.const(INT, terms * step),
        "end": b.at(at, terms * padded, t.element),
    }  # fmt: skip


def columns_ahead(b: Body, t: Tiling, at: Value, stride: Value, columns: int) -> dict[str, Value]:
    """The operands that read the lines of some columns of a matrix ahead, line by line."""
    return {
        "ahead": at, "ahead_k": stride, "onward": b.const(INT, LINE // t.itemsize),
        "end": b.at(at, columns, t.element),
    }  # fmt: skip


def nothing_ahead(b: Body, panel: Value) -> dict[str, Value]:
    """The operands that ask for what is here."""
    zero = b.const(INT, 0)
    return {"ahead": panel, "ahead_k": zero, "onward": zero, "end": panel}


def zeros(b: Body, t: Tiling) -> Value:
    """The address of a row of zeros, as wide as a panel."""
    if _ZEROS not in b.module.defined:
        b.module.defined.add(_ZEROS)
        size = t.columns * t.itemsize
        b.module.add(f"@{_ZEROS} = internal constant [{size} x i8] zeroinitializer, align 64")
    return Value(b, POINTER, f"@{_ZEROS}")


def blocks(b: Body, t: Tiling, panel: Panel, rows: Value | int, o: Operands) -> None:
    """Emit the product of all rows (none or more) with one panel."""
    heights = range(1, t.rows(panel) + 1)
    if isinstance(rows, int):
        # A few rows, known now, are one block; more share the function that takes any number.
        heights = range(rows, rows + 1) if rows <= t.rows(panel) // 2 else heights
        rows = b.const(INT, rows)
    name = _rows_by_panel(b.module, t, panel, heights)
    b.call_void(name, rows, *o.values(), b.const(INT, panel.last))


def slice_blocks(b: Body, t: Tiling, panel: Panel, count: int, o: Operands) -> None:
    """Emit ``count`` > 0 blocks of `ROWS` rows where A is in slices, each of ``o.terms`` times so
    many numbers."""
    last = b.const(INT, panel.last)
    if t.rows(panel) == ROWS:
        name = _slices_by_panel(b.module, t, panel)
        b.call_void(name, b.const(INT, count), *o.values(), last)
        return

    def each(n: Value, _: list[Value]) -> list[Value]:
        a = b.at(o.a, o.terms * ROWS * n, t.element)
        blocks(b, t, panel, ROWS, replace(o.advanced(b, t, n * ROWS), a=a))
        return []

    b.loop(count, [], each)


def _slices_by_panel(module: ir.Module, t: Tiling, panel: Panel) -> str:
    """``void (count, operands…, last)``: blocks of one height, A in slices."""

    def write(b: Body) -> None:
        count, *operands, last = b.args
        o = Operands(*operands)
        _blocks(b, t, panel, ROWS, count, o, last, False, o.terms * ROWS)

    shape = f"{panel.vectors}.{Type(t.element.element, panel.width).suffix}"
    part = "" if panel.is_full else ".part"
    return define(module, f"unfold.slices.{shape}{part}", VOID, (INT, *_PARAMS, INT), write)


def _rows_by_panel(module: ir.Module, t: Tiling, panel: Panel, heights: range) -> str:
    """``void (rows, operands…, last)``: blocks of even heights.

    The rows are split evenly (16 = 6 + 5 + 5), so that no number of rows is a bad one: there are
    blocks of one height, and then perhaps of the next smaller one.
    """
    most = heights[-1]

    def write(b: Body) -> None:
        rows, *operands, last = b.args
        o = Operands(*operands)

        def all_rows() -> list[Value]:
            parts = (rows + (most - 1)).udiv(most)
            low = rows.udiv(parts)
            extra = rows - low * parts
            mixed = extra.gt(0)
            height = mixed.select(low + 1, low)
            first, second = mixed.select(extra, parts), mixed.select(parts - extra, 0)

            def pass_(values: list[Value]) -> tuple[Value, list[Value]]:
                height, count, following, a, start, c, ahead, ahead_k = values
                here = replace(o, a=a, start=start, c=c, ahead=ahead, ahead_k=ahead_k)
                cases = {
                    n: partial(_blocks, b, t, panel, n, count, here, last, True) for n in heights
                }
                pointers = b.switch(height, cases)
                return following.gt(0), [height - 1, following, b.const(INT, 0), *pointers]

            b.repeat([height, first, second, o.a, o.start, o.c, o.ahead, o.ahead_k], pass_)
            return []

        b.when(rows.gt(0), all_rows)

    shape = f"{panel.vectors}.{Type(t.element.element, panel.width).suffix}"
    part = "" if panel.is_full else ".part"
    only = f"{most}x" if len(heights) == 1 else ""
    name = f"unfold.rows.{only}{shape}{part}"
    return define(module, name, VOID, (INT, *_PARAMS, INT), write)


def _blocks(
    b: Body, t: Tiling, panel: Panel, height: int, count: Value, o: Operands, last: Value,
    reads_ahead: bool, skip: Value | None = None,
) -> list[Value]:  # fmt: skip
    """``count`` > 0 blocks of one height; where A, the start, C and what is read ahead go on.

    ``skip`` is how far A moves on from block to block, if not by the rows of one.
    """

    def step(values: list[Value]) -> tuple[Value, list[Value]]:
        left, a, start, c, ahead, ahead_k = values
        here = replace(o, a=a, start=start, c=c, ahead=ahead, ahead_k=ahead_k)
        _block(b, t, panel, height, here, last, reads_ahead)
        there = here.advanced(b, t, height)
        if skip is not None:
            there = replace(there, a=b.at(a, skip, t.element))
        left = left - 1
        if reads_ahead:
            # Asking again for what is on its way takes room from what is needed now: blocks that
            # have nothing more to ask for name a line that is here.
            following = b.at(ahead, o.onward, t.element)
            more = following.lt(o.end) & ahead_k.ne(0)
            ahead, ahead_k = more.select(following, o.b), more.select(ahead_k, 0)
        return left.gt(0), [left, there.a, there.start, there.c, ahead, ahead_k]

    return b.repeat([count, o.a, o.start, o.c, o.ahead, o.ahead_k], step)[1:]


def _block(
    b: Body, t: Tiling, panel: Panel, height: int, o: Operands, last: Value, reads_ahead: bool
) -> None:
    """One block of C: load what the sums start with, sum over K, store."""
    kind = Type(t.element.element, panel.width)
    count = height * panel.vectors
    sums = t.sums(panel.vectors)
    zero = b.const(kind, 0.0)

    def places(base: Value, row: Value) -> list[Value]:
        lines = [b.at(base, row * i, t.element) for i in range(height)]
        return [
            b.at(line, n * panel.width, t.element) for line in lines for n in range(panel.vectors)
        ]

    mask = None if panel.is_full else _mask(b, panel, last)
    masks = [mask if n == panel.vectors - 1 else None for n in range(panel.vectors)] * height

    if panel.vectors == t.vectors:
        # What the next panel's sums begin with, and where they go.
        for i in range(height):
            b.prefetch(b.at(o.start, o.start_row * i + panel.columns, t.element))
            b.prefetch(b.at(o.c, o.c_row * i + panel.columns, t.element), write=True)
    first = zip(places(o.start, o.start_row), masks, strict=True)
    state = [_load(b, place, kind, m) for place, m in first] + [zero] * (count * (sums - 1))
    rows = [o.a_row * i for i in range(height)]

    def term(pointers: Sequence[Value], state: Sequence[Value]) -> list[Value]:
        a, line, ahead = pointers
        if reads_ahead and panel.vectors == t.vectors:
            b.prefetch(ahead)
        columns = [
            b.load(b.at(line, n * panel.width, t.element), kind) for n in range(panel.vectors)
        ]
        result = []
        for i in range(height):
            x = b.splat(b.load(b.at(a, rows[i], t.element), t.element), panel.width)
            for n in range(panel.vectors):
                result.append(b.madd(x, columns[n], state[i * panel.vectors + n]))
        return result

    def onward(pointers: Sequence[Value]) -> list[Value]:
        a, line, ahead = pointers
        return [
            b.at(a, o.a_k, t.element),
            b.at(line, o.b_k, t.element),
            b.at(ahead, o.ahead_k, t.element),
        ]

    def rounds(
        times: Value, sums: int, pointers: Sequence[Value], state: Sequence[Value]
    ) -> tuple[list[Value], list[Value]]:
        """``times`` rounds of ``sums`` terms each, one for each set of sums."""

        def step(_: Value, values: list[Value]) -> list[Value]:
            pointers, state = values[:3], values[3:]
            following: list[Value] = []
            for s in range(sums):
                following += term(pointers, state[s * count : (s + 1) * count])
                pointers = onward(pointers)
            return [*pointers, *following]

        values = b.loop(times, [*pointers, *state], step)
        return values[:3], values[3:]

    if sums == 1:
        _, state = rounds(o.terms, 1, (o.a, o.b, o.ahead), state)
    else:
        # Terms that do not fill a round go to the first sums.
        whole = o.terms.udiv(sums)
        pointers, state = rounds(whole, sums, (o.a, o.b, o.ahead), state)
        _, head = rounds(o.terms - whole * sums, 1, pointers, state[:count])
        state = head + state[count:]
        while len(state) > count:
            half = len(state) // 2
            state = [x + y for x, y in zip(state[:half], state[half:], strict=True)]
    for value, place, m in zip(state, places(o.c, o.c_row), masks, strict=True):
        _store(b, value, place, m)


def _mask(b: Body, panel: Panel, last: Value) -> Value:
    """The lanes of the last vector that are columns."""
    lanes = b.vector(Type("i32"), range(panel.width))
    return lanes.lt(b.splat(last.convert("trunc", "i32"), panel.width))


def _load(b: Body, place: Value, kind: Type, mask: Value | None) -> Value:
    if mask is None:
        return b.load(place, kind)
    name = f"llvm.masked.load.{kind.suffix}.p0"
    b.module.declare(name, str(kind), ["ptr", "i32 immarg", mask.type, str(kind)])
    args = f"{place}, i32 {b.align(kind)}, {mask}, {kind} zeroinitializer"
    return b.op(f"call {kind} @{name}({args})", kind)


def _store(b: Body, value: Value, place: Value, mask: Value | None) -> None:
    if mask is None:
        b.store(value, place)
        return
    kind = value.kind
    name = f"llvm.masked.store.{kind.suffix}.p0"
    b.module.declare(name, "void", [str(kind), "ptr", "i32 immarg", mask.type])
    b.f.emit(f"call void @{name}({value}, {place}, i32 {b.align(kind)}, {mask})")
