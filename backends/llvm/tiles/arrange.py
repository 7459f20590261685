"""Bring operations together that are cheaper together.

before:  product a, map i, product b, map f, map c        five loops over the tile
after:   product a, product b, group (i, f, c)            two kernels and one loop

before:  all t: a[t] = …     all t: b[t] = …              two passes over all of time
after:   all t: a[t] = …, b[t] = …

requires: nothing; an operation never passes one that reads or writes what it writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from unfold.expr import Call

from .nodes import (
    Branch,
    ColumnSum,
    Contract,
    Eliminate,
    Fold,
    Group,
    Map,
    Op,
    Points,
    Product,
    Repeat,
    ScatterSum,
    Solve,
    Stretch,
    Strips,
    View,
)

#: Calls that a map reads through, whose components stand elsewhere in their operands.
_MOVING = frozenset(("transpose", "slice", "reshape", "outer", "scatter"))
_BLOCKS = (Branch, Repeat, Points, Stretch, Strips, Solve)


def arrange(ops: Sequence[Op]) -> tuple[Op, ...]:
    """The same computation with stretches joined, products early and maps in groups."""
    inner = [_inside(op) for op in ops]
    return tuple(_grouped(_products_first(_joined(inner))))


def _inside(op: Op) -> Op:
    if isinstance(op, Branch):
        return replace(op, then=arrange(op.then), otherwise=arrange(op.otherwise))
    if isinstance(op, (Repeat, Points, Stretch)):
        return replace(op, body=arrange(op.body))
    if isinstance(op, Solve):
        first, step, tangent = (arrange(ops) for ops in (op.first, op.step, op.tangent))
        return replace(op, first=first, step=step, tangent=tangent)
    return op


# --- what an operation touches --------------------------------------------------------------------


def read_by(op: Op) -> list[View]:
    """What an operation that is no block reads."""
    if isinstance(op, (Map, Fold, ColumnSum)):
        found = list(op.leaves.values())
        if isinstance(op, ColumnSum) or (isinstance(op, Map) and op.update):
            found.append(op.target)
    elif isinstance(op, Group):
        found = [v for part in op.parts for v in read_by(part)]
    elif isinstance(op, Product):
        found = [op.left, op.right, *([op.start] if op.start else [])]
    elif isinstance(op, Contract):
        found = [op.left, op.right, op.target]
    elif isinstance(op, Eliminate):
        found = [op.matrix, op.target]
    else:
        assert isinstance(op, ScatterSum)
        found = [op.source, op.index, op.target]
    return found + [v.pick[0] for v in found if v.pick is not None]


def written_by(op: Op) -> list[View]:
    """What an operation that is no block writes."""
    if isinstance(op, Group):
        return [part.target for part in op.parts]
    assert not isinstance(op, _BLOCKS)
    if isinstance(op, Eliminate):
        return [op.target, op.matrix]
    return [op.target]


def may_overlap(a: View, b: View) -> bool:
    """Whether two views can have a component in common (at the same values of all indices)."""
    if a.storage != b.storage:
        return False
    for p, q in zip(a.position, b.position, strict=True):
        gap = (p - q).constant
        if gap is not None and gap != 0:
            return False
    if a.pick is not None or b.pick is not None:
        return True
    return a.offset <= _last(b) and b.offset <= _last(a)


def _last(v: View) -> int:
    return v.offset + sum((n - 1) * s for n, s in zip(v.shape, v.strides, strict=True))


def _clash(a: Sequence[View], b: Sequence[View]) -> bool:
    return any(may_overlap(x, y) for x in a for y in b)


def independent(a: Op, b: Op) -> bool:
    """Whether two operations may change places."""
    if isinstance(a, _BLOCKS) or isinstance(b, _BLOCKS):
        return False
    return not (
        _clash(written_by(a), read_by(b))
        or _clash(read_by(a), written_by(b))
        or _clash(written_by(a), written_by(b))
    )


# --- moving together ------------------------------------------------------------------------------


def _products_first(ops: Sequence[Op]) -> list[Op]:
    """Move everything that is no map in front of the maps before it, where that is allowed."""
    result: list[Op] = []
    for op in ops:
        at = len(result)
        if not isinstance(op, (Map, *_BLOCKS)):
            while at and isinstance(result[at - 1], Map) and independent(result[at - 1], op):
                at -= 1
        result.insert(at, op)
    return result


def _grouped(ops: Sequence[Op]) -> Iterator[Op]:
    """Runs of maps over the same components as one operation."""
    run: list[Map] = []
    for op in ops:
        if isinstance(op, Map) and run and _fits(run, op):
            run.append(op)
            continue
        yield from _closed(run)
        run = []
        if isinstance(op, Map):
            run = [op]
        else:
            yield op
    yield from _closed(run)


def _closed(run: list[Map]) -> list[Op]:
    return [Group(tuple(run))] if len(run) > 1 else list(run)


def _fits(run: Sequence[Map], op: Map) -> bool:
    """Whether a map can be done component by component together with those of a run."""
    first = run[0].target
    if op.target.shape != first.shape or op.target.shared != first.shared or op.update:
        return False
    # Where a row's operand stands is asked before anything of the row is computed.
    picks = [v.pick[0] for v in op.leaves.values() if v.pick is not None]
    if _clash(picks, [part.target for part in run]):
        return False
    # What one writes and another touches must be the very same component of the same row.
    reads, moved = read_by(op), _moved(op)
    for part in run:
        if part.update:
            return False
        pairs = [(part.target, v) for v in (*reads, op.target)]
        pairs += [(v, op.target) for v in read_by(part)]
        if any(may_overlap(a, b) and a != b for a, b in pairs):
            return False
        if part.target in moved or op.target in _moved(part):
            return False
    return True


def _moved(op: Map) -> list[View]:
    """What a map reads at other components than the one that it computes."""
    found: list[View] = []
    stack = [(op.rhs, False)]
    while stack:
        e, moved = stack.pop()
        if e in op.leaves:
            found += [op.leaves[e]] if moved else []
        elif isinstance(e, Call):
            stack += [(a, moved or e.op in _MOVING) for a in e.args]
    return found


def _joined(ops: Sequence[Op]) -> list[Op]:
    """Neighbouring stretches over the same steps as one."""
    result: list[Op] = []
    for op in ops:
        last = result[-1] if result else None
        if isinstance(op, Stretch) and isinstance(last, Stretch) and _can_join(last, op):
            result[-1] = replace(last, body=arrange((*last.body, *op.body)))
        else:
            result.append(op)
    return result


def _can_join(a: Stretch, b: Stretch) -> bool:
    if (a.index, a.lows, a.highs, a.whole, b.whole) != (b.index, b.lows, b.highs, False, False):
        return False
    if any(isinstance(op, Solve) for op in (*a.body, *b.body)):
        return False
    for x in a.body:
        for y in b.body:
            pairs = [(v, w) for v in written_by(x) for w in (*read_by(y), *written_by(y))]
            pairs += [(v, w) for v in read_by(x) for w in written_by(y)]
            # At other values of the index, positions that differ now may be the same.
            if any(v.storage == w.storage and not _aligned(v, w) for v, w in pairs):
                return False
    return True


def _aligned(v: View, w: View) -> bool:
    """Whether views of one storage are of the same element at every step."""
    return v.position == w.position


__all__ = ["arrange", "may_overlap", "read_by", "written_by"]
