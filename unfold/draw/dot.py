"""A layout as DOT text, in which every node and every line has its place."""

from __future__ import annotations

import graphviz

from . import style
from .curves import Curve, route, straight
from .layout import Layout
from .legend import SAMPLE, Entry, legend


def to_dot(layout: Layout) -> str:
    """DOT text for ``neato -n2``: Graphviz draws it as it stands."""
    picture = layout.picture
    dot = graphviz.Digraph(
        picture.title,
        graph_attr={
            "bgcolor": "white",
            "fontname": style.FONT,
            "fontsize": "12",
            "fontcolor": style.QUIET,
            "label": picture.title,
            "labelloc": "b",
            "outputorder": "edgesfirst",
            "pad": "0.2",
        },
        node_attr={
            "fixedsize": "true",
            "fontname": style.FONT,
            "fontsize": "11",
            "fontcolor": style.INK,
            "penwidth": "1.1",
        },
        edge_attr={"fontname": style.FONT, "fontsize": "9"},
    )
    for name, box in picture.boxes.items():
        spot = layout.spots[name]
        dot.node(
            name,
            graphviz.escape(box.label),
            tooltip=graphviz.escape(box.tooltip),
            pos=_point(spot.x, spot.y),
            width=_inches(spot.width),
            height=_inches(spot.height),
            **style.box(box),
        )
    for k, heading in enumerate(picture.columns):
        dot.node(
            f"heading {k}",
            heading.label,
            shape="plaintext",
            fontcolor=style.QUIET,
            tooltip=heading.label,
            pos=_point(layout.columns[k], layout.top),
            width=_inches(layout.width),
            height=_inches(16.0),
        )
    for line in picture.lines:
        elided = picture.boxes[line.start].elided or picture.boxes[line.end].elided
        curve = route(layout, line)
        dot.edge(
            _quoted(line.start),
            _quoted(line.end),
            pos=_spline(curve, style.LINES[line.kind][3] != "none"),
            tooltip=f"{line.start} → {line.end}",
            **style.line(line.kind, elided),
        )
        if line.kind in style.MARKED:
            _mark(dot, f"cut {line.start} {line.end}", curve.middle)
    for entry in legend(layout):
        _explain(dot, entry)
    return str(dot.source)


def _mark(dot: graphviz.Digraph, name: str, at: tuple[float, float]) -> None:
    """Two strokes across a line: no derivative passes."""
    dot.node(
        _quoted(name),
        style.CUT,
        pos=_point(*at),
        width=_inches(16.0),
        height=_inches(18.0),
        margin="0",
        tooltip="no derivative passes",
        **style.mark(),
    )


def _explain(dot: graphviz.Digraph, entry: Entry) -> None:
    """A short line of a kind, and what it means."""
    ends = [(entry.x, entry.y), (entry.x + SAMPLE - 6.0, entry.y)]
    names = [f"legend {entry.kind} {k}" for k in range(2)]
    for name, end in zip(names, ends, strict=True):
        dot.node(name, "", shape="point", style="invis", pos=_point(*end), width="0.01",
                 height="0.01")  # fmt: skip
    curve = straight(*ends)
    dot.edge(
        *names,
        pos=_spline(curve, style.LINES[entry.kind][3] != "none"),
        tooltip=entry.text,
        **style.line(entry.kind, False),
    )
    if entry.kind in style.MARKED:
        _mark(dot, f"cut {names[0]}", curve.middle)
    dot.node(
        f"legend {entry.kind}",
        entry.text,
        shape="plaintext",
        fontcolor=style.QUIET,
        tooltip=entry.text,
        pos=_point(entry.x + SAMPLE + entry.width / 2, entry.y),
        width=_inches(entry.width),
        height=_inches(18.0),
        margin="0",
    )


def _quoted(name: str) -> str:
    # The graphviz package takes what follows a colon in an edge's end for a port.
    return name.replace(":", "∶")


def _inches(points: float) -> str:
    return f"{points / 72:.4f}"


def _point(x: float, y: float) -> str:
    return f"{x:.2f},{y:.2f}"


def _spline(curve: Curve, arrow: bool) -> str:
    points = list(curve.points)
    if curve.tip is None:
        return " ".join(_point(*p) for p in points)
    if not arrow:
        return " ".join(_point(*p) for p in [*points, *[curve.tip] * 3])
    return f"e,{_point(*curve.tip)} " + " ".join(_point(*p) for p in points)
