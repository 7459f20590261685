"""Sums over the batch: what is added to one row that all sequences share."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from unfold.domain import Domain
from unfold.expr import Call, Expr, Guard, Reduce

from .nodes import Branch, ColumnSum, Contract, Map, Op, ScatterSum, Stretch, View
from .stretching import stretches

if TYPE_CHECKING:
    from .expressions import Expressions


def sum_rows(s: Expressions, target: View, e: Expr) -> None:
    """The sum of an expression over all sequences, in a target that they share."""
    with s.collected() as ops:
        add_rows(s, target, e)
    begun = _overwriting(ops[0])
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
    elif isinstance(e, Reduce) and e.op == "sum":
        s.settle(e.body, e.indices)
        with s.collected() as ops:
            add_rows(s, target, e.body)
        body = tuple(ops)
        index = e.indices[0]
        if len(e.indices) == 1 and stretches(body, index, s.temporaries):
            lows, highs = e.domain.bounds(index)
            outside = [p for p in e.domain.constraints if not p.coefficient(index)]
            stretch = Stretch(index, lows, highs, body, whole=len(body) == 1)
            rest: tuple[Op, ...] = (stretch,)
            if outside:
                rest = (Branch(Domain.of(outside), rest, ()),)
            s.ops.extend(rest)
        else:
            s.ops.extend(s.nest(e, body))
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


def own_rows(s: Expressions, view: View, e: Expr) -> View:
    """A copy with adjacent components in every row, unless the view is like that."""
    if not view.shared and view.is_dense:
        return view
    copy = s.temporary(view.shape, e.type.kind, False)
    s.ops.append(Map(copy, e, {e: view}))
    return copy


def _overwriting(op: Op) -> Op | None:
    """A sum over rows that does not need its target to be zero before, if it can be one."""
    if isinstance(op, (Contract, ColumnSum)):
        return replace(op, fresh=True)
    if isinstance(op, Stretch) and op.whole and len(op.body) == 1:
        begun = _overwriting(op.body[0])
        return None if begun is None else replace(op, body=(begun,))
    return None
