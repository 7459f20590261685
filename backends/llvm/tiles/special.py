"""Calls that become operations of their own, or expressions of simpler ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from unfold.expr import Call, Expr
from unfold.ops.record import compare, expand, fn, where

from ..components import dims
from . import systems
from .nodes import Fold, Map, Product, View

if TYPE_CHECKING:
    from .expressions import Expressions

Rule = Callable[["Expressions", View, Call], None]


def _product(s: Expressions, target: View, e: Call) -> None:
    left, right = (s.view(a) for a in e.args)
    s.ops.append(Product(target, left, right))


def _fold(s: Expressions, target: View, e: Call) -> None:
    leaves: dict[Expr, View] = {}
    rhs = s.inline(e.args[0], leaves)
    s.ops.append(Fold(target, e.op, e.attr("axis"), rhs, leaves))


def _pieces(s: Expressions, target: View, e: Call) -> None:
    axis, start = e.attr("axis"), 0
    for a in e.args:
        size = dims(a.shape)[axis]
        s.into(target.sliced(axis, start, start + size), _as_type(a, e))
        start += size


def _stacked(s: Expressions, target: View, e: Call) -> None:
    for k, a in enumerate(e.args):
        s.into(target.taken(0, k), _as_type(a, e))


def _as_type(a: Expr, e: Call) -> Expr:
    return fn("real", a) if a.type.kind != "real" and e.type.kind == "real" else a


def _padded(s: Expressions, target: View, e: Call) -> None:
    axis, before = e.attr("axis"), e.attr("before").evaluate({})
    s.fill(target, 0.0)
    size = dims(e.args[0].shape)[axis]
    s.into(target.sliced(axis, before, before + size), e.args[0])


def _reshaped(s: Expressions, target: View, e: Call) -> None:
    view = target.reshaped(dims(e.args[0].shape))
    if view is not None:
        s.into(view, e.args[0])
        return
    inner = s.view(e.args[0]).reshaped(dims(e.shape))
    if inner is None:
        copy = s.temporary(dims(e.args[0].shape), e.type.kind, s.is_shared(e))
        s.into(copy, e.args[0])
        inner = copy.reshaped(dims(e.shape))
    assert inner is not None
    s.ops.append(Map(target, e, {e: inner}))


def _taken(s: Expressions, target: View, e: Call) -> None:
    source = s.view(e.args[0])
    s.scopes[-1][e.args[0]] = source
    view = s.in_place(e)
    if view is None:
        copy = s.temporary(source.shape, e.type.kind, s.is_shared(e.args[0]))
        s.ops.append(Map(copy, e.args[0], {e.args[0]: source}))
        s.scopes[-1][e.args[0]] = copy
        view = s.in_place(e)
    assert view is not None
    s.ops.append(Map(target, e, {e: view}))


def _call(op: str, a: Expr, axis: int | None) -> Expr:
    shape = () if axis is None else a.shape[:axis] + a.shape[axis + 1 :]
    return Call(op, (a,), (("axis", axis),), shape, a.type)


def log_of_sum(
    a: Expr, top: Expr, total: Callable[[Expr], Expr], spread: Callable[[Expr], Expr] = lambda e: e
) -> Expr:
    """``log(total(exp(a)))`` relative to the largest term, or to 0 where that is infinite.

    ``spread`` repeats one number for all terms to the shape of ``a``.
    """
    shift = where(compare("ne", fn("abs", top), float("inf")), top, 0.0)
    return fn("log", total(fn("exp", a - spread(shift)))) + shift


def _logsumexp_of(a: Expr, axis: int | None) -> Expr:
    return log_of_sum(
        a,
        _call("max", a, axis),
        lambda terms: _call("sum", terms, axis),
        lambda e: e if axis is None else expand(e, axis, a.shape),
    )


def _logsumexp(s: Expressions, target: View, e: Call) -> None:
    s.into(target, _logsumexp_of(fn("real", e.args[0]), e.attr("axis")))


def _log_softmax(s: Expressions, target: View, e: Call) -> None:
    a, axis = fn("real", e.args[0]), e.attr("axis")
    total = _logsumexp_of(a, axis)
    s.into(target, a - (total if axis is None else expand(total, axis, a.shape)))


def _softmax(s: Expressions, target: View, e: Call) -> None:
    a, axis = fn("real", e.args[0]), e.attr("axis")

    def spread(x: Expr) -> Expr:
        return x if axis is None else expand(x, axis, a.shape)

    top = _call("max", a, axis)
    # All -inf means that nothing is possible: every weight is then zero, not NaN.
    shift = where(compare("eq", top, float("-inf")), 0.0, top)
    weights = fn("exp", a - spread(shift))
    s.into(target, weights)
    s.scopes[-1][weights] = target
    total = _call("sum", weights, axis)
    divisor = where(compare("eq", total, 0.0), 1.0, total)
    found = s.view(divisor)
    s.scopes[-1][divisor] = found
    s.into(target, weights / spread(divisor))
    del s.scopes[-1][weights]


def _cross_entropy(s: Expressions, target: View, e: Call) -> None:
    logits, label = fn("real", e.args[0]), e.args[1]
    chosen = Call("take", (e.args[0], label), (("axis", 0),), (), e.args[0].type)
    s.into(target, _logsumexp_of(logits, None) - chosen)


#: op -> what computes it into a place.
SPECIAL: dict[str, Rule] = {
    "matmul": _product,
    "sum": _fold,
    "max": _fold,
    "min": _fold,
    "argmax": _fold,
    "concat": _pieces,
    "stack": _stacked,
    "pad": _padded,
    "reshape": _reshaped,
    "take": _taken,
    "logsumexp": _logsumexp,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "cross_entropy": _cross_entropy,
    "solve": systems.select,
    "inv": systems.select,
    "logdet": systems.select,
    "cholesky": systems.select,
}
