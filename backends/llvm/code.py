"""From a program to machine code: the plan, the IR of a variant, and the facts that calls need."""

from __future__ import annotations

from dataclasses import dataclass

from unfold import cache
from unfold.collecting import uncollected
from unfold.later import Later
from unfold.plan import (
    Plan,
    copies,
    factors,
    forward,
    hoist,
    linear,
    parts,
    retime,
    settle,
    steady,
)
from unfold.program import Program

from . import choose, crew, cutting, jit, lanes, solving, tiles
from .apart import InParts
from .block import Record, Storage
from .columns import columns
from .effort import effort, streamed
from .elementwise import Formats
from .facts import Facts, Returned, Variant
from .failures import FIELD
from .ir import Receiver
from .kernel import Image, Kernel
from .record import noted, record, sizing


@dataclass(frozen=True)
class Source:
    """What a kernel is made from, and how.

    Attributes:
        plan: the plan; with matrix products hoisted unless ``small``.
        small: whether every component becomes a value of its own (`unfold.backends.llvm.lanes`)
            or stays in memory (`unfold.backends.llvm.tiles`), in a batch.
        dtype: ``"float64"`` or ``"float32"``.
        threads: how many threads a call may use.
        sum_adjoints: whether adjoints of parameters are summed over the batch.
    """

    plan: Plan
    small: bool
    dtype: str
    threads: int
    sum_adjoints: bool

    def is_small(self, variant: Variant) -> bool:
        """`small` for one variant: a single sequence may have other vectors than a batch."""
        alone = variant.lanes == 1 and choose.multiplies_at_pairs(self.plan.program)
        return self.small and not alone

    @property
    def formats(self) -> Formats:
        """The machine's number formats."""
        return Formats("double" if self.dtype == "float64" else "float")

    @property
    def facts(self) -> Facts:
        """What calls need to know."""
        plan, buffers = self.plan, self.plan.buffers
        results = tuple(
            Returned(r.name, r.ranges, buffers[r.name].shape, buffers[r.name].type.kind, r.summed)
            for r in plan.results
        )
        width = None if self.small else jit.host().lanes(self.dtype)
        return Facts(
            self.dtype, self.threads, self.sum_adjoints, self.small,
            doubled=self.small and choose.is_light(plan.program),
            lengths=plan.lengths,
            sizing=sizing(plan),
            record=record(plan, 1),
            results=results,
            solved=solving.solved(plan, self.dtype),
            effort=effort(plan, width),
            streamed=0 if self.small else streamed(plan) * self.formats.bytes("real"),
        )  # fmt: skip


def kernel(
    program: Program,
    dtype: str,
    threads: int,
    sum_adjoints: bool,
    entry: str | None,
    *,
    whole: bool = True,
) -> Kernel:
    """The kernel of a program; see `unfold.backends.llvm.compile`.

    Unless it is to be ``whole``, it has parts as well if that is of use for batches.
    """
    made = source(program, dtype, threads, sum_adjoints)
    if whole or not sum_adjoints or not choose.may_be_in_parts(program):
        return Kernel(made.facts, Later(made), entry)
    return InParts(made.facts, Later(made), entry, Later(program))


def in_turn(program: Program, facts: Facts, entry: str | None) -> dict[str, Kernel]:
    """The kernels of the parts of a program, in the order in which they run, if it has any."""
    found = choose.in_parts(program)
    if found is None:
        return {}
    programs = {"there": found.there, "each": found.each, "back": found.back}
    return {
        n: kernel(p, facts.dtype, facts.threads, facts.sum_adjoints, _named(entry, n))
        for n, p in programs.items()
        if p is not None
    }


def _named(entry: str | None, part: str) -> str | None:
    return None if entry is None else cache.key(entry, part)


def source(program: Program, dtype: str, threads: int, sum_adjoints: bool) -> Source:
    """The plan of a program, for the kind of code that suits it."""
    program = steady(factors(settle(program)))
    small = choose.is_small(program)
    made = choose.arranged(program if small else _hoisted(program), small)
    return Source(made, small, dtype, threads, sum_adjoints)


def _hoisted(program: Program) -> Program:
    """A program whose products stand where they are products of large matrices."""
    return retime(hoist(copies(parts(linear(forward(program))))))


class Code:
    """The IR of one variant, and how large its storages are.

    Attributes:
        small: as in `Source`, of this variant.
        record, storages, falling, prepared: see `unfold.backends.llvm.kernel.Image`.

    Args:
        receiver: takes each function as soon as it is written.
    """

    def __init__(self, source: Source, variant: Variant, receiver: Receiver | None = None) -> None:
        self.falling = False
        self.small = source.is_small(variant)
        self.prepared: frozenset[str] | None = None
        self.record: Record
        self.storages: tuple[Storage, ...]
        plan, own = source.plan, "T" if variant.ragged else None
        if source.small and not self.small:
            plan = choose.arranged(_hoisted(plan.program), False, own)
        elif variant.ragged:
            plan = choose.arranged(plan.program, self.small, own)
        if self.small:
            width = 1
            if variant.lanes == 1 and choose.has_vectors(plan.program):
                width = jit.host().lanes(source.dtype)
                plan = choose.arranged(columns(plan.program), True, own)
            self.record = record(plan, variant.lanes)
            self.text, untouched = lanes.generate(plan, source.formats, variant, width, receiver)
            self.storages = tuple(
                Storage(0) if n in untouched else _for_lanes(plan, n, variant.lanes, source.formats)
                for n in self.record.work
            )
            alone = variant.ragged
        else:
            width = jit.host().lanes(source.dtype)
            made = tiles.generate(plan, source.formats, width, variant, receiver)
            self.text, self.falling, alone = made.text, made.falling, made.alone
            self.prepared = made.prepared
            self.record = made.layout.record
            self.storages = tuple(made.layout.storages(source.formats))
        if alone and not self.small:
            self.storages = tuple(
                s if n in (FIELD, crew.FIELD) else s.of_one()
                for n, s in zip(self.record.work, self.storages, strict=True)
            )


def _for_lanes(plan: Plan, name: str, lanes: int, formats: Formats) -> Storage:
    """A storage of code that keeps components in registers: of the sequences that run at once."""
    if name == FIELD:
        return noted(lanes)
    b = plan.buffers[name]
    width = 1 if b.shared else lanes
    return Storage(b.size * width * formats.bytes(b.type.kind), b.axes, shared=True)


def compiled(source: Source, variant: Variant) -> Image:
    """The machine code of one variant for this machine."""
    made: list[Code] = []

    def write(receiver: Receiver | None) -> str:
        with uncollected():
            made.append(Code(source, variant, receiver))
        return made[0].text

    object_code = cutting.object_code(write, optimise=source.is_small(variant))
    (code,) = made
    return Image(code.record, code.storages, code.falling, object_code, prepared=code.prepared)


def listing(source: Source, variant: Variant) -> str:
    """That code as assembly."""
    return jit.assembly(Code(source, variant).text, optimise=source.is_small(variant))


__all__ = ["Code", "Source", "compiled", "in_turn", "kernel", "listing", "source"]
