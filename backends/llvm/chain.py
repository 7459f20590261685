"""Code in several parts, run one after the other as if it were one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy.typing import NDArray

from .kernel import Entry
from .slots import Slot
from .tabled import Tabled, held

if TYPE_CHECKING:
    from .facts import Facts

Array = NDArray[Any]
#: Sets the lengths of a slot on which no size depends: `Kernel.place`.
Placing: TypeAlias = Callable[[Slot, Mapping[str, int]], None]


class Chain(Tabled):
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
        super().__init__(facts, ("chain", {}), lengths, batch, [p for p, _ in parts])
        self._parts, self._between = parts, between
        self.nbytes += held(between.values())
        places = {n: self.objects + k for k, n in enumerate(_objects(self.entry))}
        words = [len(parts)]
        for p in self.slots:
            moves: list[int] = []
            for field, (use, n) in enumerate(_objects(p.entry), start=p.objects):
                if n in between:
                    p.fields[field] = id(between[n])
                else:
                    moves += places[use, n], field
            words += p.entry.address, p.address, len(moves) // 2, *moves
        self.enter(words)

    def check(self, ragged: Array | None, first: int = 0) -> None:
        """Raise `SolverError` if an element was not found."""
        for p in self.slots:
            p.check(ragged, first)

    def place(self, fields: Iterable[tuple[int, str]], lengths: Mapping[str, int]) -> None:
        """Set lengths on which no size depends, by the numbers of their fields."""
        super().place(fields, lengths)
        for p, place in self._parts:
            place(p, lengths)


def _objects(entry: Entry) -> list[tuple[str, str]]:
    """What a record names: an array that is given may have the name of a result."""
    return [("given", n) for n in entry.given] + [("result", n) for n in entry.names]


__all__ = ["Chain"]
