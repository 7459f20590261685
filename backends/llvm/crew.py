"""A whole batch in one run of the program, whose large operations several threads share.

Where a step reads more weights than the caches of a core hold, parts of a batch (`team`) have every
thread read all of them, for fewer sequences each time; and a single sequence has no parts. A crew
divides the operations: each thread computes some columns of a product, and reads the weights of
these alone. One thread runs the program; the others wait, spinning, for operations to take pieces
of (`crew.ll`, `tiles.pieces`), and leave when the program is over: between calls nobody spins for
longer than the helpers of the pool do. A thread that comes late, or not at all, holds nothing up:
its pieces are done by those that are there. Who computes a piece is left to chance; what it
computes is not, so the bits are those of one thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from .pool import Job, pool, yielding
from .slots import Slot

if TYPE_CHECKING:
    from .facts import Facts
    from .kernel import Entry

Array = NDArray[Any]

#: The storage of a crew, its words (see `crew.ll`), and where its frame begins.
FIELD, WORDS, FRAME = "%crew", 128, 25
#: The words of a crew that are set at each call.
_YIELD = 2


class Crew:
    """A slot for a whole batch, run by several threads.

    Args:
        threads: how many, 2 at least.
    """

    def __init__(
        self, facts: Facts, entry: Entry, lengths: dict[str, int], batch: int | None, threads: int
    ) -> None:
        self.entry = entry
        self._slot = Slot(facts, entry, lengths, batch)
        self.nbytes = self._slot.nbytes
        self.shapes, self.summed = self._slot.shapes, self._slot.summed
        self._words = self._slot.storage(FIELD)
        self._job = Job(entry.address, [self._slot.address] * threads)

    def place(self, fields: Sequence[tuple[int, str]], lengths: Mapping[str, int]) -> None:
        """Set lengths on which no size depends, by the numbers of their fields."""
        self._slot.place(fields, lengths)

    def run(
        self, given: Sequence[Array], results: Sequence[Array], ragged: Array | None = None
    ) -> None:
        """Compute. Raises `SolverError`."""
        self._slot.ready(given, results, ragged)
        self._words[:] = 0
        self._words[_YIELD] = yielding()
        pool().run(self._job)
        self._slot.check(ragged)


__all__ = ["FIELD", "FRAME", "WORDS", "Crew"]
