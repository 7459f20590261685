"""Native code for systems of many components: all sequences of the batch, step by step.

The work buffers are time-major: one step is a contiguous tile with a row for each sequence, and a
map over all of time is one tile with a row for each sequence and step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from unfold.expr import REAL
from unfold.plan import Buffer, Plan, Result

from .. import gemm, jit
from ..block import data_offset
from ..elementwise import Formats
from ..facts import Variant
from ..indexing import Indexer
from ..ir import Function, Module, Receiver, Value, integer
from ..record import record
from . import packing, pieces
from .alongside import alongside
from .arrange import arrange
from .deliver import Deliverer
from .emit import TileEmitter
from .inplace import onto_starts
from .leveling import level
from .nodes import LENGTH, Op, Strips, Temporary
from .own import OWN, anyway, mentions, storages
from .select import Selector
from .sharing import STRIP, Sharing
from .stack import Stacker
from .storage import Layout, spaced, summed_buffers
from .strips import bits, extent, in_strips
from .tile import Storage, Tile
from .unequal import Unequal, side_by_side
from .walking import over_pairs
from .zeros import without_zeros


@dataclass(frozen=True)
class Code:
    """A module that exports ``run(ptr record)``, and the storages that a call must provide.

    ``alone`` says that sequences are done one by one: the storages hold one of them. ``falling``
    says that sequences must come in falling order of their lengths.

    Where ``prepared`` is not None, the module exports ``again`` as well, for calls after one of
    ``run``: what depends on nothing but these lengths and parameters is not computed again.
    """

    text: str
    layout: Layout
    alone: bool
    falling: bool
    prepared: frozenset[str] | None


def generate(
    plan: Plan, formats: Formats, lanes: int, variant: Variant, receiver: Receiver | None = None
) -> Code:
    """The code of a plan whose products are hoisted.

    Args:
        lanes: how many reals fill a vector register.
        receiver: takes each function as soon as it is written.

    Raises:
        KeyError: an op has no lowering; the argument is its name.
    """
    g = Generator(plan, formats, lanes, variant, receiver)
    return Code(str(g.module), g.layout(), g.alone, g.falling, g.prepared)


#: A function of so many instructions is followed by another one.
LARGE = 250
#: A part of a function: written with what it is given.
Part: TypeAlias = Callable[[TileEmitter], None]

_CLEAR = [("ptr", "field", ""), ("i64", "size", "")]


class Generator:
    """Writes the functions ``shared``, ``pack``, ``body`` (in parts) and ``run`` of a plan."""

    def __init__(
        self,
        plan: Plan,
        formats: Formats,
        lanes: int,
        variant: Variant,
        receiver: Receiver | None = None,
    ) -> None:
        self.plan = plan = level(plan)
        self.formats = formats
        self.lanes = lanes
        self.ragged = ragged = variant.ragged
        #: Whether sequences are done one by one, so that the values of an index can be the rows.
        self.falling = ragged and not over_pairs(plan) and side_by_side(plan)
        self.alone = over_pairs(plan) or (ragged and not self.falling)
        self.sum_adjoints = variant.sum_adjoints
        self.crew = variant.crew
        self.summed = summed_buffers(plan) if variant.sum_adjoints else frozenset()
        self.module = Module(receiver=receiver)
        self.target = jit.host()
        self.dtype = "float64" if formats.real == "double" else "float32"
        self.kernels: set[str] = set()
        self.outlined: dict[Any, str] = {}
        self.packs = packing.Packs()
        self.plain = record(plan, 1)
        self.recorded = -1
        self.scratch_size = 0
        selector = Selector(plan, self.summed, self.alone)
        shared = arrange(anyway(selector.nodes(plan.shared), plan))
        body = arrange(selector.nodes(plan.body))
        self.temporaries = selector.temporaries
        self.stacker = Stacker(plan, self.temporaries, self.summed)
        body = self.stacker.ops(body)
        body = onto_starts(body, plan, self.temporaries, self.stacker.members)
        self.by_strips: frozenset[str] = frozenset()
        if not self.falling:
            body, self.by_strips = in_strips(body, plan, self.stacker.members, not self.alone)
        sharing = Sharing(plan, self.summed, self.stacker.members, body)
        self.members = spaced(sharing.members, self.summed, formats.bytes("real"))
        if not self.falling:
            body = alongside(body, partial(gemm.shares_left, self.target, self.dtype))
            body = without_zeros(body, plan, self.stacker.members)
        self.body_ops = body
        self.has_strips = any(isinstance(op, Strips) for op in body)
        self.rings = sharing.rings | dict.fromkeys(self.by_strips, STRIP)
        kept = (plan.buffers[n].size for n, size in self.rings.items() if size == STRIP)
        self.of_strip = extent(body, max(kept, default=1))
        self.function("shared", lambda te: te.ops(shared), shared=True)
        self.bodies = self.functions("body", self.body(body))
        if any(map(self.is_whole, self.plan.results)):
            self.bodies.append("results")
            self.function("results", self.whole)
        # Which operands must be packed is known once the body is written.
        self.function("pack", self.pack, shared=True)
        self.prepared = None if self.crew else self.prepared_from(shared)
        self.run()

    def layout(self) -> Layout:
        scratch = Buffer("%scratch", "work", (), (self.scratch_size,), REAL, True)
        return Layout(
            self.plan, self.plain, self.summed, self.temporaries, self.members,
            [scratch, *self.packs.buffers], self.rings, self.of_strip, self.crew,
        )  # fmt: skip

    # --- functions --------------------------------------------------------------------------------

    def function(
        self, name: str, write: Callable[[TileEmitter], None], shared: bool = False
    ) -> None:
        """A function ``(record, own lengths, padded lengths, first row, rows)``."""
        lengths = self.plan.lengths
        args = [("ptr", "record", "noalias readonly")]
        args += [("i64", f"own.{n}", "") for n in lengths]
        args += [("i64", f"padded.{n}", "") for n in lengths]
        args += [("i64", "row", ""), ("i64", "rows", "")]
        f = Function(self.module, name, args, linkage="internal")
        te = self.emitter(f, shared)
        write(te)
        f.ret()
        # For a single sequence the steps of loops are so short that their own code counts.
        self.module.add(f.driving(loops=not self.alone))

    def functions(self, name: str, parts: Sequence[Part]) -> list[str]:
        """As `function`, for code that is written part by part: functions to be called in order.

        LLVM takes longer for a large one than for several, which can be compiled at the same time.
        """
        waiting, names = list(parts), list[str]()

        def some(te: TileEmitter) -> None:
            while waiting and te.f.count < LARGE:
                waiting.pop(0)(te)

        while waiting:
            names.append(f"{name}.{len(names)}" if names else name)
            self.function(names[-1], some)
        return names

    def emitter(self, f: Function, shared: bool) -> TileEmitter:
        known = {a.name[1:]: a for a in f.args}
        if self.alone:
            known["rows"] = integer(1)
        lengths = self.plan.lengths
        own = {n: known[f"own.{n}"] for n in lengths}
        padded = Indexer(f, self.formats, {n: known[f"padded.{n}"] for n in lengths})
        tile = Tile(f, self.formats, own, {}, known["rows"])
        te = TileEmitter(tile, self.lanes, self, known, shared)
        if not shared and self.has_strips:
            with f.at_first():
                te.bits = bits(f, known["rows"], self.of_strip)
                own[LENGTH] = f.binary("shl", integer(1), te.bits)
        at_first = Indexer(f, self.formats, dict(own))
        tile.storages = _Storages(self, at_first, padded, known)
        if self.falling and not shared:
            # It differs from row to row: nothing may take it for one number.
            del own[OWN]
        return te

    def work(self, f: Function, name: str) -> Value:
        """The address of a storage in the workspace."""
        with f.at_first():
            return f.fixed("ptr", self.field(f, "work", name), 8)

    def place(self, f: Function, name: str, size: int, kind: str) -> tuple[Value, int]:
        """Where a storage begins, and the distance of its rows (those of its bundle)."""
        share = self.members.get(name)
        if share is None:
            return self.work(f, name), size
        base, stored = self.work(f, share.base), self.formats.stored(kind)
        return f.offset(base, stored, integer(share.offset)), share.total

    def field(self, f: Function, group: str, name: str = "") -> Value:
        count = len(self.packs.buffers)
        if self.recorded != count:  # the last group of fields grows with them
            self.recorded, self.record = count, self.layout().record
        return f.offset(Value("ptr", "%record"), "i64", integer(self.record.field(group, name)))

    def given(self, f: Function, group: str, name: str) -> Value:
        """The address of the data of an array that was passed."""
        owner = f.fixed("ptr", self.field(f, group, name), 8)
        return f.fixed("ptr", f.offset(owner, "i8", integer(data_offset())), 8)

    def temporary(self, own: Indexer, t: Temporary) -> Storage:
        """Where a temporary stands; one with an axis is that of a single sequence."""
        at, length = self.place(own.f, t.name, t.size, t.kind)
        lows, steps = [own.position(lo) for lo, _ in t.axes], [integer(length)] * len(t.axes)
        fixed = not self.falling and not t.axes
        return Storage(at, t.kind, lows, steps, 0 if t.shared else length, fixed)

    def storage(
        self, own: Indexer, padded: Indexer, b: Buffer, known: Mapping[str, Value]
    ) -> Storage:
        """Where a buffer stands, by instructions at the beginning of a function.

        Args:
            own, padded: the positions that lengths stand for there.
            known: the function's arguments by name.
        """
        f, rows = own.f, known["rows"]
        alone = b.shared or b.name in self.summed
        steps: list[Value] = []
        length = b.size
        if b.kind == "work":
            pointer, length = self.place(f, b.name, b.size, b.type.kind)
        else:
            pointer = self.given(f, "inputs" if b.kind == "input" else "params", b.name)
        step = integer(length) if alone else f.binary("mul nsw", rows, integer(length))
        for lo, hi in reversed(b.axes):
            steps.insert(0, step)
            if len(steps) < len(b.axes):
                step = f.binary("mul nsw", step, padded.position(hi - lo + 1))
        ring = self.ring(own, b)
        if b.kind == "input":
            stored = self.formats.stored(b.type.kind)
            count = padded.count(b.size, b.axes)
            pointer = f.offset(pointer, stored, f.binary("mul nsw", known["row"], count))
            if b.axes and not self.alone:
                several = f.compare("icmp sgt", rows, integer(1))
                if ring is not None:
                    # A single sequence is read where it stands, all positions from 0 on.
                    skip = f.binary("mul nsw", own.position(b.axes[0][0]), step)
                    pointer = f.offset(pointer, stored, f.binary("sub", integer(0), skip))
                    ring = f.select(several, ring, integer(-1))
                pointer = f.select(several, self.work(f, f"%copy.{b.name}"), pointer)
        lows = [own.position(lo) for lo, _ in b.axes]
        # Where sequences are done one by one, elements may be the rows of a tile.
        row = length if not alone or (self.alone and b.axes) else 0
        return Storage(pointer, b.type.kind, lows, steps, row, False, ring)

    def ring(self, own: Indexer, b: Buffer) -> Value | None:
        """One less than the number of places where elements of a buffer are kept in turn."""
        size = self.rings.get(b.name)
        if size is None:
            return None
        return integer(size - 1) if size else own.f.binary("sub", own.env[LENGTH], integer(1))

    # --- what they do -----------------------------------------------------------------------------

    def body(self, ops: Sequence[Op]) -> list[Part]:
        """What is done for all sequences."""

        def collect(te: TileEmitter) -> None:
            several = te.f.compare("icmp sgt", te.known["rows"], integer(1))
            with te.f.when(several), te.tile.scope():
                for b in self.plan.buffers.values():
                    if b.kind == "input" and b.axes and b.name not in self.by_strips:
                        Deliverer(te, self).collect(b, self.given(te.f, "inputs", b.name))

        def unequal(te: TileEmitter) -> None:
            te.is_whole = False
            Unequal(te, self.ends(te.f), te.known["rows"]).ops(ops)

        def results(te: TileEmitter) -> None:
            deliver = Deliverer(te, self)
            for r in self.plan.results:
                if not self.is_whole(r):
                    deliver.result(r)

        first = [] if self.alone else [collect]
        if self.falling:
            return [*first, unequal, results]
        return [*first, *(partial(TileEmitter.ops, ops=[op]) for op in ops), results]

    def whole(self, te: TileEmitter) -> None:
        """Deliver what stands in one place."""
        deliver = Deliverer(te, self)
        for r in filter(self.is_whole, self.plan.results):
            deliver.whole(r, te.tile.storages[r.name].pointer, self.bytes(r))

    def scratch(self, f: Function, size: int) -> Value:
        """The address of space for so many reals, for the use of one kernel at a time."""
        self.scratch_size = max(self.scratch_size, size)
        return self.work(f, "%scratch")

    def pack(self, te: TileEmitter) -> None:
        """Fill what is stacked and packed once per call."""
        for op in self.stacker.filling():
            if not pieces.copies(te, op):
                te.ops([op])
        packing.fill(te)

    def prepared_from(self, shared: Sequence[Op]) -> frozenset[str]:
        """The lengths and parameters on which depends what ``shared`` and ``pack`` do."""
        done = [*shared, *self.stacker.filling(), *self.packs.places.items()]
        params = {b.name for b in self.plan.buffers.values() if b.kind == "param"}
        lengths = {n for n in self.plan.lengths if mentions(done, {n})}
        return frozenset(lengths | (storages(done) & params))

    def ends(self, f: Function) -> Value:
        """The address of the length of each sequence."""
        return f.load("ptr", self.field(f, "ragged"), 8)

    def is_summed(self, r: Result) -> bool:
        """Whether a result is the sum over the batch."""
        return r.summed and self.sum_adjoints

    def is_added(self, r: Result) -> bool:
        """Whether a sum over the batch is added to what is there, rather than written."""
        return self.alone or bool(r.ranges) or r.name not in self.summed

    def is_whole(self, r: Result) -> bool:
        """Whether a result is a sum over the batch that stands in one place, to be copied there."""
        written = self.is_summed(r) and not self.is_added(r)
        return written and not pieces.is_copied(self, self.bytes(r))

    def bytes(self, r: Result) -> int:
        """The size of an element of a result."""
        b = self.plan.buffers[r.name]
        return b.size * self.formats.bytes(b.type.kind)

    def run(self) -> None:
        """The functions that are called: ``run``, and ``again`` without what is prepared."""
        if self.prepared is not None:
            f, lengths = self.entry("again")
            self.sequences(f, lengths)
            f.ret()
            self.module.add(f.driving())
        f, lengths = self.entry("program" if self.crew else "run")
        for name in ("shared", "pack"):
            f.call_void(name, f.args[0], *lengths, *lengths, integer(0), integer(1))
        if self.prepared is not None:
            f.call_void("again", f.args[0])
        else:
            self.sequences(f, lengths)
        f.ret()
        self.module.add(f.driving())
        if self.crew:
            self.module.add(pieces.entry(self))
            self.module.declared.pop(pieces.SHARE, None)

    def entry(self, name: str) -> tuple[Function, list[Value]]:
        """A function that is given the record, and the lengths in it."""
        args = [("ptr", "record", "noalias readonly")]
        f = Function(self.module, name, args, linkage="internal" if self.crew else "")
        return f, [f.load("i64", self.field(f, "length", n), 8) for n in self.plan.lengths]

    def sequences(self, f: Function, lengths: list[Value]) -> None:
        """What is done for all sequences, from clearing sums to delivering results."""
        batch = f.load("i64", self.field(f, "batch"), 8)
        zero, one = integer(0), integer(1)
        e = Indexer(f, self.formats, dict(zip(self.plan.lengths, lengths, strict=True)))
        summed = [r for r in self.plan.results if self.is_summed(r)]
        written = [r for r in summed if not self.is_added(r)]
        for r in summed:
            if self.is_added(r):
                self.clear(e, r)
        if written:
            with f.when(f.compare("icmp sle", batch, zero)), e.scope():
                for r in written:
                    self.clear(e, r)
        if self.alone:
            loop = f.loop(zero, f.binary("sub", batch, one), 1)
            own = list(lengths)
            if self.ragged:
                at = f.offset(self.ends(f), "i64", loop.index)
                own[self.plan.lengths.index(OWN)] = f.load("i64", at, 8)
            for name in self.bodies:
                f.call_void(name, f.args[0], *own, *lengths, loop.index, one)
            loop.close()
        else:
            with f.when(f.compare("icmp sgt", batch, zero)):
                for name in self.bodies:
                    f.call_void(name, f.args[0], *lengths, *lengths, zero, batch)

    def clear(self, e: Indexer, r: Result) -> None:
        """Make a result zeros."""
        b = self.plan.buffers[r.name]
        size = e.count(b.size * self.formats.bytes(b.type.kind), r.ranges)
        if "clear" not in self.kernels:
            self.kernels.add("clear")
            f = Function(self.module, "clear", _CLEAR, linkage="internal")
            field, total = f.args
            owner = f.load("ptr", field, 8)
            target = f.load("ptr", f.offset(owner, "i8", integer(data_offset())), 8)
            self.module.declare("llvm.memset.p0.i64", "void", ["ptr", "i8", "i64", "i1"])
            f.call_void("llvm.memset.p0.i64", target, integer(0, "i8"), total, integer(0, "i1"))
            f.ret()
            self.module.add(f.driving())
        e.f.call_void("clear", self.field(e.f, "results", r.name), size)


class _Storages(dict[str, Storage]):
    """The storages of a function, found where they are first asked for.

    Their addresses are computed where the function begins.
    """

    def __init__(
        self, generator: Generator, own: Indexer, padded: Indexer, known: Mapping[str, Value]
    ) -> None:
        super().__init__()
        self.generator = generator
        self.own, self.padded, self.known = own, padded, known

    def __missing__(self, name: str) -> Storage:
        g, f = self.generator, self.own.f
        buffer = g.plan.buffers.get(name) or g.packs.named(name)
        with f.at_first():
            if buffer is None:
                made = g.temporary(self.own, g.temporaries[name])
            else:
                made = g.storage(self.own, self.padded, buffer, self.known)
        self[name] = made
        return made


__all__ = ["Code", "Generator", "generate"]
