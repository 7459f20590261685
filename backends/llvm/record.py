"""What a call passes to native code: one block of 64-bit numbers.

Lengths, the batch, and addresses. The fields are in one fixed order that both sides read from here.
Arrays are passed as the addresses of their Python objects, from which native code takes the address
of the data: reading that in Python costs more than a small system takes to run.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from unfold.plan import Buffer, Plan
from unfold.poly import Poly

from . import solving


@dataclass(frozen=True)
class Record:
    """The fields of the block, by name.

    ``lengths``, then ``batch`` and ``ragged`` (the address of each sequence's own length, or 0),
    then objects (``inputs``, ``params``, ``results``), then addresses in the workspace (``work``).
    """

    lengths: tuple[str, ...]
    inputs: tuple[str, ...]
    params: tuple[str, ...]
    results: tuple[str, ...]
    work: tuple[str, ...]

    def names(self) -> list[tuple[str, str]]:
        """All fields in order, as (group, name)."""
        listed = [("length", n) for n in self.lengths] + [("batch", ""), ("ragged", "")]
        for group in ("inputs", "params", "results", "work"):
            listed += [(group, n) for n in getattr(self, group)]
        return listed

    def field(self, group: str, name: str = "") -> int:
        """The number of a field."""
        return self._fields[group, name]

    @cached_property
    def _fields(self) -> dict[tuple[str, str], int]:
        return {named: k for k, named in enumerate(self.names())}


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
        work = [*work, solving.FIELD]
    results = tuple(r.name for r in plan.results)
    return Record(
        plan.lengths, tuple(of_kind["input"]), tuple(of_kind["param"]), results, tuple(work)
    )


def extents(ranges: Sequence[tuple[Poly, Poly]], lengths: dict[str, int]) -> tuple[int, ...]:
    """How many positions each axis has; none where the range is empty."""
    return tuple(max(0, hi.evaluate(lengths) - lo.evaluate(lengths) + 1) for lo, hi in ranges)


def numbers(b: Buffer, lengths: dict[str, int]) -> int:
    """How many components a buffer holds for one sequence."""
    total = b.size
    for n in extents(b.axes, lengths):
        total *= n
    return total


def sizing(plan: Plan) -> tuple[str, ...]:
    """The lengths on which the sizes of storages and results depend."""
    used: set[str] = set()
    for ranges in (*(b.axes for b in plan.buffers.values()), *(r.ranges for r in plan.results)):
        used |= {s for lo, hi in ranges for s in (hi - lo).symbols}
    return tuple(n for n in plan.lengths if n in used)


@lru_cache(maxsize=1)
def data_offset() -> int:
    """Where in an array's Python object the address of its data stands.

    It follows the object's head in every NumPy; the head's size depends on the build of Python.
    Raises RuntimeError for an interpreter that lays objects out otherwise.
    """
    probe = np.empty(3)
    for offset in (16, 24, 32, 40):
        if ctypes.c_void_p.from_address(id(probe) + offset).value == probe.ctypes.data:
            return offset
    raise RuntimeError("this Python keeps arrays in a way that the llvm backend does not know")
