"""The inner kernel: blocks of rows of C, each as wide as one panel, summed in registers.

The operands are addressed so generally that one kernel serves for products with packed panels and
for sums of outer products: A by a stride between rows and one along K, the panel by a stride along
K with its columns adjacent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from .. import ir
from ..body import INT, POINTER, VOID, Body, Type, Value, define, is_there
from ..machine import LINE
from .tiling import ROWS, Panel, Tiling


class Ahead(NamedTuple):
    """What is read into the caches on the way: a cache line every ``k`` elements from ``at`` on.

    Each block begins ``onward`` elements after the one before, up to ``end``.
    """

    at: Value
    k: Value
    onward: Value
    end: Value


@dataclass(frozen=True)
class Operands:
    """What a kernel works on: addresses, and strides in elements.

    Attributes:
        a, a_row, a_k: A, the distances of its rows and along K.
        b, b_k: the panel, the distance along K; the columns of a panel are adjacent.
        start, start_row: what the sums begin with, laid out as C is: C itself, zeros, a bias.
        c, c_row: C at the first column of the panel, the distance of its rows.
        terms: the length of the sum, at least 1.
        ahead: what will be needed next, for `Ahead`; None if all that is needed is near.
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
    ahead: Ahead | None = None

    def values(self) -> list[Value]:
        own = [self.a, self.a_row, self.a_k, self.b, self.b_k, self.start, self.start_row, self.c,
               self.c_row, self.terms]  # fmt: skip
        return own if self.ahead is None else [*own, *self.ahead]

    @staticmethod
    def of(values: Sequence[Value]) -> Operands:
        """The operands with these `values`."""
        a, a_row, a_k, b, b_k, start, start_row, c, c_row, terms, *ahead = values
        own = Operands(a, a_row, a_k, b, b_k, start, start_row, c, c_row, terms)
        return replace(own, ahead=Ahead(*ahead)) if ahead else own

    def advanced(self, b: Body, t: Tiling, rows: Value | int) -> Operands:
        """The same some rows further down."""
        return replace(
            self,
            a=b.at(self.a, self.a_row * rows, t.element),
            start=b.at(self.start, self.start_row * rows, t.element),
            c=b.at(self.c, self.c_row * rows, t.element),
        )


_PARAMS = (POINTER, INT, INT, POINTER, INT, POINTER, INT, POINTER, INT, INT)
_AHEAD = (POINTER, INT, INT, POINTER)
_ZEROS = "unfold.zeros"
#: So many blocks together read a packed panel ahead: all at once there would be more lines on their
#: way than the processor keeps account of.
SPREAD = 4


def packed_ahead(b: Body, t: Tiling, at: Value, terms: int, padded: int) -> Ahead:
    """What reads ``terms`` rows of a packed panel ahead."""
    step = max(1, padded // SPREAD)
    end = b.at(at, terms * padded, t.element)
    return Ahead(at, b.const(INT, step), b.const(INT, terms * step), end)


def columns_ahead(b: Body, t: Tiling, at: Value, stride: Value, columns: int) -> Ahead:
    """What reads the lines of some columns of a matrix ahead, line by line."""
    end = b.at(at, columns, t.element)
    return Ahead(at, stride, b.const(INT, LINE // t.itemsize), end)


def zeros(b: Body, t: Tiling) -> Value:
    """The address of a row of zeros, as wide as a panel."""
    if _ZEROS not in b.module.defined:
        b.module.defined.add(_ZEROS)
        size = t.columns * t.itemsize
        b.module.add(f"@{_ZEROS} = internal constant [{size} x i8] zeroinitializer, align 64")
    return Value(b, POINTER, f"@{_ZEROS}")


def blocks(b: Body, t: Tiling, panel: Panel, rows: Value | int, o: Operands) -> None:
    """Emit the product of all rows (none or more) with one panel."""
    every = tuple(range(1, t.rows(panel) + 1))
    heights = _heights(rows, every[-1]) if isinstance(rows, int) else every
    # A function that can do more serves as well, if it is there.
    shapes = [(heights, o.ahead is not None), (every, o.ahead is not None), (every, True)]
    names = [_name(t, panel, *shape) for shape in shapes]
    found = next((k for k, name in enumerate(names) if is_there(b.module, name)), 0)
    heights, reads_ahead = shapes[found]
    if reads_ahead and o.ahead is None:
        zero = b.const(INT, 0)
        o = replace(o, ahead=Ahead(o.b, zero, zero, o.b))
    name = _rows_by_panel(b.module, t, panel, heights, reads_ahead)
    count = b.const(INT, rows) if isinstance(rows, int) else rows
    b.call_void(name, count, *o.values(), *_last(b, panel))


def block_function(module: ir.Module, t: Tiling, panel: Panel, rows: int) -> str:
    """``void (rows, operands…)``: what `blocks` calls for a full panel and so many rows, when
    nothing is read ahead."""
    every = tuple(range(1, t.rows(panel) + 1))
    heights = _heights(rows, every[-1])
    if is_there(module, _name(t, panel, every, False)):
        heights = every
    return _rows_by_panel(module, t, panel, heights, False)


def _heights(rows: int, most: int) -> tuple[int, ...]:
    """The heights of the blocks of so many rows (see `_rows_by_panel`)."""
    low, extra = divmod(rows, -(-rows // most))
    return (low, low + 1) if extra else (low,)


def _last(b: Body, panel: Panel) -> list[Value]:
    """The operand that panels have whose last vector is filled in part."""
    return [] if panel.is_full else [b.const(INT, panel.last)]


def slice_blocks(b: Body, t: Tiling, panel: Panel, count: int, o: Operands) -> None:
    """Emit ``count`` > 0 blocks of `ROWS` rows where A is in slices, each of ``o.terms`` times so
    many numbers."""
    if t.rows(panel) == ROWS:
        name = _slices_by_panel(b.module, t, panel)
        b.call_void(name, b.const(INT, count), *o.values(), *_last(b, panel))
        return

    def each(n: Value, _: list[Value]) -> list[Value]:
        a = b.at(o.a, o.terms * ROWS * n, t.element)
        blocks(b, t, panel, ROWS, replace(o.advanced(b, t, n * ROWS), a=a))
        return []

    b.loop(count, [], each)


def _slices_by_panel(module: ir.Module, t: Tiling, panel: Panel) -> str:
    """``void (count, operands…, last)``: blocks of one height, A in slices."""

    def write(b: Body) -> None:
        count, *operands = b.args
        o = Operands.of(operands[: len(_PARAMS)])
        last = None if panel.is_full else operands[-1]
        _blocks(b, t, panel, ROWS, count, o, last, True, o.terms * ROWS)

    name = f"unfold.slices.{_shape(t, panel)}"
    return define(module, name, VOID, _params(panel, False), write)


def _rows_by_panel(
    module: ir.Module, t: Tiling, panel: Panel, heights: Sequence[int], reads_ahead: bool
) -> str:
    """``void (rows, operands…, last)``: blocks of even heights.

    The rows are split evenly (16 = 6 + 5 + 5), so that no number of rows is a bad one: there are
    blocks of one height, and then perhaps of the next smaller one. ``heights`` are all that there
    can be.
    """
    most = t.rows(panel)

    def write(b: Body) -> None:
        rows, *operands = b.args
        o = Operands.of(operands if panel.is_full else operands[:-1])
        last = None if panel.is_full else operands[-1]

        def all_rows() -> list[Value]:
            parts = (rows + (most - 1)).udiv(most)
            low = rows.udiv(parts)
            extra = rows - low * parts
            mixed = extra.gt(0)
            height = mixed.select(low + 1, low)
            first, second = mixed.select(extra, parts), mixed.select(parts - extra, 0)

            def pass_(values: list[Value]) -> tuple[Value, list[Value]]:
                height, count, following, *places = values
                here = _moved(o, places)
                cases = {
                    n: partial(_blocks, b, t, panel, n, count, here, last, reads_ahead)
                    for n in heights
                }
                pointers = b.switch(height, cases)
                return following.gt(0), [height - 1, following, b.const(INT, 0), *pointers]

            b.repeat([height, first, second, *_places(o)], pass_)
            return []

        if len(heights) == 1:
            _blocks(b, t, panel, heights[0], rows.udiv(heights[0]), o, last, reads_ahead)
        else:
            b.when(rows.gt(0), all_rows)

    name = _name(t, panel, heights, reads_ahead)
    return define(module, name, VOID, _params(panel, reads_ahead), write)


def _name(t: Tiling, panel: Panel, heights: Sequence[int], reads_ahead: bool) -> str:
    only = "" if len(heights) == t.rows(panel) else "_".join(map(str, heights)) + "x"
    return f"unfold.rows.{only}{_shape(t, panel)}{'' if reads_ahead else '.near'}"


def _shape(t: Tiling, panel: Panel) -> str:
    part = "" if panel.is_full else ".part"
    return f"{panel.vectors}.{Type(t.element.element, panel.width).suffix}{part}"


def _params(panel: Panel, reads_ahead: bool) -> tuple[Type, ...]:
    return (INT, *_PARAMS, *(_AHEAD if reads_ahead else ()), *(() if panel.is_full else (INT,)))


def _places(o: Operands) -> list[Value]:
    """The operands that move on from block to block."""
    return [o.a, o.start, o.c, *(() if o.ahead is None else (o.ahead.at, o.ahead.k))]


def _moved(o: Operands, places: Sequence[Value]) -> Operands:
    """The operands with other `_places`."""
    a, start, c, *ahead = places
    there = replace(o, a=a, start=start, c=c)
    if o.ahead is None:
        return there
    return replace(there, ahead=o.ahead._replace(at=ahead[0], k=ahead[1]))


def _blocks(
    b: Body, t: Tiling, panel: Panel, height: int, count: Value, o: Operands, last: Value | None,
    onward: bool, skip: Value | None = None,
) -> list[Value]:  # fmt: skip
    """``count`` > 0 blocks of one height; where A, the start, C and what is read ahead go on.

    ``onward`` asks for what the next panel's sums begin with, and where they go. ``skip`` is how
    far A moves on from block to block, if not by the rows of one.
    """

    def step(values: list[Value]) -> tuple[Value, list[Value]]:
        left, *places = values
        here = _moved(o, places)
        _block(b, t, panel, height, here, last, onward)
        there = here.advanced(b, t, height)
        if skip is not None:
            there = replace(there, a=b.at(here.a, skip, t.element))
        left = left - 1
        if here.ahead is not None:
            # Asking again for what is on its way takes room from what is needed now: blocks that
            # have nothing more to ask for name a line that is here.
            at, k, further, end = here.ahead
            following = b.at(at, further, t.element)
            more = following.lt(end) & k.ne(0)
            ahead = here.ahead._replace(at=more.select(following, o.b), k=more.select(k, 0))
            there = replace(there, ahead=ahead)
        return left.gt(0), [left, *_places(there)]

    return b.repeat([count, *_places(o)], step)[1:]


def _block(
    b: Body, t: Tiling, panel: Panel, height: int, o: Operands, last: Value | None, onward: bool
) -> None:
    """One block of C: load what the sums start with, sum over K, store."""
    kind = Type(t.element.element, panel.width)
    count = height * panel.vectors
    sums = t.sums(panel.vectors)
    zero = b.const(kind, 0.0)

    def places(base: Value, row: Value) -> list[Value]:
        lines = [base]
        for _ in range(1, height):
            lines.append(b.at(lines[-1], row, t.element))
        return [
            b.at(line, n * panel.width, t.element) for line in lines for n in range(panel.vectors)
        ]

    mask = None if last is None else _mask(b, panel, last)
    masks = [mask if n == panel.vectors - 1 else None for n in range(panel.vectors)] * height

    if onward and panel.vectors == t.vectors:
        for i in range(height):
            b.prefetch(b.at(o.start, o.start_row * i + panel.columns, t.element))
            b.prefetch(b.at(o.c, o.c_row * i + panel.columns, t.element), write=True)
    first = zip(places(o.start, o.start_row), masks, strict=True)
    state = [_load(b, place, kind, m) for place, m in first] + [zero] * (count * (sums - 1))
    rows = [o.a_row * i for i in range(height)]

    def term(pointers: Sequence[Value], state: Sequence[Value]) -> list[Value]:
        a, line, *ahead = pointers
        if ahead and panel.vectors == t.vectors:
            b.prefetch(ahead[0])
        columns = [
            b.load(b.at(line, n * panel.width, t.element), kind) for n in range(panel.vectors)
        ]
        result = []
        for i in range(height):
            x = b.splat(b.load(b.at(a, rows[i], t.element), t.element), panel.width)
            for n in range(panel.vectors):
                result.append(b.madd(x, columns[n], state[i * panel.vectors + n]))
        return result

    def moved_on(pointers: Sequence[Value]) -> list[Value]:
        strides = [o.a_k, o.b_k, *([] if o.ahead is None else [o.ahead.k])]
        return [b.at(p, stride, t.element) for p, stride in zip(pointers, strides, strict=True)]

    def rounds(
        times: Value, sums: int, pointers: Sequence[Value], state: Sequence[Value]
    ) -> tuple[list[Value], list[Value]]:
        """``times`` rounds of ``sums`` terms each, one for each set of sums."""

        def step(_: Value, values: list[Value]) -> list[Value]:
            pointers, state = values[:moving], values[moving:]
            following: list[Value] = []
            for s in range(sums):
                following += term(pointers, state[s * count : (s + 1) * count])
                pointers = moved_on(pointers)
            return [*pointers, *following]

        values = b.loop(times, [*pointers, *state], step)
        return values[:moving], values[moving:]

    first_pointers = [o.a, o.b, *([] if o.ahead is None else [o.ahead.at])]
    moving = len(first_pointers)
    if sums == 1:
        _, state = rounds(o.terms, 1, first_pointers, state)
    else:
        # Terms that do not fill a round go to the first sums.
        whole = o.terms.udiv(sums)
        pointers, state = rounds(whole, sums, first_pointers, state)
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
