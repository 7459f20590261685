"""Moving data between the caller's arrays and time-major tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from unfold.plan import Buffer, Result
from unfold.poly import Poly

from ..block import data_offset
from ..components import add
from ..indexing import Indexer
from ..ir import Function, Value, integer, vector
from . import pieces
from .nodes import FIRST, LENGTH
from .own import OWN

if TYPE_CHECKING:
    from .emit import TileEmitter
    from .generate import Generator


class Deliverer:
    """Emits the copies into and out of the storages of a function."""

    def __init__(self, te: TileEmitter, generator: Generator) -> None:
        self.te = te
        self.f = te.f
        self.tile = te.tile
        self.generator = generator
        self.row, self.rows = te.known["row"], te.known["rows"]
        lengths = generator.plan.lengths
        self.padded = Indexer(
            te.f, generator.formats, {n: te.known[f"padded.{n}"] for n in lengths}
        )

    def collect(self, b: Buffer, source: Value) -> None:
        """An input from sequence after sequence to step after step."""
        f, stored = self.f, self.generator.formats.stored(b.type.kind)
        elements = self.padded.count(1, b.axes)
        target = self.tile.storages[b.name].pointer
        outer = f.loop(integer(0), self.te.last(elements), 1)
        inner = f.loop(integer(0), self.te.last(self.rows), 1)
        line = f.binary("add", f.binary("mul nsw", inner.index, elements), outer.index)
        place = f.binary("add", f.binary("mul nsw", outer.index, self.rows), inner.index)
        self.copy(
            b,
            f.offset(source, stored, f.binary("mul nsw", line, integer(b.size))),
            f.offset(target, stored, f.binary("mul nsw", place, integer(b.size))),
        )
        inner.close()
        outer.close()

    def collect_strip(self, name: str) -> None:
        """The steps of an input that lie in the strip."""
        f, tile, g = self.f, self.tile, self.generator
        b = g.plan.buffers[name]
        stored, storage = g.formats.stored(b.type.kind), tile.storages[name]
        assert storage.ring is not None
        ((lo, hi),) = b.axes
        first = Poly.symbol(FIRST)
        start, end = tile.ends(
            [tile.position(first), self.padded.position(lo)],
            [tile.position(first + Poly.symbol(LENGTH) - 1), self.padded.position(hi)],
        )
        line = self.padded.count(b.size, b.axes)
        skip = f.binary("mul nsw", self.row, line)
        skipped = f.binary("sub nsw", start, self.padded.position(lo))
        skip = f.binary("add nsw", skip, f.binary("mul nsw", skipped, integer(b.size)))
        source = f.offset(g.given(f, "inputs", name), stored, skip)
        place = f.binary("mul nsw", f.binary("and", start, storage.ring), self.rows)
        place = f.binary("mul nsw", place, integer(b.size))
        target = f.offset(storage.pointer, stored, place)
        outer = f.loop(start, end, 1)
        step = f.binary("sub nsw", outer.index, start)
        inner = f.loop(integer(0), self.te.last(self.rows), 1)
        here = f.binary("mul nsw", step, integer(b.size))
        here = f.binary("add nsw", here, f.binary("mul nsw", inner.index, line))
        row = f.binary("add nsw", f.binary("mul nsw", step, self.rows), inner.index)
        self.copy(
            b,
            f.offset(source, stored, here),
            f.offset(target, stored, f.binary("mul nsw", row, integer(b.size))),
        )
        inner.close()
        outer.close()

    def copy(
        self,
        b: Buffer,
        source: Value,
        target: Value,
        change: Callable[[Value], Value] | None = None,
    ) -> None:
        """The components of one element, a register at a time."""
        f, formats = self.f, self.generator.formats
        stored, size = formats.stored(b.type.kind), formats.bytes(b.type.kind)

        def part(at: list[Value], width: int) -> None:
            v = f.load(vector(stored, width), f.offset(source, stored, at[0]), size)
            f.store(change(v) if change else v, f.offset(target, stored, at[0]), size)

        self.te.over_components((b.size,), 0, part)

    def result(self, r: Result) -> None:
        """One output, to the rows of its sequences or added to the sum over all."""
        g = self.generator
        b = g.plan.buffers[r.name]
        stored = g.formats.stored(b.type.kind)
        target = g.given(self.f, "results", r.name)
        if g.is_summed(r):
            if g.is_added(r):
                self.summed(r, b, target)
            else:
                pieces.copy(self.te, target, self.tile.storages[b.name].pointer, g.bytes(r))
            return
        count = self.padded.count(b.size, r.ranges)
        if not self.generator.ragged and len(r.ranges) <= 1:
            self.plain(r, b, target)
            return
        rows = self.f.loop(integer(0), self.te.last(self.rows), 1)
        with self.own_length(rows.index), self.padded.scope():
            at = self.f.binary("add", self.row, rows.index)
            line = self.f.offset(target, stored, self.f.binary("mul nsw", at, count))
            self.elements(
                r, rows.index, lambda number, source: self.copy(
                    b, source, self.f.offset(line, stored, number)
                ),
            )  # fmt: skip
        rows.close()

    @contextmanager
    def own_length(self, row: Value) -> Iterator[None]:
        """A scope in which the length of a row is known."""
        with self.tile.index_scope(OWN) if self.generator.falling else self.tile.scope():
            if self.generator.falling:
                at = self.f.offset(self.generator.ends(self.f), "i64", row)
                self.tile.env[OWN] = self.f.load("i64", at, 8)
            yield

    def plain(self, r: Result, b: Buffer, target: Value) -> None:
        """A result over at most one axis, all sequences having one length."""
        f, tile = self.f, self.tile
        storage, stored = tile.storages[b.name], tile.stored(b.name)
        size = self.generator.formats.bytes(b.type.kind)
        count, source, step = integer(1), storage.pointer, integer(0)
        for (lo, hi), low, distance in zip(r.ranges, storage.lows, storage.steps, strict=True):
            skip = f.binary("mul nsw", f.binary("sub", tile.position(lo), low), distance)
            source, step = f.offset(source, stored, skip), distance
            count = self.padded.count(1, [(lo, hi)])
        if not r.ranges and storage.row == b.size:
            # The rows follow each other.
            to = f.offset(target, stored, f.binary("mul nsw", self.row, integer(b.size)))
            total = f.binary("mul nsw", self.rows, integer(b.size * size))
            f.module.declare(_COPY, "void", ["ptr", "ptr", "i64", "i1"])
            f.call_void(_COPY, to, source, total, integer(0, "i1"))
            return
        line = f.binary("mul nsw", count, integer(b.size))
        skip = f.binary("mul nsw", self.row, line)
        row, jump = integer(storage.row * size), f.binary("mul nsw", step, integer(size))
        self.blocks(
            f.offset(target, stored, skip), source, self.rows, count, b.size * size, row, jump
        )

    def whole(self, r: Result, source: Value, size: int) -> None:
        """A result that stands in one place: so many bytes."""
        g = self.generator
        name = "deliver.whole"
        if name not in g.kernels:
            g.kernels.add(name)
            _write_whole(Function(g.module, name, _WHOLE, linkage="internal"))
        self.f.call_void(name, g.field(self.f, "results", r.name), source, integer(size))

    def blocks(
        self,
        target: Value,
        source: Value,
        rows: Value | int,
        count: Value,
        size: int,
        row: Value | int,
        jump: Value | int,
    ) -> None:
        """``count`` blocks of ``size`` bytes for each row, ``row`` and ``jump`` bytes apart, to
        one place after the other."""
        g = self.generator
        name = "deliver"
        if name not in g.kernels:
            g.kernels.add(name)
            _write_blocks(Function(g.module, name, _BLOCKS, linkage="internal"))
        ready = [integer(v) if isinstance(v, int) else v for v in (rows, count, size, row, jump)]
        self.f.call_void(name, target, source, *ready)

    def summed(self, r: Result, b: Buffer, target: Value) -> None:
        f, formats = self.f, self.generator.formats
        stored, size = formats.stored(b.type.kind), formats.bytes(b.type.kind)
        storage = self.tile.storages[b.name]

        def once(times: Value | None) -> Callable[[Value, Value], None]:
            def one(number: Value, source: Value) -> None:
                start = f.offset(target, stored, number)

                def part(at: list[Value], width: int) -> None:
                    wide = vector(stored, width)
                    here = f.offset(start, stored, at[0])
                    v = f.load(wide, f.offset(source, stored, at[0]), size)
                    if times is not None:
                        v = f.binary("fmul", v, f.splat(times, width))
                    f.store(add(self.tile, f.load(wide, here, size), v), here, size)

                self.te.over_components((b.size,), 0, part)

            return one

        if b.name in self.generator.summed:
            self.elements(r, integer(0), once(None))
        elif storage.row == 0:
            self.elements(r, integer(0), once(f.convert("sitofp", self.rows, stored)))
        else:
            rows = f.loop(integer(0), self.te.last(self.rows), 1)
            with self.own_length(rows.index), self.padded.scope():
                self.elements(r, rows.index, once(None))
            rows.close()

    def elements(self, r: Result, row: Value, action: Callable[[Value, Value], None]) -> None:
        """Run through a result's elements in one row: ``action(number of a component, address)``.

        Beyond the end of a sequence that is shorter than the others the address is that of its last
        element, or of zeros for an adjoint.
        """
        f, tile = self.f, self.tile
        b = self.generator.plan.buffers[r.name]
        storage = tile.storages[b.name]
        stored = tile.stored(b.name)
        start = storage.pointer
        if storage.row:
            start = f.offset(start, stored, f.binary("mul nsw", row, integer(storage.row)))

        def nest(axis: int, number: Value, source: Value, filled: Value | None) -> None:
            if axis == len(r.ranges):
                if filled is not None:
                    source = f.select(filled, self.zeros(b), source)
                action(f.binary("mul nsw", number, integer(b.size)), source)
                return
            lo, hi = r.ranges[axis]
            skipped = f.binary("sub", tile.position(lo), storage.lows[axis])
            first = f.offset(source, stored, f.binary("mul nsw", skipped, storage.steps[axis]))
            extent = self.padded.count(1, [(lo, hi)])
            loop = f.loop(integer(0), self.te.last(extent), 1)
            with tile.scope(), self.padded.scope():
                at, inside = loop.index, filled
                if self.generator.ragged:
                    at, inside = self.clamped(r, at, lo, hi, filled)
                here = f.offset(first, stored, f.binary("mul nsw", at, storage.steps[axis]))
                following = f.binary("add", f.binary("mul nsw", number, extent), loop.index)
                nest(axis + 1, following, here, inside)
            loop.close()

        nest(0, integer(0), start, None)

    def clamped(
        self, r: Result, at: Value, lo: Poly, hi: Poly, filled: Value | None
    ) -> tuple[Value, Value]:
        """A position inside the sequence's own range, and whether zero is to be read instead."""
        f = self.f
        end = self.te.last(self.tile.count(1, [(lo, hi)]))
        beyond = f.compare("icmp sgt", at, end)
        empty = f.compare("icmp slt", end, integer(0))
        inside = f.binary("or", empty, beyond) if r.adjoint else empty
        if filled is not None:
            inside = f.binary("or", inside, filled)
        at = f.intrinsic("llvm.smax", f.intrinsic("llvm.smin", at, end), integer(0))
        return at, inside

    def zeros(self, b: Buffer) -> Value:
        """The address of an element of zeros."""
        stored = self.generator.formats.stored(b.type.kind)
        name = f"zeros.{stored}.{b.size}"
        self.f.module.declared.setdefault(
            name, f"@{name} = internal constant [{b.size} x {stored}] zeroinitializer"
        )
        return Value("ptr", f"@{name}")


_WHOLE = [("ptr", "field", ""), ("ptr", "source", ""), ("i64", "size", "")]
_COPY = "llvm.memcpy.p0.p0.i64"


def _write_whole(f: Function) -> None:
    field, source, size = f.args
    f.module.declare(_COPY, "void", ["ptr", "ptr", "i64", "i1"])
    owner = f.load("ptr", field, 8)
    target = f.load("ptr", f.offset(owner, "i8", integer(data_offset())), 8)
    f.call_void(_COPY, target, source, size, integer(0, "i1"))
    f.ret()
    f.module.add(f.driving())


_BLOCKS = [("ptr", "target", ""), ("ptr", "source", "")] + [
    ("i64", n, "") for n in ("rows", "count", "size", "row", "jump")
]


def _write_blocks(f: Function) -> None:
    target, source, rows, count, size, row, jump = f.args
    f.module.declare(_COPY, "void", ["ptr", "ptr", "i64", "i1"])
    zero, one, no = integer(0), integer(1), integer(0, "i1")
    line = f.binary("mul nsw", count, size)
    together = f.compare("icmp eq", jump, size)
    # Blocks that follow each other are one block.
    times = f.select(together, one, count)
    wide = f.select(together, line, size)
    outer = f.loop(zero, f.binary("sub", rows, one), 1)
    to = f.offset(target, "i8", f.binary("mul nsw", outer.index, line))
    begin = f.offset(source, "i8", f.binary("mul nsw", outer.index, row))
    inner = f.loop(zero, f.binary("sub", times, one), 1)
    here = f.offset(to, "i8", f.binary("mul nsw", inner.index, wide))
    there = f.offset(begin, "i8", f.binary("mul nsw", inner.index, jump))
    f.call_void(_COPY, here, there, wide, no)
    inner.close()
    outer.close()
    f.ret()
    f.module.add(str(f))
