"""Where an equation stands: its name, row and column in a rolled picture.

``h[t] = …`` and ``h[0] = …`` stand on one row, the second in a column of its own, as its element
does in an unrolled picture. ``h[l,0] = …`` has another row than ``h[l,t]`` if columns are ``l``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..poly import Poly
from ..program import Equation, Program, Var
from .picture import Row


class Place(NamedTuple):
    """``column`` is a clock (the length that time runs over) and the one position on it that the
    equation defines, ``None`` if it defines many; ``None`` for what has no time."""

    name: str
    row: Row
    column: tuple[str, Poly | None] | None


def time_axis(v: Var, lengths: Iterable[str]) -> tuple[int, str] | None:
    """The first axis of a variable that runs over a length, and the length."""
    for k, axis in enumerate(v.axes):
        clock = (axis.hi - axis.lo).symbols & set(lengths)
        if clock:
            return k, min(clock)
    return None


def of_equation(program: Program, eq: Equation) -> Place:
    """The place of what an equation defines."""
    v = program.vars[eq.name]
    usual = dict(zip(eq.indices, (axis.index for axis in v.axes), strict=True))
    if len(set(usual.values())) < len(usual):
        usual = {i: i for i in eq.indices}
    element = eq.element
    texts = [text(p.subs({i: Poly.symbol(u) for i, u in usual.items()})) for p in element]
    name = f"{v.name}[{','.join(texts)}]" if texts else v.name
    time = time_axis(v, program.lengths)
    if time is None:
        return Place(name, (v.name, tuple(texts), 0), None)
    k, clock = time
    at = None if element[k].symbols & set(eq.indices) else element[k]
    return Place(name, (v.name, (*texts[:k], *texts[k + 1 :]), 0), (clock, at))


def of_given(program: Program, v: Var) -> Place:
    """The place of an input, a parameter or a constant."""
    texts = [axis.index for axis in v.axes]
    name = f"{v.name}[{','.join(texts)}]" if texts else v.name
    time = time_axis(v, program.lengths)
    if time is None:
        return Place(name, (v.name, tuple(texts), 0), None)
    k, clock = time
    return Place(name, (v.name, (*texts[:k], *texts[k + 1 :]), 0), (clock, None))


def text(p: Poly) -> str:
    """A position as in a name: ``T+1``."""
    return str(p).replace(" ", "")


def index_of(program: Program, clock: str) -> str:
    """The usual index of a length: ``t`` for ``T``."""
    return next((i for i, (_, hi) in program.indices.items() if clock in hi.symbols), clock)


__all__ = ["Place", "index_of", "of_equation", "of_given", "text", "time_axis"]
