"""Drawing programs and explicit graphs with Graphviz.

Time runs from left to right, one column a step, and what one equation defines stands on one row in
every column. Parameters stand apart at the left, each once, and lines lead from there along the
rows to all their uses. The adjoint is drawn in a colour of its own above the forward graph, in
mirror order: its edges run back, from right to left and downwards in the equations' order. Rolled
up, a program is one such column, and lines say how many steps back they read.

Where a value passes and its derivative does not (`detach`, truncated backpropagation) the line is
red, dashed and crossed by two strokes, and so is the place in the adjoint that it leaves empty.

`unrolled` and `rolled` say what is shown, `folding`, `highlight` and `checkpoints` change that;
`rows`, `wires` and `layout` say where, `curves` how lines run, `style` what it looks like, `legend`
what it means; `dot` writes it down and `render` turns that into a file. `places` gives everything
with its place as plain data, for other ways to draw it.
"""

from __future__ import annotations

from .layout import arrange
from .make import draw, places, source, svg
from .options import COLUMNS, ROWS, Options
from .picture import Picture
from .render import FORMATS, DrawingError, render
from .rolled import rolled
from .unrolled import picture
from .views import VIEWS, Rolled, draw_views

__all__ = [
    "COLUMNS", "FORMATS", "ROWS", "VIEWS", "DrawingError", "Options", "Picture", "Rolled",
    "arrange", "draw", "draw_views", "picture", "places", "render", "rolled", "source", "svg",
]  # fmt: skip
