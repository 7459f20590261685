"""What stands beside the rows: parameters and their gradients, and the lanes that lead to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from .picture import Picture, Row


def homes(picture: Picture, rank: Mapping[Row, int]) -> dict[str, Row]:
    """The row beside which each box of the margin stands: the lowest that it is tied to.

    Boxes of one row come in the order in which they stand, from the columns outwards: those of the
    sub-model that the row is in first.
    """
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
    found: dict[str, Row] = {}
    pending = [box.name for box in boxes.values() if box.margin]
    while pending:
        left = []
        for name in pending:
            rows = [found.get(o) if boxes[o].margin else boxes[o].row for o in tied[name]]
            known = [row for row in rows if row is not None]
            if known:
                found[name] = min(known, key=lambda row: rank[row])
            else:
                left.append(name)
        if len(left) == len(pending):
            # Tied to nothing that has a row: beside the lowest one.
            found |= dict.fromkeys(left, min(rank, key=lambda row: rank[row])) if rank else {}
            break
        pending = left

    def foreign(name: str) -> int:
        own = set(picture.models_of(boxes[name].row[0]))
        return len(set(picture.models_of(found[name][0])) - own)

    return {name: found[name] for name in sorted(found, key=foreign)}


def lane_keys(picture: Picture, home: Mapping[str, Row]) -> list[tuple[str, Row]]:
    """Which box of the margin needs a lane below which row."""
    boxes = picture.boxes
    found: list[tuple[str, Row]] = []
    for line in picture.lines:
        start, end = boxes[line.start], boxes[line.end]
        if start.margin and end.margin:
            found += [(start.name, home[start.name]), (start.name, home[end.name])]
        elif start.margin or end.margin:
            margin, other = (start, end) if start.margin else (end, start)
            found += [(margin.name, home[margin.name]), (margin.name, other.row)]
    return list(dict.fromkeys(found))


__all__ = ["homes", "lane_keys"]
