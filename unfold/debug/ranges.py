"""The values of every variable in a few numbers: a report on a run's health."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .report import Range

Array = NDArray[Any]


class Ranges:
    """Ranges that grow with every portion of a batch that is looked at."""

    def __init__(self) -> None:
        self._found: dict[str, Range] = {}

    def add(
        self,
        phase: str,
        arrays: Mapping[str, Array],
        defined: Mapping[str, NDArray[np.bool_] | None],
        names: Collection[str],
        batched: bool,
    ) -> None:
        """Take in the arrays of a portion; of those with undefined elements only the others."""
        for name in names:
            array = arrays[name]
            if array.dtype.kind != "f":
                continue
            mask = defined.get(name)
            if mask is not None:
                array = array[:, mask] if batched else array[mask]
            if array.size:
                self._merge(_range(name, phase, array))

    def _merge(self, r: Range) -> None:
        old = self._found.get(r.name)
        if old is not None:
            small = [s for s in (old.smallest, r.smallest) if s is not None]
            r = Range(
                r.name, r.phase, float(np.fmin(old.low, r.low)), float(np.fmax(old.high, r.high)),
                min(small, default=None), max(old.largest, r.largest),
                old.infinite + r.infinite, old.nan + r.nan,
            )  # fmt: skip
        self._found[r.name] = r

    def all(self) -> tuple[Range, ...]:
        """What was taken in, in order."""
        return tuple(self._found.values())


def _range(name: str, phase: str, array: Array) -> Range:
    low, high = float(np.min(array)), float(np.max(array))
    infinite = nan = 0
    if not (np.isfinite(low) and np.isfinite(high)):
        nan = int(np.count_nonzero(np.isnan(array)))
        infinite = int(np.count_nonzero(np.isinf(array)))
        array = array[np.isfinite(array)]
        low = float(np.min(array)) if array.size else float("nan")
        high = float(np.max(array)) if array.size else float("nan")
    size = np.abs(array)
    smallest = float(np.min(size, initial=np.inf, where=size > 0))
    return Range(
        name, phase, low, high, smallest if np.isfinite(smallest) else None,
        float(np.max(size, initial=0)), infinite, nan,
    )  # fmt: skip


__all__ = ["Ranges"]
