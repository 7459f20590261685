"""Loops over the same steps become one.

before:  scan t in 1..T: h[t] = h[t-1] + x[t]
         all t in 1..T: loss_sum += h[t] ** 2
after:   scan t in 1..T:
             h[t] = h[t-1] + x[t]
             loss_sum += h[t] ** 2

requires: a plan. A loop joins an earlier one of its direction (or either has none) if the ends of
their ranges are at most a few steps apart, and if every element it reads from the other is computed
in the same iteration or before. A state then goes on in a register from one statement to the next,
and much of it is never written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..domain import Domain
from ..expr import reads, subs_positions
from ..poly import Poly
from .nodes import Loop, Node, Plan, Statement, statements
from .split import CUTS, cuts

#: How far apart the ends of two ranges may be.
_APART = 2


def fuse(plan: Plan) -> Plan:
    """The plan with loops outside of other loops joined where that is legal."""
    given, lengths = plan.program.given, frozenset(plan.lengths)
    work = _Fuser(given, lengths)
    shared = tuple(p.node for p in work.fused([_part(n) for n in plan.shared]))
    body = tuple(p.node for p in work.fused([_part(n) for n in plan.body]))
    return replace(plan, shared=shared, body=body)


@dataclass(frozen=True)
class _Part:
    """A node and the names it reads and writes."""

    node: Node
    reads: frozenset[str]
    writes: frozenset[str]


def _part(node: Node) -> _Part:
    inside = list(statements((node,)))
    read = {r.ref.name for s in inside for r in reads(s.rhs)}
    read |= {s.target for s in inside if s.adds}
    return _Part(node, frozenset(read), frozenset(s.target for s in inside))


@dataclass(frozen=True)
class _Fuser:
    given: Domain
    lengths: frozenset[str]

    def fused(self, parts: list[_Part]) -> list[_Part]:
        """Every loop joined with the earliest one that it can join."""
        at = 0
        while at < len(parts):
            if isinstance(parts[at].node, Loop):
                joined = self.joined(parts, at)
                if joined is not None:
                    parts = joined
                    continue
            at += 1
        return parts

    def joined(self, parts: list[_Part], later: int) -> list[_Part] | None:
        """The parts, in a new order, with that loop inside an earlier one."""
        for earlier in range(later):
            first, second = parts[earlier], parts[later]
            if not isinstance(first.node, Loop):
                continue
            # What depends on the earlier loop comes after both, all else before them.
            free: list[_Part] = []
            waiting: list[_Part] = []
            pending = first.writes
            for p in parts[earlier + 1 : later]:
                if p.reads & pending:
                    pending |= p.writes
                    waiting.append(p)
                else:
                    free.append(p)
            if any(p.writes & second.reads for p in waiting):
                continue
            node = self.both(first, second)
            if node is not None:
                one = _Part(node, first.reads | second.reads, first.writes | second.writes)
                return [*parts[:earlier], *free, one, *waiting, *parts[later + 1 :]]
        return None

    def both(self, first: _Part, second: _Part) -> Loop | None:
        """One loop that does what two did, if there is one."""
        a, b = first.node, second.node
        assert isinstance(a, Loop)
        assert isinstance(b, Loop)
        if not (a.parallel or b.parallel or a.direction == b.direction):
            return None
        direction = b.direction if a.parallel else a.direction
        of_a, of_b = _span(a), _span(b)
        moved = self.renamed(b, a.index)
        if of_a is None or of_b is None or moved is None:
            return None
        span = self.hull(of_a, of_b)
        if span is None or not _in_order(a, moved, direction, first.writes & second.reads):
            return None
        bodies: list[Node] = []
        for loop, own in ((a, of_a), (moved, of_b)):
            if own != span and any(isinstance(n, Loop) for n in loop.body):
                return None
            bodies += self.guarded(loop, own, span)
        ranges = (((span[0],), (span[1],)),)
        made = Loop(a.index, ranges, direction, a.parallel and b.parallel, tuple(bodies))
        whole = self.given & Domain.range(a.index, *span)
        return made if len(cuts(made, whole, self.lengths)) <= CUTS else None

    def renamed(self, loop: Loop, index: str) -> Loop | None:
        """The loop with another index, unless something inside has that name."""
        if loop.index == index:
            return loop
        if any(isinstance(n, Loop) for n in loop.body):
            return None
        to = {loop.index: Poly.symbol(index)}
        body = tuple(at(s, to) for s in loop.body if isinstance(s, Statement))
        return replace(loop, index=index, body=body)

    def hull(self, a: tuple[Poly, Poly], b: tuple[Poly, Poly]) -> tuple[Poly, Poly] | None:
        """The smallest range around two whose ends are a few steps apart."""
        low, high = (b[0] - a[0]).constant, (b[1] - a[1]).constant
        if low is None or high is None or max(abs(low), abs(high)) > _APART:
            return None
        return (b[0] if low < 0 else a[0]), (b[1] if high > 0 else a[1])

    def guarded(
        self, loop: Loop, own: tuple[Poly, Poly], span: tuple[Poly, Poly]
    ) -> Iterator[Node]:
        """The loop's body in a wider range."""
        if own == span:
            yield from loop.body
            return
        inside = Domain.range(loop.index, *own).gist(Domain.range(loop.index, *span))
        for node in loop.body:
            if isinstance(node, Statement):
                node = replace(node, guard=node.guard & inside)
            yield node


def at(s: Statement, values: dict[str, Poly]) -> Statement:
    """The statement with indices replaced by positions."""
    return replace(
        s,
        position=tuple(p.subs(values) for p in s.position),
        guard=s.guard.subs(values),
        rhs=subs_positions(s.rhs, values),
    )


def _span(loop: Loop) -> tuple[Poly, Poly] | None:
    if len(loop.ranges) == 1:
        ((lows, highs),) = loop.ranges
        if len(lows) == len(highs) == 1:
            return lows[0], highs[0]
    return None


def _in_order(a: Loop, b: Loop, direction: int, names: frozenset[str]) -> bool:
    """Whether ``b`` reads of ``a``, in a common loop, only what is there already."""
    if not names:
        return True
    written = [s for s in statements(a.body) if s.target in names]
    for s in statements(b.body):
        for read in reads(s.rhs):
            for w in written:
                if w.target != read.ref.name:
                    continue
                lag = None if w.adds else _lag(w.position, read.ref.index, a.index)
                if lag is None or lag * direction < 0:
                    return False
    return True


def _lag(written: Sequence[Poly], read: Sequence[Poly], index: str) -> int | None:
    """How many steps after an element is written it is read, if that is always the same."""
    for w, r in zip(written, read, strict=True):
        sign = w.coefficient(index)
        gap = (r - w).constant
        if abs(sign) == 1 and gap is not None:
            return -gap * sign
    return None
