"""The inner kernel: blocks of rows of C, each as wide as one panel, summed in registers.

The operands are addressed so generally that one kernel serves for products with packed panels and
for sums of outer products: A by a stride between rows and one along K, the panel by a stride along
K with its columns adjacent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from .. import ir
from ..body import INT, POINTER, VOID, Body, Type, Value, define
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

    def values(self) -> list[Value]:
        return [getattr(self, f.name) for f in fields(self)]

    def advanced(self, b: Body, t: Tiling, rows: Value) -> Operands:
        """The same some rows further down."""
        return replace(
            self,
            a=b.at(self.a, rows * self.a_row, t.element),
            start=b.at(self.start, rows * self.start_row, t.element),
            c=b.at(self.c, rows * self.c_row, t.element),
        )


_PARAMS = (POINTER, INT, INT, POINTER, INT, POINTER, INT, POINTER, INT, INT)
_ZEROS = "unfold.zeros"


def zeros(b: Body, t: Tiling) -> Value:
    """The address of a row of zeros, as wide as a panel."""
    if _ZEROS not in b.module.defined:
        b.module.defined.add(_ZEROS)
        size = t.columns * t.itemsize
        b.module.add(f"@{_ZEROS} = internal constant [{size} x i8] zeroinitializer, align 64")
    return Value(b, POINTER, f"@{_ZEROS}")


def blocks(b: Body, t: Tiling, panel: Panel, rows: Value | int, o: Operands) -> None:
    """Emit the product of all rows with one panel.

    The rows are split evenly (16 = 6 + 5 + 5), so that no number of rows is a bad one. A number
    that is known now needs no more than two kernels; one that is known at run time has one for
    each height ready.
    """
    last = b.const(INT, panel.last)
    if isinstance(rows, int):
        parts = -(-rows // ROWS)
        low, extra = divmod(rows, parts)
        for count, height in ((extra, low + 1), (parts - extra, low)):
            if count:
                name = _kernel(b.module, t, panel, height)
                b.call_void(name, b.const(INT, count), *o.values(), last)
                o = o.advanced(b, t, b.const(INT, count * height))
        return
    b.call_void(_any_rows(b.module, t, panel), rows, *o.values(), last)


def _suffix(t: Tiling, panel: Panel) -> str:
    shape = f"{panel.vectors}.{Type(t.element.element, panel.width).suffix}"
    return shape if panel.is_full else f"{shape}.part"


def _any_rows(module: ir.Module, t: Tiling, panel: Panel) -> str:
    """``void (rows, operands…, last)``: even blocks for a number of rows found at run time."""

    def write(b: Body) -> None:
        rows, *operands, last = b.args
        o = Operands(*operands)
        parts = (rows + (ROWS - 1)).udiv(ROWS)
        low = rows.udiv(parts.gt(1).select(parts, 1))
        extra = rows - low * parts
        taller = extra * (low + 1)
        _switch(b, t, panel, low + 1, extra, o, last)
        _switch(b, t, panel, low, parts - extra, o.advanced(b, t, taller), last)

    name = f"unfold.rows.{_suffix(t, panel)}"
    return define(module, name, VOID, (INT, *_PARAMS, INT), write)


def _switch(
    b: Body, t: Tiling, panel: Panel, height: Value, count: Value, o: Operands, last: Value
) -> None:
    """Call the kernel for ``count`` blocks of a height known at run time; none for no blocks."""
    f = b.f
    chosen = count.eq(0).select(0, height)
    after = f.label("after")
    labels = {n: f.label(f"rows{n}") for n in range(1, ROWS + 1)}
    table = " ".join(f"i64 {n}, label %{label}" for n, label in labels.items())
    f.emit(f"switch {chosen}, label %{after} [ {table} ]")
    for n, label in labels.items():
        f.start(label)
        b.call_void(_kernel(b.module, t, panel, n), count, *o.values(), last)
        f.branch(after)
    f.start(after)


def _kernel(module: ir.Module, t: Tiling, panel: Panel, height: int) -> str:
    """``void (count, operands…, last)``: ``count`` > 0 blocks of ``height`` rows."""

    def write(b: Body) -> None:
        count, *operands, last = b.args
        o = Operands(*operands)

        def step(values: list[Value]) -> tuple[Value, list[Value]]:
            left, a, start, c = values
            here = replace(o, a=a, start=start, c=c)
            _block(b, t, panel, height, here, last)
            there = here.advanced(b, t, b.const(INT, height))
            left = left - 1
            return left.ne(0), [left, there.a, there.start, there.c]

        b.repeat([count, o.a, o.start, o.c], step)

    name = f"unfold.block.{height}x{_suffix(t, panel)}"
    return define(module, name, VOID, (INT, *_PARAMS, INT), write)


def _block(b: Body, t: Tiling, panel: Panel, height: int, o: Operands, last: Value) -> None:
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

    first = zip(places(o.start, o.start_row), masks, strict=True)
    state = [_load(b, place, kind, m) for place, m in first] + [zero] * (count * (sums - 1))
    rows = [o.a_row * i for i in range(height)]

    def term(pointers: Sequence[Value], state: Sequence[Value]) -> list[Value]:
        a, line = pointers
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
        a, line = pointers
        return [b.at(a, o.a_k, t.element), b.at(line, o.b_k, t.element)]

    def rounds(
        times: Value, sums: int, pointers: Sequence[Value], state: Sequence[Value]
    ) -> tuple[list[Value], list[Value]]:
        """``times`` rounds of ``sums`` terms each, one for each set of sums."""

        def step(_: Value, values: list[Value]) -> list[Value]:
            pointers, state = values[:2], values[2:]
            following: list[Value] = []
            for s in range(sums):
                following += term(pointers, state[s * count : (s + 1) * count])
                pointers = onward(pointers)
            return [*pointers, *following]

        values = b.loop(times, [*pointers, *state], step)
        return values[:2], values[2:]

    if sums == 1:
        _, state = rounds(o.terms, 1, (o.a, o.b), state)
    else:
        # Terms that do not fill a round go to the first sums.
        whole = o.terms.udiv(sums)
        pointers, state = rounds(whole, sums, (o.a, o.b), state)
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
