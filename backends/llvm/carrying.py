"""Which elements a loop hands on to its next iterations in registers.

In ``scan t: h[t] = f(h[t-1])`` the element that one iteration assigns is read by the next: it
stays in a register, and so does the last one for what comes after the loop. Memory is left to what
is read from elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from unfold.domain import Domain
from unfold.expr import Ref, reads
from unfold.plan import Buffer, Loop, Statement, statements
from unfold.poly import Poly

#: How many iterations an element is kept at most.
_KEPT = 4


@dataclass(frozen=True)
class Carried:
    """A variable whose latest elements stand in registers.

    Attributes:
        now: the element that an iteration assigns, in terms of the loop's index.
        ages: the elements that iterations before assigned, the last one first.
        first: the same elements as the loop finds them; ``None`` if they need not exist.
        last: the same elements as it leaves them behind; ``None`` where that is not certain.
        adds: whether every iteration adds to the same element.
    """

    now: Ref
    ages: tuple[Ref, ...]
    first: tuple[Ref, ...] | None
    last: tuple[Ref, ...] | None
    adds: bool = False


def carried(loop: Loop, buffers: Mapping[str, Buffer], context: Domain) -> Iterator[Carried]:
    """What a loop carries. ``context`` is what is known around it."""
    inside = list(statements(loop.body))
    direct = [s for s in loop.body if isinstance(s, Statement)]
    assigned = Counter(s.target for s in inside)
    read: dict[str, set[tuple[Poly, ...]]] = {name: set() for name in assigned}
    for o in inside:
        for r in reads(o.rhs):
            if r.ref.name in read:
                read[r.ref.name].add(r.ref.index)
    for s in direct:
        if s.adds:
            same = (_ref(s),)
            yield Carried(same[0], same, same, same, adds=True)
        elif not s.guard.constraints and assigned[s.target] == 1:
            found = _state(loop, s, read[s.target], buffers[s.target], context)
            if found is not None:
                yield found


def _ref(s: Statement) -> Ref:
    return Ref(s.target, s.position, s.rhs.shape, s.rhs.type)


def _state(
    loop: Loop, s: Statement, read: Set[tuple[Poly, ...]], b: Buffer, context: Domain
) -> Carried | None:
    """What ``s`` assigns, of which the positions ``read`` are read inside of the loop."""
    signs = [p.coefficient(loop.index) for p in s.position]
    if sum(abs(sign) for sign in signs) != 1 or len(loop.ranges) != 1:
        return None
    ((lows, highs),) = loop.ranges
    if len(lows) != 1 or len(highs) != 1:
        return None
    lo, hi = lows[0], highs[0]
    now, index, way = _ref(s), Poly.symbol(loop.index), loop.direction

    def moved(to: Poly) -> Ref:
        return Ref(
            now.name, tuple(p.subs({loop.index: to}) for p in now.index), now.shape, now.type
        )

    ages = [moved(index - way * k) for k in range(1, _KEPT + 1)]
    depth = max((k for k, ref in enumerate(ages, start=1) if ref.index in read), default=0)
    ages = ages[: max(depth, 1)]
    begin, end = (lo, hi) if way > 0 else (hi, lo)
    first = [moved(begin - way * k) for k in range(1, len(ages) + 1)]
    there = all(
        context.implies(p - low) and context.implies(high - p)
        for ref in first
        for p, (low, high) in zip(ref.index, b.axes, strict=True)
    )
    if depth and not there:
        return None
    last = [moved(end + way - way * k) for k in range(1, len(ages) + 1)]
    runs = context.implies(hi - lo)
    # A loop that does not run leaves what it found, and that is the same if it just does not.
    sure = runs or (depth > 0 and context.implies(hi + 1 - lo))
    if not depth and not runs:
        return None
    return Carried(now, tuple(ages), tuple(first) if depth else None, tuple(last) if sure else None)
