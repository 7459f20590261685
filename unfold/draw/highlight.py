"""A picture in which all uses of some parameters are lit."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

from ..program import Program
from .picture import LIT, USE, Picture


def highlighted(picture: Picture, program: Program, names: str | Sequence[str]) -> Picture:
    """Light boxes of the named parameters (or other variables), the lines to all that reads them,
    what stands at the ends of those, and what is gathered into their gradients.

    Raises ``ValueError`` for a name that the program does not have.
    """
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in program.vars:
            near = difflib.get_close_matches(name, program.vars, 3, 0.4)
            there = near or [v.name for v in program.params] or list(program.vars)
            raise ValueError(
                f"{program.name} has no {name} to highlight: there is {', '.join(there)}"
            )
    gradients = {v.name for v in program.vars.values() if v.adjoint_of in wanted}
    boxes = dict(picture.boxes)
    own = {b.name for b in boxes.values() if b.row[0] in wanted}
    gathered = {b.name for b in boxes.values() if b.row[0] in gradients}
    lines, lit = [], dict.fromkeys(own | gathered, LIT)
    for line in picture.lines:
        if line.start in own or line.end in gathered:
            line = replace(line, lit=True)
            # Where a value is recalled for a gradient, the gradient is meant, not the value.
            if line.start in own:
                lit.setdefault(line.end, USE)
        lines.append(line)
    boxes |= {name: replace(boxes[name], lit=how) for name, how in lit.items()}
    return replace(picture, boxes=boxes, lines=tuple(lines))


__all__ = ["highlighted"]
