"""Which checkpoints: how long segments are, and whether to have any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..plan.retime import retime
from ..program import Program
from .cut import cut
from .kernel import Backend, Kernel
from .swept import Swept

Array = NDArray[Any]
#: Where all states take no more bytes than this, they are kept.
FEW = 2**24


def checkpointed(
    program: Program,
    how: int | str,
    compile: Callable[[Program, str], Backend],  # noqa: A002 - what it does
    dtype: str,
) -> Kernel:
    """A kernel that keeps the states at the borders of segments only.

    Args:
        program: any program; the gradient of a model that reads its own past, usually.
        how: the number of steps of a segment, or ``"auto"``.
        compile: makes a backend's kernel of a program that it gives a name.
        dtype: of reals.

    Raises:
        InputError: an equation that prevents it, unless ``how`` is ``"auto"``.
    """
    try:
        made = cut(retime(program))
    except InputError as error:
        if how == "auto":
            return compile(program, "")
        raise InputError(f'{error}\ncheckpoint=None and "auto" keep all of its states') from None
    if how != "auto":
        return Swept(made, compile, int(how), dtype)
    return Either(compile(program, ""), Swept(made, compile, None, dtype))


@dataclass(frozen=True)
class Either:
    """Keeps all states while they are few, or where segments would not save memory."""

    whole: Kernel
    swept: Swept

    def __call__(
        self,
        arrays: dict[str, Array],
        lengths: dict[str, int],
        batch: int | None = None,
        ragged: NDArray[np.int64] | None = None,
    ) -> dict[str, Array]:
        """Compute the outputs; arguments and results are those of a backend's kernel."""
        return self.chosen(lengths, batch, ragged is not None)(arrays, lengths, batch, ragged)

    def chosen(self, lengths: dict[str, int], batch: int | None, ragged: bool) -> Kernel:
        """What serves a call of some size."""
        stored = sum(self.whole.workspace(lengths, batch, ragged).values())
        if stored <= FEW:
            return self.whole
        cut_up = sum(self.swept.workspace(lengths, batch, ragged).values())
        return self.swept if cut_up < stored else self.whole

    def workspace(
        self, lengths: dict[str, int], batch: int | None, ragged: bool = False
    ) -> dict[str, int]:
        """The bytes of each storage that a call needs beside its arguments and results."""
        return self.chosen(lengths, batch, ragged).workspace(lengths, batch, ragged)

    def together(self, batch: int | None) -> int:
        """How many sequences of one length have storages at once, where all states are kept."""
        return self.whole.together(batch)


__all__ = ["Either", "checkpointed"]
