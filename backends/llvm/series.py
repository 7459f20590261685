"""Calls that follow each other, each with other inputs: what parameters need is prepared once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .kernel import Kernel
    from .slots import Slot

Array = NDArray[Any]


class Series:
    """Calls of one kernel; made by `Kernel.series`.

    The weights that a loop multiplies by are brought into panels at the first of several calls of
    one size. The storages are the series' own until a call of another size or its end; it serves
    one thread.
    """

    def __init__(self, kernel: Kernel, changing: Collection[str]) -> None:
        self.kernel = kernel
        self.changing = changing
        self._size: tuple[Any, ...] = ()
        self._slot: Slot | None = None
        #: Whether what is prepared in the storages stays right.
        self._stays = False

    def __enter__(self) -> Series:
        return self

    def __exit__(self, *_: object) -> None:
        if self._slot is not None:
            self.kernel.give(self._slot, self._size)
        self._slot, self._stays = None, False

    def __call__(
        self,
        arrays: Mapping[str, Array],
        lengths: Mapping[str, int],
        batch: int | None,
        into: Mapping[str, Array],
    ) -> dict[str, Array]:
        """Compute the outputs, as a call of the kernel does; some are written to ``into``."""
        size = self.kernel.size(lengths, batch)
        if self._slot is None or size != self._size:
            self.__exit__()
            slot = self._slot = self.kernel.take(lengths, batch)
            self._size = size
        else:
            slot = self._slot
            self.kernel.place(slot, lengths)
        entry = slot.entry
        results = [
            into[n] if n in into else np.empty(shape, kind)
            for n, (shape, kind) in zip(entry.names, slot.shapes, strict=True)
        ]
        given = [arrays[n] for n in entry.given]
        if self._stays:
            slot.again(given, results)
        else:
            slot.run(given, results)
            prepared = entry.image.prepared
            self._stays = prepared is not None and prepared.isdisjoint(self.changing)
        return dict(zip(entry.names, results, strict=True))


__all__ = ["Series"]
