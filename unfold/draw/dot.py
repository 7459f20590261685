"""A sheet as DOT text, in which every node and every line has its place.

In SVG, the ``id`` of a box is its name (``h[3]``; on a sheet of several pictures ``unrolled/h[3]``)
and its ``class`` holds its kind, marks, and its name in the rolled picture (``h[t]``); a line's id
is ``h[2]->h[3]``.
"""

from __future__ import annotations

import graphviz

from . import style
from .curves import Curve, Point, corners, polyline
from .layout import SMALL, Spot
from .legend import SAMPLE, Entry, legend
from .picture import Line
from .sheet import Panel, Sheet


def to_dot(sheet: Sheet) -> str:
    """DOT text for ``neato -n2``: Graphviz draws it as it stands."""
    dot = graphviz.Digraph(
        sheet.title,
        graph_attr={
            "bgcolor": "white",
            "fontname": style.FONT,
            "fontsize": "12",
            "fontcolor": style.QUIET,
            "label": sheet.title,
            "labelloc": "b",
            "outputorder": "nodesfirst",
            "pad": "0.2",
        },
        node_attr={
            "fixedsize": "true",
            "fontname": style.FONT,
            "fontsize": "11",
            "fontcolor": style.INK,
            "penwidth": "1.1",
        },
        edge_attr={"fontname": style.FONT, "fontsize": "9", "fontcolor": style.QUIET},
    )
    for panel in sheet.panels:
        _Writer(dot, panel).write()
    pictures = [p.layout.picture for p in sheet.panels]
    for entry in legend(pictures, sheet.left, sheet.right, sheet.bottom - 50.0):
        _explain(dot, entry)
    return str(dot.source)


class _Writer:
    """Writes one picture of a sheet."""

    def __init__(self, dot: graphviz.Digraph, panel: Panel) -> None:
        self.dot, self.panel, self.layout = dot, panel, panel.layout
        self.picture = panel.layout.picture
        self.said: set[tuple[object, ...]] = set()
        self.ids: set[str] = set()

    def write(self) -> None:
        for number, (frame, spot) in enumerate(self.layout.frames):
            self.frame(number, frame.model, frame.back, spot)
        self.headings()
        for name, box in self.picture.boxes.items():
            spot = self.layout.spots[name]
            signs = [box.kind, box.mark, box.lit, "elided" if box.elided else ""]
            self.dot.node(
                self.name(name),
                graphviz.escape(box.label),
                tooltip=graphviz.escape(box.tooltip),
                pos=self.at(spot.x, spot.y),
                width=_inches(spot.width),
                height=_inches(spot.height),
                id=self.id(name),
                **{"class": " ".join([*filter(None, signs), _word(box.of)])},
                **style.box(box),
            )
        # Lit lines are drawn last, above the others.
        for line in sorted(self.picture.lines, key=lambda line: line.lit):
            self.line(line)

    def line(self, line: Line) -> None:
        boxes = self.picture.boxes
        way = [(x + self.panel.shift, y) for x, y in corners(self.layout, line)]
        curve = polyline(way)
        label = self.label(line, way)
        elided = boxes[line.start].elided or boxes[line.end].elided
        said = f"{line.start} → {line.end}" + (f", at {line.label}" if line.label else "")
        self.dot.edge(
            self.name(line.start),
            self.name(line.end),
            pos=_spline(curve, style.LINES[line.kind][3] != "none"),
            tooltip=graphviz.escape(said),
            id=self.id(f"{line.start}->{line.end}"),
            **{"class": f"{line.kind} lit" if line.lit else line.kind},
            **style.line(line.kind, elided, line.lit),
            **label,
        )
        if line.kind in style.MARKED:
            _mark(self.dot, self.name(f"cut {line.start} {line.end}"), curve.middle)

    def label(self, line: Line, way: list[Point]) -> dict[str, str]:
        """What is read, beside the beginning of a line; once for all lines that begin together."""
        boxes = self.picture.boxes
        if not line.label or boxes[line.start].margin or boxes[line.end].margin:
            return {}
        start = (line.start, line.label, round(way[0][0], 1), round(way[0][1], 1))
        if start in self.said:
            return {}
        self.said.add(start)
        (x, y), after = way[0], way[1]
        wide = SMALL * len(line.label)
        if abs(after[1] - y) > abs(after[0] - x):
            place = (x + wide / 2 + 4.0, y + (8.0 if after[1] > y else -8.0))
        else:
            side = 1.0 if after[0] > x else -1.0
            above = y >= self.layout.spots[line.start].y
            place = (x + side * (wide / 2 + 3.0), y + (5.5 if above else -5.5))
        return {"label": line.label, "lp": _point(*place)}

    def headings(self) -> None:
        layout = self.layout
        for k, heading in enumerate(self.picture.columns):
            self.dot.node(
                self.name(f"heading {k}"),
                heading.label,
                shape="plaintext",
                fontcolor=style.QUIET,
                tooltip=heading.label,
                pos=self.at(layout.columns[k], layout.top),
                width=_inches(layout.width),
                height=_inches(16.0),
                **{"class": "heading"},
            )
        for k in self.picture.borders:
            x = (layout.columns[k] + layout.columns[k + 1]) / 2 + self.panel.shift
            low = min(layout.rows.values()) - 24.0
            ends = [(x, low), (x, layout.top + 6.0)]
            _ruled(self.dot, self.name(f"border {k}"), ends, "border", "border of segments")
        if self.panel.caption:
            self.dot.node(
                self.name("caption"),
                self.panel.caption,
                shape="plaintext",
                fontsize="14",
                tooltip=self.panel.caption,
                pos=self.at((layout.left + layout.right) / 2, layout.top + 30.0),
                width=_inches(120.0),
                height=_inches(20.0),
            )

    def frame(self, number: int, model: str, back: bool, spot: Spot) -> None:
        """A rounded frame, and the sub-model's name inside at the upper left."""
        look = style.frame(back)
        self.dot.node(
            self.name(f"frame {number}"), "", shape="box", style="rounded", color=look["color"],
            tooltip=model, pos=self.at(spot.x, spot.y), width=_inches(spot.width),
            height=_inches(spot.height), id=self.id(f"frame {model}{'_bar' if back else ''}"),
            **{"class": f"frame {_word(model)}"},
        )  # fmt: skip
        wide = 6.0 * len(model) + 8.0
        self.dot.node(
            self.name(f"frame {number} name"), model, shape="plaintext", tooltip=model,
            fontcolor=look["fontcolor"], fontname="Helvetica-Bold,Arial,sans-serif", fontsize="10",
            pos=self.at(spot.x - spot.width / 2 + 5.0 + wide / 2, spot.y + spot.height / 2 - 8.0),
            width=_inches(wide), height=_inches(12.0), margin="0",
        )  # fmt: skip

    def name(self, name: str) -> str:
        # The graphviz package takes what follows a colon in an edge's end for a port.
        return (self.panel.prefix + name).replace(":", "∶")

    def id(self, name: str) -> str:
        """A name as an id of the document."""
        found = _word(self.panel.prefix + name)
        count = 1
        while found in self.ids:
            count += 1
            found = f"{_word(self.panel.prefix + name)}_{count}"
        self.ids.add(found)
        return found

    def at(self, x: float, y: float) -> str:
        return _point(x + self.panel.shift, y)


def _mark(dot: graphviz.Digraph, name: str, at: Point) -> None:
    """Two strokes across a line: no derivative passes."""
    dot.node(
        name,
        style.CUT,
        pos=_point(*at),
        width=_inches(16.0),
        height=_inches(18.0),
        margin="0",
        tooltip="no derivative passes",
        **style.mark(),
    )


def _explain(dot: graphviz.Digraph, entry: Entry) -> None:
    """A short line or a small box of a kind, and what it means."""
    if entry.is_line:
        ends = [(entry.x, entry.y), (entry.x + SAMPLE - 6.0, entry.y)]
        _ruled(dot, f"legend {entry.kind}", ends, entry.kind, entry.text)
        if entry.kind in style.MARKED:
            _mark(dot, f"cut legend {entry.kind}", polyline(ends).middle)
    else:
        look = {"shape": "box", "style": "rounded,filled", "fillcolor": "white"}
        dot.node(
            f"legend {entry.kind} sample", "", pos=_point(entry.x + SAMPLE / 2 - 3.0, entry.y),
            width=_inches(SAMPLE - 8.0), height=_inches(12.0), tooltip=entry.text,
            **(look | style.sign(entry.kind)),
        )  # fmt: skip
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


def _ruled(dot: graphviz.Digraph, name: str, ends: list[Point], kind: str, tooltip: str) -> None:
    """A straight line of a kind that joins no boxes."""
    names = [f"{name} {k}" for k in range(2)]
    for end, at in zip(names, ends, strict=True):
        dot.node(end, "", shape="point", style="invis", pos=_point(*at), width="0.01",
                 height="0.01")  # fmt: skip
    dot.edge(
        *names,
        pos=_spline(polyline(ends), style.LINES[kind][3] != "none"),
        tooltip=tooltip,
        **style.line(kind),
    )


def _word(text: str) -> str:
    """A name without blanks, as ids and classes have to be."""
    return text.replace(" ", "_")


def _inches(points: float) -> str:
    return f"{points / 72:.4f}"


def _point(x: float, y: float) -> str:
    return f"{x:.1f},{y:.1f}"


def _spline(curve: Curve, arrow: bool) -> str:
    points = list(curve.points)
    if curve.tip is None:
        return " ".join(_point(*p) for p in points)
    if not arrow:
        return " ".join(_point(*p) for p in [*points, *[curve.tip] * 3])
    return f"e,{_point(*curve.tip)} " + " ".join(_point(*p) for p in points)


__all__ = ["to_dot"]
