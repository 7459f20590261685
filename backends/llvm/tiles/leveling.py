"""Storages that begin together end together, so that one can stand in the place of another.

before:  i[1..count]   i_bar[1..count + 1]       after:  i[1..count + 1]   i_bar[1..count + 1]

requires: a plan; whatever it stores, it reads and writes as before. What is handed on at the end of
a segment makes such neighbours.
"""

from __future__ import annotations

from dataclasses import replace

from unfold.plan import Buffer, Plan
from unfold.poly import Poly

#: How many positions more a storage may have for it.
FEW = 4


def level(plan: Plan) -> Plan:
    """The plan with room for a few more positions at the ends of buffers."""
    ends: dict[Poly, set[Poly]] = {}
    for b in plan.buffers.values():
        if _is_movable(b):
            ((lo, hi),) = b.axes
            ends.setdefault(lo, set()).add(hi)

    def leveled(b: Buffer) -> Buffer:
        if not _is_movable(b):
            return b
        ((lo, hi),) = b.axes
        beyond = [d for end in ends[lo] if (d := (end - hi).constant) is not None and d <= FEW]
        return replace(b, axes=((lo, hi + max(beyond)),))

    if all(len(found) == 1 for found in ends.values()):
        return plan
    return replace(plan, buffers={n: leveled(b) for n, b in plan.buffers.items()})


def _is_movable(b: Buffer) -> bool:
    return b.kind == "work" and not b.shared and b.type.kind == "real" and len(b.axes) == 1


__all__ = ["level"]
