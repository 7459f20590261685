"""Sums of outer products with one left factor are taken together, so that it is packed only once.

before:  dW += outer(dz[t], x[t]) over all t    dU += outer(dz[t], h[t-1]) over all t
after:   dW += outer(dz[t], x[t]), dU += outer(dz[t], h[t-1]) over all t

requires: operations in their final order and place: nothing may join or move them afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from .nodes import Contract, Op, Stretch, Strips

#: Whether sums with a left factor of so many components gain, by those of the right factors.
Gains: TypeAlias = Callable[[int, list[int]], bool]


def alongside(ops: Sequence[Op], gains: Gains) -> tuple[Op, ...]:
    """The operations with neighbouring sums of this kind in one stretch, outside of loops and in
    strips."""
    result: list[Op] = []
    for op in ops:
        if isinstance(op, Strips):
            op = replace(op, body=alongside(op.body, gains))
        last = result[-1] if result else None
        if isinstance(last, Stretch) and isinstance(op, Stretch) and _are_alike(last, op):
            both = replace(last, body=(*last.body, *op.body))
            sums = [o for o in both.body if isinstance(o, Contract)]
            if gains(sums[0].left.size, [o.right.size for o in sums]):
                result[-1] = both
                continue
        result.append(op)
    return tuple(result)


def _are_alike(a: Stretch, b: Stretch) -> bool:
    if not (a.whole and b.whole) or (a.index, a.lows, a.highs) != (b.index, b.lows, b.highs):
        return False
    first, *others = (*a.body, *b.body)
    return isinstance(first, Contract) and all(
        isinstance(o, Contract) and (o.left, o.fresh) == (first.left, first.fresh) for o in others
    )


__all__ = ["Gains", "alongside"]
