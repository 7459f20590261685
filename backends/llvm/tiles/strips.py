"""Loops over time in strips: what only passes from one loop to the next is kept for a strip.

before:  all t: h_bar_in[t] = W' @ y_bar[t]
         for t backward: h_bar[t] = h_bar_in[t] + U' @ z[t+1];  z[t] = …
         all t: U_bar += outer(z[t], h[t-1])
after:   for strips of steps, backward:
             all t of the strip: h_bar_in[t] = W' @ y_bar[t]
             for t of the strip backward: …
             all t of the strip: U_bar += outer(z[t], h[t-1])

`h_bar_in` and `z` then need room for the steps of one strip, which stay in the cache, and so do
inputs that are copied to stand step by step. Products still have all rows of a strip: a strip has a
power of two of steps, as many as make `ROWS` rows, and begins at a multiple of that.

requires: operations in their final order, all rows of one length. A loop joins others where at
every step it only touches what these have touched or written up to that step.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from unfold.expr import Const
from unfold.plan import Buffer, Plan
from unfold.poly import Poly

from ..ir import Function, Value, integer
from .accesses import Access, accesses
from .nodes import (
    FIRST,
    LENGTH,
    Branch,
    ColumnSum,
    Contract,
    Map,
    Op,
    Points,
    Product,
    Repeat,
    Solve,
    Stretch,
    Strips,
)
from .stack import Member
from .stretching import adding

#: About how many rows the steps of a strip are together, and how many steps it has at least, so
#: that products are efficient.
ROWS, STEPS = 256, 8
#: Without products: of how many numbers the rows are, so that they stay in the cache.
NUMBERS = 32768


def fits(b: Buffer) -> bool:
    """Whether the elements of a buffer may be kept in turn: their positions are never below 0."""
    if len(b.axes) != 1:
        return False
    first = b.axes[0][0].constant
    return first is not None and first >= 0


def extent(ops: Sequence[Op], widest: int) -> tuple[int, int]:
    """About how many rows a strip has, and how many steps at least.

    Args:
        widest: the number of components of the largest row that is kept for a strip.
    """
    if any(isinstance(op, Strips) and _has_products(op.body) for op in ops):
        return ROWS, STEPS
    return min(ROWS, max(1, NUMBERS // max(1, widest))), 1


def _has_products(ops: Sequence[Op]) -> bool:
    return any(
        isinstance(op, (Product, Contract))
        or (isinstance(op, (Stretch, Repeat, Points)) and _has_products(op.body))
        or (isinstance(op, Branch) and _has_products((*op.then, *op.otherwise)))
        for op in ops
    )


def bits(f: Function, rows: Value, of_strip: tuple[int, int]) -> Value:
    """The logarithm of the number of steps of a strip of so many sequences."""
    wanted, steps = of_strip
    fitting = f.binary("udiv", integer(wanted), f.intrinsic("llvm.smax", rows, integer(1)))
    least = f.intrinsic("llvm.smax", fitting, integer(steps))
    f.module.declare("llvm.ctlz.i64", "i64", ["i64", "i1"])
    zeros = f.call("i64", "llvm.ctlz.i64", least, integer(0, "i1"))
    return f.binary("sub", integer(63), zeros)


def in_strips(
    ops: Sequence[Op], plan: Plan, members: Mapping[str, Member], copied: bool
) -> tuple[tuple[Op, ...], frozenset[str]]:
    """The operations with loops in strips where something needs less room for it, and the inputs
    that are copied strip by strip.

    Args:
        ops: of one function.
        plan, members: what is stored, and the bundles.
        copied: whether inputs are copied to stand step by step.
    """
    work = _Work([_Loop.of(op, members) for op in ops], plan, copied)
    for loop in reversed(work.loops):
        if isinstance(loop.op, Repeat) and loop.index is not None:
            work.surround(loop, loop.op.direction)
    for loop in work.loops:
        if work.is_open(loop):
            work.surround(loop, 1)
    work.take_inputs()
    return tuple(work.result()), frozenset(work.inputs)


@dataclass(eq=False)
class _Loop:
    """An operation with all that it touches.

    Attributes:
        op: the operation.
        touched: its accesses, by storage.
        hidden: storages of which not all accesses are listed.
        index: of a loop over one range, its index; ``None`` for what can not be cut.
        added: what it only adds a sum to, in part after it has begun with zeros (``begun``).
    """

    op: Op
    touched: Mapping[str, Sequence[Access]]
    hidden: set[str]
    index: str | None
    written: set[str] = field(init=False)
    added: set[str] = field(init=False)
    begun: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.written = {n for n, found in self.touched.items() if any(a.write for a in found)}
        whole = isinstance(self.op, Stretch) and self.op.whole
        sums = self.op.body if isinstance(self.op, Stretch) and whole else ()
        self.added, self.begun = set(), set()
        for o in sums:
            if isinstance(o, (ColumnSum, Contract)) and _can_add(o):
                self.added.add(o.target.storage)
                self.begun |= {o.target.storage} if o.fresh else set()

    @staticmethod
    def of(op: Op, members: Mapping[str, Member]) -> _Loop:
        touched, hidden = accesses([op], members)
        index = None
        if isinstance(op, Stretch) and all(_can_add(o) for o in op.body if op.whole):
            index = op.index
        elif isinstance(op, Repeat) and len(op.ranges) == 1 and op.ranges[0][0] != op.ranges[0][1]:
            index = op.index
        return _Loop(op, touched, hidden, index)

    @property
    def is_long(self) -> bool:
        """Whether it may run over many steps."""
        if isinstance(self.op, Repeat):
            return any(lows != highs for lows, highs in self.op.ranges)
        return isinstance(self.op, (Points, Branch, Stretch, Solve))

    @property
    def ranges(self) -> tuple[tuple[tuple[Poly, ...], tuple[Poly, ...]], ...]:
        assert isinstance(self.op, (Stretch, Repeat))
        if isinstance(self.op, Stretch):
            return ((self.op.lows, self.op.highs),)
        return self.op.ranges

    def clashes(self, other: _Loop, together: bool = False) -> set[str]:
        """What both touch and one of them writes, unless both add to it, which they may do in any
        order; ``together`` with this one first in every strip, it may begin the sum."""
        both = {*self.touched, *self.hidden} & {*other.touched, *other.hidden}
        changed = self.written | self.hidden | other.written | other.hidden
        alike = (self.added & other.added) - other.begun
        if not together:
            alike -= self.begun
        return (both & changed) - alike

    def lags(self, a: Access) -> dict[int, int]:
        """For each axis whose position moves with the loop's steps, how far it is from them."""
        assert self.index is not None
        at = Poly.symbol(self.index)
        found = {}
        for k, p in enumerate(a.view.position):
            distance = (p - at).constant
            if distance is not None:
                found[k] = distance
        return found


def _can_add(op: Op) -> bool:
    """Whether a sum over all rows can be made part by part."""
    return not isinstance(op, ColumnSum) or op.op == "sum"


class _Work:
    """Loops in order, and which of them go together.

    Attributes:
        groups: loops that go together, in order, by the one that stays where it is.
        home: for each loop of a group that one.
        inputs: the inputs that are copied strip by strip.
        users: the loops over many steps that touch a storage.
    """

    def __init__(self, loops: list[_Loop], plan: Plan, copied: bool) -> None:
        self.loops = loops
        self.plan = plan
        self.copied = copied
        self.groups: dict[_Loop, list[_Loop]] = {}
        self.home: dict[_Loop, _Loop] = {}
        self.inputs: set[str] = set()
        self.users: dict[str, set[_Loop]] = {}
        for loop in loops:
            if loop.is_long:
                for n in {*loop.touched, *loop.hidden}:
                    self.users.setdefault(n, set()).add(loop)
        self.results = {r.name for r in plan.results}

    # --- around one loop --------------------------------------------------------------------------

    def surround(self, loop: _Loop, way: int) -> None:
        """Bring maps before and after a loop into strips with it."""
        at = self.loops.index(loop)
        group = self.with_feeders([loop], at, way)
        refused: set[_Loop] = set()
        while True:
            later = self.followers(self.loops[at + 1 :], group, way, refused)
            passed = self.passed([*group, *later])
            wasted = {o for o in later if not passed & {*o.touched}}
            if not wasted:
                break
            refused |= wasted
        if later:
            group = self.with_feeders([*group, *later], at, way)
        if len(group) > 1:
            self.groups[loop] = group
            self.home |= dict.fromkeys(group, loop)

    def with_feeders(self, group: Sequence[_Loop], at: int, way: int) -> list[_Loop]:
        """A group, in order, with the maps before a place that compute what only it needs."""
        found = list(group)
        between: list[_Loop] = []
        for number in range(at - 1, -1, -1):
            other = self.loops[number]
            if other in found:
                continue
            earlier = [o for o in found if self.loops.index(o) < number]
            if self.feeds(other, earlier, found, way) and self.is_free(other, between):
                found.insert(len(earlier), other)
            else:
                between.append(other)
        return found

    def feeds(
        self, other: _Loop, earlier: Sequence[_Loop], group: Sequence[_Loop], way: int
    ) -> bool:
        """Whether a map computes what only a group needs, and may come after some of it."""
        return (
            self.is_open(other)
            and self.keeps_order(earlier, [other], way)
            and self.keeps_order([other], group[len(earlier) :], way)
            and bool(other.written & self.passed([other, *group]))
        )

    def followers(
        self, loops: Sequence[_Loop], group: Sequence[_Loop], way: int, refused: Container[_Loop]
    ) -> list[_Loop]:
        """The maps that may come right after a group in every strip, and read what it computes."""
        found: list[_Loop] = []
        between: list[_Loop] = []
        made = {n for loop in group for n in loop.written}
        for other in loops:
            if (
                other not in refused
                and self.is_open(other)
                and made & set(other.touched)
                and self.keeps_order(group, [other], way)
                and self.keeps_order(found, [other], way)
                and self.is_free(other, between)
            ):
                found.append(other)
                made |= other.written
            else:
                between.append(other)
        return found

    def passed(self, group: Sequence[_Loop]) -> set[str]:
        """What the loops of a group write that no other loop over many steps touches."""
        inside = set(group)
        return {
            n for loop in group for n in loop.written - self.results
            if n in self.plan.buffers and fits(self.plan.buffers[n])
            and self.users.get(n, inside) <= inside
        }  # fmt: skip

    def is_open(self, loop: _Loop) -> bool:
        return isinstance(loop.op, Stretch) and loop.index is not None and loop not in self.home

    def is_free(self, loop: _Loop, between: Sequence[_Loop]) -> bool:
        """Whether a loop may pass what stands between it and its group."""
        return not any(loop.clashes(other) for other in between)

    def keeps_order(self, before: Sequence[_Loop], after: Sequence[_Loop], way: int) -> bool:
        """Whether a strip of what comes after never needs a later strip of what comes before."""
        return all(
            self.in_time(a, b, name, way)
            for a in before
            for b in after
            for name in a.clashes(b, together=True)
        )

    def in_time(self, before: _Loop, after: _Loop, name: str, way: int) -> bool:
        if name in before.hidden | after.hidden:
            return False
        for a in before.touched[name]:
            for b in after.touched[name]:
                if not (a.write or b.write):
                    continue
                first, second = before.lags(a), after.lags(b)
                common = first.keys() & second.keys()
                # At one position the steps differ by the difference of the lags.
                if not any((second[k] - first[k]) * way <= 0 for k in common):
                    return False
        return True

    # --- inputs -----------------------------------------------------------------------------------

    def take_inputs(self) -> None:
        """Find the inputs that are read at the steps of loops only, and cut those loops too."""
        if not self.copied:
            return
        for b in self.plan.buffers.values():
            if b.kind != "input" or b.name in self.results or not fits(b):
                continue
            readers = [o for o in self.loops if b.name in o.touched or b.name in o.hidden]
            if not readers or not all(self.reads_by_steps(o, b.name) for o in readers):
                continue
            self.inputs.add(b.name)
            for loop in readers:
                if loop not in self.home:
                    self.groups[loop] = [loop]
                    self.home[loop] = loop

    def reads_by_steps(self, loop: _Loop, name: str) -> bool:
        if loop.index is None or name in loop.hidden:
            return False
        return all(loop.lags(a) == {0: 0} and a.view.walked is None for a in loop.touched[name])

    # --- what comes out ---------------------------------------------------------------------------

    def result(self) -> Iterator[Op]:
        for loop in self.loops:
            if loop not in self.home:
                yield loop.op
            elif loop in self.groups:
                yield from self.strips(loop, self.groups[loop])

    def strips(self, home: _Loop, group: Sequence[_Loop]) -> Iterator[Op]:
        way = home.op.direction if isinstance(home.op, Repeat) else 1
        first = Poly.symbol(FIRST)
        last = first + Poly.symbol(LENGTH) - 1
        body: list[Op] = []
        for loop in group:
            op = adding(loop.op)
            if op != loop.op:
                assert isinstance(loop.op, Stretch)
                for part in loop.op.body:
                    assert isinstance(part, (ColumnSum, Contract))
                    yield Map(part.target, Const(0.0), {})
            ((lows, highs),) = loop.ranges
            lows, highs = (*lows, first), (*highs, last)
            if isinstance(op, Stretch):
                body.append(replace(op, lows=lows, highs=highs))
            else:
                assert isinstance(op, Repeat)
                body.append(replace(op, ranges=((lows, highs),)))
        ranges = tuple(r for loop in group for r in loop.ranges)
        read = {n for loop in group for n in loop.touched}
        inputs = tuple(n for n in self.plan.buffers if n in self.inputs & read)
        yield Strips(FIRST, ranges, way, tuple(body), inputs)


__all__ = ["ROWS", "STEPS", "bits", "extent", "fits", "in_strips"]
