"""Random draws that depend on the seed, the name and the sequence alone.

The draws of a model (`random e[t]: real[H] ~ normal`) are made before it runs, by Philox, a
counter-based generator (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2,
3", SC 2011): its key is the seed and the variable's name, its counter starts at the number of the
sequence. So they are the same on every backend, in any number of threads, and however a batch is
divided; and a longer sequence begins with the draws of a shorter one.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

Array = NDArray[Any]
KINDS = ("normal", "uniform")


def generator(seed: int, name: str, sequence: int = 0) -> np.random.Generator:
    """The generator of one variable's draws in one sequence."""
    digest = hashlib.sha256(name.encode()).digest()
    key = (whole_seed(seed) & (2**64 - 1)) | (int.from_bytes(digest[:8], "little") << 64)
    # The lowest counter words run along the sequence; the highest one is the sequence's number.
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, int(sequence)]))


def whole_seed(seed: int) -> int:
    """The seed as an integer.

    Raises:
        InputError: it is no whole number from 0 on.
    """
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if number < 0:
        raise InputError(f"a seed is a whole number from 0 on, not {seed!r}: give `seed=0`, say")
    return number


def draw(
    kind: str,
    seed: int,
    name: str,
    shape: Sequence[int],
    batch: int | None = None,
    first: int = 0,
) -> Array:
    """Draws in float64, of ``shape``, or of ``(batch, *shape)``.

    Args:
        kind: ``normal`` (mean 0, variance 1) or ``uniform`` (on the interval from 0 to 1).
        first: the number of the batch's first sequence.
    """
    if batch is None:
        return draws_of(kind, generator(seed, name, first), tuple(shape))
    result = np.empty((batch, *shape))
    for b in range(batch):
        result[b] = draws_of(kind, generator(seed, name, first + b), tuple(shape))
    return result


def draws_of(kind: str, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """The next draws of a generator."""
    if kind == "normal":
        return rng.standard_normal(shape)
    # Half-open from below: log(u) of a draw is finite.
    return 1.0 - rng.random(shape)


__all__ = ["KINDS", "draw", "draws_of", "generator", "whole_seed"]
