"""What native code for tiles is passed at each call, and how large its storages are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from unfold.expr import Ref, names
from unfold.plan import Plan, statements

from ..elementwise import Formats
from ..record import Record, numbers, record
from ..solving import FIELD, words
from .nodes import Temporary
from .stack import Member

#: Rows of a temporary: those of a portion of a stretch, or those of the batch if they are more.
PORTION = 256


def summed_buffers(plan: Plan) -> frozenset[str]:
    """Adjoints of parameters that only copies to others of them read: summed over the batch at
    once."""
    found = {r.name for r in plan.results if r.of_param and not plan.buffers[r.name].shared}
    while True:
        read: set[str] = set()
        for s in statements((*plan.shared, *plan.body)):
            if not (isinstance(s.rhs, Ref) and s.target in found):
                read |= names(s.rhs)
        if not found & read:
            return frozenset(found)
        found -= read


@dataclass(frozen=True)
class Layout:
    """The storages in the workspace of one call: their sizes in bytes by name, in order.

    Storages that are members of a bundle stand in that of the bundle's first member; of a ring some
    elements are kept in turn.
    """

    plan: Plan
    summed: frozenset[str]
    temporaries: Mapping[str, Temporary]
    members: Mapping[str, Member]
    packs: Mapping[str, int]
    rings: Mapping[str, int]

    @property
    def record(self) -> Record:
        """The fields of a call's record."""
        base = record(self.plan, 1)
        copies = tuple(f"%copy.{n}" for n in base.inputs if self.plan.buffers[n].axes)
        work = base.work + copies + tuple(self.temporaries) + tuple(self.packs)
        return Record(base.lengths, base.inputs, base.params, base.results, work)

    def bytes(self, formats: Formats, lengths: dict[str, int], batch: int) -> list[int]:
        """The size of each storage for a batch (of one sequence where ``batch`` is 1)."""
        found = []
        for n in self.record.work:
            share = self.members.get(n)
            if share is not None and share.base != n:
                found.append(0)
            elif n in self.temporaries:
                t = self.temporaries[n]
                rows = 1 if t.shared else max(batch, PORTION if t.portions else 1)
                size = t.size if share is None else share.total
                found.append(rows * size * formats.bytes(t.kind))
            elif n in self.packs:
                found.append(self.packs[n] * formats.bytes("real"))
            elif n == FIELD:
                found.append(words(self.plan, batch, 1))
            elif n.startswith("%copy."):
                b = self.plan.buffers[n[len("%copy.") :]]
                rows = batch if batch > 1 else 0
                found.append(rows * numbers(b, lengths) * formats.bytes(b.type.kind))
            else:
                b = self.plan.buffers[n]
                rows = 1 if b.shared or n in self.summed else batch
                elements = self.rings.get(n, 0) * b.size or numbers(b, lengths)
                size = elements * formats.bytes(b.type.kind)
                if share is not None:
                    size = size // b.size * share.total
                found.append(rows * size)
        return found
