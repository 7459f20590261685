"""What of an operation depends on a sequence's own length, and what rows of one length share."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from unfold.domain import Domain
from unfold.expr import Call, Expr, Position
from unfold.plan import Plan
from unfold.poly import Poly

from .accesses import accesses
from .arrange import read_by
from .nodes import Branch, Fold, Group, Map, Op, Points, Product, Repeat, Stretch, View

#: The length that sequences have for themselves.
OWN = "T"


def differs(op: Op) -> bool:
    """Whether an operation has to be done for each group of rows of one length."""
    return mentions(op) or _takes_any_row(op)


def _takes_any_row(op: Op) -> bool:
    """Whether a number that all rows share is computed from one of the rows, since they are alike
    where their lengths are."""
    if isinstance(op, Branch):
        return any(map(_takes_any_row, (*op.then, *op.otherwise)))
    if isinstance(op, (Repeat, Points, Stretch)):
        return any(map(_takes_any_row, op.body))
    if isinstance(op, Group):
        return any(map(_takes_any_row, op.parts))
    if isinstance(op, (Map, Fold, Product)) and op.target.shared:
        return any(not v.shared for v in read_by(op))
    return False


def mentions(part: Any, lengths: Container[str] = (OWN,)) -> bool:
    """Whether an operation (or a part of one) depends on a length, by default the own one."""
    if isinstance(part, Poly):
        return any(s in lengths for s in part.symbols)
    if isinstance(part, Domain):
        return any(mentions(p, lengths) for p in part.constraints)
    if isinstance(part, (tuple, list)):
        return any(mentions(p, lengths) for p in part)
    if isinstance(part, View) or (is_dataclass(part) and not isinstance(part, Expr)):
        leaves = getattr(part, "leaves", {})
        if _positions(getattr(part, "rhs", None), leaves, lengths):
            return True
        values = (getattr(part, f.name) for f in fields(part) if f.name != "rhs")
        return any(mentions(v, lengths) for v in values)
    if isinstance(part, Mapping):
        return any(mentions(v, lengths) for v in part.values())
    return False


def anyway(ops: Sequence[Op], plan: Plan) -> list[Op]:
    """Operations without the conditions of those that need none: for some lengths nobody reads what
    they write, but they can be done for all.

    So they depend on no length: see `Entry.again`. What several operations write, each for lengths
    of its own, keeps its conditions.
    """
    found, hidden = accesses(ops, {})
    writes = {n: sum(a.write for a in own) for n, own in found.items()}
    return _anyway(ops, plan, writes, hidden)


def _anyway(
    ops: Sequence[Op], plan: Plan, writes: Mapping[str, int], hidden: Container[str]
) -> list[Op]:
    done: list[Op] = []
    for op in ops:
        if isinstance(op, Branch) and not op.otherwise and not mentions(op.then, plan.lengths):
            used = storages(op.then)
            there = (plan.buffers[n].axes for n in used if n in plan.buffers)
            own = {n: sum(a.write for a in many) for n, many in accesses(op.then, {})[0].items()}
            alone = not any(n in hidden or own.get(n) not in (0, writes.get(n)) for n in used)
            if alone and not any(mentions(axes, plan.lengths) for axes in there):
                done += _anyway(op.then, plan, writes, hidden)
                continue
        done.append(op)
    return done


def storages(part: Any) -> set[str]:
    """The storages that an operation (or a part of one) touches."""
    if isinstance(part, View):
        return {part.storage} | (storages(part.pick[0]) if part.pick is not None else set())
    if isinstance(part, (tuple, list)):
        return set().union(*map(storages, part))
    if isinstance(part, Mapping):
        return set().union(*map(storages, part.values()))
    if is_dataclass(part) and not isinstance(part, (Expr, Poly, Domain)):
        return set().union(*(storages(getattr(part, f.name)) for f in fields(part)))
    return set()


def shared_by(op: Op) -> set[str]:
    """What an operation writes that its rows share, sums over the rows aside."""
    if isinstance(op, Branch):
        return set().union(*map(shared_by, (*op.then, *op.otherwise)))
    if isinstance(op, (Repeat, Points, Stretch)):
        return set().union(*map(shared_by, op.body))
    if isinstance(op, Group):
        return set().union(*map(shared_by, op.parts))
    if isinstance(op, (Map, Fold, Product)) and op.target.shared:
        return {op.target.storage}
    return set()


def _positions(e: Expr | None, leaves: Mapping[Expr, View], lengths: Container[str]) -> bool:
    """Whether an expression has a length as a number, above what stands in memory."""
    if e is None or e in leaves:
        return False
    if isinstance(e, Position):
        return any(s in lengths for s in e.poly.symbols)
    return isinstance(e, Call) and any(_positions(a, leaves, lengths) for a in e.args)


__all__ = ["OWN", "anyway", "differs", "mentions", "shared_by", "storages"]
