"""The rules of calculus for one expression, forward and backward.

The transformations apply them to equations, the graph to what a node computes. Both directions
take the derivative of an op from its record, and add what ops do not know of: reductions over
indices, guards, and selections that must not let a NaN through.
"""

from __future__ import annotations

from collections.abc import Mapping

from .expr import Call, Const, Expr, Guard, Reduce, Ref, lift, names
from .ops import OPS, Op, call
from .ops.record import broadcast_to, compare, sum_to, times, where

# --- forward ----------------------------------------------------------------------------------


class Forward:
    """Tangents of expressions; ``None`` stands for zero.

    Args:
        dots: the name of each moving variable's tangent.
        records: the ops that may occur.
    """

    def __init__(self, dots: dict[str, str], records: Mapping[str, Op] = OPS) -> None:
        self.dots = dots
        self.records = records
        self.memo: dict[Expr, Expr | None] = {}

    def of(self, e: Expr, value: Expr | None = None) -> Expr | None:
        """The tangent of ``e``; ``value`` may stand for ``e`` in derivative rules."""
        if not e.is_real or names(e).isdisjoint(self.dots):
            return None
        if value is not None:
            return self._build(e, value)
        if e not in self.memo:
            self.memo[e] = self._build(e, e)
        return self.memo[e]

    def _build(self, e: Expr, value: Expr) -> Expr | None:
        if isinstance(e, Ref):
            return Ref(self.dots[e.name], e.index, e.shape, e.type)
        if isinstance(e, Guard):
            inner = self.of(e.body)
            return None if inner is None else Guard(e.domain, inner)
        if isinstance(e, Reduce):
            inner = self.of(e.body)
            return None if inner is None else _reduction_tangent(e, inner, value)
        if isinstance(e, Call) and e.op != "detach":
            tangents = tuple(self.of(a) for a in e.args)
            if all(d is None for d in tangents):
                return None
            return self.records[e.op].tangent(tangents, value, e.args, dict(e.attrs))
        return None


def _reduction_tangent(e: Reduce, d: Expr, value: Expr) -> Expr:
    if e.op == "sum":
        return Reduce("sum", e.indices, e.domain, d)
    if e.op == "logsumexp":
        weight = call("exp_diff", e.body, value)
        return Reduce("sum", e.indices, e.domain, weight * d)
    winner = where(compare("eq", e.body, value), 1.0, 0.0)
    count = Reduce("sum", e.indices, e.domain, winner)
    return Reduce("sum", e.indices, e.domain, winner * d) / count


# --- backward ---------------------------------------------------------------------------------


def cotangents(
    node: Call, g: Expr, value: Expr, records: Mapping[str, Op] = OPS
) -> tuple[Expr | None, ...]:
    """An op's rule, with a selection kept outside of it.

    Below ``where(c, a, b)`` cotangents have the form ``where(c, g, 0)``. Multiplying that by a
    derivative that is infinite or NaN where ``c`` is false would give NaN; so the product goes
    inside: ``where(c, g * slope, 0)``, and the branch that was not taken contributes exactly 0.
    """
    op = records[node.op]
    attrs = dict(node.attrs)
    chosen = selection(g)
    if chosen is None or node.op == "where" or not (op.elementwise or chosen[0].shape == ()):
        return op.cotangents(g, value, node.args, attrs)
    condition, taken, first = chosen

    def select(e: Expr) -> Expr:
        return where(condition, e, 0.0) if first else where(condition, 0.0, e)

    inner = broadcast_to(taken, g.shape)
    if not op.partials:
        found = op.cotangents(inner, value, node.args, attrs)
        return tuple(None if c is None else select(c) for c in found)
    # Inside the sums that undo broadcasting.
    slopes = (lift(p(value, *node.args)) for p in op.partials)
    return tuple(
        sum_to(select(times(inner, slope)), x.shape) if x.is_real else None
        for slope, x in zip(slopes, node.args, strict=True)
    )


def selection(g: Expr) -> tuple[Expr, Expr, bool] | None:
    """(c, a, True) for ``where(c, a, 0)``, (c, a, False) for ``where(c, 0, a)``."""
    if isinstance(g, Call) and g.op == "where":
        condition, a, b = g.args
        if _is_zero(b):
            return condition, a, True
        if _is_zero(a):
            return condition, b, False
    return None


def merge(a: Expr, b: Expr) -> Expr:
    """The sum of two cotangents; equal selections are merged into one."""
    if isinstance(a, Call) and isinstance(b, Call) and a.op == b.op == "where":
        if a.args[0] is b.args[0]:
            if _is_zero(a.args[2]) and _is_zero(b.args[2]):
                return where(a.args[0], a.args[1] + b.args[1], 0.0)
            if _is_zero(a.args[1]) and _is_zero(b.args[1]):
                return where(a.args[0], 0.0, a.args[2] + b.args[2])
    return a + b


def _is_zero(e: Expr) -> bool:
    return isinstance(e, Const) and e.shape == () and e.value == 0


def reduction_cotangent(node: Reduce, g: Expr, value: Expr) -> Expr:
    """What each element of a reduction over indices receives."""
    if node.op == "sum":
        return g
    if node.op == "logsumexp":
        return g * call("exp_diff", node.body, value)
    # max, min: equal extremes share equally.
    winner = where(compare("eq", node.body, value), 1.0, 0.0)
    return g * winner / Reduce("sum", node.indices, node.domain, winner)


__all__ = ["Forward", "cotangents", "merge", "reduction_cotangent", "selection"]
