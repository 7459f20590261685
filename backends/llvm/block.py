"""What a call passes to native code: one block of 64-bit numbers, and the memory they point to.

Lengths, the batch, and addresses. The fields are in one fixed order that both sides read from here.
Arrays are passed as the addresses of their Python objects, from which native code takes the address
of the data: reading that in Python costs more than a small system takes to run.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from unfold.named import Named
from unfold.poly import Poly


class Record(Named):
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
        return _fields(self)[group, name]


class Storage(Named):
    """How large a storage in the workspace is.

    It has ``unit`` bytes for each position ``lo..hi`` along each of ``axes``, in each of its rows.
    There is one row if it is ``shared``, else one for each sequence and ``more``, ``least`` of
    them at least; none at all for a single sequence if it is for ``several``. With ``turns`` it has
    places for so many rows of all positions together, or for so many positions of each row if that
    is more, which positions take in turn if they are more.
    """

    unit: int
    axes: tuple[tuple[Poly, Poly], ...] = ()
    shared: bool = False
    least: int = 0
    more: int = 0
    several: bool = False
    turns: tuple[int, int] | None = None

    def rows(self, batch: int) -> int:
        if self.several and batch == 1:
            return 0
        return 1 if self.shared else max(batch + self.more, self.least)

    def bytes(self, lengths: Mapping[str, int], batch: int) -> int:
        """The size for a call."""
        unit, axes, _, _, _, _, turns = self
        if not unit:
            return 0
        rows = total = self.rows(batch)
        for lo, hi in axes:
            total *= max(0, hi.evaluate(lengths) - lo.evaluate(lengths) + 1)
        if turns is not None:
            total = min(total, max(turns[0], turns[1] * rows))
        return unit * total

    def of_one(self) -> Storage:
        """The storage if all sequences of a batch use it in turn."""
        return Storage(self.unit * self.rows(1), self.axes, shared=True, turns=self.turns)


@lru_cache
def _fields(r: Record) -> dict[tuple[str, str], int]:
    return {named: k for k, named in enumerate(r.names())}


def extents(ranges: Sequence[tuple[Poly, Poly]], lengths: Mapping[str, int]) -> tuple[int, ...]:
    """How many positions each axis has; none where the range is empty."""
    return tuple(max(0, hi.evaluate(lengths) - lo.evaluate(lengths) + 1) for lo, hi in ranges)


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


@lru_cache(maxsize=1)
def strides_offset() -> int:
    """Where in an array's Python object the address of its strides stands: behind data, rank and
    shape. Raises RuntimeError as `data_offset` does."""
    probe = np.empty((3, 5))
    offset = data_offset() + 24
    found = ctypes.c_void_p.from_address(id(probe) + offset).value
    # The shape and the strides of an array are neighbours.
    if found != ctypes.c_void_p.from_address(id(probe) + offset - 8).value + 8 * probe.ndim:  # type: ignore[operator]
        raise RuntimeError("this Python keeps arrays in a way that the llvm backend does not know")
    return offset


__all__ = ["Record", "Storage", "data_offset", "extents", "strides_offset"]
