"""What multiplies the zeros that a recurrence begins with is not computed.

before:  h[0] = 0                               for t: p[t] = p[t] + U @ h[t-1]
         dU += outer(dz[t], h[t-1]) over all t from 1 on
after:   h[0] = 0                               for t: if t >= 2: p[t] = p[t] + U @ h[t-1]
         dU += outer(dz[t], h[t-1]) over all t from 2 on

requires: operations in their final order and place. As everywhere where zeros are dropped (see
`unfold.transform.algebra`), that may turn a NaN, from a weight that is not finite, into a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from unfold.domain import Domain, contradict
from unfold.expr import Call, Const, Expr
from unfold.plan import Plan
from unfold.poly import Poly

from .accesses import accesses
from .nodes import Branch, Contract, Group, Map, Op, Product, Repeat, Stretch, Strips, View
from .stack import Member


@dataclass(frozen=True)
class Zero:
    """The first (``way`` 1) or the last (-1) element of a variable, which is zero, and how many
    components it has: what reads more reads other members of its bundle too."""

    position: Poly
    way: int
    size: int


def without_zeros(ops: Sequence[Op], plan: Plan, members: Mapping[str, Member]) -> tuple[Op, ...]:
    """The operations with products left out that a zero of the same step is a factor of."""
    zeros = dict(_zeros(ops, plan, members))
    return _skipping(ops, zeros) if zeros else tuple(ops)


# --- which elements are zero ----------------------------------------------------------------------


def _zeros(
    ops: Sequence[Op], plan: Plan, members: Mapping[str, Member]
) -> Iterator[tuple[str, Zero]]:
    found, hidden = accesses(ops, members)
    for op in ops:
        for part in op.parts if isinstance(op, Group) else (op,):
            if not isinstance(part, Map) or part.update or not _is_zero(part.rhs):
                continue
            v = part.target
            b = plan.buffers.get(v.storage)
            if b is None or len(b.axes) != 1 or v.size != b.size or b.name in hidden:
                continue
            ((lo, hi),), (at,) = b.axes, v.position
            others = [a for a in found[b.name] if a.write and a.view != v]
            if at in (lo, hi) and not any(_may_hit(a.ranges, a.view, at) for a in others):
                yield b.name, Zero(at, 1 if at == lo else -1, b.size)


def _is_zero(e: Expr) -> bool:
    if isinstance(e, Call) and e.op == "broadcast":
        return _is_zero(e.args[0])
    return isinstance(e, Const) and e.value == 0


def _may_hit(ranges: Sequence[Poly], v: View, at: Poly) -> bool:
    gap = v.position[0] - at
    return not contradict((*ranges, gap, -gap))


# --- what they are factors of ---------------------------------------------------------------------


def _skipping(ops: Sequence[Op], zeros: Mapping[str, Zero]) -> tuple[Op, ...]:
    return tuple(_without(op, zeros) for op in ops)


def _without(op: Op, zeros: Mapping[str, Zero]) -> Op:
    if isinstance(op, Strips):
        return replace(op, body=_skipping(op.body, zeros))
    if isinstance(op, Repeat):
        return replace(op, body=tuple(_guarded(o, op, zeros) for o in op.body))
    if isinstance(op, Stretch) and op.whole and len(op.body) == 1:
        (body,) = op.body
        if isinstance(body, Contract):
            rest = _beyond((body.left, body.right), op.index, ((op.lows, op.highs),), zeros)
            if rest is not None and rest.way > 0:
                return replace(op, lows=(*op.lows, rest.position + 1))
            if rest is not None:
                return replace(op, highs=(*op.highs, rest.position - 1))
    return op


def _guarded(op: Op, loop: Repeat, zeros: Mapping[str, Zero]) -> Op:
    """A product that adds to what is there, left out where it adds zeros."""
    if not isinstance(op, Product) or op.start != op.target:
        return op
    rest = _beyond((op.left, op.right), loop.index, loop.ranges, zeros)
    if rest is None:
        return op
    steps = (Poly.symbol(loop.index) - rest.position) * rest.way - 1
    return Branch(Domain.of((steps,)), (op,), ())


def _beyond(
    views: Sequence[View],
    index: str,
    ranges: Sequence[tuple[tuple[Poly, ...], tuple[Poly, ...]]],
    zeros: Mapping[str, Zero],
) -> Zero | None:
    """At which end of the ranges of an index a view is of a zero, if there it is."""
    for v in views:
        zero = zeros.get(v.storage)
        if zero is None or v.shared or v.pick is not None or v.walked is not None:
            continue
        last = v.offset + sum((n - 1) * step for n, step in zip(v.shape, v.strides, strict=True))
        if last >= zero.size:
            continue
        at = zero.position - (v.position[0] - Poly.symbol(index))
        ends = (lows if zero.way > 0 else highs for lows, highs in ranges)
        if index not in at.symbols and any(at in end for end in ends):
            return Zero(at, zero.way, zero.size)
    return None


__all__ = ["without_zeros"]
