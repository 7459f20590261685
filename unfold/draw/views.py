"""The views of one model: rolled, unrolled and adjoint, and all of them on one sheet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from ..graph import Graph, placed, unfold
from ..program import Program
from .make import changed, shown, svg, write
from .make import draw as draw_one
from .options import Options
from .picture import Picture
from .rolled import rolled
from .sheet import sheet, single

VIEWS = ("rolled", "unrolled", "adjoint")
#: The most elements of a graph that is unfolded to be drawn.
MANY = 250_000


@dataclass(frozen=True)
class Rolled:
    """A program as it can be drawn without unfolding it: the reduced dependence graph.

    A box is an equation, whatever the number of steps; lines say how far back they read. Compare
    `unfold.Graph`, whose drawing has a column like this one for every step.
    """

    program: Program

    def picture(self, options: Options) -> Picture:
        """What is shown; see `Options`, of which ``columns`` and ``rows`` have no meaning here."""
        made = rolled(self.program)
        lengths = {n: max(8, self.program.minimum.get(n, 1)) for n in self.program.lengths}
        return changed(made, self.program, options, lengths)

    def draw(self, path: str | Path, **options: Any) -> Path:
        """Draw to svg, pdf, png or dot, by the suffix; see `unfold.draw.draw`."""
        return draw_one(self, path, **options)

    def _repr_svg_(self) -> str | None:
        return svg(self)

    def __repr__(self) -> str:
        p = self.program
        return f"<rolled {p.name}: {len(p.equations)} equations>"


def elements(program: Program, lengths: Mapping[str, int]) -> int:
    """How many elements an unfolded program may have, without unfolding it."""
    count = 0
    for v in program.vars.values():
        ranges = [(a.lo.subs(lengths), a.hi.subs(lengths)) for a in v.axes]
        count += prod(max(0, (hi - lo).constant or 0) + 1 for lo, hi in ranges)
    return count


def unfolded(program: Program, lengths: Mapping[str, int], level: str = "equation") -> Graph:
    """A graph to be drawn. Raises ``ValueError`` if it would have too many elements."""
    program, lengths = placed(program, lengths)
    count = elements(program, lengths)
    if count > MANY:
        at = ", ".join(f"{n} = {k}" for n, k in lengths.items())
        raise ValueError(
            f"{program.name} at {at} has about {count:,} elements, too many to unfold for a "
            f"drawing ({MANY:,}): draw fewer steps, or the rolled graph, which has none"
        )
    return unfold(program, lengths, level)


def draw_views(
    program: Program,
    differentiated: Callable[[], Program],
    path: str | Path,
    views: Sequence[str],
    lengths: Mapping[str, int],
    level: str = "equation",
    **options: Any,
) -> Path:
    """Draw several views of a program side by side, equal rows at equal heights.

    Args:
        program: the model.
        differentiated: makes its adjoint.
        views: any of `VIEWS`.
        lengths: a number for each length of the program.
        options: see `Options`.

    Raises ``ValueError`` for an unknown view, and what `unfold.draw.draw` raises.
    """
    for view in views:
        if view not in VIEWS:
            raise ValueError(f"there is no view {view}, only {', '.join(VIEWS)}")
    wanted = [v for v in VIEWS if v in views]
    if not wanted:
        raise ValueError(f"name a view: {', '.join(VIEWS)}")
    made = Options(**options)

    def picture(view: str) -> Picture:
        if view == "rolled":
            return shown(Rolled(program), made)
        own = program if view == "unrolled" else differentiated()
        return shown(unfolded(own, lengths, level), made)

    if len(wanted) == 1:
        return write(path, lambda: single(picture(wanted[0])))
    at = ", ".join(f"{n} = {k}" for n, k in lengths.items())
    title = f"{program.name}, {at}" if at else program.name
    return write(path, lambda: sheet(title, {view: picture(view) for view in wanted}))


__all__ = ["VIEWS", "Rolled", "draw_views", "elements", "unfolded"]
