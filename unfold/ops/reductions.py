"""Reductions over components, and the functions built on them.

``axis`` is ``None`` (all components) or the number of one axis, counted from 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..expr import REAL, Call, Expr, Type
from ..poly import Poly, Shape, ShapeError
from .linear import onehot
from .record import (
    Args,
    Attrs,
    Example,
    Op,
    broadcast_to,
    compare,
    expand,
    fn,
    sum_over,
    where,
)

ANY = (-2.0, 2.0)
_ALL = (("axis", None),)
_EXAMPLES = (
    Example(((4,),), (ANY,), _ALL),
    Example(((2, 3),), (ANY,), _ALL),
    Example(((2, 3),), (ANY,), (("axis", 0),)),
    Example(((2, 3),), (ANY,), (("axis", 1),)),
)
_ALONG = (
    Example(((4,),), (ANY,), (("axis", 0),)),
    Example(((2, 3),), (ANY,), (("axis", 0),)),
    Example(((2, 3),), (ANY,), (("axis", 1),)),
)


def _reduced(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    (a,) = args
    axis = attrs["axis"]
    if a.type.kind == "bool":
        raise ShapeError("numbers are needed here, not a truth value", (0,))
    if not a.shape:
        raise ShapeError("a scalar has no components to reduce", (0,))
    if axis is None:
        return (), a.type
    if not 0 <= axis < len(a.shape):
        raise ShapeError(f"there is no axis {axis}", (0,))
    return a.shape[:axis] + a.shape[axis + 1 :], a.type


def _reduced_real(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    return _reduced(args, attrs)[0], REAL


def _same(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    _reduced(args, attrs)
    return args[0].shape, REAL


def _argmax_shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    shape, _ = _reduced(args, attrs)
    axis = attrs["axis"]
    size = Poly.const(1)
    for n in args[0].shape if axis is None else (args[0].shape[axis],):
        size = size * n
    return shape, Type("int", size)


def softmax(a: Expr, axis: int | None) -> Expr:
    if len(a.shape) == 1:
        axis = 0  # a vector has one axis; `None` would be a second spelling of the same
    return Call("softmax", (a,), (("axis", axis),), a.shape, REAL)


def _softmax_numpy(a: Any, axis: int | None) -> Any:
    top = np.max(a, axis=axis, keepdims=True)
    # All -inf means that nothing is possible: every weight is then zero, not NaN.
    e = np.exp(a - np.where(np.isneginf(top), 0.0, top))
    total = np.sum(e, axis=axis, keepdims=True)
    return e / np.where(total == 0.0, 1.0, total)


def _logsumexp_numpy(a: Any, axis: int | None) -> Any:
    top = np.max(a, axis=axis, keepdims=True)
    shift = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        total = np.log(np.sum(np.exp(a - shift), axis=axis, keepdims=True))
    return np.squeeze(total + shift, axis=axis)


def _log_softmax_numpy(a: Any, axis: int | None) -> Any:
    return a - np.expand_dims(_logsumexp_numpy(a, axis), axis) if axis is not None else (
        a - _logsumexp_numpy(a, None)
    )  # fmt: skip


def _softmax_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    axis = attrs["axis"]
    return (y * (g - _spread(sum_over(g * y, axis), axis, y.shape)),)


def _softmax_jvp(
    tangents: tuple[Expr | None, ...], y: Expr, args: Args, attrs: Attrs
) -> Expr | None:
    (d,) = tangents
    return None if d is None else _softmax_vjp(d, y, args, attrs)[0]


def _log_softmax_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    axis = attrs["axis"]
    return (g - fn("exp", y) * _spread(sum_over(g, axis), axis, y.shape),)


def _log_softmax_jvp(
    tangents: tuple[Expr | None, ...], y: Expr, args: Args, attrs: Attrs
) -> Expr | None:
    (d,) = tangents
    axis = attrs["axis"]
    if d is None:
        return None
    return d - _spread(sum_over(fn("exp", y) * d, axis), axis, y.shape)


def _spread(g: Expr, axis: int | None, shape: Shape) -> Expr:
    """Along the reduced axis again, in a form that broadcasts against ``shape``."""
    return g if g.shape == () else expand(g, axis, shape)


def _sum_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    return (expand(g, attrs["axis"], args[0].shape),)


def _logsumexp_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    axis = attrs["axis"]
    return (softmax(args[0], axis) * _spread(g, axis, args[0].shape),)


def _logsumexp_jvp(
    tangents: tuple[Expr | None, ...], y: Expr, args: Args, attrs: Attrs
) -> Expr | None:
    (d,) = tangents
    axis = attrs["axis"]
    return None if d is None else sum_over(softmax(args[0], axis) * d, axis)


def _winners(y: Expr, args: Args, attrs: Attrs) -> tuple[Expr, Expr]:
    """Which components are extreme, and how many are: each receives an equal share."""
    axis = attrs["axis"]
    (a,) = args
    extreme = compare("eq", a, _spread(y, axis, a.shape))
    return extreme, sum_over(where(extreme, 1.0, 0.0), axis)


def _extreme_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    extreme, count = _winners(y, args, attrs)
    return (where(extreme, _spread(g / count, attrs["axis"], args[0].shape), 0.0),)


def _extreme_jvp(
    tangents: tuple[Expr | None, ...], y: Expr, args: Args, attrs: Attrs
) -> Expr | None:
    (d,) = tangents
    if d is None:
        return None
    extreme, count = _winners(y, args, attrs)
    return sum_over(where(extreme, d, 0.0), attrs["axis"]) / count


def _cross_entropy_shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    logits, label = args
    if len(logits.shape) != 1:
        raise ShapeError("cross_entropy takes a vector of logits", (0,))
    if label.type.kind != "int" or label.shape != ():
        raise ShapeError("cross_entropy takes one integer as the label", (1,))
    bound, size = label.type.bound, logits.shape[0]
    if bound is None or bound != size:
        found = f"an int<{bound}>" if bound is not None else "an integer without a bound"
        raise ShapeError(f"the label is {found}, but there are {size} logits", (0, 1))
    return (), REAL


def _cross_entropy_numpy(logits: Any, label: Any) -> Any:
    return _logsumexp_numpy(logits, None) - logits[int(label)]


def _cross_entropy_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    logits, label = args
    return g * (softmax(logits, 0) - onehot(label, logits.shape[0])), None


def _cross_entropy_jvp(
    tangents: tuple[Expr | None, ...], y: Expr, args: Args, attrs: Attrs
) -> Expr | None:
    logits, label = args
    d = tangents[0]
    if d is None:
        return None
    slope = softmax(logits, 0) - onehot(label, logits.shape[0])
    return Call("matmul", (slope, d), (), (), REAL)


OPS: tuple[Op, ...] = (
    Op("sum", 1, lambda a, axis: np.sum(a, axis=axis), r"\sum {0}", _EXAMPLES, _reduced,
       vjp=_sum_vjp, elementwise=False),
    Op("max", 1, lambda a, axis: np.max(a, axis=axis), r"\max {0}", _EXAMPLES, _reduced,
       vjp=_extreme_vjp, jvp=_extreme_jvp, elementwise=False, selects=True),
    Op("min", 1, lambda a, axis: np.min(a, axis=axis), r"\min {0}", _EXAMPLES, _reduced,
       vjp=_extreme_vjp, jvp=_extreme_jvp, elementwise=False, selects=True),
    Op("argmax", 1, lambda a, axis: np.argmax(a, axis=axis), r"\arg\max {0}", _EXAMPLES,
       _argmax_shape, elementwise=False),
    Op("logsumexp", 1, _logsumexp_numpy, r"\operatorname{{logsumexp}}\left({0}\right)", _EXAMPLES,
       _reduced_real, vjp=_logsumexp_vjp, jvp=_logsumexp_jvp, elementwise=False),
    Op("softmax", 1, _softmax_numpy, r"\operatorname{{softmax}}\left({0}\right)", _ALONG, _same,
       vjp=_softmax_vjp, jvp=_softmax_jvp, elementwise=False, mixes=True),
    Op("log_softmax", 1, _log_softmax_numpy, r"\log\operatorname{{softmax}}\left({0}\right)",
       _ALONG, _same, vjp=_log_softmax_vjp, jvp=_log_softmax_jvp, elementwise=False, mixes=True),
    Op("cross_entropy", 2, _cross_entropy_numpy, r"\operatorname{{CE}}\left({0}, {1}\right)",
       (Example(((5,), ()), (ANY, ("int", 5))),), _cross_entropy_shape,
       vjp=_cross_entropy_vjp, jvp=_cross_entropy_jvp, elementwise=False),
)  # fmt: skip

__all__ = ["OPS", "broadcast_to", "softmax"]
