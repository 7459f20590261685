"""Who touches which elements when: the operations of a function as a list of reads and writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from unfold.domain import Domain
from unfold.poly import Poly

from .arrange import read_by, written_by
from .nodes import (
    LENGTH,
    Branch,
    ColumnSum,
    Contract,
    Group,
    Map,
    Op,
    Points,
    Product,
    Repeat,
    Solve,
    Stretch,
    Strips,
    View,
)
from .rowwise import is_aligned, keeps_lines
from .stack import Member

_ONE = Poly.const(1)


@dataclass(frozen=True)
class Turn:
    """A loop around an operation.

    Attributes:
        number: of the loop.
        index, domain: the loop's variable and its range.
        direction: 1 or -1; 0 where the order is open.
        step: by how much the index moves, at least.
    """

    number: int
    index: str
    domain: Domain
    direction: int
    step: Poly


@dataclass(frozen=True)
class Access:
    """An operation reads or writes some components of an element.

    Attributes:
        view: what it touches; for a storage in a bundle the view may reach over several.
        start: the view's first component, counted from that of the storage.
        time: the operation's place in the text.
        turns: the loops around it, from the outside.
        write: whether it writes.
        aligned: whether the operation is done with each component before it writes that
            component, of a view of the same shape.
    """

    view: View
    start: int
    time: int
    turns: tuple[Turn, ...]
    write: bool
    aligned: bool

    @cached_property
    def ranges(self) -> tuple[Poly, ...]:
        """The ranges of all loops around it, as constraints."""
        return tuple(p for t in self.turns for p in t.domain.constraints)

    @cached_property
    def later(self) -> tuple[dict[str, Poly], tuple[Poly, ...], tuple[Poly, ...]]:
        """The indices of the loops around it in another iteration, by name; the ranges and the
        position in that one."""
        moved = {t.index: Poly.symbol(f"{t.index}'") for t in self.turns}
        ranges = tuple(p.subs(moved) for p in self.ranges)
        return moved, ranges, tuple(p.subs(moved) for p in self.view.position)

    def is_beside(self, write: Access) -> bool:
        """Whether it may be in the place that the same operation writes."""
        return (
            not self.write
            and self.aligned
            and write.aligned
            and self.time == write.time
            and (self.view.shape, self.view.strides) == (write.view.shape, write.view.strides)
        )


def accesses(
    ops: Sequence[Op], members: Mapping[str, Member]
) -> tuple[dict[str, list[Access]], set[str]]:
    """The accesses of each storage in textual order; the storages of which not all are listed."""
    w = _Walker(members)
    w.ops(ops, ())
    return w.found, w.fixed


class _Walker:
    def __init__(self, members: Mapping[str, Member]) -> None:
        self.found: dict[str, list[Access]] = {}
        self.fixed: set[str] = set()
        self.time = 0
        self.bundles: dict[str, list[tuple[str, Member]]] = {}
        self.members = members
        for n, m in sorted(members.items(), key=lambda nm: nm[1].offset):
            self.bundles.setdefault(m.base, []).append((n, m))

    def ops(self, ops: Sequence[Op], turns: tuple[Turn, ...]) -> None:
        for op in ops:
            self.time += 1
            if isinstance(op, Branch):
                self.ops(op.then, turns)
                self.ops(op.otherwise, turns)
            elif isinstance(op, (Repeat, Points, Stretch, Strips)):
                self.ops(op.body, (*turns, _turn(op, self.time)))
            elif isinstance(op, Solve):
                self.hidden(op)
            else:
                self.plain(op, turns)

    def hidden(self, op: Solve) -> None:
        """Nothing is known of when a search touches what it uses."""
        inner = _Walker(self.members)
        inner.ops((*op.first, *op.step, *op.tangent), ())
        self.fixed |= set(inner.found) | inner.fixed
        views = op.target, op.image, op.last, op.work, op.state, op.marks, op.direction, op.slope
        for v in views:
            if v is not None:
                self.fixed |= {name for name, _ in self.storages(v)}

    def plain(self, op: Op, turns: tuple[Turn, ...]) -> None:
        parts = op.parts if isinstance(op, Group) else (op,)
        for part in parts:
            plain = isinstance(part, Map) and not part.update and part.target.is_dense
            lines = plain and isinstance(part, Map) and keeps_lines(part)
            for v in read_by(part):
                aligned = lines and isinstance(part, Map) and is_aligned(part, v)
                if isinstance(part, Product):
                    aligned = v == part.start
                self.note(v, turns, False, aligned)
            # A sum over no steps writes too: zeros.
            fresh = isinstance(part, (ColumnSum, Contract)) and part.fresh
            around = turns[:-1] if fresh and turns and turns[-1].direction == 0 else turns
            for v in written_by(part):
                self.note(v, around, True, plain or isinstance(part, Product))

    def note(self, v: View, turns: tuple[Turn, ...], write: bool, aligned: bool) -> None:
        for name, start in self.storages(v):
            access = Access(v, start, self.time, turns, write, aligned)
            self.found.setdefault(name, []).append(access)

    def storages(self, v: View) -> Iterator[tuple[str, int]]:
        """The storages that a view reaches over; where it begins in each."""
        own = self.members.get(v.storage)
        if own is None:
            yield v.storage, v.offset
            return
        first = own.offset + v.offset
        last = first + sum((n - 1) * s for n, s in zip(v.shape, v.strides, strict=True))
        bundle = self.bundles[own.base]
        ends = [m.offset for _, m in bundle[1:]] + [own.total]
        for (name, m), end in zip(bundle, ends, strict=True):
            if m.offset <= last and first < end:
                yield name, first - m.offset


def _turn(op: Repeat | Points | Stretch | Strips, number: int) -> Turn:
    i = Poly.symbol(op.index)
    if isinstance(op, Strips):
        # Where a strip lies is said by the ranges of the loops in it.
        return Turn(number, op.index, Domain(), op.direction, Poly.symbol(LENGTH))
    if isinstance(op, Points):
        return Turn(number, op.index, op.domain, 1, _ONE)
    ranges = ((op.lows, op.highs),) if isinstance(op, Stretch) else op.ranges
    domain = Domain()
    if len(ranges) == 1:
        ((lows, highs),) = ranges
        domain = Domain.of((*(i - p for p in lows), *(p - i for p in highs)))
    return Turn(number, op.index, domain, op.direction if isinstance(op, Repeat) else 0, _ONE)
