"""What lines and marks mean, in rows below the drawing: only those that it has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .layout import LETTER
from .picture import Picture

SAMPLE = 30.0  # the length of the line that shows what is meant
LINE = 18.0  # between rows
NARROW = 420.0  # what a legend may always take in width

#: kind of line -> what it means, in the order of the legend
LINES = {
    "flow": "value",
    "shared": "parameter",
    "cut": "value, no derivative",
    "adjoint": "derivative",
    "gather": "gradient",
    "recall": "value in a derivative",
    "absent": "derivative cut",
    "border": "border of segments",
}
#: mark of a box -> what it means
MARKS = {
    "lit": "highlighted",
    "use": "uses it",
    "kept": "kept at a border",
    "again": "computed once more on the way back",
    "model": "a sub-model, folded",
}


@dataclass(frozen=True)
class Entry:
    """A sample of a line or a box from ``x`` on, `SAMPLE` long, and beside it what it means."""

    kind: str
    text: str
    x: float
    y: float
    width: float

    @property
    def is_line(self) -> bool:
        return self.kind in LINES


def legend(pictures: Iterable[Picture], left: float, right: float, top: float) -> tuple[Entry, ...]:
    """The entries for some pictures, from ``left`` to ``right`` and from ``top`` down; none if all
    of their lines are of one kind and nothing is marked."""
    pictures = tuple(pictures)
    kinds = {line.kind for p in pictures for line in p.lines}
    kinds |= {"border" for p in pictures if p.borders}
    boxes = [b for p in pictures for b in p.boxes.values()]
    marks = ({b.mark for b in boxes} | {b.lit for b in boxes}) - {""}
    marks |= {"model" for b in boxes if b.kind == "model"}
    if len(kinds) < 2 and not marks:
        return ()
    right = max(left + NARROW, right)
    entries: list[Entry] = []
    x, y = left, top
    for kind, text in (LINES | MARKS).items():
        if kind not in kinds | marks:
            continue
        width = LETTER * len(text)
        if x > left and x + SAMPLE + width > right:
            x, y = left, y - LINE
        entries.append(Entry(kind, text, x, y, width))
        x += SAMPLE + width + 16.0
    return tuple(entries)


__all__ = ["SAMPLE", "Entry", "legend"]
