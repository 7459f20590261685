"""The elements of one sequence: where each stands in its array, and which piece defines it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..expr import Expr, reads
from ..poly import Poly
from ..program import Equation, Program, Var

Array = NDArray[Any]
Index = tuple[int, ...]
#: Of a reduction, no more points than this are looked at when reads are listed.
_POINTS = 1 << 14


@dataclass(frozen=True)
class Lengths:
    """A program at known lengths: the ranges of its variables and the points of its pieces."""

    program: Program
    values: Mapping[str, int]

    @cached_property
    def origins(self) -> dict[str, Index]:
        """The positions of each variable's first stored element."""
        return {
            v.name: tuple(a.lo.evaluate(self.values) for a in v.axes)
            for v in self.program.vars.values()
        }

    def extents(self, v: Var) -> Index:
        """How many elements are stored along each axis."""
        return tuple(max((a.hi - a.lo + 1).evaluate(self.values), 0) for a in v.axes)

    @cached_property
    def pieces(self) -> dict[str, list[int]]:
        """The numbers of the equations that define each variable."""
        found: dict[str, list[int]] = {}
        for number, eq in enumerate(self.program.equations):
            found.setdefault(eq.name, []).append(number)
        return found

    @cached_property
    def masks(self) -> list[NDArray[np.bool_]]:
        """Of each equation, which stored elements it defines."""
        return [self._mask(eq) for eq in self.program.equations]

    @cached_property
    def defined(self) -> dict[str, NDArray[np.bool_] | None]:
        """Of each variable, which stored elements are defined; ``None`` where all are."""
        found: dict[str, NDArray[np.bool_] | None] = {}
        for name, numbers in self.pieces.items():
            whole = np.logical_or.reduce([self.masks[n] for n in numbers])
            found[name] = None if whole.all() else whole
        return found

    def _mask(self, eq: Equation) -> NDArray[np.bool_]:
        v = self.program.vars[eq.name]
        shape = self.extents(v)
        values: dict[str, Any] = dict(self.values)
        for k, index in enumerate(eq.indices):
            at = np.arange(shape[k]) + self.origins[eq.name][k]
            values[index] = at.reshape([-1 if j == k else 1 for j in range(len(shape))])
        mask = np.ones(shape, np.bool_)
        for p in eq.domain.constraints:
            mask &= vectorised(p, values) >= 0
        return mask

    def piece(self, name: str, index: Index) -> Equation | None:
        """The equation that defines an element."""
        for number in self.pieces.get(name, ()):
            eq = self.program.equations[number]
            if eq.domain.contains({**self.values, **dict(zip(eq.indices, index, strict=True))}):
                return eq
        return None


def vectorised(p: Poly, values: Mapping[str, Any]) -> Any:
    """A polynomial at many points: ``values`` are numbers or arrays that broadcast."""
    total: Any = 0
    for mono, coefficient in p.terms:
        term: Any = coefficient
        for symbol in mono:
            term = term * values[symbol]
        total = total + term
    return total


class Values(Mapping[Any, Array]):
    """The values of one sequence; ``values["h", (3,)]`` is an element, ``values["W"]`` a parameter
    (what `unfold.backends.numpy.evaluate` reads from)."""

    def __init__(self, lengths: Lengths, arrays: Mapping[str, Array]) -> None:
        self.lengths = lengths
        self.arrays = arrays

    def __getitem__(self, key: Any) -> Array:
        name, index = key if isinstance(key, tuple) else (key, ())
        origin = self.lengths.origins[name]
        at = tuple(i - o for i, o in zip(index, origin, strict=True))
        if any(i < 0 for i in at):
            raise KeyError(key)
        return np.asarray(self.arrays[name][at])

    def __iter__(self) -> Iterator[Any]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def reads(self, e: Expr, at: Mapping[str, int], bound: bool = True) -> list[tuple[str, Index]]:
        """The elements that an expression reads at a point, each once; those that a reduction
        binds an index of only if ``bound``."""
        found: dict[tuple[str, Index], None] = {}
        for read in reads(e):
            if read.bound and not bound:
                continue
            if read.bound:
                points = islice(read.domain.points(read.bound, dict(at)), _POINTS)
                inner = [{**at, **dict(zip(read.bound, p, strict=True))} for p in points]
            else:
                inner = [dict(at)] if read.domain.contains(at) else []
            for values in inner:
                found[read.ref.name, tuple(p.evaluate(values) for p in read.ref.index)] = None
        return list(found)


__all__ = ["Index", "Lengths", "Values", "vectorised"]
