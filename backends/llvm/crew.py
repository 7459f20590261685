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

from typing import TYPE_CHECKING

from .pool import Job, pool, yielding
from .slots import Slot

if TYPE_CHECKING:
    from .facts import Facts
    from .kernel import Entry

#: The storage of a crew, its words (see `crew.ll`), and where its frame begins.
FIELD, WORDS, FRAME = "%crew", 128, 25
#: The first of the words that are set once.
_SET = 2


class Crew(Slot):
    """A slot whose program is run by several threads.

    Args:
        threads: how many, 2 at least.
    """

    def __init__(
        self, facts: Facts, entry: Entry, lengths: dict[str, int], batch: int | None, threads: int
    ) -> None:
        super().__init__(facts, entry, lengths, batch)
        self._job = Job(entry.library.address("join"), [self.address] * threads)
        pool().enlist(threads - 1)
        known = (yielding(), self._job.address, pool().roster, pool().run)
        self.storage(FIELD)[_SET : _SET + len(known)] = known


__all__ = ["FIELD", "FRAME", "WORDS", "Crew"]
