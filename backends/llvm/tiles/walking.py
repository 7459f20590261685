"""The values of an index as the rows of a tile, where sequences are done one by one.

before:  for s in 1..t: score[t,s] = q[t] @ k[s]         a product for each s
after:   all s in 1..t: score[t,:] = k[:] @ q[t]         one product, k[s] its rows

before:  z[t] = 0;  for s in 1..t: z[t] += a[t,s] * v[s]
after:   z[t] = sum over the rows s of outer(a[t,s], v[s])

requires: tiles of one row, so that what does not move with the index is shared by all its rows.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from unfold.domain import Domain
from unfold.expr import Call, Reduce, walk
from unfold.plan import Node, Plan, Statement

from .nodes import ColumnSum, Contract, Eliminate, Fold, Map, Op, Product, ScatterSum, Solve, View

#: So many heads at most have a product each.
HEADS = 16
#: Heads of so few components are done side by side instead.
SHORT = 16

_KNOWN = (Map, Fold, Product, Eliminate, ColumnSum, Contract, ScatterSum, Solve)


def over_pairs(plan: Plan) -> bool:
    """Whether a plan computes something at pairs of positions, each known at run time only."""
    return any(_depth(node) > 1 for node in plan.body)


def _depth(node: Node) -> int:
    """How many indices of run-time extent a node's work runs over."""
    if isinstance(node, Statement):
        reduces = (e for e in walk(node.rhs) if isinstance(e, Reduce))
        return max((_extent(e.domain, e.indices) for e in reduces), default=0)
    (lows, highs), *_ = node.ranges
    symbols = frozenset(s for p in (*lows, *highs) for s in p.symbols)
    own = 0 if node.domain.constant_range(node.index) is not None or not symbols else 1
    return own + max(map(_depth, node.body), default=0)


def _extent(domain: Domain, indices: Sequence[str]) -> int:
    return 1 if any(domain.constant_range(i) is None for i in indices) else 0


def along(ops: Sequence[Op], index: str, made: Container[str]) -> tuple[Op, ...]:
    """Operations in a loop with their views as rows: what does not move with the index is shared.

    Args:
        ops: the loop's body; blocks are left as they are, searches for solutions aside.
        index: the loop's index.
        made: the temporaries of the body: they have a row for each value of the index.
    """
    found: list[Op] = []
    for op in ops:
        moved = _along(op, index, made) if isinstance(op, _KNOWN) else op
        found.extend(_by_heads(moved) if isinstance(moved, Fold) else (moved,))
    return tuple(found)


def _by_heads(op: Fold) -> tuple[Op, ...]:
    """Inner products of a few vectors, one operand the same in all rows, as products of matrices.

    before:  all s: e[s,:] = sum(q * k[s], axis = 1)       R heads of P components
    after:   all s: e[s,r] = k[s,r,:] @ q[r,:]             for each head r
    """
    rhs, factors = op.rhs, list(op.leaves.items())
    if op.op != "sum" or op.axis != 1 or not isinstance(rhs, Call) or rhs.op != "mul":
        return (op,)
    if len(factors) != 2 or {e for e, _ in factors} != set(rhs.args):
        return (op,)
    (_, left), (_, right) = factors
    if left.shape != right.shape or left.shared == right.shared or op.target.shared:
        return (op,)
    heads, size = left.shape
    if heads > HEADS or size <= SHORT or left.pick is not None or right.pick is not None:
        return (op,)
    return tuple(
        Product(op.target.taken(0, r), left.taken(0, r), right.taken(0, r)) for r in range(heads)
    )


def _along(op: Any, index: str, made: Container[str]) -> Any:
    def view(v: View) -> View:
        pick = None if v.pick is None else (view(v.pick[0]), v.pick[1])
        axes = [k for k, p in enumerate(v.position) if index in p.symbols]
        moves = v.storage in made or axes or (pick is not None and not pick[0].shared)
        # Rows that are not neighbours in memory are for those who ask for their distance.
        walked = axes[0] if len(axes) == 1 and axes[0] < len(v.position) - 1 else None
        # What sequences share may still have an element for each value of the index.
        shared = not moves or (v.shared and not axes)
        return replace(v, pick=pick, shared=shared, walked=walked)

    changed: dict[str, Any] = {}
    for field in fields(op):
        value = getattr(op, field.name)
        if isinstance(value, View):
            changed[field.name] = view(value)
        elif isinstance(value, Mapping):
            changed[field.name] = {e: view(v) for e, v in value.items()}
        elif field.name in ("first", "step", "tangent"):
            changed[field.name] = along(value, index, made)
    return replace(op, **changed)


__all__ = ["along", "over_pairs"]
