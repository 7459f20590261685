"""Outputs that are defined everywhere: what no equation defines is 0.

before:  a[t,s] = f(t, s) for s <= t, returned as a table of T rows and T columns
after:   and a[t,s] = 0 for s >= t + 1
A text may not ask for such an output, but derivatives and tools do: `wrt=["a"]`.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..expr import Ref
from ..poly import Poly
from ..program import Equation, Output, Program, equation
from .common import hit, output_domain, refit, zero


def whole(program: Program, outputs: Iterable[Output]) -> Program:
    """The program with an equation for each part of these outputs that has none."""
    made = tuple(eq for out in outputs for eq in _missing(program, out))
    # The variable is stored where it is defined: now in all that is returned.
    return refit(program.with_(equations=(*program.equations, *made))) if made else program


def _missing(program: Program, out: Output) -> list[Equation]:
    if program.vars[out.name].role != "variable":
        return []
    indices, everything = output_domain(program, out)
    own = tuple(Poly.symbol(i) for i in indices)
    rest = [everything]
    v = program.vars[out.name]
    for eq in program.pieces(out.name):
        rest = [part for r in rest for part in r.minus(hit(own, eq), program.given)]
    nothing = zero(Ref(v.name, own, v.shape, v.type))
    return [equation(out.name, indices, part, nothing) for part in rest]


__all__ = ["whole"]
