"""Products that may overwrite what their sums begin with.

before:  %0 = i_in[t] + U @ h[t-1]             i[t] = sigmoid(%0)
after:   i_in[t] = i_in[t] + U @ h[t-1]        i[t] = sigmoid(i_in[t])

requires: stacked operations. It is done where the product is the only one that reads its start, and
all that is read of the result is read beside it, in the same block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from unfold.plan import Plan

from .accesses import Access, accesses
from .nodes import Branch, Fold, Group, Map, Op, Points, Product, Repeat, Stretch, Temporary, View
from .stack import Member

_Views = Callable[[View], View]


def onto_starts(
    ops: Sequence[Op],
    plan: Plan,
    temporaries: dict[str, Temporary],
    members: dict[str, Member],
) -> tuple[Op, ...]:
    """The operations with such products in place; temporaries and bundles that go are removed."""
    found, fixed = accesses(ops, members)
    kept = {r.name for r in plan.results} | fixed
    return _Work(plan, temporaries, members, found, kept).ops(ops)


class _Work:
    def __init__(
        self,
        plan: Plan,
        temporaries: dict[str, Temporary],
        members: dict[str, Member],
        found: Mapping[str, Sequence[Access]],
        kept: set[str],
    ) -> None:
        self.plan = plan
        self.temporaries = temporaries
        self.members = members
        self.found = found
        self.kept = kept

    def ops(self, ops: Sequence[Op]) -> tuple[Op, ...]:
        result: list[Op] = []
        rest = list(ops)
        while rest:
            op = rest.pop(0)
            if isinstance(op, Product) and op.start is not None:
                names = self.replaceable(op)
                if names is not None and self.reads_within(names, rest):
                    move = self.mover(op, names)
                    rest = [_with_views(o, move) for o in rest]
                    op = replace(op, target=op.start)
                    for n in names:
                        del self.temporaries[n]
                        self.members.pop(n, None)
            result.append(self.inside(op))
        return tuple(result)

    def inside(self, op: Op) -> Op:
        if isinstance(op, Branch):
            return replace(op, then=self.ops(op.then), otherwise=self.ops(op.otherwise))
        if isinstance(op, (Repeat, Points, Stretch)):
            return replace(op, body=self.ops(op.body))
        return op

    def replaceable(self, op: Product) -> list[str] | None:
        """The temporaries that hold the product's result, if its start can hold it."""
        start, target = op.start, op.target
        assert start is not None
        if target.storage not in self.temporaries or start.offset or target.offset:
            return None
        if (start.shape, start.strides) != (target.shape, target.strides) or start.shared:
            return None
        own = self.parts(target, self.temporaries)
        if sum(self.temporaries[n].size for n in own) != target.size:
            return None
        b = self.plan.buffers.get(start.storage)
        if b is None or b.kind != "work" or len(start.shape) != 1:
            return None
        for n in self.parts(start, self.plan.buffers):
            reads = [a for a in self.found[n] if not a.write]
            if n in self.kept or len(reads) != 1 or not _once(reads[0]):
                return None
        return own

    def parts(self, v: View, known: Mapping[str, object]) -> list[str]:
        """The storages of a view from the beginning of its own one on."""
        own = self.members.get(v.storage)
        if own is None:
            return [v.storage]
        end = own.offset + v.size
        inside = [
            n for n, m in self.members.items()
            if m.base == own.base and own.offset <= m.offset < end and n in known
        ]  # fmt: skip
        return sorted(inside, key=lambda n: self.members[n].offset)

    def reads_within(self, names: Sequence[str], rest: Sequence[Op]) -> bool:
        """Whether all that touches some temporaries are plain operations of this block."""
        direct = [o for o in rest if isinstance(o, (Map, Group, Fold, Product))]
        inside, _ = accesses(direct, self.members)
        return all(len(self.found[n]) == 1 + len(inside.get(n, ())) for n in names)

    def mover(self, op: Product, names: Sequence[str]) -> _Views:
        start = op.start
        assert start is not None
        first = self.members[names[0]].offset if names[0] in self.members else 0
        offsets = {n: self.members[n].offset - first if n in self.members else 0 for n in names}

        def move(v: View) -> View:
            if v.storage not in offsets:
                return v
            offset = start.offset + offsets[v.storage] + v.offset
            return replace(v, storage=start.storage, position=start.position, offset=offset)

        return move


def _once(a: Access) -> bool:
    """Whether every element is touched in one iteration only."""
    indices = [t.index for t in a.turns]
    pinned = set()
    for p in a.view.position:
        moving = [i for i in indices if p.coefficient(i)]
        if len(moving) == 1:
            pinned.add(moving[0])
    return pinned == set(indices)


def _with_views(op: Op, move: _Views) -> Op:
    """An operation on views that have moved."""
    if isinstance(op, Group):
        parts = tuple(_with_views(p, move) for p in op.parts)
        return Group(tuple(p for p in parts if isinstance(p, Map)))
    if isinstance(op, (Map, Fold)):
        leaves = {e: move(v) for e, v in op.leaves.items()}
        return replace(op, target=move(op.target), leaves=leaves)
    if isinstance(op, Product):
        start = None if op.start is None else move(op.start)
        left, right = move(op.left), move(op.right)
        return replace(op, target=move(op.target), left=left, right=right, start=start)
    return op
