"""Implicit equations: what everyone asks of one who solves, differentiates or prints it.

An implicit equation ``z[t] = F(z[t], …)`` carries a `Solver`. Its right-hand side is the map ``F``,
or ``starting_from(F, s)`` where the text says ``solve z[t] from s``.
"""

from __future__ import annotations

from .expr import Call, Expr, Guard, Reduce, Ref, walk
from .program import Equation, Solver

#: How many steps before Anderson's method extrapolates from.
DEPTH = 5
#: A step of Anderson's that multiplies the residual by more than this is taken back.
GROWTH = 2.0
#: No tolerance is finer than this many units in the last place.
FINEST = 64


def tolerance(solver: Solver, epsilon: float) -> float:
    """The tolerance in a number format with the given distance from 1 to the next number."""
    return max(solver.tol, FINEST * epsilon)


def dependent(epsilon: float) -> float:
    """How small a column may become, relative to its size before, when the other columns are taken
    out of it; below that Anderson's method leaves it out."""
    return float(epsilon**0.5)


def unknown(eq: Equation) -> Ref:
    """The element that an equation defines, as its own right-hand side reads it."""
    return Ref(eq.name, eq.element, eq.rhs.shape, eq.rhs.type)


def parts(rhs: Expr) -> tuple[Expr, Expr | None]:
    """The map of an implicit equation, and where the search begins (``None``: at zero)."""
    if isinstance(rhs, Call) and rhs.op == "starting_from":
        return rhs.args[0], rhs.args[1]
    return rhs, None


def begun(rhs: Expr, start: Expr | None) -> Expr:
    """A map with the place where the search begins; both have one shape. Undoes `parts`."""
    if start is None:
        return rhs
    return Call("starting_from", (rhs, start), (), rhs.shape, rhs.type)


#: Ops that are linear in each operand, all others kept fixed.
_LINEAR = frozenset(
    ("mul", "matmul", "outer", "sum", "transpose", "reshape", "broadcast", "slice", "pad", "real")
    + ("take", "scatter", "where", "div", "detach", "chain_rule", "solve", "half_lower")
)
#: Ops that are linear in all operands together.
_SUMS = frozenset(("add", "sub", "neg", "concat", "stack", "reduce_sum"))


def is_affine(e: Expr, z: Ref) -> bool:
    """Whether an expression is linear in ``z`` up to a constant, seen from how it is built."""
    moving: dict[Expr, bool] = {}
    for node in walk(e):
        if node is z:
            moving[node] = True
            continue
        if isinstance(node, Call):
            moved = [k for k, a in enumerate(node.args) if moving[a]]
            if moved and not _keeps(node, moved):
                return False
            moving[node] = bool(moved)
        elif isinstance(node, (Guard, Reduce)):
            moving[node] = moving[node.body]
            if moving[node] and isinstance(node, Reduce) and node.op != "sum":
                return False
        else:
            moving[node] = False
    return True


def _keeps(node: Call, moved: list[int]) -> bool:
    """Whether an op is linear in the operands at these positions."""
    if node.op in _SUMS:
        return True
    if node.op == "where":
        return 0 not in moved
    if node.op in ("div", "take", "scatter"):
        return moved == [0]
    if node.op == "solve":
        return moved == [1]
    return node.op in _LINEAR and len(moved) == 1


__all__ = ["DEPTH", "FINEST", "GROWTH", "begun", "dependent", "is_affine", "parts", "tolerance",
           "unknown"]  # fmt: skip
