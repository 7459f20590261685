"""Drawing the explicit DAG with Graphviz.

Time runs from left to right, one column a step, and what one equation defines stands on one row in
every column. Parameters stand apart at the left, each once, and lines lead from there along the
rows to all their uses. The adjoint is drawn in a colour of its own above the forward graph, in
mirror order: its edges run back, from right to left and downwards in the equations' order.

Where a value passes and its derivative does not (`detach`, truncated backpropagation) the line is
red, dashed and crossed by two strokes, and so is the place in the adjoint that it leaves empty.

`picture` says what is shown, `layout` where, `curves` how lines run, `style` what it looks like,
`legend` what lines mean; `render` turns DOT text into a file.
"""

from __future__ import annotations

from pathlib import Path

from ..graph import Graph
from .dot import to_dot
from .layout import arrange
from .picture import Picture, picture
from .render import FORMATS, DrawingError, render

#: The most steps that are drawn; of more, the middle is left out.
COLUMNS = 10


def draw(graph: Graph, path: str | Path, *, columns: int = COLUMNS) -> Path:
    """Draw a graph to a file.

    Args:
        graph: at level "equation" (best for an overview) or "op".
        path: ends in svg, pdf, png or dot; dot is the text with all positions in it, which
            ``neato -n2`` renders.
        columns: the most steps to draw; the middle of a longer sequence becomes one column that
            says how many are left out.

    Returns the path. Raises ``ValueError`` for another suffix, and `DrawingError` if there is no
    Graphviz to be found.
    """
    path = Path(path)
    kind = path.suffix.lstrip(".").lower()
    if kind not in FORMATS:
        raise ValueError(f"{path.name}: a drawing ends in {', '.join(FORMATS)}")
    text = source(graph, columns=columns)
    path.write_bytes(text.encode() if kind == "dot" else render(text, kind))
    return path


def source(graph: Graph, *, columns: int = COLUMNS) -> str:
    """The drawing as DOT text, every node and line with its position."""
    return to_dot(arrange(picture(graph, columns)))


__all__ = ["COLUMNS", "DrawingError", "Picture", "draw", "picture", "render", "source"]
