"""One or several pictures on a sheet, side by side, what they share at the same heights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .layout import Layout, Stack, place, stack
from .picture import Picture, Row
from .rows import row_order

BETWEEN = 70.0  # pictures


@dataclass(frozen=True)
class Panel:
    """A picture that has its place, so far to the right; ``prefix`` stands before the names of its
    boxes, ``caption`` above it."""

    layout: Layout
    shift: float = 0.0
    prefix: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Sheet:
    """Pictures on a sheet from ``left`` to ``right``, the lowest row's middle at ``bottom``."""

    title: str
    panels: tuple[Panel, ...]

    @property
    def left(self) -> float:
        return min(p.layout.left + p.shift for p in self.panels)

    @property
    def right(self) -> float:
        return max(p.layout.right + p.shift for p in self.panels)

    @property
    def bottom(self) -> float:
        return min((y for p in self.panels for y in p.layout.rows.values()), default=0.0)


def single(picture: Picture) -> Sheet:
    """A sheet with one picture."""
    return Sheet(picture.title, (Panel(place(picture, stack(picture))),))


def sheet(title: str, pictures: Mapping[str, Picture]) -> Sheet:
    """A sheet with several pictures, by what stands above each.

    The rows of the last one, which has most of them, are those of all: an adjoint has the rows of
    its model.
    """
    *_, richest = pictures.values()
    order = row_order(richest)
    common = _joint([_own(picture, richest, order) for picture in pictures.values()])
    panels: list[Panel] = []
    x = 0.0
    for name, picture in pictures.items():
        layout = place(picture, _fitting(picture, richest, common))
        shift = x - layout.left
        panels.append(Panel(layout, shift, f"{name}/", name))
        x = layout.right + shift + BETWEEN
    return Sheet(title, tuple(panels))


def _own(picture: Picture, richest: Picture, order: Sequence[Row]) -> Stack:
    """The room that a picture's rows need in an order of more rows. What a rolled one needs, its
    copies need: below the lowest of them and above the highest."""
    if picture.view == "rolled" and richest.view != "rolled":
        return _of_copies(stack(picture), _copies(picture, richest), order)
    rows = {b.row for b in picture.boxes.values() if not b.margin}
    own = [row for row in order if row in rows]
    own += [row for row in row_order(picture) if row not in set(own)]
    return stack(picture, own)


def _copies(picture: Picture, richest: Picture) -> dict[Row, set[Row]]:
    """The rows of all copies of what stands in each row of a rolled picture."""
    of = {b.name: b.row for b in picture.boxes.values() if not b.margin}
    copies: dict[Row, set[Row]] = {}
    for box in richest.boxes.values():
        if not box.margin and box.of in of:
            copies.setdefault(of[box.of], set()).add(box.row)
    return copies


def _of_copies(own: Stack, copies: dict[Row, set[Row]], order: Sequence[Row]) -> Stack:
    rank = {row: k for k, row in enumerate(order)}
    high: dict[Row, float] = {}
    below: dict[Row, float] = {}
    above: dict[Row, float] = {}
    for row, rows in copies.items():
        known = sorted((r for r in rows if r in rank), key=lambda r: rank[r])
        if known:
            below[known[0]] = max(below.get(known[0], 0.0), own.below[row])
            above[known[-1]] = max(above.get(known[-1], 0.0), own.above[row])
            high |= {r: max(high.get(r, 0.0), own.high[row]) for r in known}
    return Stack(tuple(r for r in order if r in high), high, below, above)


def _joint(stacks: Sequence[Stack]) -> Stack:
    """All rows, each with the most room that any picture needs there."""
    order: dict[Row, None] = {}
    for s in sorted(stacks, key=lambda s: -len(s.order)):
        order |= dict.fromkeys(s.order)
    # The rows of copies may need no room of their own.
    high = {row: max(s.high.get(row, 0.0) for s in stacks) for row in order}
    below = {row: max(s.below.get(row, 0.0) for s in stacks) for row in order}
    above = {row: max(s.above.get(row, 0.0) for s in stacks) for row in order}
    return Stack(tuple(order), high, below, above)


def _fitting(picture: Picture, richest: Picture, common: Stack) -> Stack:
    """The common rows, or for a rolled picture rows of its own at the heights of their copies."""
    if picture.view != "rolled":
        return common
    ys = common.heights()
    copies = {
        row: [ys[r] for r in rows if r in ys] for row, rows in _copies(picture, richest).items()
    }
    own = stack(picture)
    if len(copies) < len(own.order):
        return own
    # In the middle of all copies, as low as the row below allows.
    below: dict[Row, float] = {}
    y = 0.0
    for row in own.order:
        middle = (min(copies[row]) + max(copies[row])) / 2
        below[row] = max(middle - own.high[row] / 2 - y, own.below[row])
        y += below[row] + own.high[row] + own.above[row]
    return Stack(own.order, own.high, below, own.above)


__all__ = ["Panel", "Sheet", "sheet", "single"]
