"""Moving data between the caller's arrays and the workspace of a group of sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from unfold.plan import Buffer, Result
from unfold.poly import Poly

from . import ir
from .body import INT, POINTER, VOID, Body, Type, define
from .body import Value as Number
from .emitter import Emitter
from .gemm.packing import transposed
from .ir import Value, integer, vector
from .memory import Place

#: ``action(number, address)`` for a component of a result: its number, where it is now.
Action: TypeAlias = Callable[[Value, Value], None]

#: The side of the squares in which rows are turned into lanes.
_SIDE = 8
#: How many components of a result are moved at once.
_MOVED = 4


class Copier:
    """Emits the loops that bring inputs in and take results out.

    Args:
        e: the emitter of the function that computes.
        known: the function's arguments by name: ``own.T``, ``padded.T``, ``row`` (the first
            sequence of the group) and ``used`` (how many lanes hold a sequence).
        ragged: whether the sequences end at their own length.
    """

    def __init__(self, e: Emitter, known: dict[str, Value], ragged: bool) -> None:
        self.e = e
        self.f = e.f
        self.row, self.used = known["row"], known["used"]
        self.ragged = ragged
        padded = {n[len("padded.") :]: v for n, v in known.items() if n.startswith("padded.")}
        self.padded = Emitter(e.f, e.formats, e.memory, padded)

    def extent(self, e: Emitter, lo: Poly, hi: Poly) -> Value:
        return self.f.intrinsic("llvm.smax", e.position(hi - lo + 1), integer(0))

    def count(self, size: int, ranges: Sequence[tuple[Poly, Poly]]) -> Value:
        total = integer(size)
        for lo, hi in ranges:
            total = self.f.binary("mul nsw", total, self.extent(self.padded, lo, hi))
        return total

    def upto(self, count: Value) -> Value:
        return self.f.binary("sub", count, integer(1))

    def gather(self, b: Buffer, source: Value, target: Value) -> None:
        """Bring an input's sequences side by side; unused lanes repeat the last sequence."""
        f, lanes = self.f, self.e.memory.lanes
        stored = self.e.formats.stored(b.type.kind)
        last = f.binary("sub", f.binary("add", self.row, self.used), integer(1))
        squares = bool(b.axes) or b.size >= _SIDE
        name = _gathering(f.module, Type(stored), lanes, squares)
        f.call_void(name, source, self.row, last, self.count(b.size, b.axes), target)

    def deliver(self, r: Result, b: Buffer, target: Value, summed: bool) -> None:
        """Take a result out: to the row of each sequence, or added up over all of them."""
        place = self.e.memory.places[r.name]
        f = self.f
        stored = self.e.formats.stored(b.type.kind)
        total = self.count(b.size, r.ranges)
        if summed:
            self.elements(r, place, lambda at, source: self.add(b, place, target, at, source))
            return
        if place.lanes == 1 and self.e.memory.lanes == 1:
            row = f.offset(target, stored, f.binary("mul nsw", self.row, total))
            self.elements(
                r, place, lambda at, source: self.copy(b, row, at, source),
                lambda at, source: self.copy(b, row, at, source, _MOVED),
            )  # fmt: skip
            return
        loop = f.loop(integer(0), self.upto(self.used), 1)
        at_row = f.binary("add", self.row, loop.index)
        row = f.offset(target, stored, f.binary("mul nsw", at_row, total))
        skip = loop.index if place.lanes > 1 else integer(0)
        with self.e.scope(), self.padded.scope():
            self.elements(
                r, place, lambda at, source: self.copy(b, row, at, f.offset(source, stored, skip))
            )
        loop.close()

    def copy(self, b: Buffer, row: Value, at: Value, source: Value, count: int = 1) -> None:
        stored, size = self.e.formats.stored(b.type.kind), self.e.formats.bytes(b.type.kind)
        found = self.f.load(vector(stored, count), source, size)
        self.f.store(found, self.f.offset(row, stored, at), size)

    def add(self, b: Buffer, place: Place, target: Value, at: Value, source: Value) -> None:
        """Add a component to its sum over the batch; a shared one counts for each sequence."""
        f, formats = self.f, self.e.formats
        stored, size = formats.stored(b.type.kind), formats.bytes(b.type.kind)
        if place.lanes > 1:
            wide = vector(stored, place.lanes)
            v = f.load(wide, source, size * place.lanes)
            numbers = ", ".join(f"i64 {k}" for k in range(place.lanes))
            steps = Value(vector("i64", place.lanes), f"<{numbers}>")
            inside = f.compare("icmp slt", steps, f.splat(self.used, place.lanes))
            kept = f.select(inside, v, Value(wide, "zeroinitializer"))
            name = f"llvm.vector.reduce.fadd.v{place.lanes}{'f64' if size == 8 else 'f32'}"
            f.module.declare(name, stored, [stored, wide])
            value = f.call(stored, name, Value(stored, "-0.0"), kept, flags="reassoc ")
        else:
            value = f.load(stored, source, size)
            if self.e.memory.lanes > 1:
                value = f.binary("fmul", value, f.convert("sitofp", self.used, stored))
        here = f.offset(target, stored, at)
        f.store(f.binary("fadd", f.load(stored, here, size), value), here, size)

    def elements(
        self, r: Result, place: Place, action: Action, several: Action | None = None
    ) -> None:
        """Run through the components of a result: ``action(number, address in the buffer)``.

        ``several`` does so for `_MOVED` components that are adjacent on both sides.
        """
        f, e = self.f, self.e
        b = place.buffer
        stored = e.formats.stored(b.type.kind)

        def nest(axis: int, number: Value, source: Value, filled: Value | None) -> None:
            if axis == len(r.ranges):
                run(number, source, integer(b.size), filled)
                return
            lo, hi = r.ranges[axis]
            own = e.position(lo)
            skipped = f.binary("sub", own, place.lows[axis])
            first = f.offset(source, stored, f.binary("mul nsw", skipped, place.strides[axis]))
            extent = self.extent(self.padded, lo, hi)
            if axis == len(r.ranges) - 1 and not self.ragged:
                # Neighbours on the last axis stand one after the other on both sides.
                wide = f.binary("mul nsw", extent, integer(b.size))
                run(f.binary("mul nsw", number, extent), first, wide, filled)
                return
            loop = f.loop(integer(0), self.upto(extent), 1)
            with e.scope():
                at = loop.index
                inside = filled
                if self.ragged:
                    end = self.upto(self.extent(e, lo, hi))
                    beyond = f.compare("icmp sgt", at, end)
                    if r.adjoint:
                        inside = beyond if filled is None else f.binary("or", filled, beyond)
                    empty = f.compare("icmp slt", end, integer(0))
                    inside = empty if inside is None else f.binary("or", inside, empty)
                    at = f.intrinsic("llvm.smax", f.intrinsic("llvm.smin", at, end), integer(0))
                here = f.offset(first, stored, f.binary("mul nsw", at, place.strides[axis]))
                following = f.binary("add", f.binary("mul nsw", number, extent), loop.index)
                nest(axis + 1, following, here, inside)
            loop.close()

        def run(number: Value, source: Value, count: Value, filled: Value | None) -> None:
            """Adjacent components from the element that has ``number`` on."""
            start = f.binary("mul nsw", number, integer(b.size))
            done = integer(0)
            if several is not None and filled is None and place.lanes == 1 and r.ranges:
                whole = f.binary("sdiv", count, integer(_MOVED))
                done = f.binary("mul nsw", whole, integer(_MOVED))
                loop = f.loop(integer(0), self.upto(whole), 1)
                step = f.binary("mul nsw", loop.index, integer(_MOVED))
                several(f.binary("add", start, step), f.offset(source, stored, step))
                loop.close()
            loop = f.loop(done, self.upto(count), 1)
            at = f.binary("add", start, loop.index)
            step = f.binary("mul nsw", loop.index, integer(place.lanes))
            here = f.offset(source, stored, step)
            if filled is not None:
                # Beyond a sequence's end: read from a zero instead.
                here = f.select(filled, self.zero(stored), here)
            action(at, here)
            loop.close()

        nest(0, integer(0), place.pointer, None)

    def zero(self, stored: str) -> Value:
        """The address of a zero in memory."""
        name = f"zero.{stored}"
        self.f.module.declared.setdefault(
            name, f"@{name} = internal constant {stored} zeroinitializer"
        )
        return Value("ptr", f"@{name}")


def _gathering(module: ir.Module, number: Type, lanes: int, squares: bool) -> str:
    """``void (source, row, last, total, target)``: so many rows side by side.

    Each has ``total`` numbers; after row ``last`` the same one is read again. Squares are loaded
    by rows, exchanged in registers and stored by columns.
    """
    side = min(_SIDE, lanes)

    def write(b: Body) -> None:
        source, row, last, total, target = b.args
        lines = []
        for lane in range(lanes):
            at = row + lane
            lines.append(b.at(source, at.lt(last).select(at, last) * total, number))

        def square(k: Number, _: list[Number]) -> list[Number]:
            for first in range(0, lanes, side):
                wide = Type(number.element, side)
                rows = [b.load(b.at(x, k, number), wide) for x in lines[first : first + side]]
                for step, column in enumerate(transposed(b, rows)):
                    b.store(column, b.at(target, (k + step) * lanes + first, number))
            return []

        def single(k: Number, _: list[Number]) -> list[Number]:
            for lane, line in enumerate(lines):
                b.store(
                    b.load(b.at(line, k, number), number), b.at(target, k * lanes + lane, number)
                )
            return []

        whole = b.const(INT, 0)
        if squares:
            whole = b.op(f"and {total}, {-side}", INT)
            b.loop(whole, [], square, by=side)
        b.loop(total, [], single, start=whole)

    name = f"unfold.gather.{number.suffix}{'.squares' if squares else ''}"
    params = (POINTER, INT, INT, INT, POINTER)
    return define(module, name, VOID, params, write)
