"""A picture in which all uses of some parameters are lit."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

from ..program import Program
from .picture import LIT, USE, Picture

#: How many names an error lists.
MOST = 20


def highlighted(picture: Picture, program: Program, names: str | Sequence[str]) -> Picture:
    """Light boxes of the named parameters (or other variables), the lines to all that reads them,
    what stands at the ends of those, and what is gathered into their gradients.

    Raises ``ValueError`` for a name that the program does not have.
    """
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in program.vars:
            there = sorted(program.vars, key=lambda n: -_likeness(name, n))
            meant = f"; did you mean `{there[0]}`?" if _likeness(name, there[0]) >= 0.6 else ""
            raise ValueError(
                f"{program.name} has no {name} to highlight{meant or ':'} "
                f"{'There' if meant else 'there'} is {', '.join(there[:MOST])}"
                + (", …" if len(there) > MOST else "")
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


def _likeness(one: str, other: str) -> float:
    """From 0 to 1, whatever the case of letters."""
    return difflib.SequenceMatcher(None, one.casefold(), other.casefold()).ratio()


__all__ = ["highlighted"]
