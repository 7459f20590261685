"""Native code for systems of few components: one sequence, or a register full of them, at a time.

Every component is a value in a register; the loops over time are inside, the loop over the batch is
outside, so that the workspace of a sequence stays in the nearest cache. Sequences of unequal
lengths simply have their own number of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unfold.expr import Ref
from unfold.plan import Buffer, Loop, Node, Plan, Result, Statement
from unfold.poly import Poly

from .copying import Copier
from .elementwise import Formats
from .emitter import Emitter
from .ir import Function, Module, Value, integer
from .memory import Memory, Place
from .record import Record, data_offset, record
from .solving import FIELD, Reporter
from .solving.registers import solve


@dataclass(frozen=True)
class Variant:
    """What a function is made for.

    Attributes:
        lanes: how many sequences run side by side.
        ragged: whether each sequence has its own length T.
        sum_adjoints: whether the adjoints of parameters are summed over the batch.
    """

    lanes: int
    ragged: bool
    sum_adjoints: bool


def generate(plan: Plan, formats: Formats, variant: Variant) -> str:
    """The IR of a module that exports ``run(ptr record)``.

    Raises:
        KeyError: an op has no lowering; the argument is its name.
    """
    return str(_Generator(plan, formats, variant).module)


class _Generator:
    def __init__(self, plan: Plan, formats: Formats, variant: Variant) -> None:
        self.plan = plan
        self.formats = formats
        self.variant = variant
        self.record: Record = record(plan, variant.lanes)
        self.module = Module()
        if plan.shared:
            self.shared()
        self.body()
        self.run()

    # --- the functions that compute ---------------------------------------------------------------

    def pointers(self) -> list[tuple[str, str]]:
        """The addresses that the inner functions take, as (group, name)."""
        r = self.record
        return [
            (group, n)
            for group in ("inputs", "params", "results", "work")
            for n in getattr(r, group)
        ]

    def inner(self, name: str) -> tuple[Function, dict[str, Value], dict[tuple[str, str], Value]]:
        """A function of lengths (own, then padded), lanes in use, pointers without aliases."""
        args = [("i64", f"own.{n}", "") for n in self.record.lengths]
        args += [("i64", f"padded.{n}", "") for n in self.record.lengths]
        args += [("i64", "row", ""), ("i64", "used", "")]
        listed = self.pointers()
        for k, (group, _) in enumerate(listed):
            note = "noalias readonly" if group in ("inputs", "params") else "noalias"
            args.append(("ptr", f"p{k}", note))
        f = Function(self.module, name, args, linkage="internal")
        known = {a.name[1:]: a for a in f.args}
        places = {key: known[f"p{k}"] for k, key in enumerate(listed)}
        return f, known, places

    def emitter(
        self,
        f: Function,
        known: dict[str, Value],
        pointers: dict[tuple[str, str], Value],
        lanes: int,
    ) -> Emitter:
        env = {n: known[f"own.{n}"] for n in self.record.lengths}
        padded = {n: known[f"padded.{n}"] for n in self.record.lengths}
        memory = Memory(self.formats, {}, lanes)
        e = Emitter(f, self.formats, memory, dict(env))
        measure = Emitter(f, self.formats, memory, padded)
        for b in self.plan.buffers.values():
            group = {"input": "inputs", "param": "params", "work": "work"}[b.kind]
            if b.kind == "input" and lanes > 1:
                group = "work"
            if (group, b.name) in pointers:
                inside = lanes if not b.shared else 1
                place = self.place(measure, b, pointers[group, b.name], inside)
                # The first position is the sequence's own, the distances are those of the padding.
                place.lows = [e.position(lo) for lo, _ in b.axes]
                memory.places[b.name] = place
        return e

    def place(self, measure: Emitter, b: Buffer, pointer: Value, lanes: int) -> Place:
        f = measure.f
        strides: list[Value] = []
        step = integer(b.size * lanes)
        for lo, hi in reversed(b.axes):
            strides.insert(0, step)
            if len(strides) < len(b.axes):
                step = f.binary("mul nsw", step, measure.position(hi - lo + 1))
        return Place(b, pointer, [], strides, lanes)

    def shared(self) -> None:
        """What depends on parameters alone."""
        f, known, pointers = self.inner("shared")
        e = self.emitter(f, known, pointers, 1)
        self.reporter = self.reporting(known, pointers)
        self.nodes(e, self.plan.shared)
        f.ret()
        self.module.add(str(f))

    def body(self) -> None:
        """What is done for each sequence, or for each group of sequences side by side."""
        f, known, pointers = self.inner("body")
        lanes = self.variant.lanes
        e = self.emitter(f, known, pointers, lanes)
        self.reporter = self.reporting(known, pointers)
        copier = Copier(e, known, self.variant.ragged)
        if lanes > 1:
            for b in self.plan.buffers.values():
                if b.kind == "input":
                    copier.gather(b, pointers["inputs", b.name], pointers["work", b.name])
        self.nodes(e, self.plan.body)
        for r in self.plan.results:
            target = pointers["results", r.name]
            copier.deliver(r, self.plan.buffers[r.name], target, self.is_summed(r))
        f.ret()
        self.module.add(str(f))

    def reporting(
        self, known: dict[str, Value], pointers: dict[tuple[str, str], Value]
    ) -> Reporter | None:
        """Who notes that an implicit equation has no solution, in a function's sequences."""
        noted = pointers.get(("work", FIELD))
        if noted is None:
            return None
        return Reporter(noted, known["row"], known["used"], tuple(self.plan.program.vars))

    def is_summed(self, r: Result) -> bool:
        return r.of_param and self.variant.sum_adjoints

    def nodes(self, e: Emitter, nodes: Sequence[Node]) -> None:
        for node in nodes:
            if isinstance(node, Loop):
                self.loop(e, node)
            else:
                self.statement(e, node)

    def loop(self, e: Emitter, node: Loop) -> None:
        ends = []
        for lows, highs in node.ranges:
            ends.append(e.ends(e.place(lows), e.place(highs)))
        lo, hi = ends[0]
        for a, b in ends[1:]:
            lo = e.f.intrinsic("llvm.smin", lo, a)
            hi = e.f.intrinsic("llvm.smax", hi, b)
        with e.index_scope(node.index):
            loop = e.f.loop(lo, hi, node.direction)
            e.env[node.index] = loop.index
            self.nodes(e, node.body)
        loop.close()

    def statement(self, e: Emitter, s: Statement) -> None:
        if s.guard.constraints:
            condition = e.condition(s.guard)
            with e.f.when(condition), e.scope():
                self.assign(e, s)
        else:
            values = self.assign(e, s)
            e.remember(self.element(s), values)

    def element(self, s: Statement) -> Ref:
        """What a statement assigns, as expressions read it."""
        v = self.plan.program.vars[s.target]
        return Ref(s.target, s.position, v.shape, v.type)

    def assign(self, e: Emitter, s: Statement) -> list[Value]:
        if s.solver is not None:
            assert self.reporter is not None
            values: list[Value] = [*solve(e, s, self.element(s), self.reporter)]
        else:
            values = e.value(s.rhs)
        place = e.place(s.position)
        e.memory.store(e, s.target, place, values)
        return values

    # --- the function that is called --------------------------------------------------------------

    def run(self) -> None:
        f = Function(self.module, "run", [("ptr", "record", "noalias readonly")])
        r = self.record
        fields: dict[tuple[str, str], Value] = {}
        for k, (group, name) in enumerate(r.names()):
            at = f.offset(f.args[0], "i64", integer(k))
            if group in ("length", "batch"):
                fields[group, name] = f.load("i64", at, 8)
            elif group in ("inputs", "params", "results"):
                owner = f.load("ptr", at, 8)
                data = f.offset(owner, "i8", integer(data_offset()))
                fields[group, name] = f.load("ptr", data, 8)
            else:
                fields[group, name] = f.load("ptr", at, 8)
        batch = fields["batch", ""]
        lengths = [fields["length", n] for n in r.lengths]
        e = Emitter(
            f, self.formats, Memory(self.formats, {}, 1), dict(zip(r.lengths, lengths, strict=True))
        )
        pointers = [fields[key] for key in self.pointers()]
        zero = integer(0)
        if self.plan.shared:
            f.call_void("shared", *lengths, *lengths, zero, integer(1), *pointers)
        summed = [p for p in self.plan.results if self.is_summed(p)]
        for p in summed:
            self.clear(e, p, fields["results", p.name])

        lanes = self.variant.lanes
        blocks = f.binary("sdiv", f.binary("add", batch, integer(lanes - 1)), integer(lanes))
        loop = f.loop(zero, f.binary("sub", blocks, integer(1)), 1)
        row = f.binary("mul nsw", loop.index, integer(lanes))
        used = f.intrinsic("llvm.smin", f.binary("sub", batch, row), integer(lanes))
        own = list(lengths)
        if self.variant.ragged:
            at = f.offset(fields["ragged", ""], "i64", row)
            own[r.lengths.index("T")] = f.load("i64", at, 8)
        moved = []
        for group, name in self.pointers():
            pointer = fields[group, name]
            if group == "inputs" and lanes == 1:
                b = self.plan.buffers[name]
                pointer = self.advance(e, pointer, b, b.axes, row)
            moved.append(pointer)
        f.call_void("body", *own, *lengths, row, used, *moved)
        loop.close()
        f.ret()
        self.module.add(str(f))

    def count(self, e: Emitter, b: Buffer, ranges: Sequence[tuple[Poly, Poly]]) -> Value:
        """How many components some positions of a buffer have."""
        total = integer(b.size)
        for lo, hi in ranges:
            extent = e.f.intrinsic("llvm.smax", e.position(hi - lo + 1), integer(0))
            total = e.f.binary("mul nsw", total, extent)
        return total

    def advance(
        self,
        e: Emitter,
        pointer: Value,
        b: Buffer,
        ranges: Sequence[tuple[Poly, Poly]],
        row: Value,
    ) -> Value:
        step = e.f.binary("mul nsw", row, self.count(e, b, ranges))
        return e.f.offset(pointer, self.formats.stored(b.type.kind), step)

    def clear(self, e: Emitter, r: Result, pointer: Value) -> None:
        b = self.plan.buffers[r.name]
        stored, size = self.formats.stored(b.type.kind), self.formats.bytes(b.type.kind)
        total = self.count(e, b, r.ranges)
        loop = e.f.loop(integer(0), e.f.binary("sub", total, integer(1)), 1)
        zero = Value(stored, "zeroinitializer")
        e.f.store(zero, e.f.offset(pointer, stored, loop.index), size)
        loop.close()
