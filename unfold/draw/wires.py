"""Which lanes lines run in: like the wires of a circuit, they never cross a box.

Between two columns is a *gap* (gap k is at the left of column k) with upright lanes, and above
every row a *channel* with level ones. What goes from one box to several others shares its lanes
with them. A lane holds several lines only where they do not meet.

Everything here is in ranks of rows and numbers of columns; `layout` turns them into points.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from .picture import Box, Line, Picture, Row

K = TypeVar("K", bound=Hashable)

#: (start of the line, kind, label, lit, gap, stage): lines with the same key share a lane.
Bus = tuple[str, str, str, bool, int, int]
#: (start of the line and its direction, or its free end; kind; lit; whether above the row).
Level = tuple[str, str, bool, bool]
#: (whether the line leaves here, its lane or, if it has none, the box at its other end).
Port = tuple[bool, Bus | str]
PLAIN, LABELLED = 4.0, 10.0  # points between lines at the side of a box


@dataclass(frozen=True)
class Wire:
    """The way of one line.

    ``shape`` is ``direct`` (straight, to the next row or column), ``beside`` (by one gap), ``over``
    (by a gap, the channel of a row, another gap), ``rise`` or ``fall`` (between a column and a free
    box), or ``loose`` (anything else: a curve).

    ``buses`` are the lanes in gaps, ``level`` the one in the channel of row ``channel``. ``leave``
    and ``enter`` are the sides of the boxes: -1 left, 1 right, 0 above or below.
    """

    shape: str
    leave: int = 0
    enter: int = 0
    buses: tuple[Bus, ...] = ()
    level: Level | None = None
    channel: Row | None = None


@dataclass(frozen=True)
class Wiring:
    """The wires of all lines that do not touch the margin, and the numbers of their lanes.

    ``upright[bus]`` is the lane in its gap, ``lanes[gap]`` how many that has; ``level`` and
    ``channels`` the same for the rows. ``ports[box, side]`` are the places where lines
    touch a side of a box, from above, and how far above the box (in ranks) they lead.
    """

    wires: Mapping[Line, Wire]
    upright: Mapping[Bus, int]
    lanes: Mapping[int, int]
    level: Mapping[Level, int]
    channels: Mapping[Row, tuple[int, int]]
    ports: Mapping[tuple[str, int], tuple[tuple[Port, float], ...]]
    labelled: bool

    def middle(self, box: str, side: int) -> float:
        """The room above the middle that the label of a line takes which leaves there."""
        leaving = [p for p, toward in self.ports[box, side] if toward == 0 and p[0]]
        return LABELLED if self.labelled and leaving else 0.0

    def height(self, box: str, least: float) -> float:
        """How high a box has to be for all the lines at its sides, and the labels of those that
        leave: a label stands above its line, in the upper half, or below it."""
        most = least
        for side in (-1, 1):
            ports = self.ports.get((box, side), ())
            for half in (1, -1):
                room = sum(spacing(port) for port, toward in ports if toward * half > 0)
                if half == 1 and ports:
                    room += self.middle(box, side)
                most = max(most, 2 * room + PLAIN)
        return min(most, 3 * least)


def spacing(port: Port) -> float:
    """How much room a line takes at the side of a box, with its label if it has one there."""
    leaves, lane = port
    return LABELLED if leaves and not isinstance(lane, str) and lane[2] else PLAIN


def wiring(picture: Picture, rank: Mapping[Row, int]) -> Wiring:
    """Choose a way for every line that does not touch the margin."""
    return _Wirer(picture, rank).wiring()


class _Wirer:
    def __init__(self, picture: Picture, rank: Mapping[Row, int]) -> None:
        self.picture = picture
        self.rank = rank
        self.rows = {k: row for row, k in rank.items()}
        self.spans: dict[Bus, tuple[float, float]] = {}
        self.extents: dict[Level, tuple[float, float]] = {}
        self.row_of: dict[Level, tuple[Row, bool]] = {}
        self.ports: dict[tuple[str, int], dict[Port, list[float]]] = defaultdict(dict)
        self.direct: set[tuple[str, str]] = set()

    def wiring(self) -> Wiring:
        wires = {}
        for line in self.picture.lines:
            start, end = self.picture.boxes[line.start], self.picture.boxes[line.end]
            if not start.margin and not end.margin:
                wires[line] = self.wire(line, start, end)
        upright, lanes = self.lanes()
        level: dict[Level, int] = {}
        channels: dict[Row, tuple[int, int]] = {}
        by_row: dict[tuple[Row, bool], dict[Level, tuple[float, float]]] = defaultdict(dict)
        for key, extent in self.extents.items():
            by_row[self.row_of[key]][key] = extent
        for (row, above), extents in by_row.items():
            found_levels, count = _packed(extents)
            level |= found_levels
            over, under = channels.get(row, (0, 0))
            channels[row] = (count, under) if above else (over, count)
        ports = {
            side: tuple(sorted(((k, sum(v) / len(v)) for k, v in at.items()), key=lambda p: -p[1]))
            for side, at in self.ports.items()
        }
        rolled = self.picture.view == "rolled"
        return Wiring(wires, upright, lanes, level, channels, ports, rolled)

    def lanes(self) -> tuple[dict[Bus, int], dict[int, int]]:
        """Lanes of every gap from left to right: what stays at the column at the left nearest to
        that, then what goes from column to column, then what stays at the one at the right."""
        zones: dict[tuple[int, int], dict[Bus, tuple[float, float]]] = defaultdict(dict)
        for bus, extent in self.spans.items():
            zone = {1: 0, -1: 2}.get(bus[5], 1)
            zones[bus[4], zone][bus] = extent
        upright: dict[Bus, int] = {}
        lanes: dict[int, int] = {}
        for (gap, zone), spans in sorted(zones.items()):
            found, count = _packed(spans)
            before = lanes.get(gap, 0)
            for bus, k in found.items():
                upright[bus] = before + (count - 1 - k if zone == 2 else k)
            lanes[gap] = before + count
        return upright, lanes

    def wire(self, line: Line, start: Box, end: Box) -> Wire:
        if start.column is None or end.column is None:
            return self.free(line, start, end)
        a, b = self.rank[start.row], self.rank[end.row]
        step = end.column - start.column
        turned = self.picture.view == "rolled" and step == 0 and bool(line.label)
        if step == 0 and b == a + 1 and not turned:
            return Wire("direct")
        if abs(step) == 1 and a == b and (line.start, line.end) not in self.direct:
            self.direct.add((line.start, line.end))
            side = 1 if step > 0 else -1
            self.touch(start, side, (True, line.end), a)
            self.touch(end, -side, (False, line.start), a)
            return Wire("direct", side, -side)
        if abs(step) > 1:
            return self.over(line, start, end, 1 if step > 0 else -1)
        if step == 0:
            # What another step hands on turns back at the side to which time runs.
            right = line.turn >= 0 if turned else line.kind in ("adjoint", "recall", "absent")
            leave = enter = 1 if right else -1
        else:
            leave, enter = (1, -1) if step > 0 else (-1, 1)
        gap = start.column + (leave > 0)
        bus = (line.start, line.kind, line.label, line.lit, gap, leave if step == 0 else 2 * leave)
        self.grow(bus, a, b)
        self.touch(start, leave, (True, bus), b if a != b else a + 0.1)
        self.touch(end, enter, (False, bus), a if a != b else a - 0.1)
        return Wire("beside", leave, enter, (bus,))

    def over(self, line: Line, start: Box, end: Box, way: int) -> Wire:
        """Over the row of the start to a column that is farther away."""
        assert start.column is not None
        assert end.column is not None
        a, b = self.rank[start.row], self.rank[end.row]
        out = start.column + (way > 0)
        near = end.column + (way < 0)
        first = (line.start, line.kind, line.label, line.lit, out, 3 * way)
        last = (line.start, line.kind, line.label, line.lit, near, 4 * way)
        key = (f"{line.start}{'>' if way > 0 else '<'}", line.kind, line.lit, True)
        self.grow(first, a, a + 0.5)
        self.grow(last, a + 0.5, b)
        self.stretch(key, start.row, True, out - 0.5, near - 0.5)
        self.touch(start, way, (True, first), a + 0.5)
        self.touch(end, -way, (False, last), a + 0.5)
        return Wire("over", way, -way, (first, last), key, start.row)

    def free(self, line: Line, start: Box, end: Box) -> Wire:
        """To or from a box in a row of its own: by a level lane above or below that."""
        box, other = (start, end) if start.column is None else (end, start)
        if other.column is None:
            return Wire("loose")
        at, far = self.rank[box.row], self.rank[other.row]
        above = far > at
        outward = box is start
        key = (box.name, line.kind, line.lit, above)
        middle = (len(self.picture.columns) - 1) / 2
        if abs(far - at) == 1:
            self.stretch(key, box.row, above, other.column, middle)
            return Wire("rise" if outward == above else "fall", 0, 0, (), key, box.row)
        right = other.column < middle or (other.column == middle and line.kind != "flow")
        side = 1 if right else -1
        gap = other.column + (side > 0)
        name = box.name if outward else other.name
        bus = (name, line.kind, line.label, line.lit, gap, 5 * side)
        self.grow(bus, at + (0.5 if above else -0.5), far)
        self.stretch(key, box.row, above, gap - 0.5, middle)
        self.touch(other, side, (not outward, bus), at)
        shape = "rise" if outward == above else "fall"
        return Wire(shape, 0 if outward else side, side if outward else 0, (bus,), key, box.row)

    def grow(self, bus: Bus, a: float, b: float) -> None:
        lo, hi = self.spans.get(bus, (a, a))
        self.spans[bus] = min(lo, a, b), max(hi, a, b)

    def stretch(self, key: Level, row: Row, above: bool, a: float, b: float) -> None:
        lo, hi = self.extents.get(key, (a, a))
        self.extents[key] = min(lo, a, b), max(hi, a, b)
        self.row_of[key] = row, above

    def touch(self, box: Box, side: int, port: Port, toward: float) -> None:
        self.ports[box.name, side].setdefault(port, []).append(toward - self.rank[box.row])


def _packed(extents: Mapping[K, tuple[float, float]]) -> tuple[dict[K, int], int]:
    """A lane for each extent, such that those in one lane do not meet; how many lanes."""
    lanes: list[list[tuple[float, float]]] = []
    found: dict[K, int] = {}
    # Short ones first: they take the lanes nearest to the boxes.
    for key, (lo, hi) in sorted(extents.items(), key=lambda e: (e[1][1] - e[1][0], e[1])):
        fits = (k for k, lane in enumerate(lanes) if all(hi < a or b < lo for a, b in lane))
        number = next(fits, len(lanes))
        if number == len(lanes):
            lanes.append([])
        lanes[number].append((lo, hi))
        found[key] = number
    return found, len(lanes)


__all__ = ["Bus", "Level", "Port", "Wire", "Wiring", "spacing", "wiring"]
