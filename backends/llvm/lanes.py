"""Native code for systems of few components: one sequence, or a register full of them, at a time.

Every component is a value in a register; the loops over time are inside, the loop over the batch is
outside, so that the workspace of a sequence stays in the nearest cache. Sequences of unequal
lengths simply have their own number of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from unfold.domain import Domain
from unfold.expr import Ref
from unfold.plan import Buffer, Loop, Node, Plan, Result, Statement
from unfold.poly import Poly

from . import runs
from .block import Record, data_offset
from .carrying import Carried, carried, lone
from .components import Components, add
from .copying import Copier
from .elementwise import Formats, convert
from .emitter import Emitter
from .facts import Variant
from .failures import FIELD
from .ir import COLD, Function, Module, Receiver, Value, integer, is_zero
from .memory import Memory, Place
from .record import record
from .solving import Reporter
from .solving.registers import solve
from .vectors import Piece, filled, layout

#: A call that has more fields is passed on without care: it takes LLVM longer to find a good order
#: for so many addresses, each of which is needed once, than such an order saves.
_MANY = 40


class Made(NamedTuple):
    """The IR of a module that exports ``run(ptr record)``, and the work buffers that it leaves
    alone: they stand in registers."""

    text: str
    untouched: frozenset[str]


def generate(
    plan: Plan,
    formats: Formats,
    variant: Variant,
    width: int = 1,
    receiver: Receiver | None = None,
) -> Made:
    """The code of a plan.

    Args:
        width: how many components of an element go side by side in a register, where sequences
            do not; see `unfold.backends.llvm.vectors`.
        receiver: takes each function as soon as it is written.

    Raises:
        KeyError: an op has no lowering; the argument is its name.
    """
    made = _Generator(plan, formats, variant, width, receiver)
    return Made(str(made.module), made.untouched)


class _Generator:
    def __init__(
        self,
        plan: Plan,
        formats: Formats,
        variant: Variant,
        width: int,
        receiver: Receiver | None,
    ) -> None:
        self.plan = plan
        self.formats = formats
        self.variant = variant
        self.width = width
        self.record: Record = record(plan, variant.lanes)
        self.module = Module(receiver=receiver)
        self.alone = lone(plan)
        made = [self.shared()] if plan.shared else []
        made.append(self.body())
        loaded = {r.name for r in plan.results}.union(*(e.memory.loaded for e in made))
        for e in made:
            # What is never read back is not written.
            e.f.drop([x for n, lines in e.memory.stored.items() if n not in loaded for x in lines])
            self.module.add(str(e.f))
        self.untouched = frozenset(
            b.name for b in plan.buffers.values() if b.kind == "work" and b.name not in loaded
        )
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
        memory = Memory(self.formats, {}, lanes, self.width)
        e = Emitter(f, self.formats, memory, dict(env), self.plan.program.given)
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

    def shared(self) -> Emitter:
        """What depends on parameters alone."""
        f, known, pointers = self.inner("shared")
        e = self.emitter(f, known, pointers, 1)
        self.reporter = self.reporting(known, pointers)
        self.nodes(e, self.plan.shared)
        f.ret()
        return e

    def body(self) -> Emitter:
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
        return e

    def reporting(
        self, known: dict[str, Value], pointers: dict[tuple[str, str], Value]
    ) -> Reporter | None:
        """Who notes that an implicit equation has no solution, in a function's sequences."""
        noted = pointers.get(("work", FIELD))
        if noted is None:
            return None
        return Reporter(noted, known["row"], known["used"], tuple(self.plan.program.vars))

    def is_summed(self, r: Result) -> bool:
        return r.summed and self.variant.sum_adjoints

    def nodes(self, e: Emitter, nodes: Sequence[Node]) -> None:
        """Loops and statements."""
        for guard, group in groupby(nodes, lambda n: n.guard if isinstance(n, Statement) else None):
            if guard is not None and guard.constraints:
                self.guarded(e, guard, [n for n in group if isinstance(n, Statement)])
                continue
            for node in group:
                if isinstance(node, Loop):
                    self.loop(e, node)
                else:
                    e.remember(self.element(node), self.assign(e, node))

    def loop(self, e: Emitter, node: Loop) -> None:
        ends = []
        for lows, highs in node.ranges:
            ends.append(e.ends(e.place(lows), e.place(highs)))
        lo, hi = ends[0]
        for a, b in ends[1:]:
            lo = e.f.intrinsic("llvm.smin", lo, a)
            hi = e.f.intrinsic("llvm.smax", hi, b)
        if self.width > 1 and runs.is_run_of_statements(node):
            self.in_runs(e, node, lo, hi)
            return
        held = [
            c for c in carried(node, self.plan.buffers, e.context, self.alone)
            if c.stands or all(e.known(ref) is not None for ref in c.first or ())
        ]  # fmt: skip
        start = [v for c in held for k in range(len(c.ages)) for v in self.found(e, c, k)]
        with e.index_scope(node.index):
            loop = e.f.loop(lo, hi, node.direction, start)
            e.env[node.index] = loop.index
            state = iter(loop.state)
            for c in held:
                for ref in c.ages:
                    e.remember(ref, [next(state) for _ in self.pieces(c)])
            with e.within(node):
                self.nodes(e, node.body)
            following = [v for c in held for ref in self.passed(c) for v in self.uniform(e, ref)]
        left = iter(loop.close(following))
        for c in held:
            for k in range(len(c.ages)):
                values = [next(left) for _ in self.pieces(c)]
                if c.last is not None:
                    e.remember(c.last[k], values)

    def in_runs(self, e: Emitter, node: Loop, lo: Value, hi: Value) -> None:
        """A loop whose iterations are done side by side."""
        upto = e.f.binary("sub", runs.count(e, lo, hi), integer(1))
        with e.index_scope(node.index):
            loop = e.f.loop(integer(0), upto, 1)
            with e.at_once(runs.run_at(e, node.index, loop.index, lo, hi)) as run:
                for s in node.body:
                    assert isinstance(s, Statement)
                    (value,) = e.remember(self.element(s), self.assigned(e, s))
                    runs.store(e, run, s, value)
            loop.close()

    def assigned(self, e: Emitter, s: Statement) -> Components:
        """What a statement of a run assigns, in its lanes."""
        return [e.f.splat(v, self.width) for v in e.value(s.rhs)]

    def pieces(self, c: Carried) -> Sequence[Piece]:
        return layout(self.plan.buffers[c.now.name].shape, self.width)

    def passed(self, c: Carried) -> Sequence[Ref]:
        """What the next iteration finds in place of ``ages``."""
        return c.ages if c.adds else [c.now, *c.ages[:-1]]

    def found(self, e: Emitter, c: Carried, age: int) -> Components:
        """An element as the loop finds it."""
        if c.first is not None:
            return self.uniform(e, c.first[age])
        return self.zeros(e, c.now)

    def zeros(self, e: Emitter, ref: Ref) -> Components:
        """What stands for an element that nobody reads."""
        shape = self.plan.buffers[ref.name].shape
        zeros = filled(e, e.zero(ref.type.kind), shape)
        return e.widened(zeros, e.memory.places[ref.name].lanes)

    def uniform(self, e: Emitter, ref: Ref) -> Components:
        """The components of an element in all its lanes, as registers hold them."""
        return self.evened(e, ref, e.value(ref))

    def evened(self, e: Emitter, ref: Ref, values: Components) -> Components:
        """The same in the format of an element, each in all its lanes."""
        kind, lanes = self.formats.of(ref.type.kind), e.memory.places[ref.name].lanes
        return [e.f.splat(convert(e.f, v, kind), lanes) for v in values]

    def guarded(self, e: Emitter, guard: Domain, group: Sequence[Statement]) -> None:
        """Statements under one condition."""
        # What is known of an element after it all, if the condition does not hold.
        before: dict[Ref, Components] = {}
        for s in group:
            ref = self.element(s)
            if s.adds and ref not in before:
                before[ref] = self.uniform(e, ref)
            elif (s.target, s.position) in self.alone:
                before[ref] = self.zeros(e, ref)
        condition = e.condition(guard)
        start = e.f.block.label
        with e.f.when(condition), e.scope():
            for s in group:
                e.remember(self.element(s), self.assign(e, s))
            after = {ref: self.uniform(e, ref) for ref in before}
            end = e.f.block.label
        for ref, values in before.items():
            pairs = zip(after[ref], values, strict=True)
            e.remember(ref, [e.f.phi(b.type, [(a, end), (b, start)]) for a, b in pairs])

    def element(self, s: Statement) -> Ref:
        """What a statement assigns, as expressions read it."""
        v = self.plan.program.vars[s.target]
        return Ref(s.target, s.position, v.shape, v.type)

    def assign(self, e: Emitter, s: Statement) -> Components:
        if s.solver is not None:
            assert self.reporter is not None
            values: Components = [*solve(e, s, self.element(s), self.reporter)]
        else:
            values = e.value(s.rhs)
        if s.adds:
            # The loop around keeps the sum; it is written when it is complete.
            ref = self.element(s)
            pairs = zip(self.uniform(e, ref), values, strict=True)
            return [a if is_zero(v) else add(e, a, v) for a, v in pairs]
        e.memory.store(e, s.target, e.place(s.position), values)
        return values

    # --- the function that is called --------------------------------------------------------------

    def run(self) -> None:
        kinds = {
            self.plan.buffers[p.name].type.kind for p in self.plan.results if self.is_summed(p)
        }
        cleared = {kind: self.clear(kind) for kind in sorted(kinds)}
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
            b = self.plan.buffers[p.name]
            f.call_void(cleared[b.type.kind], fields["results", p.name], self.count(e, b, p.ranges))

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
        if len(r.names()) > _MANY:
            f.mark(COLD)
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

    def clear(self, kind: str) -> str:
        """A function that sets numbers to zero, so many from an address on."""
        f = Function(
            self.module, f"clear.{kind}", [("ptr", "to", ""), ("i64", "count", "")],
            linkage="internal",
        )  # fmt: skip
        stored, size = self.formats.stored(kind), self.formats.bytes(kind)
        to, count = f.args
        loop = f.loop(integer(0), f.binary("sub", count, integer(1)), 1)
        f.store(Value(stored, "zeroinitializer"), f.offset(to, stored, loop.index), size)
        loop.close()
        f.ret()
        self.module.add(str(f))
        return f"clear.{kind}"
