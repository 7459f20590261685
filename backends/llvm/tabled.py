"""Slots whose native code is one for all models, and works through a table: for other slots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unfold import cache

from . import loading
from .block import Record, Storage
from .kernel import Entry, Image
from .machine import host
from .slots import Slot

if TYPE_CHECKING:
    from .facts import Facts

Array = NDArray[Any]
#: The field of a record that holds the address of the table.
_TABLE = "%table"


class Tabled(Slot):
    """A slot that runs other ones.

    Args:
        facts: of the whole.
        code: the name of its code, ``"chain"`` for ``chain.ll``, and the words in it that stand for
            numbers; ``table`` is the number of the field with the table.
        slots: what it runs; what they note is noted in one place from then on.
    """

    def __init__(
        self,
        facts: Facts,
        code: tuple[str, Mapping[str, int]],
        lengths: dict[str, int],
        batch: int | None,
        slots: Sequence[Slot],
    ) -> None:
        base = facts.record
        record = Record(base.lengths, base.inputs, base.params, base.results, (_TABLE,))
        place = record.field("work", _TABLE)
        words = tuple(sorted({**code[1], "table": place}.items()))
        falling = any(s.entry.image.falling for s in slots)
        super().__init__(facts, _entry(record, code[0], words, falling), lengths, batch)
        self.slots = slots
        self.noted = _together(slots)
        self.nbytes += held(slots)
        self._place = place

    def note(self, words: NDArray[np.int64]) -> None:
        """Have what is not found noted there."""
        self.noted = words
        _share(words, self.slots)

    def enter(self, words: Sequence[int]) -> None:
        """Set the table."""
        self._table = np.array(words, np.int64)
        self.fields[self._place] = self._table.ctypes.data


def held(things: Iterable[Slot | Array]) -> int:
    """How many bytes they have."""
    return sum(t.nbytes for t in things)


def _together(slots: Sequence[Slot]) -> NDArray[np.int64] | None:
    """One place for what all slots note, which is where they do so from then on."""
    size = sum(s.noted.size for s in slots if s.noted is not None)
    if not size:
        return None
    words = np.zeros(size, np.int64)
    _share(words, slots)
    return words


def _share(words: NDArray[np.int64], slots: Sequence[Slot]) -> None:
    for s in slots:
        if s.noted is not None:
            own, words = np.split(words, [s.noted.size])
            s.note(own)


@lru_cache(maxsize=64)
def _entry(record: Record, name: str, words: tuple[tuple[str, int], ...], falling: bool) -> Entry:
    def compiled() -> loading.ObjectCode:
        from importlib import resources  # slow to import, and not needed where the code is kept

        from . import jit

        text = resources.files(__package__).joinpath(f"{name}.ll").read_text(encoding="utf-8")
        for word, number in words:
            text = text.replace(f"@{word}@", str(number))
        return jit.object_code(text, optimise=True)

    code = cache.remember(cache.key(name, words, host()), compiled)
    return Entry(Image(record, (Storage(0),), falling, code))


__all__ = ["Tabled", "held"]
