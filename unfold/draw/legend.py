"""What the kinds of lines mean, in a row below the drawing: only those that it has."""

from __future__ import annotations

from dataclasses import dataclass

from .layout import LETTER, Layout

SAMPLE = 30.0  # the length of the line that shows what is meant
LINE = 18.0  # between rows
NARROW = 420.0  # what a legend may always take in width

#: kind of line -> what it means, in the order of the legend
MEANINGS = {
    "flow": "value",
    "shared": "parameter",
    "cut": "value, no derivative",
    "adjoint": "derivative",
    "gather": "gradient",
    "recall": "value in a derivative",
    "absent": "derivative cut",
}


@dataclass(frozen=True)
class Entry:
    """A sample of a line from ``x`` on, `SAMPLE` long, and beside it what it means."""

    kind: str
    text: str
    x: float
    y: float
    width: float


def legend(layout: Layout) -> tuple[Entry, ...]:
    """The entries for a drawing; none if all of its lines are of one kind."""
    kinds = {line.kind for line in layout.picture.lines}
    if len(kinds) < 2:
        return ()
    left = min(s.x - s.width / 2 for s in layout.spots.values())
    right = max(left + NARROW, *(s.x + s.width / 2 for s in layout.spots.values()))
    entries: list[Entry] = []
    x, y = left, min(layout.rows.values(), default=0.0) - 46.0
    for kind, text in MEANINGS.items():
        if kind not in kinds:
            continue
        width = LETTER * len(text)
        if x > left and x + SAMPLE + width > right:
            x, y = left, y - LINE
        entries.append(Entry(kind, text, x, y, width))
        x += SAMPLE + width + 16.0
    return tuple(entries)
