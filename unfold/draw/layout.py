"""Where everything stands, in points, with the origin below at the left.

`arrange` does all of it for one picture; `stack` and `place` are its two halves, so that the rows
of several pictures can be put at the same heights (`unfold.draw.sheet`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from .frames import Frame, frames
from .margin import homes, lane_keys
from .picture import Box, Picture, Row
from .rows import row_order
from .wires import PLAIN, Bus, Level, Port, Wiring, spacing, wiring

HEIGHT = 24.0  # of a box
LETTER = 6.6  # the width of one, at the size in `style`
SMALL = 5.2  # the width of one in a label of a line
PADDING = 16.0
GAP = 52.0  # the least between columns
SIDE = 17.0  # between a column and the lanes beside it
NEAR = 14.0  # between boxes at the margin
ROW = 26.0  # between rows, lanes not counted
LANE = 4.0  # between lanes
TRUNK = 3.0  # between lines that lead from row to row at the margin
FRAME, TITLE = 9.0, 15.0  # between a frame and what is in it, below and above


@dataclass(frozen=True)
class Spot:
    """The centre and size of a box."""

    x: float
    y: float
    width: float
    height: float = HEIGHT

    def moved(self, dx: float) -> Spot:
        return replace(self, x=self.x + dx)


@dataclass(frozen=True)
class Stack:
    """The rows from below upwards, how high the boxes of each are, and how much room it needs
    below and above them."""

    order: tuple[Row, ...]
    high: Mapping[Row, float]
    below: Mapping[Row, float]
    above: Mapping[Row, float]

    def heights(self) -> dict[Row, float]:
        """The y of every row."""
        y, found = 0.0, {}
        for row in self.order:
            y += self.below[row]
            found[row] = y + self.high[row] / 2
            y += self.high[row] + self.above[row]
        return found


@dataclass(frozen=True)
class Layout:
    """A picture with positions.

    Attributes:
        picture: what is shown.
        spots: the place of every box, by name.
        columns, rows: the x and y of each; ``order`` has the rows from below upwards.
        lanes: at which y the line between a box at the margin and the boxes of a row runs.
        trunk: the x where such lines go from row to row.
        width: of the boxes in columns.
        top: the y of the headings.
        frames: those of sub-models, each with its place.
        wiring: the ways of all other lines; ``lane_x`` and ``level_y`` are the places of its lanes.
        left, right: the ends of what is drawn.
    """

    picture: Picture
    spots: Mapping[str, Spot]
    columns: tuple[float, ...]
    rows: Mapping[Row, float]
    order: tuple[Row, ...]
    lanes: Mapping[tuple[str, Row], float]
    trunk: Mapping[str, float]
    width: float
    top: float
    frames: tuple[tuple[Frame, Spot], ...]
    wiring: Wiring
    lane_x: Mapping[Bus, float]
    level_y: Mapping[Level, float]
    left: float
    right: float

    def port(self, box: str, side: int, port: Port) -> float:
        """How far above its middle a line touches the side of a box."""
        at = self.wiring.ports[box, side]
        half = self.spots[box].height / 2
        for way in (1, -1):
            # From the middle outwards, in the order in which they lead up (or down).
            own = [p for p, toward in at if toward * way > 0][::-way]
            if port in own:
                # A label stands outwards of its line.
                room = [spacing(p) for p in own]
                first = self.wiring.middle(box, side) if way == 1 else 0.0
                before = first + sum(room[: own.index(port)]) + 0.75 * PLAIN
                return way * before * min((half - 2.0) / (first + sum(room) + 2.0), 1.3)
        return 0.0


def arrange(picture: Picture) -> Layout:
    """Give every box its place."""
    return place(picture, stack(picture))


def stack(picture: Picture, order: Sequence[Row] | None = None) -> Stack:
    """The rows of a picture, in an order that is given or its own, and the room they need."""
    order = tuple(row_order(picture) if order is None else order)
    rank = {row: k for k, row in enumerate(order)}
    wires = wiring(picture, rank)
    count: dict[Row, int] = dict.fromkeys(order, 0)
    for _, row in lane_keys(picture, homes(picture, rank)):
        count[row] += 1
    high = dict.fromkeys(order, HEIGHT)
    for box in picture.boxes.values():
        if not box.margin:
            high[box.row] = max(high[box.row], wires.height(box.name, HEIGHT))
    below, above = {}, {}
    for row in order:
        over, under = wires.channels.get(row, (0, 0))
        below[row] = 10.0 + LANE * (count[row] + under) + (8.0 if under else 0.0)
        above[row] = ROW + LANE * over
    for frame in frames(picture, order):
        below[order[frame.first]] += FRAME
        above[order[frame.last]] += TITLE
    return Stack(order, high, below, above)


def place(picture: Picture, stack: Stack) -> Layout:
    """Put a picture on rows that are given."""
    order, ys = stack.order, stack.heights()
    rank = {row: k for k, row in enumerate(order)}
    wires = wiring(picture, rank)
    home = homes(picture, rank)
    level_y = {
        key: ys[wire.channel] + _level(key, wires.level[key], stack.high[wire.channel])
        for wire in wires.wires.values()
        if (key := wire.level) is not None and wire.channel is not None
    }
    lanes_of: dict[Row, list[str]] = {row: [] for row in order}
    lanes: dict[tuple[str, Row], float] = {}
    for name, row in lane_keys(picture, home):
        # The lanes lie below their row, the nearest margin box's uppermost.
        under = wires.channels.get(row, (0, 0))[1]
        deep = 6.0 + LANE * (len(lanes_of[row]) + under) + (8.0 if under else 0.0)
        lanes[name, row] = ys[row] - stack.high[row] / 2 - deep
        lanes_of[row].append(name)

    width = max((width_of(b.label) for b in picture.boxes.values() if not b.margin), default=40.0)
    gaps = _gaps(picture, wires)
    columns, x = [], width / 2
    for k, heading in enumerate(picture.columns):
        extra = max(0.0, width_of(heading.label) - width - gaps[0][k + 1]) / 2
        extra = extra if heading.elided else 0.0
        columns.append(x + extra)
        x += width + gaps[0][k + 1] + 2 * extra
    lane_x = _lane_x(wires, columns, width, gaps)
    left = -gaps[0][0] if columns else 0.0
    right = columns[-1] + width / 2 + gaps[0][-1] if columns else 0.0

    spots: dict[str, Spot] = {}
    for box in picture.boxes.values():
        if box.column is not None:
            high = stack.high[box.row]
            spots[box.name] = Spot(columns[box.column], ys[box.row], width, high)
    crossing = [name for name in home if any(k[0] == name and k[1] != home[name] for k in lanes)]
    trunk = {name: left - TRUNK * k for k, name in enumerate(crossing)}
    _place_free(picture, spots, ys, stack.high, columns)
    free = [spots[b.name] for b in picture.boxes.values() if b.column is None and not b.margin]
    left = min([left, *(s.x - s.width / 2 for s in free)])
    trunk = {name: left - TRUNK * (k + 1) for k, name in enumerate(crossing)}
    edge: dict[Row, float] = defaultdict(lambda: left - TRUNK * len(crossing) - 12.0)
    for name, row in home.items():
        box = picture.boxes[name]
        wide = width_of(box.label, box.kind == "param")
        spots[name] = Spot(edge[row] - wide / 2, ys[row], wide)
        edge[row] -= wide + NEAR
    used = {box.row for box in picture.boxes.values() if not box.margin}
    top = max((ys[r] + stack.high[r] / 2 + stack.above[r] for r in used), default=0.0)
    layout = Layout(
        picture, spots, tuple(columns), ys, order, lanes, trunk, width, top, (), wires,
        lane_x, level_y, left, right,
    )  # fmt: skip
    framed = tuple((f, _frame_spot(layout, stack, f)) for f in frames(picture, order))
    ends = [*spots.values(), *(spot for _, spot in framed)]
    return replace(
        layout,
        frames=framed,
        left=min([left, *(s.x - s.width / 2 for s in ends)]),
        right=max([right, *(s.x + s.width / 2 for s in ends)]),
    )


def width_of(label: str, slanted: bool = False) -> float:
    """Enough for the label; slanted ends take more."""
    return max(34.0, LETTER * len(label) + PADDING + (10.0 if slanted else 0.0))


def _level(key: Level, lane: int, high: float) -> float:
    """How far from the middle of its row a level lane runs."""
    above = key[3]
    return high / 2 + 6.0 + LANE * lane if above else -high / 2 - 14.0 - LANE * lane


def _gaps(picture: Picture, wires: Wiring) -> tuple[list[float], list[float]]:
    """The width of every gap, and how much of it is taken at its left by labels of lines."""
    count = len(picture.columns) + 1
    room = [[0.0, 0.0] for _ in range(count)]
    for bus in wires.upright:
        if bus[2]:
            # The label stands between the box that the line leaves and the lanes.
            side = 0 if bus[5] > 0 else 1
            room[bus[4]][side] = max(room[bus[4]][side], SMALL * len(bus[2]) + 4.0)
    need = []
    for gap, (a, b) in enumerate(room):
        lanes = wires.lanes.get(gap, 0)
        need.append(max(0, lanes - 1) * LANE + 2 * SIDE + a + b if lanes else 0.0)
    inner = max([GAP, *need[1:-1]])
    widths = [max(need[0], 16.0), *[inner] * max(0, count - 2), max(need[-1], 4.0)][:count]
    return widths, [(a - b) / 2 for a, b in room]


def _lane_x(
    wires: Wiring, columns: Sequence[float], width: float, gaps: tuple[list[float], list[float]]
) -> dict[Bus, float]:
    """The x of every upright lane: in the middle of its gap."""
    widths, shift = gaps
    found = {}
    for bus, lane in wires.upright.items():
        gap = bus[4]
        if gap == 0:
            middle = -widths[0] / 2
        elif gap == len(columns):
            middle = columns[-1] + width / 2 + widths[gap] / 2
        else:
            middle = (columns[gap - 1] + columns[gap]) / 2
        found[bus] = middle + shift[gap] + (lane - (wires.lanes[gap] - 1) / 2) * LANE
    return found


def _place_free(
    picture: Picture,
    spots: dict[str, Spot],
    ys: Mapping[Row, float],
    high: Mapping[Row, float],
    columns: Sequence[float],
) -> None:
    """Put free boxes over the middle of what they are tied to, side by side if they share a row."""
    boxes = picture.boxes
    free = [b for b in boxes.values() if b.column is None and not b.margin]
    tied: dict[str, list[str]] = defaultdict(list)
    for line in picture.lines:
        tied[line.start].append(line.end)
        tied[line.end].append(line.start)
    middle = (columns[0] + columns[-1]) / 2 if columns else 0.0
    for _ in range(2):
        for box in free:
            xs = [spots[o].x for o in tied[box.name] if o in spots and not boxes[o].margin] or [
                middle
            ]
            wide = width_of(box.label)
            spots[box.name] = Spot(sum(xs) / len(xs), ys[box.row], wide, high[box.row])
    by_row: dict[Row, list[Box]] = defaultdict(list)
    for box in free:
        by_row[box.row].append(box)
    for row_boxes in by_row.values():
        row_boxes.sort(key=lambda b: spots[b.name].x)
        # Over a column, since lines run between columns, and no two over the same.
        taken = -1
        for box in row_boxes if columns else ():
            near = min(range(len(columns)), key=lambda k: abs(columns[k] - spots[box.name].x))
            taken = max(near, taken + 1)
            if taken < len(columns):
                spots[box.name] = replace(spots[box.name], x=columns[taken])
        for a, b in pairwise(row_boxes):
            least = spots[a.name].x + (spots[a.name].width + spots[b.name].width) / 2 + NEAR
            if spots[b.name].x < least:
                spots[b.name] = replace(spots[b.name], x=least)


def _frame_spot(layout: Layout, stack: Stack, frame: Frame) -> Spot:
    """Where a frame stands: around its rows, and the boxes at the margin that are its own."""
    inside = layout.order[frame.first : frame.last + 1]
    low, high = inside[0], inside[-1]
    others = frames(layout.picture, layout.order)
    within = [f for f in others if frame.first <= f.first and f.last <= frame.last]
    pad = 6.0 * (1 + max(f.depth for f in within) - frame.depth)
    heights = {layout.rows[row] for row in inside}
    own = [
        layout.spots[box.name]
        for box in layout.picture.boxes.values()
        if box.margin
        and frame.model in layout.picture.models_of(box.row[0])
        and layout.spots[box.name].y in heights
    ]
    left = min([layout.left, *(s.x - s.width / 2 for s in own)]) - pad
    right = layout.right + pad
    opened = sum(f.first == frame.first for f in others)
    deeper = [f for f in others if f.depth > frame.depth]
    bottom = layout.rows[low] - stack.high[low] / 2 - stack.below[low] + 3.0
    bottom += FRAME * (opened - 1 - sum(f.first == frame.first for f in deeper))
    closed = sum(f.last == frame.last for f in others)
    top = layout.rows[high] + stack.high[high] / 2 + stack.above[high] - ROW + 4.0
    top -= TITLE * (closed - 1 - sum(f.last == frame.last for f in deeper))
    return Spot((left + right) / 2, (bottom + top) / 2, right - left, top - bottom)


__all__ = ["HEIGHT", "LETTER", "Layout", "Spot", "Stack", "arrange", "place", "stack", "width_of"]
