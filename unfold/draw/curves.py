"""How lines run between boxes: chains of cubic Bézier curves.

Within a step upwards; from step to step from one side of a box to the other side of the next; to
and from the margin along lanes below the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from .layout import Layout, Spot
from .picture import Line

Point = tuple[float, float]
HEAD = 5.0  # the length of an arrow's head
TURN = 5.0  # the radius of a corner


@dataclass(frozen=True)
class Curve:
    """The points ``p0 c c p1 c c p2 …`` of a chain of curves, and the tip of its arrow."""

    points: tuple[Point, ...]
    tip: Point | None

    @property
    def middle(self) -> Point:
        """A point half-way along the chain's middle curve."""
        k = (len(self.points) - 1) // 3 // 2 * 3
        a, b, c, d = self.points[k : k + 4]
        return (a[0] + 3 * (b[0] + c[0]) + d[0]) / 8, (a[1] + 3 * (b[1] + c[1]) + d[1]) / 8


def route(layout: Layout, line: Line) -> Curve:
    """The curve of a line."""
    boxes = layout.picture.boxes
    start, end = boxes[line.start], boxes[line.end]
    a, b = layout.spots[line.start], layout.spots[line.end]
    if start.margin and end.margin:
        return _bent(a, b)
    if start.margin or end.margin:
        return _along_lane(layout, line)
    if start.column is None or end.column is None:
        return _upright(layout, a, b)
    step = end.column - start.column
    ranks = {row: k for k, row in enumerate(layout.order)}
    rise = ranks[end.row] - ranks[start.row]
    backward = line.kind in ("adjoint", "recall", "absent")
    if step == 0:
        if rise == 1:
            return straight((a.x, a.y + a.height / 2), (b.x, b.y - b.height / 2))
        return _bulge(a, b, abs(rise), layout.pitch - layout.width, right=backward)
    if abs(step) > 1 and rise == 0:
        return _arch(a, b, abs(step))
    return _far(a, b) if abs(step) > 1 else _sideways(a, b)


def straight(p: Point, q: Point) -> Curve:
    length = max(1e-6, ((q[0] - p[0]) ** 2 + (q[1] - p[1]) ** 2) ** 0.5)
    back = (q[0] - (q[0] - p[0]) * HEAD / length, q[1] - (q[1] - p[1]) * HEAD / length)
    return Curve((p, *_line(p, back)), q)


def _line(p: Point, q: Point) -> tuple[Point, Point, Point]:
    """A straight piece as a cubic, without its first point."""
    third = ((2 * p[0] + q[0]) / 3, (2 * p[1] + q[1]) / 3)
    return third, ((p[0] + 2 * q[0]) / 3, (p[1] + 2 * q[1]) / 3), q


def _sideways(a: Spot, b: Spot) -> Curve:
    """From step to step; lines to the right and to the left keep a little apart."""
    side = 1.0 if b.x > a.x else -1.0
    shift = 3.0 * side
    p = (a.x + side * a.width / 2, a.y + shift)
    tip = (b.x - side * b.width / 2, b.y + shift)
    q = (tip[0] - side * HEAD, tip[1])
    reach = max(12.0, abs(q[0] - p[0]) * 0.5)
    return Curve((p, (p[0] + side * reach, p[1]), (q[0] - side * reach, q[1]), q), tip)


def _far(a: Spot, b: Spot) -> Curve:
    """Over several steps to another row: away from the row first, so as not to cross boxes."""
    side = 1.0 if b.x > a.x else -1.0
    rise = 1.0 if b.y > a.y else -1.0
    p = (a.x + side * a.width / 4, a.y + rise * a.height / 2)
    tip = (b.x - side * b.width / 2, b.y + 3.0 * side)
    q = (tip[0] - side * HEAD, tip[1])
    reach = abs(q[0] - p[0]) * 0.4
    return Curve((p, (p[0], p[1] + rise * 30.0), (q[0] - side * reach, q[1]), q), tip)


def _bulge(a: Spot, b: Spot, rise: int, gap: float, right: bool) -> Curve:
    """Past other boxes of the same step, in the gap beside it."""
    side = 1.0 if right else -1.0
    p = (a.x + side * a.width / 2, a.y + 4.0)
    tip = (b.x + side * b.width / 2, b.y - 4.0)
    q = (tip[0] + side * HEAD, tip[1])
    out = min(gap * 0.45, 9.0 + 4.0 * rise)
    return Curve((p, (p[0] + side * out, p[1]), (q[0] + side * out, q[1]), q), tip)


def _arch(a: Spot, b: Spot, step: int) -> Curve:
    """Over the steps between, in the same row."""
    side = 1.0 if b.x > a.x else -1.0
    p = (a.x + side * a.width / 4, a.y + a.height / 2)
    tip = (b.x - side * b.width / 4, b.y + b.height / 2)
    q = (tip[0], tip[1] + HEAD)
    height = min(20.0, 8.0 + 4.0 * step)
    return Curve((p, (p[0] + side * 10, p[1] + height), (q[0] - side * 10, q[1] + height), q), tip)


def _upright(layout: Layout, a: Spot, b: Spot) -> Curve:
    """To or from a box in a row of its own."""
    side = 1.0 if b.y > a.y else -1.0
    p = (a.x, a.y + side * a.height / 2)
    tip = (b.x, b.y - side * b.height / 2)
    q = (tip[0], tip[1] - side * HEAD)
    between = [y for y in layout.rows.values() if min(a.y, b.y) < y < max(a.y, b.y)]
    if between and a.x in layout.columns:
        # Up through the gap beside the column, then to the box.
        x = a.x + layout.pitch / 2 * (1.0 if b.x >= a.x else -1.0)
        p = (a.x + (a.width / 2 if x > a.x else -a.width / 2), a.y)
        level = b.y - side * (b.height / 2 + 18.0)
        return _path([p, (x, a.y), (x, level), (b.x, level), tip])
    if between and b.x in layout.columns:
        x = b.x + layout.pitch / 2 * (1.0 if a.x >= b.x else -1.0)
        level = a.y + side * (a.height / 2 + 18.0)
        end = (b.x + (b.width / 2 if x > b.x else -b.width / 2), b.y)
        return _path([p, (a.x, level), (x, level), (x, b.y), end])
    reach = max(10.0, abs(q[1] - p[1]) * 0.5)
    return Curve((p, (p[0], p[1] + side * reach), (q[0], q[1] - side * reach), q), tip)


def _bent(a: Spot, b: Spot) -> Curve:
    """Between two boxes at the margin."""
    if a.y == b.y:
        side = 1.0 if b.x > a.x else -1.0
        return straight((a.x + side * a.width / 2, a.y), (b.x - side * b.width / 2, b.y))
    side = 1.0 if b.y > a.y else -1.0
    p = (a.x, a.y + side * a.height / 2)
    tip = (b.x, b.y - side * b.height / 2)
    q = (tip[0], tip[1] - side * HEAD)
    reach = abs(q[1] - p[1]) * 0.5
    return Curve((p, (p[0], p[1] + side * reach), (q[0], q[1] - side * reach), q), tip)


def _along_lane(layout: Layout, line: Line) -> Curve:
    """Between the margin and a row: along the lane below the row."""
    boxes = layout.picture.boxes
    outward = boxes[line.start].margin
    margin, other = (line.start, line.end) if outward else (line.end, line.start)
    m, o = layout.spots[margin], layout.spots[other]
    row = boxes[other].row
    home = next(r for r, y in layout.rows.items() if y == m.y)
    if (margin, row) not in layout.lanes:
        return _bent(m, o) if outward else _bent(o, m)
    lane = layout.lanes[margin, row]
    names = [name for (name, at) in layout.lanes if at == row]
    # To the right of the middle, where lines from the row below arrive.
    share = 0.1 + 0.3 * (names.index(margin) + 1) / len(names)
    foot = (o.x + share * o.width, o.y - o.height / 2)
    corners = [(m.x, m.y - m.height / 2)]
    if row == home:
        corners += [(m.x, lane), (foot[0], lane), foot]
    else:
        own, x = layout.lanes[margin, home], layout.trunk[margin]
        corners += [(m.x, own), (x, own), (x, lane), (foot[0], lane), foot]
    return _path(corners if outward else corners[::-1])


def _path(corners: list[Point]) -> Curve:
    """Straight lines with round corners."""
    tip = corners[-1]
    before = corners[-2]
    length = max(1e-6, ((tip[0] - before[0]) ** 2 + (tip[1] - before[1]) ** 2) ** 0.5)
    head = min(HEAD, length * 0.8)
    last = (
        tip[0] - (tip[0] - before[0]) * head / length,
        tip[1] - (tip[1] - before[1]) * head / length,
    )
    corners = [*corners[:-1], last]
    points: list[Point] = [corners[0]]
    for k in range(1, len(corners) - 1):
        here = corners[k]
        enter = _toward(here, corners[k - 1])
        leave = _toward(here, corners[k + 1])
        points += _line(points[-1], enter)
        # A quarter of a circle, nearly.
        points += [_mix(enter, here), _mix(leave, here), leave]
    points += _line(points[-1], corners[-1])
    return Curve(tuple(points), tip)


def _toward(p: Point, q: Point) -> Point:
    """A corner's radius away from ``p``, at most half of the way to ``q``."""
    length = ((q[0] - p[0]) ** 2 + (q[1] - p[1]) ** 2) ** 0.5
    part = min(TURN, length / 2) / length if length else 0.0
    return p[0] + (q[0] - p[0]) * part, p[1] + (q[1] - p[1]) * part


def _mix(p: Point, corner: Point) -> Point:
    return p[0] + (corner[0] - p[0]) * 0.55, p[1] + (corner[1] - p[1]) * 0.55
