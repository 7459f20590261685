"""How many integer points a domain has for concrete lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..domain import Domain
from ..poly import Poly

Ints = NDArray[np.int64]

#: How many points of all indices but the last are looked at at once.
_CHUNK = 1 << 22


def count(domain: Domain, indices: Sequence[str], lengths: Mapping[str, int]) -> int:
    """The number of values of ``indices`` for which every constraint holds.

    Indices that no constraint links are counted apart and multiplied. Of linked ones all but the
    last are enumerated, so a triangle over T steps costs O(T).

    Args:
        domain: bounds every index on both sides.
        indices: the names counted over.
        lengths: a value for every other symbol of the domain.
    """
    if domain.is_empty():
        return 0
    total = 1
    for group in _linked(domain, indices):
        own = Domain(tuple(p for p in domain.constraints if p.symbols & set(group)))
        total *= _count(own, group, dict(lengths))
    free = (p for p in domain.constraints if not p.symbols & set(indices))
    return total if all(p.evaluate(lengths) >= 0 for p in free) else 0


def _linked(domain: Domain, indices: Sequence[str]) -> list[tuple[str, ...]]:
    """The indices in groups that share constraints."""
    groups: list[set[str]] = [{i} for i in indices]
    for p in domain.constraints:
        touched = [g for g in groups if g & p.symbols]
        if len(touched) > 1:
            groups = [g for g in groups if g not in touched] + [set().union(*touched)]
    return [tuple(i for i in indices if i in g) for g in groups]


def _count(domain: Domain, indices: tuple[str, ...], values: dict[str, int]) -> int:
    *outer, last = indices
    points: dict[str, Ints] = {}
    size = 1
    for n, index in enumerate(outer):
        shadow = domain.project_out(indices[n + 1 :])
        lo, hi = _ends(shadow, index, values, points, size)
        extents = np.maximum(hi - lo + 1, 0)
        new = int(extents.sum())
        if n == 0 and new * _typical(domain, outer[1:], values) > _CHUNK:
            return sum(_count(domain, indices[1:], {**values, index: i})
                       for i in range(int(lo[0]), int(hi[0]) + 1))  # fmt: skip
        starts = np.repeat(lo - np.concatenate(([0], np.cumsum(extents)[:-1])), extents)
        points = {name: np.repeat(a, extents) for name, a in points.items()}
        points[index] = starts + np.arange(new)
        size = new
    lo, hi = _ends(domain, last, values, points, size)
    return int(np.maximum(hi - lo + 1, 0).sum())


def _typical(domain: Domain, indices: Sequence[str], values: dict[str, int]) -> int:
    """An upper bound of the number of points of ``indices``, each taken by itself."""
    total = 1
    for i in indices:
        others = domain.symbols - {i} - set(values)
        total *= max(len(domain.project_out(others).extent(i, values)), 1)
    return total


def _ends(
    domain: Domain, index: str, values: Mapping[str, int], points: Mapping[str, Ints], size: int
) -> tuple[Ints, Ints]:
    """The least and greatest value of ``index`` at each of ``size`` points of the others."""
    lows, highs = domain.bounds(index)

    def at(p: Poly) -> Ints:
        total = np.full(size, 0, dtype=np.int64)
        for mono, coef in p.terms:
            term: Ints | int = coef
            for symbol in mono:
                term = term * points[symbol] if symbol in points else term * values[symbol]
            total = total + term
        return total

    return np.max([at(p) for p in lows], axis=0), np.min([at(p) for p in highs], axis=0)
