"""A layout as DOT text, in which every node and every line has its place."""

from __future__ import annotations

import graphviz

from . import style
from .curves import Curve, route
from .layout import Layout


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
        dot.edge(
            _quoted(line.start),
            _quoted(line.end),
            pos=_spline(route(layout, line), style.LINES[line.kind][3] != "none"),
            tooltip=f"{line.start} → {line.end}",
            **style.line(line.kind, elided),
        )
    return str(dot.source)


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
