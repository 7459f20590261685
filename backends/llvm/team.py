"""A batch shared by several threads, in parts (see `division` for when)."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .block import data_offset
from .pool import Job, pool
from .slots import Slot, shapes

if TYPE_CHECKING:
    from .facts import Facts
    from .kernel import Entry

Array = NDArray[Any]


class Team:
    """Slots for parts of a batch, run by several threads.

    A part is a run of sequences in their order. What has a row for each sequence is read and
    written in place: the record holds cells that look like arrays that start later. What is summed
    over the batch has a private array for each part but the first, and these are added in the order
    of the parts, whoever computed them when.

    Args:
        parts: in how many parts a batch is divided, 2 at least.
            Each has a thread of its own, if there are as many.
        grain: parts hold multiples of so many sequences, where their lengths are equal.
    """

    def __init__(
        self,
        facts: Facts,
        entry: Entry,
        lengths: dict[str, int],
        batch: int,
        ragged: bool,
        parts: int,
        grain: int,
    ) -> None:
        self.entry = entry
        self._parts, self._batch = parts, batch
        self._ends = None if ragged else even(batch, parts, grain)
        largest = batch if self._ends is None else int(np.diff(self._ends).max())
        self._slots = [Slot(facts, entry, lengths, largest) for _ in range(parts)]
        self.nbytes = sum(s.nbytes for s in self._slots)
        listed = shapes(facts, lengths, batch)
        self.shapes = [(shape, kind) for shape, kind, _ in listed]
        self.summed = [summed for _, _, summed in listed]
        self._summed = [k for k, summed in enumerate(self.summed) if summed]
        count = len(entry.given) + len(listed)
        self._cells = np.zeros((parts, count), np.int64)
        self._private: list[list[Array]] = []
        inputs, given = len(entry.image.record.inputs), len(entry.given)
        for p, slot in enumerate(self._slots):
            row = self._cells.ctypes.data + 8 * count * p
            for k in range(count):
                slot.fields[slot.objects + k] = row + 8 * k - data_offset()
            own = [np.empty(listed[k][0], listed[k][1]) for k in self._summed] if p else []
            self._private.append(own)
            for k, array in zip(self._summed, own, strict=False):
                slot.fields[slot.objects + given + k] = id(array)
            self.nbytes += sum(a.nbytes for a in own)
        #: Whether an array has a row for each sequence.
        self._rows = np.array(
            [k < inputs for k in range(given)] + [not summed for _, _, summed in listed]
        )
        self._job = Job(entry.address, [s.address for s in self._slots])

    def place(self, fields: Sequence[tuple[int, str]], lengths: Mapping[str, int]) -> None:
        """Set lengths on which no size depends, by the numbers of their fields."""
        for slot in self._slots:
            slot.place(fields, lengths)

    def run(
        self, given: Sequence[Array], results: Sequence[Array], ragged: Array | None = None
    ) -> None:
        """Compute. Raises `SolverError`, about the first sequence that has a failure."""
        arrays = (*given, *results)
        ends = self._ends
        if ends is None:
            assert ragged is not None
            ends = by_length(ragged, self._parts)
        starts = np.array([address(a) for a in arrays], np.int64)
        steps = self._rows * np.array([a.nbytes // self._batch for a in arrays])
        np.add(starts, ends[:-1, None] * steps, out=self._cells)
        for p, slot in enumerate(self._slots):
            each = 0 if ragged is None else ragged.ctypes.data + 8 * int(ends[p])
            slot.hold(int(ends[p + 1] - ends[p]), each)
            slot.clear()
        pool().run(self._job)
        for p, slot in enumerate(self._slots):
            mine = None if ragged is None else ragged[ends[p] : ends[p + 1]]
            slot.check(mine, int(ends[p]))
        for own in self._private[1:]:
            for k, part in zip(self._summed, own, strict=True):
                np.add(results[k], part, out=results[k])


def even(batch: int, parts: int, grain: int) -> NDArray[np.int64]:
    """Where parts of about equally many sequences begin, and where the last one ends."""
    groups = -(-batch // grain)
    return np.minimum(batch, grain * (groups * np.arange(parts + 1) // parts))


def by_length(lengths: Array, parts: int) -> NDArray[np.int64]:
    """Where parts of about equal total length begin, and where the last one ends.

    A sequence belongs to the part that its middle lies in.
    """
    after = np.cumsum(lengths)
    middles = parts * (2 * after - lengths)
    ends = np.searchsorted(middles, 2 * after[-1] * np.arange(parts + 1))
    ends[-1] = len(lengths)
    return ends


def address(array: Array) -> int:
    """Where the data of an array begin."""
    return ctypes.c_void_p.from_address(id(array) + data_offset()).value or 0


__all__ = ["Team", "by_length", "even"]
