"""Reductions over elements: the ops that only the unfolded graph has.

``sum[s <= t](…)`` unfolds into one node ``reduce_sum`` with an operand for each point.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..expr import Call, Expr
from ..ops import Example, Op, call
from ..ops.record import Args, Attrs, compare, where

Array = NDArray[Any]

#: The value of a reduction over nothing.
NEUTRAL = {"sum": 0.0, "max": -math.inf, "min": math.inf, "logsumexp": -math.inf}


def _sum(*values: Array) -> Array:
    result = np.array(values[0])
    for v in values[1:]:
        result = result + v
    return result


def _logsumexp(*values: Array) -> Array:
    top = np.asarray(reduce(np.maximum, values))
    shift = np.where(np.isfinite(top), top, np.zeros_like(top))
    return np.log(_sum(*(np.exp(v - shift) for v in values))) + shift


def _extreme_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    hits = tuple(where(compare("eq", a, y), 1.0, 0.0) for a in args)
    share = Call("reduce_sum", hits, (), y.shape)
    return tuple(g * hit / share for hit in hits)


def _examples(*shapes: tuple[int, ...]) -> tuple[Example, ...]:
    return tuple(Example((s,) * n, ((-2.0, 2.0),) * n) for s in shapes for n in (1, 2, 5))


#: name -> record, as in `unfold.ops.OPS`.
NARY: dict[str, Op] = {
    op.name: op
    for op in (
        Op("reduce_sum", None, _sum, r"\sum", _examples((), (3,)),
           vjp=lambda g, y, args, attrs: (g,) * len(args)),
        Op("reduce_max", None, lambda *a: reduce(np.maximum, a), r"\max", _examples((), (3,)),
           vjp=_extreme_vjp),
        Op("reduce_min", None, lambda *a: reduce(np.minimum, a), r"\min", _examples((), (3,)),
           vjp=_extreme_vjp),
        Op("reduce_logsumexp", None, _logsumexp, r"\operatorname{logsumexp}", _examples((), (3,)),
           vjp=lambda g, y, args, attrs: tuple(g * call("exp_diff", a, y) for a in args)),
    )
}  # fmt: skip
