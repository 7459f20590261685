"""Sums of outer products with one left factor are taken together, so that it is packed only once.

before:  dW += outer(dz[t], x[t]) over all t    dU += outer(dz[t], h[t-1]) over all t
after:   dW += outer(dz[t], x[t]), dU += outer(dz[t], h[t-1]) over all t

requires: operations in their final order and place: nothing may join or move them afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .nodes import Contract, Op, Stretch, Strips


def alongside(ops: Sequence[Op]) -> tuple[Op, ...]:
    """The operations with neighbouring sums of this kind in one stretch, outside of loops and in
    strips."""
    result: list[Op] = []
    for op in ops:
        if isinstance(op, Strips):
            op = replace(op, body=alongside(op.body))
        last = result[-1] if result else None
        if isinstance(last, Stretch) and isinstance(op, Stretch) and _are_alike(last, op):
            result[-1] = replace(last, body=(*last.body, *op.body))
        else:
            result.append(op)
    return tuple(result)


def _are_alike(a: Stretch, b: Stretch) -> bool:
    if not (a.whole and b.whole) or (a.index, a.lows, a.highs) != (b.index, b.lows, b.highs):
        return False
    first, *others = (*a.body, *b.body)
    return isinstance(first, Contract) and all(
        isinstance(o, Contract) and (o.left, o.fresh) == (first.left, first.fresh) for o in others
    )


__all__ = ["alongside"]
