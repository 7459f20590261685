"""The block of a plan: which fields a call's record has (see `unfold.backends.llvm.block`)."""

from __future__ import annotations

from unfold.plan import Plan

from . import solving
from .block import Record, Storage
from .failures import FIELD, words


def record(plan: Plan, lanes: int) -> Record:
    """The record of a plan for sequences that run in that many lanes side by side."""
    of_kind: dict[str, list[str]] = {"input": [], "param": [], "work": []}
    for b in plan.buffers.values():
        of_kind[b.kind].append(b.name)
    work = of_kind["work"]
    if lanes > 1:
        # Sequences that run side by side are copied so that their numbers stand side by side.
        work = of_kind["input"] + work
    if solving.is_needed(plan):
        work = [*work, FIELD]
    results = tuple(r.name for r in plan.results)
    return Record(
        plan.lengths, tuple(of_kind["input"]), tuple(of_kind["param"]), results, tuple(work)
    )


def noted(lanes: int) -> Storage:
    """Where failures are noted, of sequences that run in that many lanes side by side."""
    return Storage(words(1), more=lanes)


def sizing(plan: Plan) -> tuple[str, ...]:
    """The lengths on which the sizes of storages and results depend."""
    used: set[str] = set()
    for ranges in (*(b.axes for b in plan.buffers.values()), *(r.ranges for r in plan.results)):
        used |= {s for lo, hi in ranges for s in (hi - lo).symbols}
    return tuple(n for n in plan.lengths if n in used)


__all__ = ["noted", "record", "sizing"]
