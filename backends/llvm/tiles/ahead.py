"""What the next step of a loop reads is asked for while this step is computed.

The way back through time reads states that were written long ago, a few lines here and there for
each row. The processor does not see from one step what the next one needs, and would wait for
each of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from unfold.poly import Poly

from ..ir import Value, integer
from ..machine import LINE
from .nodes import View
from .tile import Tile

#: So many bytes that a step reads are still in the second-level cache when their turn comes.
MOST = 128 * 1024
#: Rows of fewer bytes are of small systems, which stay in the cache.
LEAST = 256


def following(tile: Tile, views: Iterable[View], turn: tuple[str, int]) -> dict[View, Value]:
    """How far in components from each view that is one the next step reads, if it is far.

    ``turn`` is the loop's index and direction.
    """
    index, direction = turn
    moved = {index: Poly.symbol(index) + direction}
    read = {(v.storage, v.position, v.offset, v.shape) for v in views}
    found: dict[View, Value] = {}
    for v in views:
        s = tile.storages[v.storage]
        factors = [p.coefficient(index) for p in v.position]
        if v.walked is not None or v.shared or not v.is_dense or s.ring is not None:
            continue
        if v.size * tile.formats.bytes(s.kind) < LEAST or sum(map(abs, factors)) != 1:
            continue
        there = tuple(p.subs(moved) for p in v.position)
        if (v.storage, there, v.offset, v.shape) in read:
            continue
        step = next(n for n, k in zip(s.steps, factors, strict=True) if k)
        found[v] = tile.f.binary("mul nsw", step, integer(direction * sum(factors)))
    if not found:
        return found
    size = sum(v.size * tile.formats.bytes(tile.storages[v.storage].kind) for v in found)
    fits = tile.f.compare("icmp sle", tile.rows, integer(MOST // size))
    return {v: tile.f.select(fits, distance, integer(0)) for v, distance in found.items()}


def ask(
    tile: Tile, bases: Mapping[View, Value], distances: Mapping[View, Value],
    at: Sequence[Value], width: int,
) -> None:  # fmt: skip
    """Ask for ``width`` components from ``at`` on, of views that are so far from known ones."""
    f = tile.f
    for v, distance in distances.items():
        stored = tile.stored(v.storage)
        pointer = f.offset(f.offset(bases[v], stored, distance), stored, at[-1])
        for skip in range(0, width * tile.formats.bytes(tile.storages[v.storage].kind), LINE):
            f.prefetch(f.offset(pointer, "i8", integer(skip)), level=2)


__all__ = ["ask", "following"]
