"""Which elements a loop hands on to its next iterations in registers.

In ``scan t: h[t] = f(h[t-1])`` the element that one iteration assigns is read by the next: it
stays in a register, and so does the last one for what comes after the loop. Memory is left to what
is read from elsewhere.

An element under a condition (``if t >= 2: a[t] = …``) is handed on as well if no other statement
assigns it: where the condition does not hold nobody reads it, and any value will do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from unfold.domain import Domain
from unfold.expr import Ref, reads
from unfold.plan import Buffer, Loop, Node, Plan, Statement, statements
from unfold.poly import Poly, PolyLike

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
        stands: whether memory has the first elements even if the loop does not run; they may be
            handed on if registers have them, otherwise.
    """

    now: Ref
    ages: tuple[Ref, ...]
    first: tuple[Ref, ...] | None
    last: tuple[Ref, ...] | None
    adds: bool = False
    stands: bool = True


#: The target and the position of a statement.
Element = tuple[str, tuple[Poly, ...]]


def lone(plan: Plan) -> frozenset[Element]:
    """The statements under a condition whose elements no other statement assigns."""
    placed = list(_placed((*plan.shared, *plan.body), ()))
    writers: dict[str, list[_Placed]] = {}
    for p in placed:
        writers.setdefault(p.statement.target, []).append(p)
    return frozenset(
        (p.statement.target, p.statement.position)
        for p in placed
        if p.statement.guard.constraints and not p.statement.adds and p.is_injective
        and all(o is p or _apart(p, o, plan.program.given) for o in writers[p.statement.target])
    )  # fmt: skip


@dataclass(frozen=True)
class _Placed:
    """A statement and the loops around it."""

    statement: Statement
    loops: tuple[Loop, ...]

    @property
    def is_injective(self) -> bool:
        """Whether every iteration has an element of its own: each index is a position, up to a
        distance."""
        own = {loop.index for loop in self.loops}
        alone = ({i for i in p.symbols if i in own} for p in self.statement.position)
        return own <= {i for found in alone if len(found) == 1 for i in found}

    @property
    def domain(self) -> Domain:
        """The iterations that the loops make; more, where a loop has several ranges."""
        return Domain.of(p for loop in self.loops for p in loop.domain.constraints)


def _placed(nodes: Sequence[Node], loops: tuple[Loop, ...]) -> Iterator[_Placed]:
    for node in nodes:
        if isinstance(node, Loop):
            yield from _placed(node.body, (*loops, node))
        else:
            yield _Placed(node, loops)


def _apart(p: _Placed, other: _Placed, given: Domain) -> bool:
    """Whether two statements never assign the same element."""
    renamed: dict[str, PolyLike] = {
        loop.index: Poly.symbol(f"{loop.index}.other") for loop in other.loops
    }
    theirs = (other.domain & other.statement.guard).subs(renamed)
    gaps = [
        a - b.subs(renamed)
        for a, b in zip(p.statement.position, other.statement.position, strict=True)
    ]
    same = Domain.of((*gaps, *(-gap for gap in gaps)))
    return (p.domain & theirs & same).is_empty(given)


def carried(
    loop: Loop, buffers: Mapping[str, Buffer], context: Domain, alone: Set[Element]
) -> Iterator[Carried]:
    """What a loop carries. ``context`` is what is known around it, ``alone`` what `lone` found."""
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
        elif assigned[s.target] == 1 and (
            not s.guard.constraints or (s.target, s.position) in alone
        ):
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

    def there(context: Domain) -> bool:
        return all(
            context.implies(p - low) and context.implies(high - p)
            for ref in first
            for p, (low, high) in zip(ref.index, b.axes, strict=True)
        )

    last = [moved(end + way - way * k) for k in range(1, len(ages) + 1)]
    runs = context.implies(hi - lo)
    # A loop that does not run leaves what it found, and that is the same if it just does not.
    sure = runs or context.implies(hi + 1 - lo)
    found = depth > 0 or not runs
    if not (depth or sure) or (found and not there(context & Domain.of((hi - lo,)))):
        return None
    return Carried(
        now, tuple(ages), tuple(first) if found else None, tuple(last) if sure else None,
        stands=not found or (depth > 0 and there(context)),
    )  # fmt: skip
