"""Which derivatives may be exactly 0 because of a selection, and which values may be infinite.

before:  a[t] = sqrt(x[t])        y[t] = where(x[t] > 0, a[t], 0)
after:   a_bar may be 0 because of a selection; a = sqrt(x) may not be finite
requires: nothing.

Both are properties of variables, over all of their elements, so that they hold across equations and
steps. `unfold.derivative` says what they are for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from ..derivative import NONE, SOME, after_op, may_diverge, vanishing
from ..expr import Call, Expr, Reduce, Ref, walk
from ..intern import remembered
from ..ops import OPS
from ..program import Equation, Program

Levels = Mapping[str, int]


def wild(program: Program) -> Levels:
    """The variables that may be infinite or NaN although inputs and parameters are finite."""
    return _closure(program, lambda eq, found: {eq.name: int(may_diverge(eq.rhs, found))})


def unselected_tangents(program: Program, active: Collection[str]) -> Levels:
    """Which components of tangents may be 0 because of a selection, if ``active`` ones move."""
    return _closure(
        program,
        lambda eq, found: {eq.name: vanishing(eq.rhs, found, OPS, {})} if eq.name in active else {},
    )


def unselected_adjoints(program: Program, active: Collection[str]) -> Levels:
    """Which components of adjoints may be 0 because of a selection; ``active`` ones have adjoints.

    They may if a selection stands above a read of the variable, or if they may in its reader.
    """

    def step(eq: Equation, found: Levels) -> Levels:
        return _reached(eq.rhs, found.get(eq.name, NONE)) if eq.name in active else {}

    return _closure(program, step)


@remembered
def _reached(root: Expr, unselected: int) -> Levels:
    """The variables that are read below a selection."""
    below: dict[Expr, int] = {root: unselected}
    for e in reversed(list(walk(root))):
        passed = below.get(e, NONE)
        if not e.is_real or (isinstance(e, Call) and e.op == "detach"):
            continue
        if isinstance(e, Call):
            passed = after_op(OPS[e.op], e, passed)
        elif isinstance(e, Reduce) and e.op in ("max", "min"):
            passed = max(passed, SOME)
        for c in e.operands:
            if c.is_real:
                below[c] = max(below.get(c, NONE), passed)
    found: dict[str, int] = {}
    for e, passed in below.items():
        if isinstance(e, Ref):
            found[e.name] = max(found.get(e.name, NONE), passed)
    return found


def _closure(program: Program, step: Callable[[Equation, Levels], Levels]) -> Levels:
    """The smallest answer that no equation adds to; names without an entry have `NONE`."""
    found: dict[str, int] = {}
    changed = True
    while changed:
        changed = False
        for eq in program.equations:
            for name, level in step(eq, found).items():
                if level > found.get(name, NONE):
                    found[name] = level
                    changed = True
    return found
