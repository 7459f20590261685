"""Records and workspaces: what calls of one size need, made once and used again.

A `Slot` serves one call at a time, and takes the whole batch in one run of the native code.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import failures
from .block import extents

if TYPE_CHECKING:
    from .facts import Facts
    from .kernel import Entry

Array = NDArray[Any]
#: Work buffers start at multiples of this.
_ALIGN = 64


class Slot:
    """A record and a workspace.

    Args:
        facts, entry: what is called.
        lengths: the value of every length.
        batch: the number of sequences, or ``None``.

    Attributes:
        entry: what is called.
        address, fields: the record.
        objects: the number of its first field that holds an object.
        shapes: the shape and dtype of each result.
        summed: whether each result is summed over the batch.
        noted: where native code writes which elements were not found, if anything is solved.
        nbytes: of the workspace.
    """

    def __init__(
        self, facts: Facts, entry: Entry, lengths: dict[str, int], batch: int | None
    ) -> None:
        self.entry = entry
        self.lengths: Mapping[str, int] = lengths
        self.batch = batch
        self._solved = facts.solved
        listed = shapes(facts, lengths, batch)
        self.shapes = [(shape, kind) for shape, kind, _ in listed]
        self.summed = [summed for _, _, summed in listed]
        r = entry.image.record
        names = r.names()
        self.fields = (ctypes.c_int64 * len(names))()
        self.address = ctypes.addressof(self.fields)
        self._block = memoryview(self.fields).cast("B")
        self.objects = len(r.lengths) + 2
        for k, n in enumerate(r.lengths):
            self.fields[k] = lengths[n]
        count = 1 if batch is None else batch
        self.hold(count)
        self._sizes = entry.image.bytes(lengths, count)
        *starts, total = accumulate((n + -n % _ALIGN for n in self._sizes), initial=0)
        self._memory = np.empty(total + _ALIGN, np.uint8)
        self.nbytes = self._memory.nbytes
        first = self._memory.ctypes.data
        base = first + -first % _ALIGN
        self._base = base - first
        self._starts = starts
        self.fields[len(names) - len(starts) :] = [base + start for start in starts]
        self.noted = self.storage(failures.FIELD) if failures.FIELD in r.work else None

    def storage(self, name: str) -> NDArray[np.int64]:
        """A storage of the workspace that holds integers."""
        k = self.entry.image.record.work.index(name)
        start, size = self._starts[k], self._sizes[k]
        return self._memory[self._base + start :][:size].view(np.int64)

    def note(self, words: NDArray[np.int64]) -> None:
        """Have elements that are not found noted there."""
        self.noted = words
        self.fields[self.entry.image.record.field("work", failures.FIELD)] = words.ctypes.data

    def place(self, fields: Iterable[tuple[int, str]], lengths: Mapping[str, int]) -> None:
        """Set lengths on which no size depends, by the numbers of their fields."""
        self.lengths = lengths
        for k, n in fields:
            self.fields[k] = lengths[n]

    def hold(self, count: int, ragged: int = 0) -> None:
        """Set the number of sequences, and the address of each one's own length."""
        self.fields[self.objects - 2] = count
        self.fields[self.objects - 1] = ragged

    def objects_view(self) -> memoryview:
        """The part of the record that names arrays and results, as bytes."""
        count = len(self.entry.given) + len(self.entry.names)
        return self._block[8 * self.objects : 8 * (self.objects + count)]

    def run(
        self, given: Sequence[Array], results: Sequence[Array], ragged: Array | None = None
    ) -> None:
        """Compute. Raises `SolverError`."""
        self.ready(given, results, ragged)
        self.entry.run(self.address)
        self.check(ragged)

    def again(self, given: Sequence[Array], results: Sequence[Array]) -> None:
        """As `run`, where what `Image.prepared` names has not changed since the last call."""
        self.ready(given, results, None)
        self.entry.again(self.address)
        self.check(None)

    def ready(self, given: Sequence[Array], results: Sequence[Array], ragged: Array | None) -> None:
        """Enter what a call needs into the record."""
        self.hand(given, results)
        if ragged is not None:
            self.fields[self.objects - 1] = ragged.ctypes.data
        self.clear()

    def hand(self, given: Sequence[Array], results: Sequence[Array]) -> None:
        """Enter the arrays of a call into the record."""
        self.entry.pack(self._block, 8 * self.objects, *map(id, given), *map(id, results))

    def clear(self) -> None:
        """Forget what a call before this one has noted."""
        if self.noted is not None:
            failures.clear(self.noted)

    def check(self, ragged: Array | None, first: int = 0) -> None:
        """Raise `SolverError` if an element was not found; ``first`` is the number of the first
        sequence in the whole batch."""
        if self.noted is not None:
            count = None if self.batch is None else self.fields[self.objects - 2]
            failures.raise_first(self.noted, self._solved, self.lengths, count, ragged, first)


def number_type(facts: Facts, kind: str) -> np.dtype[Any]:
    """The dtype of ``"real"``, ``"int"`` or ``"bool"`` numbers."""
    return np.dtype({"int": "int64", "bool": "bool"}.get(kind, facts.dtype))


def result_kinds(facts: Facts) -> dict[str, np.dtype[Any]]:
    """The dtypes of the results, by name."""
    return {r.name: number_type(facts, r.kind) for r in facts.results}


def shapes(
    facts: Facts, lengths: Mapping[str, int], batch: int | None
) -> list[tuple[tuple[int, ...], np.dtype[Any], bool]]:
    """The shape and dtype of each result, and whether it is summed over the batch."""
    found = []
    for r in facts.results:
        shape = (*extents(r.ranges, lengths), *r.shape)
        summed = batch is not None and r.summed and facts.sum_adjoints
        if batch is not None and not summed:
            shape = (batch, *shape)
        found.append((shape, number_type(facts, r.kind), summed))
    return found


__all__ = ["Slot", "number_type", "result_kinds", "shapes"]
