"""Implicit equations: what everyone asks of one who solves, differentiates or prints it.

An implicit equation ``z[t] = F(z[t], …)`` carries a `Solver`. Its right-hand side is the map ``F``,
or ``starting_from(F, s)`` where the text says ``solve z[t] from s``.
"""

from __future__ import annotations

from math import prod

from .expr import Call, Expr, Guard, Reduce, Ref, walk
from .ops.functions import FUNCTIONS
from .program import Equation, Solver

#: How many steps before Anderson's method extrapolates from.
DEPTH = 5
#: A step of Anderson's that multiplies the residual by more than this is taken back.
GROWTH = 2.0
#: No tolerance is finer than this many units in the last place.
FINEST = 64
#: What a step of Anderson's method costs for each component, and a special function, in additions;
#: how many points a sum over positions is taken to have.
STEP, FUNCTION, POINTS = 250, 20, 32


def tolerance(solver: Solver, epsilon: float) -> float:
    """The tolerance in a number format with the given distance from 1 to the next number."""
    return max(solver.tol, FINEST * epsilon)


def dependent(epsilon: float) -> float:
    """How small a column may become, relative to its size before, when the other columns are taken
    out of it; below that Anderson's method leaves it out."""
    return float(epsilon**0.5)


def patience(solver: Solver, rhs: Expr, z: Ref) -> float:
    """Up to which part of the residual may be left by a plain step of Anderson's method.

    From the first step on that leaves more it extrapolates. Where ``z = F(z)`` contracts at a rate
    r, that makes the residual smaller by at most a factor of 2 a step beyond r (Chebyshev's
    polynomials on [-r, r]: Saad, *Iterative Methods for Sparse Linear Systems*, 2003, 6.11). If a
    step costs as much as c evaluations of the map, it does not pay where r is below ``2**(-1/c)``.
    At the largest rate that is put up with, plain steps still arrive in half of ``max_steps``. With
    few components extrapolation arrives in about as many steps as there are, and begins at once.
    """
    if any(n.constant is None for e in walk(rhs) for n in e.shape):
        return 0.0  # Sizes are still open: nothing is computed.
    n = _size(z)
    if n <= DEPTH or not 0 < solver.tol < 1:
        return 0.0
    evaluations = STEP * n / max(1, _effort(rhs, z))
    return min(0.5, 2.0 ** (-1 / evaluations), solver.tol ** (2 / solver.max_steps))


def _effort(rhs: Expr, z: Ref) -> int:
    """About how much work it is to evaluate a map once more; sums of terms count as nothing, since
    those that stay the same may stand in the map or before it."""
    moving: set[Expr] = {z}
    repeated: set[Expr] = set()
    for e in walk(rhs):
        if any(a in moving for a in e.operands):
            moving.add(e)
            if isinstance(e, Reduce):
                repeated.update(walk(e.body))
    return sum(_work(e) * (POINTS if e in repeated else 1) for e in moving)


def _work(e: Expr) -> int:
    if isinstance(e, Reduce):
        return POINTS * _size(e) * (FUNCTION if e.op in _EXPONENTIALS else 1)
    if not isinstance(e, Call) or e.op in _SUMS:
        return 0
    if e.op == "matmul":
        return 2 * _size(e) * e.args[0].shape[-1].evaluate({})
    return max(map(_size, (e, *e.args))) * (FUNCTION if e.op in _EXPONENTIALS else 1)


def _size(e: Expr) -> int:
    return prod(n.evaluate({}) for n in e.shape)


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
#: Special functions, and what takes one of each component.
_EXPONENTIALS = FUNCTIONS | {"logsumexp", "softmax", "log_softmax", "cross_entropy"}


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


__all__ = ["DEPTH", "FINEST", "GROWTH", "begun", "dependent", "is_affine", "parts", "patience",
           "tolerance", "unknown"]  # fmt: skip
