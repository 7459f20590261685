"""Batches with a part that is done once: code for that, and code for each sequence.

See `unfold.transform.apart`. A single sequence and sequences of unequal length are served by the
code of the whole program, and so are batches too small to gain by parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unfold import cache
from unfold.later import Later

from .kernel import Kernel
from .slots import Slot

if TYPE_CHECKING:
    from unfold.program import Program

    from .code import Source
    from .facts import Facts

Array = NDArray[Any]

#: What a function takes that is called in turn, in microseconds.
_TURN = 0.3
#: Parts are taken unless they seem to take so many times as long as the whole: they gain more by
#: caches and registers than estimates tell.
_DOUBT = 1.25


class InParts(Kernel):
    """A kernel of a program that may be in parts as well: they are made for the first batch.

    Args:
        facts, source, entry: of the whole, see `Kernel`.
        program: what has the parts.
    """

    def __init__(
        self,
        facts: Facts,
        source: Later[Source],
        entry: str | None,
        program: Later[Program],
    ) -> None:
        super().__init__(facts, source, entry)
        self._program = program
        self._parts: dict[str, Kernel] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return InParts, (self.facts, self._source, self.entry, self._program)

    def new_slot(self, lengths: Mapping[str, int], batch: int | None, ragged: bool = False) -> Slot:
        """What calls of a size need."""
        if not self.is_apart(lengths, batch, ragged):
            return super().new_slot(lengths, batch, ragged)
        from .chain import Chain

        parts = [(k.new_slot(lengths, n), k.place) for k, n in self._turns(batch)]
        return Chain(self.facts, dict(lengths), batch, parts, self._between(lengths, batch))

    def is_apart(self, lengths: Mapping[str, int], batch: int | None, ragged: bool = False) -> bool:
        """Whether a call is served by the parts: they take less time than the whole."""
        if batch is None or batch < 2 or ragged:
            return False
        # A slot is used again for other lengths, unless sizes depend on them.
        sizing = {n for k in self.parts.values() for n in k.facts.sizing}
        if not self.parts or not sizing <= set(self.facts.sizing):
            return False
        return self._apart(lengths, batch) < _DOUBT * super().microseconds(lengths, batch)

    def microseconds(
        self, lengths: Mapping[str, int], batch: int | None, ragged: bool = False
    ) -> float:
        """About how long a call takes on one core."""
        if batch is None or not self.is_apart(lengths, batch, ragged):
            return super().microseconds(lengths, batch, ragged)
        return self._apart(lengths, batch)

    def workspace(
        self, lengths: Mapping[str, int], batch: int | None, ragged: bool = False
    ) -> dict[str, int]:
        """The bytes of each storage that a call needs beside its arguments and results; what one
        part hands on to another is among them."""
        if not self.is_apart(lengths, batch, ragged):
            return super().workspace(lengths, batch, ragged)
        found: Counter[str] = Counter()
        for kernel, count in self._turns(batch):
            found.update(kernel.workspace(lengths, count))
        found.update({n: a.nbytes for n, a in self._between(lengths, batch).items()})
        return dict(found)

    @property
    def parts(self) -> dict[str, Kernel]:
        """The kernels of the parts: ``there`` (if there is something to do), ``each``, ``back``;
        none if they are not worth their code."""
        with self._lock:
            if self._parts is None:
                name = None if self.entry is None else cache.key(self.entry, "parts")
                self._parts = cache.remember(name, self._made)
            return self._parts

    def _made(self) -> dict[str, Kernel]:
        from .code import in_turn

        return in_turn(self._program.value, self.facts, self.entry)

    def _turns(self, batch: int | None) -> list[tuple[Kernel, int | None]]:
        """The parts in order, and how many sequences each is run for."""
        return [(k, batch if n == "each" else None) for n, k in self.parts.items()]

    def _between(self, lengths: Mapping[str, int], batch: int | None) -> dict[str, Array]:
        """Arrays for what one part hands on to another."""
        shapes: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
        for kernel, count in self._turns(batch):
            shapes |= kernel.shapes(lengths, count)
        return {n: np.empty(*s) for n, s in shapes.items() if n not in self.facts.record.results}

    def _apart(self, lengths: Mapping[str, int], batch: int) -> float:
        """About how many microseconds the parts take."""
        turns = self._turns(batch)
        return sum(k.microseconds(lengths, n) for k, n in turns) + _TURN * len(turns)


__all__ = ["InParts"]
