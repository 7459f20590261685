"""Colours and strokes.

The colours are those of Okabe and Ito ("Color universal design", 2008), which remain distinct for
every kind of colour vision, as outlines on light fills, so that a page can be printed; kinds differ
in shape as well.
"""

from __future__ import annotations

from .picture import Box

FONT = "Helvetica,Arial,sans-serif"
INK = "#222222"
QUIET = "#6b6b6b"

OUTLINE = {
    "input": "#007a5a",
    "param": "#b07700",
    "variable": "#0072b2",
    "loss": "#a3477f",
    "adjoint": "#d55e00",
}
FILL = {
    "input": "#e3f3ee",
    "param": "#fdf1d9",
    "variable": "#e6f1f8",
    "loss": "#f8e8f1",
    "adjoint": "#fdeee4",
}

#: kind -> colour, width, style, head
LINES = {
    "flow": ("#3f5f75", "1.0", "solid", "normal"),
    "shared": ("#d9b366", "0.7", "solid", "none"),
    "adjoint": ("#d55e00", "1.1", "solid", "normal"),
    "gather": ("#eba67a", "0.7", "solid", "normal"),
    "recall": ("#b9b9b9", "0.6", "dashed", "none"),
    "cut": ("#cc1f1f", "1.2", "dashed", "normal"),
    "absent": ("#cc1f1f", "1.0", "dashed", "none"),
}
#: What stands across the middle of a line where derivatives are cut off.
CUT = "//"
MARKED = ("cut", "absent")


def box(b: Box) -> dict[str, str]:
    """The DOT attributes of a box."""
    if b.elided:
        return {"shape": "plaintext", "fontcolor": OUTLINE[b.kind], "fontsize": "14"}
    attributes = {
        "shape": "box",
        "style": "filled" if b.kind == "input" else "rounded,filled",
        "color": OUTLINE[b.kind],
        "fillcolor": FILL[b.kind],
    }
    if b.kind == "param":
        attributes |= {"shape": "hexagon", "style": "filled"}
    if b.output or b.kind == "loss":
        # A heavy outline marks what is returned.
        attributes |= {"penwidth": "2.4"}
    return attributes


def mark() -> dict[str, str]:
    """The DOT attributes of the strokes across a line that is cut."""
    return {
        "shape": "plaintext",
        "fontname": "Helvetica-Bold,Arial,sans-serif",
        "fontcolor": LINES["cut"][0],
        "fontsize": "13",
    }


def line(kind: str, elided: bool) -> dict[str, str]:
    """The DOT attributes of a line; one that stands for several steps is dotted."""
    colour, width, style, head = LINES[kind]
    attributes = {"color": colour, "penwidth": width, "arrowhead": head, "arrowsize": "0.55"}
    if elided or style != "solid":
        attributes["style"] = "dotted" if elided else style
    return attributes
