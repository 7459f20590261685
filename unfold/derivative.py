"""The rules of calculus for one expression, forward and backward.

The transformations apply them to equations, the graph to what a node computes. Both directions
take the derivative of an op from its record, and add what ops do not know of: reductions over
indices, guards, and selections that must not let a NaN through.

What a selection leaves out has a derivative of exactly 0, and may have an infinite slope: ``sqrt``
at 0 below ``where(x > 0, sqrt(x), 0)``. Seen from its root an expression shows its selections, and
products go inside of them. A cotangent that arrives by name (``a = sqrt(x)``, ``where(x > 0, a,
0)``) does not show them: where it may have passed one, and a slope may be infinite, their product
is ``chain_rule(g, slope)``, which is 0 where ``g`` is. The same holds for tangents.

What is known of a derivative is one of three: `NONE` or `SOME` of its components may be unselected,
or `ALL` of them together. A product with a matrix mixes components, so only `ALL` passes it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial

from .expr import Call, Const, Expr, Guard, Reduce, Ref, names, walk
from .ops import OPS, Op, call
from .ops.record import Product, broadcast_to, chain_rule, compare, times, where

NONE, SOME, ALL = 0, 1, 2

# --- products ---------------------------------------------------------------------------------


def may_diverge(e: Expr, wild: Collection[str], records: Mapping[str, Op] = OPS) -> bool:
    """Whether an expression may be infinite or NaN; ``wild`` names the variables that may be."""
    stack, seen = [e], {e}
    while stack:
        node = stack.pop()
        if isinstance(node, Ref):
            if node.name in wild:
                return True
        elif isinstance(node, Call):
            if records[node.op].diverges(node.args):
                return True
        elif isinstance(node, Const) and node.shape == () and not abs(node.value) < float("inf"):
            return True
        # A truth value is one whatever it was made of.
        inner = [c for c in node.operands if c.type.kind != "bool" and c not in seen]
        seen.update(inner)
        stack += inner
    return False


def _product(wild: Collection[str], records: Mapping[str, Op], g: Expr, slope: Expr) -> Expr:
    """``g * slope`` for a ``g`` that may be 0 because something was not selected."""
    return chain_rule(g, slope) if may_diverge(slope, wild, records) else times(g, slope)


# --- forward ----------------------------------------------------------------------------------


class Forward:
    """Tangents of expressions; ``None`` stands for zero.

    Args:
        dots: the name of each moving variable's tangent.
        records: the ops that may occur.
        unselected: which components of variables' tangents may be 0 because of a selection.
        wild: the variables that may be infinite or NaN.
    """

    def __init__(
        self,
        dots: dict[str, str],
        records: Mapping[str, Op] = OPS,
        unselected: Mapping[str, int] | None = None,
        wild: Collection[str] = (),
    ) -> None:
        self.dots = dots
        self.records = records
        self.unselected = unselected or {}
        self.careful: Product = partial(_product, wild, records)
        self.passed: dict[Expr, int] = {}
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
            by = self.careful if any(map(self.may_vanish, e.args)) else times
            return self.records[e.op].tangent(tangents, value, e.args, dict(e.attrs), by)
        return None

    def may_vanish(self, e: Expr) -> bool:
        """Whether the tangent of ``e`` may be 0 because of a selection."""
        return vanishing(e, self.unselected, self.records, self.passed) != NONE


def vanishing(
    root: Expr, unselected: Mapping[str, int], records: Mapping[str, Op], known: dict[Expr, int]
) -> int:
    """Which components of a tangent may be 0 because of a selection; ``known`` keeps answers."""
    for e in () if root in known else walk(root):
        if e in known:
            continue
        if isinstance(e, Ref):
            known[e] = unselected.get(e.name, NONE)
        elif isinstance(e, Call) and e.op != "detach":
            found = max((known[a] for a in e.args), default=NONE)
            known[e] = after_op(records[e.op], e, found)
        elif isinstance(e, (Guard, Reduce)):
            chosen = isinstance(e, Reduce) and e.op in ("max", "min")
            known[e] = max(SOME if chosen else NONE, known[e.body])
        else:
            known[e] = NONE
    return known[root]


def after_op(op: Op, node: Expr, unselected: int) -> int:
    """What is known beyond an op of a derivative that is ``unselected`` before it."""
    if op.selects:
        whole = op.elementwise and (
            isinstance(node, Call) and (node.args[0] if op.name == "where" else node).shape == ()
        )
        unselected = max(unselected, ALL if whole else SOME)
    return NONE if op.mixes and unselected == SOME else unselected


def _reduction_tangent(e: Reduce, d: Expr, value: Expr) -> Expr:
    if e.op == "sum":
        return Reduce("sum", e.indices, e.domain, d)
    if e.op == "logsumexp":
        weight = call("exp_diff", e.body, value)
        return Reduce("sum", e.indices, e.domain, weight * d)
    extreme = compare("eq", e.body, value)
    count = Reduce("sum", e.indices, e.domain, where(extreme, 1.0, 0.0))
    return Reduce("sum", e.indices, e.domain, where(extreme, d, 0.0)) / count


# --- backward ---------------------------------------------------------------------------------


def cotangents(
    node: Call,
    g: Expr,
    value: Expr,
    records: Mapping[str, Op] = OPS,
    unselected: int = NONE,
    wild: Collection[str] = (),
) -> tuple[Expr | None, ...]:
    """An op's rule, with a selection kept outside of it.

    Below ``where(c, a, b)`` cotangents have the form ``where(c, g, 0)``. Multiplying that by a
    derivative that is infinite or NaN where ``c`` is false would give NaN; so the product goes
    inside: ``where(c, g * slope, 0)``, and the branch that was not taken contributes exactly 0.

    Args:
        unselected: which components of ``g``, or of what it selects, may be 0 because of a
            selection.
        wild: the variables that may be infinite or NaN.
    """
    op = records[node.op]
    attrs = dict(node.attrs)
    by: Product = partial(_product, wild, records) if unselected else times
    chosen = selection(g)
    if chosen is None or node.op == "where" or not (op.elementwise or chosen[0].shape == ()):
        return op.cotangents(g, value, node.args, attrs, by)
    condition, taken, first = chosen

    def select(e: Expr) -> Expr:
        return where(condition, e, 0.0) if first else where(condition, 0.0, e)

    inner = broadcast_to(taken, g.shape)
    if not op.partials:
        found = op.cotangents(inner, value, node.args, attrs, by)
        return tuple(None if c is None else select(c) for c in found)
    # Inside the sums that undo broadcasting.
    return op.cotangents(inner, value, node.args, attrs, lambda g, slope: select(by(g, slope)))


def passes_selection(op: Op | None, node: Expr, g: Expr, unselected: int, share: Expr) -> int:
    """Which components of what an operand receives may be 0 because of a selection, besides the
    one that it shows; ``unselected`` says it of ``g``, of which ``share`` was made by the rule of
    ``op`` (``None``: a reduction over indices)."""
    chosen, shown = selection(g), selection(share)
    if shown is None:
        found = max(unselected, _extent(chosen))
        return found if op is None else after_op(op, node, found)
    if chosen is not None and chosen[0] is not shown[0]:
        unselected = max(unselected, _extent(chosen))
    unselected = max(unselected, _extent(selection(shown[1])))
    return NONE if op is not None and op.mixes and unselected == SOME else unselected


def _extent(chosen: tuple[Expr, Expr, bool] | None) -> int:
    if chosen is None:
        return NONE
    return ALL if chosen[0].shape == () else SOME


def selection(g: Expr) -> tuple[Expr, Expr, bool] | None:
    """(c, a, True) for ``where(c, a, 0)``, (c, a, False) for ``where(c, 0, a)``."""
    if isinstance(g, Call) and g.op == "where":
        condition, a, b = g.args
        if _is_zero(b):
            return condition, a, True
        if _is_zero(a):
            return condition, b, False
    return None


def add_cotangents(a: Expr, hidden_a: int, b: Expr, hidden_b: int) -> tuple[Expr, int]:
    """The sum of two cotangents, and which of its components may be 0 because of a selection
    besides the one that it shows, when this is known of both."""
    total = merge(a, b)
    hidden = max(hidden_a, hidden_b)
    if selection(total) is None:
        hidden = max(hidden, _extent(selection(a)), _extent(selection(b)))
    return total, hidden


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
    extreme = compare("eq", node.body, value)
    count = Reduce("sum", node.indices, node.domain, where(extreme, 1.0, 0.0))
    return where(extreme, broadcast_to(g / count, node.shape), 0.0)


__all__ = ["ALL", "NONE", "SOME", "Forward", "add_cotangents", "after_op", "cotangents",
           "may_diverge", "merge", "passes_selection", "reduction_cotangent", "selection",
           "vanishing"]  # fmt: skip
