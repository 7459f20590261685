"""How lines run between boxes: chains of cubic Bézier curves, mostly straight with round corners.

Which lanes they take is decided in `wires`, and where those are in `layout`.
"""

from __future__ import annotations

from dataclasses import dataclass

from .layout import Layout, Spot
from .picture import Line
from .wires import Port, Wire

Point = tuple[float, float]
HEAD = 5.0  # the length of an arrow's head
TURN = 4.0  # the radius of a corner


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

    @property
    def start(self) -> Point:
        return self.points[0]


def route(layout: Layout, line: Line) -> Curve:
    """The curve of a line."""
    return polyline(corners(layout, line))


def corners(layout: Layout, line: Line) -> list[Point]:
    """The points at which a line turns, its ends included."""
    boxes = layout.picture.boxes
    start, end = boxes[line.start], boxes[line.end]
    a, b = layout.spots[line.start], layout.spots[line.end]
    if start.margin or end.margin:
        return _along_lane(layout, line)
    wire = layout.wiring.wires[line]
    if wire.shape == "direct" and wire.leave == 0:
        return [(a.x, a.y + a.height / 2), (b.x, b.y - b.height / 2)]
    if wire.shape == "direct":
        p = (
            a.x + wire.leave * a.width / 2,
            a.y + layout.port(line.start, wire.leave, (True, line.end)),
        )
        q = (
            b.x + wire.enter * b.width / 2,
            b.y + layout.port(line.end, wire.enter, (False, line.start)),
        )
        return [p, q]
    if wire.shape == "beside":
        (bus,) = wire.buses
        p = _side(layout, line.start, wire.leave, (True, bus))
        q = _side(layout, line.end, wire.enter, (False, bus))
        x = layout.lane_x[bus]
        return [p, (x, p[1]), (x, q[1]), q]
    if wire.shape == "over":
        assert wire.level is not None
        first, last = wire.buses
        p = _side(layout, line.start, wire.leave, (True, first))
        q = _side(layout, line.end, wire.enter, (False, last))
        y, x, z = layout.level_y[wire.level], layout.lane_x[first], layout.lane_x[last]
        return [p, (x, p[1]), (x, y), (z, y), (z, q[1]), q]
    if wire.shape in ("rise", "fall"):
        return _free(layout, line, wire)
    return _bent(a, b)


def _side(layout: Layout, box: str, side: int, port: Port) -> Point:
    """Where a line touches the side of a box."""
    spot = layout.spots[box]
    return spot.x + side * spot.width / 2, spot.y + layout.port(box, side, port)


def _free(layout: Layout, line: Line, wire: Wire) -> list[Point]:
    """Between a column and a box in a row of its own."""
    a, b = layout.spots[line.start], layout.spots[line.end]
    assert wire.level is not None
    outward = layout.picture.boxes[line.start].column is None
    y = layout.level_y[wire.level]
    free = a if outward else b
    foot = (free.x, free.y + (free.height / 2 if y > free.y else -free.height / 2))
    if wire.buses:
        (bus,) = wire.buses
        side, box = (wire.enter, line.end) if outward else (wire.leave, line.start)
        p, x = _side(layout, box, side, (not outward, bus)), layout.lane_x[bus]
        way = [p, (x, p[1]), (x, y), (free.x, y), foot]
    else:
        other = b if outward else a
        edge = other.y + (other.height / 2 if y > other.y else -other.height / 2)
        way = [(other.x, edge), (other.x, y), (free.x, y), foot]
    return way[::-1] if outward else way


def _bent(a: Spot, b: Spot) -> list[Point]:
    """Between two free boxes."""
    if a.y == b.y:
        side = 1.0 if b.x > a.x else -1.0
        return [(a.x + side * a.width / 2, a.y), (b.x - side * b.width / 2, b.y)]
    side = 1.0 if b.y > a.y else -1.0
    p = (a.x, a.y + side * a.height / 2)
    q = (b.x, b.y - side * b.height / 2)
    y = q[1] - side * 9.0
    return [p, q] if abs(a.x - b.x) < 1.0 else [p, (a.x, y), (b.x, y), q]


def _along_lane(layout: Layout, line: Line) -> list[Point]:
    """Between the margin and a row: along the lane below the row."""
    boxes = layout.picture.boxes
    outward = boxes[line.start].margin
    inside = boxes[line.end].margin and outward
    margin, other = (line.start, line.end) if outward else (line.end, line.start)
    m, o = layout.spots[margin], layout.spots[other]
    home = next(r for r, y in layout.rows.items() if y == m.y)
    row = boxes[other].row
    if inside:
        row = next(r for r, y in layout.rows.items() if y == o.y)
    lane = layout.lanes[margin, row]
    names = [name for (name, at) in layout.lanes if at == row]
    # To the right of the middle, where lines from the row below arrive.
    share = 0.1 + 0.3 * (names.index(margin) + 1) / len(names)
    foot = (o.x + share * o.width, o.y - o.height / 2)
    way = [(m.x, m.y - m.height / 2)]
    if row == home:
        way += [(m.x, lane), (foot[0], lane), foot]
    else:
        own, x = layout.lanes[margin, home], layout.trunk[margin]
        way += [(m.x, own), (x, own), (x, lane), (foot[0], lane), foot]
    return way if outward else way[::-1]


def polyline(way: list[Point]) -> Curve:
    """Straight lines with round corners, through points that are not all the same."""
    points = [way[0]]
    for here in way[1:]:
        if abs(here[0] - points[-1][0]) + abs(here[1] - points[-1][1]) > 0.01:
            points.append(here)
    tip, before = points[-1], points[-2]
    length = ((tip[0] - before[0]) ** 2 + (tip[1] - before[1]) ** 2) ** 0.5
    head = min(HEAD, length * 0.8)
    last = (
        tip[0] - (tip[0] - before[0]) * head / length,
        tip[1] - (tip[1] - before[1]) * head / length,
    )
    points = [*points[:-1], last]
    curve: list[Point] = [points[0]]
    for k in range(1, len(points) - 1):
        here = points[k]
        radius = min(TURN, _far(here, points[k - 1]) / 2, _far(here, points[k + 1]) / 2)
        enter, leave = _toward(here, points[k - 1], radius), _toward(here, points[k + 1], radius)
        curve += _straight(curve[-1], enter)
        # A quarter of a circle, nearly.
        curve += [_mix(enter, here), _mix(leave, here), leave]
    curve += _straight(curve[-1], points[-1])
    return Curve(tuple(curve), tip)


def _straight(p: Point, q: Point) -> tuple[Point, Point, Point]:
    """A straight piece as a cubic, without its first point."""
    third = ((2 * p[0] + q[0]) / 3, (2 * p[1] + q[1]) / 3)
    return third, ((p[0] + 2 * q[0]) / 3, (p[1] + 2 * q[1]) / 3), q


def _far(p: Point, q: Point) -> float:
    return float(((q[0] - p[0]) ** 2 + (q[1] - p[1]) ** 2) ** 0.5)


def _toward(p: Point, q: Point, radius: float) -> Point:
    part = radius / max(_far(p, q), 1e-6)
    return p[0] + (q[0] - p[0]) * part, p[1] + (q[1] - p[1]) * part


def _mix(p: Point, corner: Point) -> Point:
    return p[0] + (corner[0] - p[0]) * 0.55, p[1] + (corner[1] - p[1]) * 0.55


__all__ = ["Curve", "Point", "corners", "polyline", "route"]
