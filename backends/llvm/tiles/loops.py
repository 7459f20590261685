"""Loops over the rows and the components of a tile."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir import Value, integer, vector
from .nodes import View
from .tile import Tile


class Loops:
    """Writes loops in one function.

    Args:
        tile: the tile, in the function that receives the code.
        lanes: how many reals fill a vector register.
        masks: whether the machine reads and writes some lanes of a vector as fast as all.
        twice: whether components may be computed and written twice, to the same values.
    """

    def __init__(self, tile: Tile, lanes: int, masks: bool = False, twice: bool = False) -> None:
        self.tile = tile
        self.f = tile.f
        self.lanes = lanes
        self.masks = masks
        self.twice = twice

    def last(self, count: Value) -> Value:
        """The number of the last of so many."""
        return self.f.binary("sub", count, integer(1))

    def first_lanes(self, count: Value) -> Value:
        """A truth value for each lane of a vector: whether it is one of the first so many."""
        wide = vector("i64", self.lanes)
        numbers = ", ".join(f"i64 {k}" for k in range(self.lanes))
        return self.f.compare(
            "icmp slt", Value(wide, f"<{numbers}>"), self.f.splat(count, self.lanes)
        )

    def over_rows(self, view: View, body: Callable[[Value], None]) -> None:
        """Once for each row of the tile, or once for what the rows share."""
        if view.shared:
            body(integer(0))
            return
        loop = self.f.loop(integer(0), self.last(self.tile.rows), 1)
        with self.tile.scope():
            body(loop.index)
        loop.close()

    def over_components(
        self, shape: Sequence[int], lane_axis: int | None,
        body: Callable[[list[Value], int], None], paired: bool = False, most: int | None = None,
    ) -> None:  # fmt: skip
        """``body(coordinates, width)`` for all components.

        Along the vector axis (the last one, or ``None``) it goes in steps of a register (of two
        if ``paired`` and they fit, of ``most`` lanes if that is given), then of its parts.
        """
        assert lane_axis in (None, len(shape) - 1)

        def nest(axis: int, at: list[Value]) -> None:
            if axis == len(shape):
                body(at, 1)
            elif axis == lane_axis:
                widest = paired_lanes(shape[axis], self.lanes) if paired else most or self.lanes
                for start, count, width in pieces(shape[axis], widest, self.twice and not most):
                    self.steps(start, count, width, lambda i, w: body([*at, i], w))
            else:
                self.steps(0, shape[axis], 1, lambda i, _: nest(axis + 1, [*at, i]))

        nest(0, [])

    def steps(self, start: int, count: int, width: int, body: Callable[[Value, int], None]) -> None:
        """``count`` times at ``start``, ``start + width``, …; without a loop when it is once."""
        if count == 1:
            body(integer(start), width)
            return
        loop = self.f.loop(integer(0), integer(count - 1), 1)
        with self.tile.scope():
            at = loop.index
            if width != 1:
                at = self.f.binary("mul nsw", at, integer(width))
            if start:
                at = self.f.binary("add nsw", at, integer(start))
            body(at, width)
        loop.close()


def paired_lanes(size: int, lanes: int) -> int:
    """The lanes of two registers where less than one remains of a row, of one elsewhere.

    What stands side by side is computed by turns: one pair waits for a division while the other
    goes on.
    """
    return 2 * lanes if size >= 2 * lanes and size % (2 * lanes) < lanes else lanes


def blocks(size: int, lanes: int) -> list[tuple[int, int]]:
    """A range of components in vectors, one by one: (start, width)."""
    return [
        (start + k * width, width)
        for start, count, width in pieces(size, lanes)
        for k in range(count)
    ]


def pieces(size: int, lanes: int, twice: bool = False) -> list[tuple[int, int, int]]:
    """A range of components in vectors: (start, how many, width) with falling widths.

    With ``twice`` the last vector is a whole one, over some components for a second time, where
    that takes the place of several parts.
    """
    found: list[tuple[int, int, int]] = []
    start, width = 0, lanes
    while start < size:
        rest = size - start
        if twice and rest < lanes < size and rest & (rest - 1):
            return [*found, (size - lanes, 1, lanes)]
        count = rest // width
        if count:
            found.append((start, count, width))
            start += count * width
        width //= 2
    return found
