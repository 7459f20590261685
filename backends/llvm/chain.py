"""Code in several parts, run one after the other as if it were one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unfold import cache

from . import failures, loading
from .block import Record, Storage
from .kernel import Entry, Image
from .machine import host
from .slots import Slot

if TYPE_CHECKING:
    from .facts import Facts
    from .kernel import AnySlot

Array = NDArray[Any]
#: Sets the lengths of a slot on which no size depends: `Kernel.place`.
Placing: TypeAlias = Callable[["AnySlot", Mapping[str, int]], None]
#: The field of a record that holds the address of the table, see ``chain.ll``.
_TABLE = "%chain"


class Chain(Slot):
    """Slots that take their turns in native code: a slot like any other.

    Args:
        facts: of the whole.
        parts: what is run, in order, and what sets lengths on which no size depends.
        between: arrays that one part writes and another one reads, by name. All others are those
            of the whole.
    """

    def __init__(
        self,
        facts: Facts,
        lengths: dict[str, int],
        batch: int | None,
        parts: Sequence[tuple[Slot, Placing]],
        between: Mapping[str, Array],
    ) -> None:
        base = facts.record
        record = Record(base.lengths, base.inputs, base.params, base.results, (_TABLE,))
        super().__init__(facts, _entry(record), lengths, batch)
        self._parts, self._between = parts, between
        slots = [p for p, _ in parts]
        self.noted = _together(slots)
        self.nbytes += _bytes(slots) + _bytes(between.values())
        places = {n: self.objects + k for k, n in enumerate(_objects(self.entry))}
        words = [len(parts)]
        for p in slots:
            moves: list[int] = []
            for field, (use, n) in enumerate(_objects(p.entry), start=p.objects):
                if n in between:
                    p.fields[field] = id(between[n])
                else:
                    moves += places[use, n], field
            words += p.entry.address, p.address, len(moves) // 2, *moves
        self._table = np.array(words, np.int64)
        self.fields[record.field("work", _TABLE)] = self._table.ctypes.data

    def check(self, ragged: Array | None, first: int = 0) -> None:
        """Raise `SolverError` if an element was not found."""
        for p, _ in self._parts:
            p.check(ragged, first)

    def place(self, fields: Iterable[tuple[int, str]], lengths: Mapping[str, int]) -> None:
        """Set lengths on which no size depends, by the numbers of their fields."""
        super().place(fields, lengths)
        for p, place in self._parts:
            place(p, lengths)


class Relay:
    """The same for parts that several threads share: their turns are taken in Python."""

    def __init__(
        self,
        facts: Facts,
        lengths: dict[str, int],
        batch: int | None,
        parts: Sequence[tuple[AnySlot, Placing]],
        between: Mapping[str, Array],
    ) -> None:
        whole = Chain(facts, lengths, batch, (), between)
        self.entry, self.shapes, self.summed = whole.entry, whole.shapes, whole.summed
        self.nbytes = whole.nbytes + _bytes(p for p, _ in parts)
        self._parts, self._between = parts, between

    def run(
        self, given: Sequence[Array], results: Sequence[Array], ragged: Array | None = None
    ) -> None:
        """Compute. Raises `SolverError`."""
        known = {**dict(zip(self.entry.given, given, strict=True)), **self._between}
        made = {**dict(zip(self.entry.names, results, strict=True)), **self._between}
        for p, _ in self._parts:
            p.run([known[n] for n in p.entry.given], [made[n] for n in p.entry.names], ragged)

    def place(self, _: Iterable[tuple[int, str]], lengths: Mapping[str, int]) -> None:
        """Set lengths on which no size depends."""
        for p, place in self._parts:
            place(p, lengths)


def _objects(entry: Entry) -> list[tuple[str, str]]:
    """What a record names: an array that is given may have the name of a result."""
    return [("given", n) for n in entry.given] + [("result", n) for n in entry.names]


def _bytes(held: Iterable[AnySlot | Array]) -> int:
    return sum(h.nbytes for h in held)


def _together(parts: Sequence[Slot]) -> NDArray[np.int64] | None:
    """One place for what all parts note, which is where they do so from then on."""
    sizes = [0 if p.noted is None else p.noted.size for p in parts]
    if not any(sizes):
        return None
    words, start = np.zeros(sum(sizes), np.int64), 0
    for p, size in zip(parts, sizes, strict=True):
        if size:
            p.noted = words[start : start + size]
            p.fields[p.entry.image.record.field("work", failures.FIELD)] = p.noted.ctypes.data
            start += size
    return words


@lru_cache(maxsize=64)
def _entry(record: Record) -> Entry:
    place = record.field("work", _TABLE)

    def compiled() -> loading.ObjectCode:
        from importlib import resources  # slow to import, and not needed where the code is kept

        from . import jit

        text = resources.files(__package__).joinpath("chain.ll").read_text(encoding="utf-8")
        return jit.object_code(text.replace("@table@", str(place)), optimise=True)

    code = cache.remember(cache.key("chain", place, host()), compiled)
    return Entry(Image(record, (Storage(0),), False, code))


__all__ = ["Chain", "Relay"]
