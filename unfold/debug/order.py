"""Which of several elements is computed first.

The order is that of the program's loops (`unfold.schedule`): loops one after the other as they
depend on each other, in a loop the steps in its direction, in a step the equations as they depend
on each other, in an equation the indices that are left, upward. What an element is made of comes
before it. That does not say which of two independent loops comes first; the order in which
equations stand in the text decides then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..poly import Poly
from ..program import Program
from ..schedule import Node, Scan, schedule
from .elements import Index, vectorised

#: A place in the order: compared from left to right.
Key: TypeAlias = "tuple[int, ...]"


@dataclass(frozen=True)
class Order:
    """For each equation the entries of its elements' keys, affine in the equation's indices."""

    program: Program
    entries: tuple[tuple[Poly, ...], ...]

    def sorted(
        self, number: int, points: NDArray[np.int64], lengths: Mapping[str, int]
    ) -> Iterator[tuple[Key, int, Index]]:
        """Points of one equation, of shape (points, indices), the first one first: their keys, the
        number of the equation, and the points themselves."""
        eq = self.program.equations[number]
        values: dict[str, Any] = dict(lengths)
        values |= {i: points[:, k] for k, i in enumerate(eq.indices)}
        columns = [
            np.broadcast_to(vectorised(p, values), len(points)) for p in self.entries[number]
        ]
        for row in np.lexsort(columns[::-1]):
            key = tuple(int(c[row]) for c in columns)
            yield key, number, tuple(map(int, points[row]))


def order(program: Program) -> Order:
    """The order in which a program's elements are computed."""
    entries: dict[int, tuple[Poly, ...]] = {}

    def visit(nodes: Sequence[Node], before: Mapping[int, tuple[Poly, ...]]) -> None:
        for place, node in enumerate(nodes):
            at = Poly.const(place)
            if isinstance(node, Scan):
                times = {n: p * node.direction for n, p in node.times.items()}
                inner = {n: (*before.get(n, ()), at, time) for n, time in times.items()}
                visit(node.body, inner)
            else:
                rest = (Poly.symbol(i) for i in node.parallel)
                entries[node.piece] = (*before.get(node.piece, ()), at, *rest)

    visit(schedule(program).nodes, {})
    return Order(program, tuple(entries[n] for n in range(len(program.equations))))


__all__ = ["Key", "Order", "order"]
