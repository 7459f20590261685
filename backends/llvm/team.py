"""A batch shared by several threads, in parts (see `division` for when)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .block import data_offset, strides_offset
from .pool import Job, pool
from .slots import Slot, shapes
from .tabled import Tabled, held

if TYPE_CHECKING:
    from .facts import Facts
    from .kernel import Entry

Array = NDArray[Any]


class Team(Tabled):
    """Slots for parts of a batch, run by several threads: a slot like any other.

    A part is a run of sequences in their order. What has a row for each sequence is read and
    written in place: the record of a part holds cells that look like arrays that start later. What
    is summed over the batch has a private array for each part but the first, and these are added in
    the order of the parts, whoever computed them when.

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
        ends = None if ragged else even(batch, parts, grain)
        largest = batch if ends is None else int(np.diff(ends).max())
        slots = [Slot(facts, entry, lengths, largest) for _ in range(parts)]
        words = {"data": data_offset(), "strides": strides_offset()}
        super().__init__(facts, ("team", words), lengths, batch, slots)
        listed = shapes(facts, lengths, batch)
        inputs, given = len(entry.image.record.inputs), len(entry.given)
        count = given + len(listed)
        self._cells = np.zeros((parts, count), np.int64)
        self._firsts = np.zeros_like(self._cells)
        #: Whether an array has a row for each sequence.
        self._rows = np.array(
            [k < inputs for k in range(given)] + [not summed for _, _, summed in listed]
        )
        kinds = [(k, *listed[k][:2]) for k, summed in enumerate(self.summed) if summed]
        private = [[np.empty(shape, kind) for _, shape, kind in kinds] for _ in slots[1:]]
        for p, (slot, row) in enumerate(zip(slots, self._cells, strict=True)):
            for k in range(count):
                slot.fields[slot.objects + k] = row.ctypes.data + 8 * k - data_offset()
            for (k, *_), array in zip(kinds, private[p - 1] if p else (), strict=p > 0):
                slot.fields[slot.objects + given + k] = id(array)
        sums: list[int] = []
        for n, (k, shape, kind) in enumerate(kinds):
            size = int(np.prod(shape, dtype=np.int64))
            sums += [given + k, size, kind.itemsize == 4, *(own[n].ctypes.data for own in private)]
        self._private, self._sums = private, np.array(sums, np.int64)
        self.nbytes += sum(held(own) for own in private)
        self._job = Job(entry.address, [s.address for s in slots])
        pool().enlist(parts - 1)
        self.enter([
            parts, count, self.objects, self._firsts.ctypes.data, self._cells.ctypes.data,
            self._job.address, pool().roster, pool().run, len(kinds), self._sums.ctypes.data,
        ])  # fmt: skip
        if ends is not None:
            self._divide(ends, None)

    def place(self, fields: Iterable[tuple[int, str]], lengths: Mapping[str, int]) -> None:
        """Set lengths on which no size depends, by the numbers of their fields."""
        fields = list(fields)
        super().place(fields, lengths)
        for slot in self.slots:
            slot.place(fields, lengths)

    def ready(self, given: Sequence[Array], results: Sequence[Array], ragged: Array | None) -> None:
        """Enter what a call needs into the record."""
        super().ready(given, results, ragged)
        if ragged is not None:
            self._divide(by_length(ragged, len(self.slots)), ragged)

    def check(self, ragged: Array | None, first: int = 0) -> None:
        """Raise `SolverError`, about the first sequence that has a failure."""
        for slot, (start, end) in zip(self.slots, pairwise(self._ends), strict=True):
            slot.check(None if ragged is None else ragged[start:end], first + start)

    def _divide(self, ends: NDArray[np.int64], ragged: Array | None) -> None:
        """Set where the parts begin and end, and the lengths of their sequences."""
        self._ends = [int(e) for e in ends]
        self._firsts[:] = ends[:-1, None] * self._rows
        for slot, (start, end) in zip(self.slots, pairwise(self._ends), strict=True):
            slot.hold(end - start, 0 if ragged is None else ragged.ctypes.data + 8 * start)


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


__all__ = ["Team", "by_length", "even"]
