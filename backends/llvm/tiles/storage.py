"""What native code for tiles is passed at each call, and how large its storages are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from unfold.expr import names
from unfold.plan import Plan, statements

from ..elementwise import Formats
from ..record import Record, numbers, record
from ..solving import FIELD, words
from .nodes import Temporary

#: Rows of a temporary: those of a portion of a stretch, or those of the batch if they are more.
PORTION = 256


def summed_buffers(plan: Plan) -> frozenset[str]:
    """Adjoints of parameters that nothing else reads: they are summed over the batch at once."""
    read: set[str] = set()
    for s in statements((*plan.shared, *plan.body)):
        read |= names(s.rhs)
    return frozenset(
        r.name
        for r in plan.results
        if r.of_param and r.name not in read and not plan.buffers[r.name].shared
    )


@dataclass(frozen=True)
class Layout:
    """The storages in the workspace of one call: their sizes in bytes by name, in order."""

    plan: Plan
    summed: frozenset[str]
    temporaries: Mapping[str, Temporary]
    packs: Mapping[str, int]

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
            if n in self.temporaries:
                t = self.temporaries[n]
                rows = 1 if t.shared else max(batch, PORTION if t.portions else 1)
                found.append(rows * t.size * formats.bytes(t.kind))
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
                found.append(rows * numbers(b, lengths) * formats.bytes(b.type.kind))
        return found
