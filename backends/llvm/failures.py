"""Elements that were not found: native code notes them, the caller raises the error.

Every sequence has three words in the workspace: a key, the last residual and the number of steps.
The key says which element it is, so that the smallest one is the failure to report: first those
that are no consequence of another one (what is not a number from the first step on was given
something that was none), then the variables in the order of the program, then their elements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfold.errors import SolverError
from unfold.named import Named
from unfold.poly import Poly

#: The name of the words in the record of a call.
FIELD = "%failures"
#: The key of a sequence without a failure.
NONE = 2**63 - 1
#: How many words a sequence has.
WORDS = 3
#: The bits of a key from which on it tells the variable, and whether this is a consequence.
VARIABLE, LATE = 40, 62

Words = NDArray[np.int64]


class Solved(Named):
    """A variable whose elements are searched for.

    Attributes:
        number: in the order of the program's variables.
        axes: its positions ``lo..hi`` along each axis.
        method, tolerance: as `SolverError` tells them.
    """

    name: str
    number: int
    axes: tuple[tuple[Poly, Poly], ...]
    method: str
    tolerance: float


def words(rows: int) -> int:
    """How many bytes the failures of so many sequences take."""
    return 8 * WORDS * rows


def clear(noted: Words) -> None:
    """Forget what a call before this one has noted."""
    noted[::WORDS] = NONE


def raise_first(
    noted: Words,
    solved: Sequence[Solved],
    lengths: Mapping[str, int],
    batch: int | None,
    ragged: Any,
    first: int = 0,
) -> None:
    """Raise `SolverError` about the first sequence that has a failure, if there is one.

    ``first`` is the number of the first of these sequences in the whole batch.
    """
    rows = noted.reshape(-1, WORDS)[: 1 if batch is None else batch]
    failed = np.flatnonzero(rows[:, 0] != NONE)
    if not failed.size:
        return
    row = int(failed[0])
    key, residual, steps = rows[row]
    variable = (int(key) >> VARIABLE) & ((1 << (LATE - VARIABLE)) - 1)
    number = int(key) & ((1 << VARIABLE) - 1)
    it = next(s for s in solved if s.number == variable)
    own = dict(lengths) if ragged is None else {**lengths, "T": int(ragged[row])}
    index: list[int] = []
    for lo, hi in reversed(it.axes):
        extent = (hi - lo + 1).evaluate(lengths)
        index.insert(0, lo.evaluate(own) + number % extent)
        number //= extent
    raise SolverError(
        it.name, tuple(index), None if batch is None else first + row,
        float(np.int64(residual).view(np.float64)), int(steps), it.method, it.tolerance,
    )  # fmt: skip


__all__ = ["FIELD", "LATE", "NONE", "Solved", "VARIABLE", "WORDS", "clear", "raise_first", "words"]
