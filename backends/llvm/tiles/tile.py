"""A tile in memory while code for it is written: rows, addresses, positions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ..elementwise import Formats
from ..indexing import Indexer
from ..ir import Function, Value, integer
from .nodes import View


@dataclass(frozen=True)
class Storage:
    """Where the elements of a buffer or temporary stand.

    Attributes:
        pointer: the address of the first component.
        kind: real, int or bool.
        lows: the first position on each axis.
        steps: for each axis the distance of neighbours, in components.
        row: the distance of rows, in components; 0 if there is only one.
        fixed: whether a stretch of several steps always starts at its first row (temporaries).
        ring: where elements are kept in turn, in a power of two of places, one less than that.
    """

    pointer: Value
    kind: str
    lows: Sequence[Value]
    steps: Sequence[Value]
    row: int
    fixed: bool
    ring: Value | None = None


class Tile(Indexer):
    """The indexer of a function that works on tiles.

    Attributes:
        storages: by name.
        rows: how many rows the tile has.
        first: the row at which the current portion of a stretch starts.
        row: the row of the batch that views stand in whose rows are counted along an axis.
    """

    def __init__(
        self,
        f: Function,
        formats: Formats,
        env: dict[str, Value],
        storages: Mapping[str, Storage],
        rows: Value,
    ) -> None:
        super().__init__(f, formats, env)
        self.storages = storages
        self.rows = rows
        self.first = integer(0)
        self.row = integer(0)

    def stored(self, name: str) -> str:
        """The type of a component in memory."""
        return self.formats.stored(self.storages[name].kind)

    def row_step(self, v: View) -> int:
        """The distance of rows, in components; of views whose rows are neighbours in memory."""
        assert v.walked is None
        return 0 if v.shared else self.storages[v.storage].row

    def row_distance(self, v: View) -> Value:
        """The same also for views whose distance of rows is known at run time only."""
        if v.shared or v.walked is None:
            return integer(self.row_step(v))
        return self.storages[v.storage].steps[v.walked]

    def base(self, v: View) -> Value:
        """The address of the first component in the tile's first row."""
        key = (v.storage, v.position, v.offset, v.shared)
        found = self.known(key)
        if found is not None:
            return found
        s, stored = self.storages[v.storage], self.stored(v.storage)
        pointer = s.pointer
        for p, lo, step in zip(v.position, s.lows, s.steps, strict=True):
            at = self.position(p)
            if s.ring is not None:
                if s.ring.name == "0":
                    break
                steps = self.f.binary("and", at, s.ring)
            else:
                steps = at if lo.name == "0" else self.f.binary("sub nsw", at, lo)
            pointer = self.f.offset(pointer, stored, self.f.binary("mul nsw", steps, step))
        if v.walked is not None and s.row and self.row.name != "0":
            skip = self.f.binary("mul nsw", self.row, integer(s.row))
            pointer = self.f.offset(pointer, stored, skip)
        distance = self.row_distance(v)
        if distance.name != "0" and not s.fixed and self.first.name != "0":
            skip = self.f.binary("mul nsw", self.first, distance)
            pointer = self.f.offset(pointer, stored, skip)
        pointer = self.f.offset(pointer, stored, integer(v.offset))
        return self.remember(key, pointer)

    def row_base(self, v: View, row: Value) -> Value:
        """The address of the first component in a row."""
        pointer, step, stored = self.base(v), self.row_distance(v), self.stored(v.storage)
        if step.name != "0":
            pointer = self.f.offset(pointer, stored, self.f.binary("mul nsw", row, step))
        if v.pick is not None:
            chosen, stride = v.pick
            at = self.f.load("i64", self.row_base(chosen, row), 8)
            pointer = self.f.offset(pointer, stored, self.f.binary("mul nsw", at, integer(stride)))
        return pointer

    @contextmanager
    def steps_of(self, row: Value, steps: Value) -> Iterator[None]:
        """The steps of one row as the rows of a tile, for views that are walked along."""
        outer = self.row
        self.row = row
        with self.portion(integer(0), steps):
            yield
        self.row = outer

    @contextmanager
    def portion(self, first: Value, rows: Value) -> Iterator[None]:
        """Some rows of a longer tile."""
        outer = self.first, self.rows
        self.first, self.rows = first, rows
        with self.scope():
            yield
        self.first, self.rows = outer
