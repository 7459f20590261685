"""What a backend makes of a program."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Series(Protocol):
    """Calls that follow each other, in a ``with`` statement."""

    def __enter__(self) -> Series: ...

    def __exit__(self, *_: object) -> None: ...

    def __call__(
        self,
        arrays: Mapping[str, Array],
        lengths: Mapping[str, int],
        batch: int | None,
        into: Mapping[str, Array],
    ) -> dict[str, Array]:
        """Compute the outputs of arrays by name; ``into`` holds arrays of the right shapes that
        some may be written to."""
        ...


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


class Backend(Kernel, Protocol):
    """What a backend makes of a program, which has series of calls as well."""

    def series(self, changing: Collection[str]) -> Series:
        """A context for calls that differ in inputs, and in the lengths and parameters
        ``changing``; the arrays of all other parameters stay as they are."""
        ...


__all__ = ["Backend", "Kernel", "Series"]
