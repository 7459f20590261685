"""What a backend makes of a program."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Kernel(Protocol):
    """A program ready to be called."""

    def __call__(
        self,
        arrays: dict[str, Array],
        lengths: dict[str, int],
        batch: int | None,
        ragged: NDArray[np.int64] | None,
    ) -> dict[str, Array]:
        """Compute the outputs of arrays by name, for given lengths.

        ``batch`` is the number of sequences, ``None`` for one without a batch axis; ``ragged``
        holds each sequence's own T.
        """
        ...

    def workspace(
        self, lengths: dict[str, int], batch: int | None, ragged: bool = False
    ) -> dict[str, int]:
        """The bytes of each storage that a call needs beside its arguments and results."""
        ...

    def together(self, batch: int | None) -> int:
        """How many sequences of one length have storages at once, in one thread; the next ones
        take their places."""
        ...


__all__ = ["Kernel"]
