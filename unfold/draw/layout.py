"""Where everything stands, in points, with the origin below at the left.

Rows are sorted so that lines within a step lead upwards: what is read stands below what reads it.
Inputs stand just below their first reader, and adjoint rows above all others, in which order the
same rule leads from the loss back to the inputs.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from .picture import Box, Picture, Row

HEIGHT = 24.0  # of a box
LETTER = 6.6  # the width of one, at the size in `style`
PADDING = 16.0
GAP = 60.0  # between columns
NEAR = 14.0  # between boxes at the margin
ROW = 30.0  # between rows, lanes not counted
LANE = 3.5  # between the lanes of a row


@dataclass(frozen=True)
class Spot:
    """The centre and size of a box."""

    x: float
    y: float
    width: float
    height: float = HEIGHT


@dataclass(frozen=True)
class Layout:
    """A picture with positions.

    ``columns`` and ``rows`` are the x and y of each. ``lanes`` says at which y the line between a
    box at the margin and the boxes of a row runs, below that row. ``trunk`` is the x where such
    lines go from row to row; ``width`` and ``pitch`` are those of the columns.
    """

    picture: Picture
    spots: Mapping[str, Spot]
    columns: tuple[float, ...]
    rows: Mapping[Row, float]
    order: tuple[Row, ...]
    lanes: Mapping[tuple[str, Row], float]
    trunk: Mapping[str, float]
    width: float
    pitch: float
    top: float


def arrange(picture: Picture) -> Layout:
    """Give every box its place."""
    order = _rows(picture)
    rank = {row: k for k, row in enumerate(order)}
    homes = _homes(picture, rank)
    lanes_of: dict[Row, list[str]] = {row: [] for row in order}
    for name, row in _lane_keys(picture, homes):
        if name not in lanes_of[row]:
            lanes_of[row].append(name)

    y, ys, lanes = 0.0, dict[Row, float](), dict[tuple[str, Row], float]()
    for row in order:
        # The lanes lie below their row, the nearest margin box's uppermost.
        y += 10.0 + LANE * len(lanes_of[row])
        for k, name in enumerate(lanes_of[row]):
            lanes[name, row] = y - 6.0 - LANE * k
        ys[row] = y + HEIGHT / 2
        y += HEIGHT + ROW

    width = max(
        (_width(b.label) for b in picture.boxes.values() if b.column is not None), default=40.0
    )
    pitch = width + GAP
    widest = max((_width(h.label) for h in picture.columns if h.elided), default=0.0)
    columns: list[float] = []
    x = width / 2
    for heading in picture.columns:
        extra = max(0.0, widest - pitch) / 2 if heading.elided else 0.0
        columns.append(x + extra)
        x += pitch + 2 * extra

    spots: dict[str, Spot] = {}
    for box in picture.boxes.values():
        if box.column is not None:
            spots[box.name] = Spot(columns[box.column], ys[box.row], width)
    crossing = [name for name in homes if any(k[0] == name and k[1] != homes[name] for k in lanes)]
    trunk = {name: -GAP / 2 - 2.5 * k for k, name in enumerate(crossing)}
    left = -GAP / 2 - 2.5 * len(crossing) - 10.0
    edge: dict[Row, float] = defaultdict(lambda: left)
    for name, row in homes.items():
        box = picture.boxes[name]
        wide = _width(box.label, box.kind == "param")
        spots[name] = Spot(edge[row] - wide / 2, ys[row], wide)
        edge[row] -= wide + NEAR
    _place_free(picture, spots, ys, columns)
    return Layout(picture, spots, tuple(columns), ys, tuple(order), lanes, trunk, width, pitch, y)


def _width(label: str, slanted: bool = False) -> float:
    """Enough for the label; slanted ends take more."""
    return max(34.0, LETTER * len(label) + PADDING + (10.0 if slanted else 0.0))


def _rows(picture: Picture) -> list[Row]:
    """The rows from below upwards."""
    boxes = picture.boxes
    first: dict[Row, int] = {}
    inputs: set[Row] = set()
    adjoint: set[Row] = set()
    for box in boxes.values():
        if box.margin:
            continue
        first.setdefault(box.row, len(first))
        if box.kind == "input":
            inputs.add(box.row)
        if box.kind == "adjoint":
            adjoint.add(box.row)
    readers: dict[Row, set[Row]] = defaultdict(set)
    for line in picture.lines:
        start, end = boxes[line.start], boxes[line.end]
        # What is left out between two steps would look like a dependence within one.
        if start.margin or end.margin or start.row == end.row or start.elided or end.elided:
            continue
        if start.column == end.column or start.column is None or end.column is None:
            readers[start.row].add(end.row)
    forward = [row for row in first if row not in inputs and row not in adjoint]
    variable: dict[str, int] = {}
    for row in first:
        variable.setdefault(row[0], len(variable))
    # The rows of one variable stand together where they can.
    order = _sorted(forward, readers, lambda row: (variable[row[0]], first[row]))
    rank = {row[0]: k for k, row in enumerate(order)}
    # Among adjoints that nothing puts in order, that of the uppermost variable comes first.
    order += _sorted(
        [row for row in first if row in adjoint],
        readers,
        lambda row: (-rank.get(_partner(row[0], rank), 0), first[row]),
    )
    for row in sorted(inputs, key=lambda row: first[row]):
        users = [k for k, other in enumerate(order) if other in readers[row]]
        order.insert(users[0] if users else 0, row)
    return order


def _partner(adjoint: str, variables: Iterable[str]) -> str:
    """The variable in whose name an adjoint's name begins: ``i`` for ``i_pre_bar``."""
    return max((v for v in variables if adjoint.startswith(f"{v}_")), key=len, default="")


def _sorted(rows: Iterable[Row], readers: Mapping[Row, set[Row]], key: object) -> list[Row]:
    """Topologically, smallest key first; a circle is broken at its smallest key."""
    assert callable(key)
    waiting = dict.fromkeys(rows, 0)
    for row in waiting:
        for reader in readers.get(row, ()):
            if reader in waiting:
                waiting[reader] += 1
    order: list[Row] = []
    ready = [(key(row), row) for row, count in waiting.items() if count == 0]
    heapq.heapify(ready)
    while waiting:
        if ready:
            row = heapq.heappop(ready)[1]
            if row not in waiting:
                continue
        else:
            row = min(waiting, key=key)
        del waiting[row]
        order.append(row)
        for reader in readers.get(row, ()):
            if reader in waiting:
                waiting[reader] -= 1
                if waiting[reader] == 0:
                    heapq.heappush(ready, (key(reader), reader))
    return order


def _homes(picture: Picture, rank: Mapping[Row, int]) -> dict[str, Row]:
    """The row beside which each box of the margin stands: the lowest that it is tied to."""
    boxes = picture.boxes
    tied: dict[str, set[str]] = defaultdict(set)
    for line in picture.lines:
        start, end = boxes[line.start], boxes[line.end]
        # A gradient stands where its cotangents come from, a parameter where it is used first.
        if end.margin and line.kind != "recall":
            tied[line.end].add(line.start)
        if start.margin and line.kind != "recall":
            tied[line.start].add(line.end)
    for line in picture.lines:
        for name, other in ((line.start, line.end), (line.end, line.start)):
            if boxes[name].margin and name not in tied:
                tied[name].add(other)
    homes: dict[str, Row] = {}
    pending = [box.name for box in boxes.values() if box.margin]
    while pending:
        left = []
        for name in pending:
            rows = [homes.get(o) if boxes[o].margin else boxes[o].row for o in tied[name]]
            known = [row for row in rows if row is not None]
            if known:
                homes[name] = min(known, key=lambda row: rank[row])
            else:
                left.append(name)
        if len(left) == len(pending):
            # Tied to nothing that has a row: beside the lowest one.
            homes |= dict.fromkeys(left, min(rank, key=lambda row: rank[row])) if rank else {}
            break
        pending = left
    return homes


def _lane_keys(picture: Picture, homes: Mapping[str, Row]) -> list[tuple[str, Row]]:
    """Which box of the margin needs a lane below which row."""
    boxes = picture.boxes
    found: list[tuple[str, Row]] = []
    for line in picture.lines:
        start, end = boxes[line.start], boxes[line.end]
        if start.margin != end.margin:
            margin, other = (start, end) if start.margin else (end, start)
            if other.column is not None:
                found += [(margin.name, homes[margin.name]), (margin.name, other.row)]
    return list(dict.fromkeys(found))


def _place_free(
    picture: Picture,
    spots: dict[str, Spot],
    ys: Mapping[Row, float],
    columns: list[float],
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
            wide = _width(box.label)
            spots[box.name] = Spot(sum(xs) / len(xs), ys[box.row], wide)
    by_row: dict[Row, list[Box]] = defaultdict(list)
    for box in free:
        by_row[box.row].append(box)
    for row_boxes in by_row.values():
        row_boxes.sort(key=lambda b: spots[b.name].x)
        for a, b in pairwise(row_boxes):
            least = spots[a.name].x + (spots[a.name].width + spots[b.name].width) / 2 + NEAR
            if spots[b.name].x < least:
                spots[b.name] = Spot(least, spots[b.name].y, spots[b.name].width)
