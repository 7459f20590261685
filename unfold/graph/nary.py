"""Reductions over elements: the ops that only the unfolded graph has.

``sum[s <= t](…)`` unfolds into one node ``reduce_sum`` with an operand for each point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..expr import Call, Expr
from ..ops import Example, Op, call
from ..ops.record import Args, Attrs, compare, where

Array = NDArray[Any]
Product = Callable[[Expr], Expr]


def _sum(*values: Array) -> Array:
    result = np.array(values[0])
    for v in values[1:]:
        result = result + v
    return result


def _logsumexp(*values: Array) -> Array:
    top = np.asarray(reduce(np.maximum, values))
    shift = np.where(np.isfinite(top), top, np.zeros_like(top))
    return np.log(_sum(*(np.exp(v - shift) for v in values))) + shift


def _add(terms: Iterable[Expr], y: Expr) -> Expr:
    return Call("reduce_sum", tuple(terms), (), y.shape)


def _equal_share(y: Expr, args: Args) -> tuple[Product, ...]:
    """All for the extreme operand, 1/n for each of n equal ones, else nothing."""
    extreme = [compare("eq", a, y) for a in args]
    count = _add([where(e, 1.0, 0.0) for e in extreme], y)
    return tuple(lambda g, e=e: where(e, g / count, 0.0) for e in extreme)


def _weights(y: Expr, args: Args) -> tuple[Product, ...]:
    return tuple(lambda g, a=a: g * call("exp_diff", a, y) for a in args)


def _sum_jvp(tangents: tuple[Expr | None, ...], y: Expr, args: Args, attrs: Attrs) -> Expr | None:
    live = [d for d in tangents if d is not None]
    return _add(live, y) if live else None


def _rules(slopes: Callable[..., tuple[Product, ...]]) -> dict[str, Any]:
    """Both rules of a reduction whose derivative in each operand is element-wise: ``slopes`` give
    the products with them."""

    def vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
        return tuple(product(g) for product in slopes(y, args))

    def jvp(tangents: tuple[Expr | None, ...], y: Expr, args: Args, attrs: Attrs) -> Expr | None:
        terms = zip(tangents, slopes(y, args), strict=True)
        return _sum_jvp(tuple(None if d is None else s(d) for d, s in terms), y, args, attrs)

    return {"vjp": vjp, "jvp": jvp}


def _examples(*shapes: tuple[int, ...]) -> tuple[Example, ...]:
    return tuple(Example((s,) * n, ((-2.0, 2.0),) * n) for s in shapes for n in (1, 2, 5))


#: name -> record, as in `unfold.ops.OPS`.
NARY: dict[str, Op] = {
    op.name: op
    for op in (
        Op("reduce_sum", None, _sum, r"\sum", _examples((), (3,)),
           vjp=lambda g, y, args, attrs: (g,) * len(args), jvp=_sum_jvp),
        Op("reduce_max", None, lambda *a: reduce(np.maximum, a), r"\max", _examples((), (3,)),
           **_rules(_equal_share), selects=True),
        Op("reduce_min", None, lambda *a: reduce(np.minimum, a), r"\min", _examples((), (3,)),
           **_rules(_equal_share), selects=True),
        Op("reduce_logsumexp", None, _logsumexp, r"\operatorname{logsumexp}",
           _examples((), (3,)), **_rules(_weights)),
    )
}  # fmt: skip
