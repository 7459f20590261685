"""From something that can be drawn to a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ..files import atomically
from ..graph import Graph
from .checkpoints import checkpointed
from .curves import corners
from .dot import to_dot
from .folding import chosen, folded
from .highlight import highlighted
from .layout import arrange
from .options import Options
from .picture import Picture
from .render import FORMATS, DrawingError, render
from .sheet import Sheet, single
from .unrolled import picture


class Drawable(Protocol):
    """What `unfold.draw.views.Rolled` is as well: it makes its own picture."""

    def picture(self, options: Options) -> Picture: ...


def shown(thing: Graph | Drawable, options: Options) -> Picture:
    """The picture of a graph or of a rolled program. Raises ``ValueError``, `InputError`."""
    if not isinstance(thing, Graph):
        return thing.picture(options)
    if options.columns < 2 or options.rows < 2:
        raise ValueError("columns= and rows= are at least 2")
    made = picture(thing, options.columns, options.rows)
    return changed(made, thing.program, options, dict(thing.lengths))


def changed(made: Picture, program: Any, options: Options, lengths: dict[str, int]) -> Picture:
    """The picture with marks and lights, and its sub-models folded."""
    if options.checkpoint is not None:
        made = checkpointed(made, program, options.checkpoint, lengths)
    if options.highlight is not None:
        made = highlighted(made, program, options.highlight)
    return folded(made, chosen(program, options.fold))


def draw(thing: Graph | Drawable, path: str | Path, **options: Any) -> Path:
    """Draw a graph, or a rolled program, to a file.

    Args:
        thing: a graph at level "equation" (best for an overview) or "op", or ``model.rolled()``.
        path: ends in svg, pdf, png or dot; dot is the text with all positions in it, which
            ``neato -n2`` renders.
        options: see `Options`: ``columns``, ``rows``, ``fold``, ``highlight``, ``checkpoint``.

    Returns the path. Raises ``ValueError`` for another suffix or a name that is not there, and
    `DrawingError` if there is no Graphviz to be found.
    """
    return write(path, lambda: single(shown(thing, Options(**options))))


def write(path: str | Path, make: Callable[[], Sheet]) -> Path:
    """Draw a sheet to a file, whole or not at all; the suffix is looked at first."""
    path = Path(path)
    kind = path.suffix.lstrip(".").lower()
    if kind not in FORMATS:
        raise ValueError(f"{path.name}: a drawing ends in {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}")
    text = to_dot(make())
    content = text.encode() if kind == "dot" else render(text, kind)
    atomically(path, lambda file: file.write(content))
    return path


def source(thing: Graph | Drawable, **options: Any) -> str:
    """The drawing as DOT text, every node and line with its position."""
    return to_dot(single(shown(thing, Options(**options))))


def svg(thing: Graph | Drawable, **options: Any) -> str | None:
    """The drawing as SVG text for a notebook, on white so that it can be read on a dark page;
    ``None``, so that a notebook shows the ``repr``, if there is no Graphviz or too much to draw."""
    if isinstance(thing, Graph) and len(thing) > 20_000:
        return None
    made = shown(thing, Options(**options))
    if len(made.boxes) > 1_500:
        return None
    try:
        text = render(to_dot(single(made)), "svg").decode()
    except DrawingError:
        return None
    return text[text.index("<svg") :]


def places(thing: Graph | Drawable, **options: Any) -> dict[str, Any]:
    """Everything that a drawing shows, with its place, as plain data (for JSON).

    Points have their origin below at the left. The keys are ``title``, ``view``, ``left``,
    ``right``, ``top`` (of the headings), and lists of

    - ``columns``: ``label``, ``x``;
    - ``boxes``: what `unfold.draw.picture.Box` has, and ``x``, ``y`` (of the middle), ``width``,
      ``height``;
    - ``lines``: what `unfold.draw.picture.Line` has, and ``points``, at which it turns;
    - ``frames``: ``model``, ``back``, ``x``, ``y``, ``width``, ``height``.

    Takes the same options as `draw`.
    """
    made = shown(thing, Options(**options))
    layout = arrange(made)
    return {
        "title": made.title,
        "view": made.view,
        "left": layout.left,
        "right": layout.right,
        "top": layout.top,
        "columns": [
            {"label": h.label, "x": x} for h, x in zip(made.columns, layout.columns, strict=True)
        ],
        "boxes": [
            {**vars(b), "row": b.row[0], **vars(layout.spots[b.name])} for b in made.boxes.values()
        ],
        "lines": [{**vars(ln), "points": corners(layout, ln)} for ln in made.lines],
        "frames": [{"model": f.model, "back": f.back, **vars(s)} for f, s in layout.frames],
    }


__all__ = ["changed", "draw", "places", "shown", "source", "svg", "write"]
