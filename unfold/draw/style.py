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
    "model": "#0072b2",
}
FILL = {
    "input": "#e3f3ee",
    "param": "#fdf1d9",
    "variable": "#e6f1f8",
    "loss": "#f8e8f1",
    "adjoint": "#fdeee4",
    "model": "#d5e8f5",
}
#: What is highlighted: outline, fill, and the width of lines.
LIT = ("#a05a00", "#ffd54a", "2.6")
KEPT = "#8fc3e6"
FRAME = {False: "#7f9fb3", True: "#cf8f66"}

#: kind -> colour, width, style, head
LINES = {
    "flow": ("#3f5f75", "1.0", "solid", "normal"),
    "shared": ("#d9b366", "0.7", "solid", "none"),
    "adjoint": ("#d55e00", "1.1", "solid", "normal"),
    "gather": ("#eba67a", "0.7", "solid", "normal"),
    "recall": ("#b9b9b9", "0.6", "dashed", "none"),
    "cut": ("#cc1f1f", "1.2", "dashed", "normal"),
    "absent": ("#cc1f1f", "1.0", "dashed", "none"),
    "border": ("#555555", "1.0", "dotted", "none"),
}
#: What stands across the middle of a line where derivatives are cut off.
CUT = "//"
MARKED = ("cut", "absent")


def box(b: Box) -> dict[str, str]:
    """The DOT attributes of a box."""
    if b.elided:
        return {"shape": "plaintext", "fontcolor": OUTLINE[b.kind], "fontsize": "11"}
    attributes = {
        "shape": "box",
        "style": "filled" if b.kind == "input" else "rounded,filled",
        "color": OUTLINE[b.kind],
        "fillcolor": FILL[b.kind],
    }
    if b.kind == "param":
        attributes |= {"shape": "hexagon", "style": "filled"}
    if b.kind == "model":
        # Like a pile: there is more behind it.
        attributes |= {"peripheries": "2", "style": "filled"}
    if b.output or b.kind == "loss":
        # A heavy outline marks what is returned.
        attributes |= {"penwidth": "2.4"}
    return attributes | sign(b.mark) | sign(b.lit)


def sign(mark: str) -> dict[str, str]:
    """The DOT attributes that a mark of `picture.Box` adds to a box."""
    return {
        "": {},
        "model": {
            "shape": "box", "peripheries": "2", "style": "filled", "color": OUTLINE["model"],
            "fillcolor": FILL["model"],
        },
        "kept": {"fillcolor": KEPT, "color": OUTLINE["variable"], "style": "rounded,filled"},
        "again": {"style": "rounded,dashed", "color": OUTLINE["variable"]},
        "lit": {"color": LIT[0], "fillcolor": LIT[1], "penwidth": "2.2"},
        "use": {"color": LIT[0], "penwidth": "2.6"},
    }[mark]  # fmt: skip


def frame(back: bool) -> dict[str, str]:
    """The DOT attributes of the frame around a sub-model, and of its name."""
    return {"color": FRAME[back], "fontcolor": FRAME[back]}


def mark() -> dict[str, str]:
    """The DOT attributes of the strokes across a line that is cut."""
    return {
        "shape": "plaintext",
        "fontname": "Helvetica-Bold,Arial,sans-serif",
        "fontcolor": LINES["cut"][0],
        "fontsize": "13",
    }


def line(kind: str, elided: bool = False, lit: bool = False) -> dict[str, str]:
    """The DOT attributes of a line; one that stands for several steps is dotted."""
    colour, width, style, head = LINES[kind]
    if lit:
        colour, width = LIT[0], LIT[2]
    attributes = {"color": colour, "penwidth": width, "arrowhead": head, "arrowsize": "0.55"}
    if elided or style != "solid":
        attributes["style"] = "dotted" if elided else style
    return attributes
