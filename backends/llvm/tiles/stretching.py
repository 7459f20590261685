"""Whether the steps of a map over time can be the rows of one long tile."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import replace

from unfold.expr import Position, walk
from unfold.poly import Poly

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


def stretches(ops: Sequence[Op], index: str, temporaries: Container[str]) -> bool:
    """Whether operations for consecutive values of ``index`` can be one on longer tiles.

    Of the temporaries those that the operations compute have a row for each step; what was computed
    before the loop has the rows of a single step, and is not read by long tiles.
    """
    made = {v.storage for v in _written(ops) if v.storage in temporaries}
    return _all_stretch(ops, index, temporaries, made)


def _written(ops: Sequence[Op]) -> Iterator[View]:
    for op in ops:
        if isinstance(op, Solve):
            own = (op.target, op.image, op.work, op.marks, op.direction, op.slope)
            yield from (v for v in own if v is not None)
            yield from _written((*op.first, *op.step, *op.tangent))
        elif isinstance(op, (Map, Fold, Product, Eliminate, ColumnSum, Contract, ScatterSum)):
            yield op.target


def _all_stretch(
    ops: Sequence[Op], index: str, temporaries: Container[str], made: Container[str]
) -> bool:
    return all(_stretches(op, index, temporaries, made) for op in ops)


def _stretches(op: Op, index: str, temporaries: Container[str], made: Container[str]) -> bool:
    if isinstance(op, Solve):
        inner = (*op.first, *op.step, *op.tangent)
        return not op.target.shared and _advances(
            op.target, index, temporaries, made
        ) and _all_stretch(inner, index, temporaries, made)  # fmt: skip
    if isinstance(op, (Branch, Repeat, Points, Stretch, Strips, Group)):
        return False
    if isinstance(op, (ColumnSum, Contract, ScatterSum)):
        # They sum over the rows of the whole stretch into one place.
        if any(index in p.symbols for p in op.target.position):
            return False
    if isinstance(op, (Map, Fold, ColumnSum)):
        views = [_walked_last(v) for v in op.leaves.values()]
        if any(index in n.poly.symbols for n in walk(op.rhs) if isinstance(n, Position)):
            return False
        if isinstance(op, ColumnSum):
            if op.rows_alike:
                return False
        else:
            views.append(op.target)
    elif isinstance(op, Product):
        views = [op.target, op.left, op.right, *([op.start] if op.start else [])]
    elif isinstance(op, Eliminate):
        views = [op.target, op.matrix]
    elif isinstance(op, Contract):
        views = [_walked_last(v) for v in (op.left, op.right)]
    else:
        views = [op.source, op.index]
    if any(v.walked is not None for v in views):
        return False
    views += [v.pick[0] for v in views if v.pick is not None]
    return all(_advances(v, index, temporaries, made) for v in views)


def adding(op: Op) -> Op:
    """A sum over rows that adds to what is there."""
    if isinstance(op, Stretch) and op.whole:
        return replace(op, body=tuple(adding(o) for o in op.body))
    return replace(op, fresh=False) if isinstance(op, (ColumnSum, Contract)) else op


def _walked_last(v: View) -> View:
    """A view that is only read, with the axis that is walked along as the last: rows may have any
    distance then."""
    if v.walked is None:
        return v
    position = (*v.position[: v.walked], *v.position[v.walked + 1 :], v.position[v.walked])
    return replace(v, walked=None, position=position)


def _advances(v: View, index: str, temporaries: Container[str], made: Container[str]) -> bool:
    """Whether a view moves on by one tile with each step of the index (or is shared)."""
    if v.shared:
        return not any(index in p.symbols for p in v.position)
    if v.storage in temporaries and not v.position:
        return v.storage in made
    *leading, last = v.position or (Poly(),)
    return last.coefficient(index) == 1 and not any(index in p.symbols for p in leading)
