"""Sums over the batch: what is added to one row that all sequences share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from unfold.domain import Domain
from unfold.expr import Call, Expr, Guard, Reduce

from ..components import dims
from .nodes import Branch, ColumnSum, Contract, Map, Op, ScatterSum, Stretch, View
from .walking import HEADS, SHORT

if TYPE_CHECKING:
    from .expressions import Expressions


def sum_rows(s: Expressions, target: View, e: Expr) -> None:
    """The sum of an expression over all sequences, in a target that they share."""
    with s.collected() as ops:
        add_rows(s, target, e)
    begun = _overwriting(ops[0], target)
    if begun is None:
        s.fill(target, 0.0)
    else:
        ops[0] = begun
    s.ops.extend(ops)


def add_rows(s: Expressions, target: View, e: Expr) -> None:
    """Add an expression, summed over all sequences, to a target that they share."""
    if len(terms := s.terms(e)) > 1:
        for t in terms:
            add_rows(s, target, t)
    elif isinstance(e, Guard):
        with s.collected() as ops:
            add_rows(s, target, e.body)
        s.ops.append(Branch(e.domain, tuple(ops), ()))
    elif isinstance(e, Reduce) and e.op == "sum" and (blocks := _blocks(target, e)):
        for block, part in blocks:
            add_rows(s, block, part)
    elif isinstance(e, Reduce) and e.op == "sum":
        s.settle(e.body, e.indices)
        before = set(s.temporaries)
        with s.collected() as ops:
            add_rows(s, target, e.body)
        s.ops.extend(_over_rows(s, e, ops, before) or s.nest(e, tuple(ops)))
    elif isinstance(e, Call) and e.op == "outer" and not s.is_shared(e):
        left, right = (own_rows(s, s.view(a), a) for a in e.args)
        s.ops.append(Contract(target, left, right))
    elif isinstance(e, Call) and e.op == "scatter" and not s.is_shared(e):
        source, chosen = (own_rows(s, s.view(a), a) for a in e.args)
        s.ops.append(ScatterSum(target, source, chosen, e.attr("axis")))
    else:
        leaves: dict[Expr, View] = {}
        rhs = s.inline(e, leaves)
        s.ops.append(ColumnSum(target, rhs, leaves, s.is_shared(e)))


def _over_rows(
    s: Expressions, e: Reduce, ops: Sequence[Op], before: Iterable[str]
) -> tuple[Op, ...] | None:
    """The terms of a sum with one of its indices as the rows, and loops over the others; ``None``
    if no index will do. Where sequences are not done one by one, it must be the only index."""
    for index in reversed(e.indices if s.alone or len(e.indices) == 1 else ()):
        others = tuple(i for i in e.indices if i != index)
        if not _is_range(e, index) or (body := s.rows(ops, index, before)) is None:
            continue
        lows, highs = e.domain.bounds(index)
        inner: tuple[Op, ...] = (Stretch(index, lows, highs, tuple(body), whole=len(body) == 1),)
        if others:
            return s.nest(Reduce(e.op, others, e.domain.project_out((index,)), e.body), inner)
        outside = [p for p in e.domain.constraints if not p.coefficient(index)]
        return (Branch(Domain.of(outside), inner, ()),) if outside else inner
    return None


def _is_range(e: Reduce, index: str) -> bool:
    """Whether an index of a reduction is between bounds, none of which is to be divided."""
    return all(abs(p.coefficient(index)) <= 1 for p in e.domain.constraints)


def _is_one_range(e: Reduce) -> bool:
    """Whether a reduction is over one such index."""
    return len(e.indices) == 1 and _is_range(e, e.indices[0])


def _blocks(target: View, e: Reduce) -> list[tuple[View, Reduce]]:
    """A sum of outer products with vectors end to end, as a sum for each block of the target."""
    if not isinstance(e.body, Call) or e.body.op != "outer":
        return []
    for axis, a in enumerate(e.body.args):
        if not isinstance(a, Call) or a.op != "concat":
            continue
        found, end = [], 0
        for piece in a.args:
            start, end = end, end + piece.shape[0].evaluate({})
            sides = (*e.body.args[:axis], piece, *e.body.args[axis + 1 :])
            shape = (*e.body.shape[:axis], *piece.shape, *e.body.shape[axis + 1 :])
            part = Call("outer", sides, (), shape, e.body.type)
            block = target.sliced(axis, start, end)
            found.append((block, Reduce(e.op, e.indices, e.domain, part)))
        return found
    return []


def reduce_rows(s: Expressions, target: View, e: Reduce) -> bool:
    """A reduction over an index whose values can be the rows of a tile; whether it could be done.

    Requires tiles of one row.
    """
    if not _is_one_range(e) or e.type.kind != "real":
        return False
    (index,) = e.indices
    before, alone = set(s.temporaries), replace(target, shared=True)
    with s.collected() as ops:
        if e.op == "sum":
            for term in s.terms(e.body):
                _add_term(s, alone, term)
        else:
            leaves: dict[Expr, View] = {}
            rhs = s.inline(e.body, leaves)
            s.ops.append(ColumnSum(alone, rhs, leaves, op=e.op))
    body = s.rows(ops, index, before)
    if body is None:
        return False
    lows, highs = e.domain.bounds(index)
    outside = Domain.of(p for p in e.domain.constraints if not p.coefficient(index))
    whole = Stretch(index, lows, highs, tuple(body), whole=len(body) == 1)
    begun = None if outside.constraints else _overwriting(whole, alone)
    if begun is None:
        s.fill(target, {"sum": 0.0, "max": float("-inf"), "min": float("inf")}[e.op])
        s.ops.append(Branch(outside, (whole,), ()) if outside.constraints else whole)
    else:
        s.ops.append(begun)
    return True


def _add_term(s: Expressions, target: View, e: Expr) -> None:
    """Add a term, summed over rows; a number times a vector is a sum of outer products, and so is
    each row of a few numbers times as many vectors, unless these are short."""
    *heads, size = target.shape or (1,)
    fits = len(heads) < 2 and all(n <= HEADS for n in heads) and target.size > 1
    fits = fits and (not heads or size > SHORT)
    if isinstance(e, Call) and e.op == "mul" and fits:
        few, many = sorted(e.args, key=lambda a: prod(dims(a.shape)))
        if dims(few.shape) == (*heads, 1)[: 2 * len(heads)] and dims(many.shape) == target.shape:
            left, right = (own_rows(s, s.view(a), a) for a in (few, many))
            for line, number, vector in zip(*map(_lines, (target, left, right)), strict=True):
                line = replace(line, shape=(1, size), strides=(size, 1))
                s.ops.append(Contract(line, replace(number, shape=(1,), strides=(1,)), vector))
            return
    add_rows(s, target, e)


def _lines(v: View) -> list[View]:
    """The rows of a matrix, or a vector or number by itself."""
    return [v.taken(0, r) for r in range(v.shape[0])] if len(v.shape) == 2 else [v]


def own_rows(s: Expressions, view: View, e: Expr) -> View:
    """A copy with adjacent components in every row, unless the view is like that."""
    if view.is_dense and (s.alone or not view.shared):
        return view
    copy = s.temporary(view.shape, e.type.kind, False)
    s.ops.append(Map(copy, e, {e: view}))
    return copy


def _overwriting(op: Op, target: View) -> Op | None:
    """A sum over rows that does not need its target to be zero before, if it can be one."""
    if isinstance(op, (Contract, ColumnSum)):
        whole = op.target.storage == target.storage and op.target.size == target.size
        return replace(op, fresh=True) if whole else None
    if isinstance(op, Stretch) and op.whole and len(op.body) == 1:
        begun = _overwriting(op.body[0], target)
        return None if begun is None else replace(op, body=(begun,))
    return None
