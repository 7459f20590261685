"""One row times several panels at once: the step of a single sequence.

A block of one row and one panel has so few sums that each waits for the one before. Columns are
summed in the same order as in blocks of any height, so the bits are the same.
"""

from __future__ import annotations

from ..body import INT, POINTER, VOID, Body, Type, Value, define
from .kernel import Operands
from .tiling import Tiling

#: Sums at once: two a cycle with a latency of four.
SUMS = 8


def together(t: Tiling) -> int:
    """How many full panels are done at once."""
    return SUMS // t.vectors


def panels_at_once(b: Body, t: Tiling, o: Operands, apart: Value, start_apart: Value) -> None:
    """Emit the product of a row whose entries are adjacent with `together` full panels.

    ``o.b`` is the first panel, ``apart`` the distance of the others in elements, ``start_apart``
    that of what their sums begin with.
    """
    name = _kernel(b, t)
    b.call_void(name, o.a, o.b, apart, o.start, start_apart, o.c, o.terms)


def _kernel(b: Body, t: Tiling) -> str:
    """``void (a, panels, apart, start, start_apart, c, terms)``."""
    kind = Type(t.element.element, t.lanes)
    count = together(t)

    def write(b: Body) -> None:
        a, panels, apart, start, start_apart, c, terms = b.args
        lines = [b.at(panels, apart * n, t.element) for n in range(count)]
        vectors = [n * t.lanes for n in range(t.vectors)]
        starts = [b.at(start, start_apart * n, t.element) for n in range(count)]
        first = [b.load(b.at(s, skip, t.element), kind) for s in starts for skip in vectors]

        def term(k: Value, sums: list[Value]) -> list[Value]:
            x = b.splat(b.load(b.at(a, k, t.element), t.element), t.lanes)
            line = k * t.columns
            found = []
            for n, s in enumerate(sums):
                panel, vector = divmod(n, t.vectors)
                at = b.at(b.at(lines[panel], line, t.element), vector * t.lanes, t.element)
                found.append(b.madd(x, b.load(at, kind), s))
            return found

        for n, s in enumerate(b.loop(terms, first, term)):
            b.store(s, b.at(c, n * t.lanes, t.element))

    params = (POINTER, POINTER, INT, POINTER, INT, POINTER, INT)
    return define(b.module, f"unfold.single.{kind.suffix}", VOID, params, write)
