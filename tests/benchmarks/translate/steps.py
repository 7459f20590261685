"""The body of a loop: what a step computes, what comes as a row, and what is carried."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from unfold.domain import Domain
from unfold.expr import Call, Const, Expr, Ref, free_symbols, reads
from unfold.poly import Poly
from unfold.program import Equation

from .arrays import Array, filled, ordered
from .expressions import Scope
from .ops import number
from .pieces import Ranges, Untranslated, extent, inside, read, whole


@dataclass(frozen=True)
class Member:
    """A variable that a loop computes.

    Attributes:
        axis: which one of its axes the loop runs along.
        outer: axes along which loops around this one run, and their indices.
        equations: those in the loop that define it.
    """

    axis: int
    outer: tuple[tuple[int, str], ...]
    equations: tuple[Equation, ...]


@dataclass
class LoopScope(Scope):
    """The body of a loop. What does not depend on it is written into ``around``."""

    around: Scope | None = None
    index: str = ""
    steps: range = range(0)
    direction: int = 1
    members: dict[str, Member] = field(default_factory=dict)
    rows: dict[str, Array] = field(default_factory=dict)
    carried: dict[tuple[str, int], Array] = field(default_factory=dict)
    boxes: dict[str, list[tuple[range, ...]]] = field(default_factory=dict)

    def value(self, e: Expr, ranges: Ranges) -> Array:
        free = free_symbols(e)
        key = e, tuple((i, ranges[i]) for i in sorted(free) if i in ranges)
        if key not in self.memo:
            if self.depends(e, ranges) or (self.index in free and light(e, self.index)):
                self.memo[key] = self.compute(e, ranges)
            else:
                assert self.around is not None
                wider = {**ranges, self.index: self.steps}
                self.memo[key] = self.row(self.around.value(e, wider))
        return self.memo[key]

    def mask(self, domain: Domain, ranges: Ranges) -> Array | None:
        assert self.around is not None
        found = self.around.mask(domain, {**ranges, self.index: self.steps})
        return None if found is None else self.row(found)

    def box(self, indices: tuple[str, ...], domain: Domain, ranges: Ranges) -> dict[str, range]:
        assert self.around is not None
        return self.around.box(indices, domain, {**ranges, self.index: self.steps})

    def row(self, a: Array) -> Array:
        """The part of an array that belongs to a step."""
        if self.index not in a.dims:
            return a
        assert self.around is not None
        rest = tuple(d for d in a.dims if d != self.index)
        first = ordered(self.around.src, a, (self.index, *rest))
        if first.code not in self.rows:
            name = self.src.fresh(f"{first.code}_now")
            self.rows[first.code] = Array(rest, first.shape[1:], name)
        return self.rows[first.code]

    # --- what depends on the loop ---

    def depends(self, e: Expr, ranges: Ranges) -> bool:
        return any(self.own(r.ref, ranges, r.bound) is not None for r in reads(e))

    def own(self, ref: Ref, ranges: Ranges, bound: tuple[str, ...] = ()) -> int | None:
        """How many steps back a read of what the loop computes goes; ``None`` for any other."""
        member = self.members.get(ref.name)
        if member is None:
            return None
        at = [self.numbers(p) for p in ref.index]
        if any(at[k] != Poly.symbol(i) for k, i in member.outer):
            if any((at[k] - Poly.symbol(i)).constant is None for k, i in member.outer):
                raise Untranslated(f"{ref.name} is read at a distance that changes")
            return None
        gap = (Poly.symbol(self.index) - at[member.axis]).constant
        if gap is None:
            if self.index in at[member.axis].symbols or at[member.axis].constant is None:
                raise Untranslated(f"{ref.name} is read at a distance that changes")
            return None
        known = {**ranges, **{i: range(1) for i in bound if i not in ranges}}
        rest = [p for k, p in enumerate(at) if k not in self.strip(member)]
        if not bound and all(i in known for p in rest for i in p.symbols):
            want = [extent(p, known) for p in rest]
            boxes = self.boxes[ref.name]
            if all(any(w.stop <= b.start or b.stop <= w.start
                       for w, b in zip(want, box, strict=True)) for box in boxes):  # fmt: skip
                return None
        return gap * self.direction

    def strip(self, member: Member) -> set[int]:
        """The axes of a member that the body does not see."""
        return {member.axis, *(k for k, _ in member.outer)}

    def element(self, e: Ref, ranges: Ranges) -> Array:
        back = self.own(e, ranges)
        assert back is not None
        if back < 0:
            raise Untranslated(f"{e.name} is read ahead")
        member = self.members[e.name]
        strip = self.strip(member)
        index = [self.numbers(p) for k, p in enumerate(e.index) if k not in strip]
        if back == 0:
            return read(self.src, self.pieces[e.name], index, ranges)
        want = tuple(extent(p, ranges) for p in index)
        box = next((b for b in self.boxes[e.name]
                    if all(inside(w, r) for w, r in zip(want, b, strict=True))), None)  # fmt: skip
        if box is None:
            raise Untranslated(f"{e.name} is read across pieces of the step before")
        for k in range(1, back + 1):
            self.slot(e.name, k, box)
        return read(self.src, [whole(self.src, box, self.carried[e.name, back])], index, ranges)

    def slot(self, name: str, back: int, box: tuple[range, ...]) -> None:
        """Make room for the value of some steps back."""
        if (name, back) in self.carried:
            return
        v = self.program.vars[name]
        shape = (*map(len, box), *number(v.shape))
        self.carried[name, back] = Array((), shape, self.src.fresh(f"{name}_back{back}"))

    def start(self, name: str, back: int, box: tuple[range, ...]) -> Array:
        """What is carried into the first step."""
        member, v = self.members[name], self.program.vars[name]
        assert self.around is not None
        eq = member.equations[0]
        first = self.steps[0] if self.direction > 0 else self.steps[-1]
        at: list[Poly] = []
        ranges: dict[str, range] = {}
        boxes = iter(box)
        for k, i in enumerate(eq.indices):
            if k == member.axis:
                at.append(Poly.const(first - back * self.direction))
            elif k in self.strip(member):
                at.append(Poly.symbol(dict(member.outer)[k]))
            else:
                at.append(Poly.symbol(i))
                ranges[i] = next(boxes)
        ref = Ref(name, tuple(at), v.shape, v.type)
        found = self.around.value(ref, ranges)
        shape = (*map(len, box), *number(v.shape))
        made = filled(self.around.src, found, tuple(ranges), shape)
        return replace(made, dims=())


def loops_around(scope: Scope) -> Iterator[tuple[str, range]]:
    """The loops around a place, the innermost first, and their steps."""
    while isinstance(scope, LoopScope):
        yield scope.index, scope.steps
        assert scope.around is not None
        scope = scope.around


#: Operations that cost next to nothing where they stand, beside others.
LIGHT = frozenset(
    ("add", "sub", "mul", "div", "neg", "where", "lt", "le", "gt", "ge", "eq", "ne", "and", "or")
    + ("not", "maximum", "minimum", "real", "broadcast", "detach")
)


def light(e: Expr, index: str) -> bool:
    """Whether an expression of what is given for a step is better computed in the step."""
    if not isinstance(e, Call) or index not in free_symbols(e):
        return False
    return e.op in LIGHT and all(
        isinstance(a, (Ref, Const)) or index not in free_symbols(a) or light(a, index)
        for a in e.args
    )
