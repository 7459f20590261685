"""What native code for tiles is passed at each call, and how large its storages are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from unfold.expr import Ref, names
from unfold.plan import Buffer, Plan, statements
from unfold.poly import Poly

from .. import crew
from ..block import Record, Storage
from ..elementwise import Formats
from ..failures import FIELD
from ..machine import LINE
from ..record import noted
from .nodes import Temporary
from .sharing import STRIP
from .stack import Member

#: Bytes of all lines that have places of their own in a first-level cache.
PLACES = 4096


def summed_buffers(plan: Plan) -> frozenset[str]:
    """Adjoints of parameters that only copies to others of them read: summed over the batch at
    once."""
    found = {r.name for r in plan.results if r.summed and not plan.buffers[r.name].shared}
    while True:
        read: set[str] = set()
        for s in statements((*plan.shared, *plan.body)):
            if not (isinstance(s.rhs, Ref) and s.target in found):
                read |= names(s.rhs)
        if not found & read:
            return frozenset(found)
        found -= read


def spaced(members: Mapping[str, Member], summed: frozenset[str], itemsize: int
           ) -> dict[str, Member]:  # fmt: skip
    """Bundles with rows a line further apart where one column of theirs would fall on few places.

    The place of a line in a first-level cache is its address modulo 4,096: of rows that are 2,048
    bytes apart, all first numbers compete for two places.
    """

    def apart(m: Member) -> Member:
        size = m.total * itemsize
        crowded = m.base not in summed and size % (PLACES // 2) == 0
        return replace(m, total=m.total + LINE // itemsize) if crowded else m

    return {n: apart(m) for n, m in members.items()}


@dataclass(frozen=True)
class Layout:
    """The storages in the workspace of one call: their sizes in bytes by name, in order.

    Storages that are members of a bundle stand in that of the bundle's first member; of a ring some
    elements are kept in turn, of an input's copy too (for a strip: see `strips.extent`). ``extra``
    is room for kernels, and for operands in panels. ``plain`` is the plan's record without what
    this kind of code needs beside.
    """

    plan: Plan
    plain: Record
    summed: frozenset[str]
    temporaries: Mapping[str, Temporary]
    members: Mapping[str, Member]
    extra: Sequence[Buffer]
    rings: Mapping[str, int]
    of_strip: tuple[int, int]
    crew: bool = False

    @property
    def record(self) -> Record:
        """The fields of a call's record."""
        base = self.plain
        copies = tuple(f"%copy.{n}" for n in base.inputs if self.plan.buffers[n].axes)
        words = (crew.FIELD,) if self.crew else ()
        work = base.work + words + copies + tuple(self.temporaries)
        work += tuple(b.name for b in self.extra)
        return Record(base.lengths, base.inputs, base.params, base.results, work)

    def storages(self, formats: Formats) -> list[Storage]:
        """The size of each storage, in the order of the record."""
        return [self._storage(n, formats) for n in self.record.work]

    def _storage(self, n: str, formats: Formats) -> Storage:
        share = self.members.get(n)
        if share is not None and share.base != n:
            return Storage(0)
        if n in self.temporaries:
            t = self.temporaries[n]
            size = t.size if share is None else share.total
            unit = size * formats.bytes(t.kind)
            return Storage(unit, t.axes, shared=t.shared, more=t.more, least=t.least)
        for b in self.extra:
            if b.name == n:
                return self._kept(b, b.size * formats.bytes("real"))._replace(shared=True)
        if n == FIELD:
            return noted(1)
        if n == crew.FIELD:
            return Storage(8 * crew.WORDS, shared=True)
        if n.startswith("%copy."):
            b = self.plan.buffers[n[len("%copy.") :]]
            return self._kept(b, b.size * formats.bytes(b.type.kind))._replace(several=True)
        b = self.plan.buffers[n]
        unit = (b.size if share is None else share.total) * formats.bytes(b.type.kind)
        return self._kept(b, unit)._replace(shared=b.shared or n in self.summed)

    def _kept(self, b: Buffer, unit: int) -> Storage:
        """Places for the elements of a buffer: for all, or as many as are kept in turn."""
        ring = self.rings.get(b.name)
        if ring is None:
            return Storage(unit, b.axes)
        if ring == STRIP:
            ((_, hi),) = b.axes
            return Storage(unit, ((Poly.const(0), hi),), turns=self.of_strip)
        return Storage(unit * ring)
