"""Where the elements of variables stand in memory, and how they are read and written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unfold.plan import Buffer

from .components import Components
from .elementwise import Formats, convert
from .ir import Line, Value, integer, vector, width_of
from .vectors import joined, layout

if TYPE_CHECKING:
    from .emitter import Emitter


@dataclass
class Place:
    """A buffer in memory.

    Attributes:
        buffer: what is stored.
        pointer: the address of its first element.
        lows: the first position on each axis.
        strides: for each axis the distance of neighbours, counted in components times lanes.
        lanes: how many sequences stand side by side in each component.
    """

    buffer: Buffer
    pointer: Value
    lows: Sequence[Value]
    strides: Sequence[Value]
    lanes: int


class Memory:
    """The places of all buffers of a function; components of one element are adjacent.

    There are ``lanes`` sequences side by side, or registers hold ``width`` components of one.
    """

    def __init__(
        self, formats: Formats, places: dict[str, Place], lanes: int, width: int = 1
    ) -> None:
        self.formats = formats
        self.places = places
        self.lanes = lanes
        self.width = width
        #: What was read from memory, and all that was written, by name.
        self.loaded: set[str] = set()
        self.stored: dict[str, list[Line]] = {}

    def lanes_of(self, names: Iterable[str]) -> int:
        """The lanes of what is computed from some variables (one for what is none of them)."""
        known = (self.places[n].buffer for n in names if n in self.places)
        return self.lanes if any(not b.shared for b in known) else 1

    def element(self, e: Emitter, name: str, place: Sequence[Value]) -> Value:
        """The address of an element."""
        p = self.places[name]
        f = e.f
        pointer = p.pointer
        stored = self.formats.stored(p.buffer.type.kind)
        for at, lo, stride in zip(place, p.lows, p.strides, strict=True):
            steps = at if lo.name == "0" else f.binary("sub nsw", at, lo)
            pointer = f.offset(pointer, stored, f.binary("mul nsw", steps, stride))
        return pointer

    def load(self, e: Emitter, name: str, place: Sequence[Value]) -> Components:
        """The components of an element, in the formats that are computed with."""
        self.loaded.add(name)
        b, lanes = self.places[name].buffer, self.places[name].lanes
        pointer = self.element(e, name, place)
        stored, align = self.formats.stored(b.type.kind), self.formats.bytes(b.type.kind)
        found = []
        for k, n in layout(b.shape, self.width):
            at = e.f.offset(pointer, stored, integer(k * lanes))
            v = e.f.load(vector(stored, n * lanes), at, align * lanes if lanes > 1 else align)
            found.append(convert(e.f, v, self.formats.of(b.type.kind)))
        return found

    def store(self, e: Emitter, name: str, place: Sequence[Value], values: Components) -> None:
        """Write the components of an element."""
        b, lanes = self.places[name].buffer, self.places[name].lanes
        pointer = self.element(e, name, place)
        stored, align = self.formats.stored(b.type.kind), self.formats.bytes(b.type.kind)
        for (k, _), v in zip(layout(b.shape, self.width), values, strict=True):
            at = e.f.offset(pointer, stored, integer(k * lanes))
            ready = e.f.splat(convert(e.f, v, stored), lanes)
            line = e.f.store(ready, at, align * lanes if lanes > 1 else align)
            self.stored.setdefault(name, []).append(line)

    def load_at(
        self,
        e: Emitter,
        name: str,
        place: Sequence[Value],
        first: Sequence[int],
        index: Value,
        stride: int,
        shape: tuple[int, ...],
    ) -> Components:
        """Components ``k + index * stride`` for each k of ``first``, which are those of an element
        of a shape; the index may have lanes."""
        self.loaded.add(name)
        f, p = e.f, self.places[name]
        kind = p.buffer.type.kind
        stored, align = self.formats.stored(kind), self.formats.bytes(kind)
        pointer = self.element(e, name, place)
        width = max(p.lanes, width_of(index.type))

        def load(k: int, lane: int = 0, count: int = 1) -> Value:
            at = f.binary("mul nsw", f.lane(index, lane), integer(stride * p.lanes))
            skip = k * p.lanes + (lane if p.lanes > 1 else 0)
            here = f.offset(pointer, stored, f.binary("add nsw", at, integer(skip)))
            return f.load(vector(stored, count), here, align)

        found = []
        for start, count in layout(shape, self.width):
            numbers = first[start : start + count]
            if width > 1:
                value = joined(f, [load(numbers[0], lane) for lane in range(width)])
            elif numbers == list(range(numbers[0], numbers[0] + count)):
                value = load(numbers[0], 0, count)
            else:
                value = joined(f, [load(k) for k in numbers])
            found.append(convert(f, value, self.formats.of(kind)))
        return found
