"""Storages that stand in one place: a value goes where another is not needed any more.

before:  p[1..T]   i[1..T]   i_bar[1..T]            three storages
         for t: i[t] = sigmoid(p[t])      for t backward: i_bar[t] = f(i[t], c_bar[t]), c_bar[t]
after:   one storage for p, i and i_bar; one element for c_bar

requires: operations in their final order. Whether an element is still needed is decided for all
lengths, on the loops' ranges. What `stack` put side by side stays so and moves together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from unfold.domain import Domain, contradict
from unfold.plan import Plan
from unfold.poly import Poly

from .accesses import Access, accesses
from .nodes import FIRST, LENGTH, Op
from .stack import Member
from .strips import fits

#: How many elements of a variable may be kept in turn; powers of two.
RINGS = (1, 2, 4)
#: In place of such a number: as many as a strip has steps.
STRIP = 0


@dataclass(frozen=True)
class Unit:
    """Storages that stand side by side, with the offset of each."""

    names: tuple[str, ...]
    offsets: tuple[int, ...]
    total: int
    axes: tuple[tuple[Poly, Poly], ...]


class Sharing:
    """Finds storages for the buffers of a plan.

    Args:
        plan, summed: what is stored; buffers that hold a sum over the batch.
        members: the bundles that are given.

    Attributes:
        members: the bundles, with what now stands in the place of others.
        rings: how many elements of a variable are kept, by its name (or `STRIP`); all of them
            otherwise.
    """

    def __init__(
        self, plan: Plan, summed: frozenset[str], members: Mapping[str, Member], ops: Sequence[Op]
    ) -> None:
        self.plan = plan
        self.given = plan.program.given & Domain.of([Poly.symbol(LENGTH) - 1])
        self.members = dict(members)
        self.rings: dict[str, int] = {}
        results = {r.name for r in plan.results}
        found, fixed = accesses(ops, members)
        self.accesses = found
        self.results = results
        self.movable = {
            b.name
            for b in plan.buffers.values()
            if b.kind == "work" and not b.shared and b.name not in summed and b.axes
            and b.type.kind == "real" and b.name in found and b.name not in fixed
        }  # fmt: skip
        place = {n: k for k, n in enumerate(found)}
        units = sorted(self.units(), key=lambda u: min(place[n] for n in u.names))
        for u in units:
            if len(u.names) == 1:
                self.ring(u)
        self.hosts: list[tuple[Unit, list[tuple[str, int, int]]]] = []
        for u in units:
            if not set(u.names) & set(self.rings):
                self.settle(u)
        for u, occupants in self.hosts:
            # What would have saved nothing is not kept for others.
            if len(u.names) > 1 and len(occupants) == len(u.names):
                self.ring(u)

    def units(self) -> Iterator[Unit]:
        """What moves together: bundles, and every buffer that is in none."""
        bundles: dict[str, list[str]] = {}
        for n, m in self.members.items():
            bundles.setdefault(m.base, []).append(n)
        for base, names in bundles.items():
            if all(n in self.movable for n in names):
                offsets = tuple(self.members[n].offset for n in names)
                total = self.members[base].total
                yield Unit(tuple(names), offsets, total, self.plan.buffers[base].axes)
        for n in self.movable - set(self.members):
            b = self.plan.buffers[n]
            yield Unit((n,), (0,), b.size, b.axes)

    # --- rings ------------------------------------------------------------------------------------

    def ring(self, u: Unit) -> None:
        """Keep a few elements only, if no other is needed at any time."""
        if len(u.axes) != 1 or any(n in self.results for n in u.names):
            return
        touched = [self.accesses[n] for n in u.names]
        written = [a for found in touched for a in found if a.write]
        directions = {self.direction(a) for a in written if a.turns}
        if len(directions) != 1:
            return
        (direction,) = directions
        together = [a for found in touched for a in found if self.direction(a) == 0 or _is_wide(a)]
        sizes: tuple[int, ...] = RINGS if len(u.names) == 1 and not together else ()
        if all(_in_strip(a) for a in together) and all(fits(self.plan.buffers[n]) for n in u.names):
            sizes += (STRIP,)
        left = ones = [(w, r) for found in touched for w in found if w.write for r in found]
        for size in sizes:
            # Those that do not need an element next to the one that is written need none beyond.
            left = left if size != STRIP else ones
            places = Poly.const(size) if size != STRIP else Poly.symbol(LENGTH)
            lapping = (k for k, (w, r) in enumerate(left) if self.laps(w, r, direction, places))
            at = next(lapping, None)
            if at is None:
                self.rings |= dict.fromkeys(u.names, size)
                return
            left = left[at:]
            ones = left if size == 1 else ones

    def direction(self, a: Access) -> int:
        """Which way an access moves on; 0 where the order is open."""
        ways = [t.direction for t in a.turns]
        return ways[-2] if _is_wide(a) and _in_strip(a) else ways[-1] if ways else 1

    def laps(self, w: Access, r: Access, direction: int, size: Poly) -> bool:
        """Whether an element is touched once one that is ``size`` or more further is written."""
        return self.meets(w, r, r.is_beside(w) and r.start == w.start, (direction, size))

    # --- one place for several --------------------------------------------------------------------

    def settle(self, u: Unit) -> None:
        """Put a unit into the place of others, or in one of its own."""
        for host, occupants in self.hosts:
            if host.axes != u.axes or host.total < u.total:
                continue
            for offset in host.offsets:
                if offset + u.total <= host.total and self.fits(u, offset, occupants):
                    base = host.names[0]
                    self.members.setdefault(base, Member(base, 0, host.total))
                    for n, own in zip(u.names, u.offsets, strict=True):
                        self.members[n] = Member(base, offset + own, host.total)
                    occupants += self.parts(u, offset)
                    return
        self.hosts.append((u, self.parts(u, 0)))

    def parts(self, u: Unit, offset: int) -> list[tuple[str, int, int]]:
        """For each storage of a unit its first component and the one after its last."""
        return [
            (n, offset + own, offset + own + self.plan.buffers[n].size)
            for n, own in zip(u.names, u.offsets, strict=True)
        ]

    def fits(self, u: Unit, offset: int, occupants: Sequence[tuple[str, int, int]]) -> bool:
        """Whether nothing that stands there is needed once the unit is written."""
        for n, first, end in self.parts(u, offset):
            for other, start, stop in occupants:
                if start < end and first < stop and not self.follows(n, first, other, start):
                    return False
        return True

    def follows(self, later: str, first: int, earlier: str, start: int) -> bool:
        """Whether no element of a variable is touched once that of a later one is written."""
        if earlier in self.results:
            return False
        return not any(
            self.meets(w, r, r.is_beside(w) and r.start + start == w.start + first)
            for w in self.accesses[later]
            if w.write
            for r in self.accesses[earlier]
        )

    # --- order ------------------------------------------------------------------------------------

    def meets(
        self, w: Access, r: Access, beside: bool, apart: tuple[int, Poly] | None = None
    ) -> bool:
        """Whether ``r`` may touch an element after ``w`` has written one in its place.

        Those are elements of one position; with ``apart = (direction, size)`` those that ``w``
        writes ``size`` or more steps further on. ``beside`` allows both in one operation.
        """
        common = 0
        for a, b in zip(w.turns, r.turns, strict=False):
            if a.number != b.number:
                break
            common += 1
        later = r.time > w.time or (r.time == w.time and not beside)
        if not common and not later:
            return False
        moved, ranges, position = r.later
        where = [*w.ranges, *ranges, *self.given.constraints]
        for p, q in zip(w.view.position, position, strict=True):
            if apart is None:
                where += [p - q, q - p]
            else:
                direction, size = apart
                where.append((p - q) * direction - size)
        cases: list[list[Poly]] = []
        same: list[Poly] = []
        for turn in w.turns[:common]:
            gap = moved[turn.index] - Poly.symbol(turn.index)
            if turn.direction >= 0:
                cases.append([*same, gap - turn.step])
            if turn.direction <= 0:
                cases.append([*same, -gap - turn.step])
            same += [gap, -gap]
        if later:
            cases.append(same)
        return not all(contradict((*where, *case)) for case in cases)


def _is_wide(a: Access) -> bool:
    """Whether a map over several steps touches their elements in one go."""
    return bool(a.turns) and a.turns[-1].direction == 0


def _in_strip(a: Access) -> bool:
    """Whether those are elements of one strip, at the steps of the map."""
    if len(a.turns) != 2 or a.turns[0].index != FIRST or a.view.walked is not None:
        return False
    return a.view.position == (Poly.symbol(a.turns[-1].index),)


__all__ = ["STRIP", "Sharing", "Unit"]
