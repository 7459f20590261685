"""About how long a call takes, from its sizes alone.

What is decided by it (how many threads share a batch) decides the order of sums over the batch, and
so the last bits of gradients. It must not depend on the clock: equal calls have equal results.
"""

from __future__ import annotations

from typing import TypeAlias

from unfold.cost.work import Work, size, work
from unfold.domain import Domain
from unfold.expr import Call, Expr, Reduce, names, walk
from unfold.plan import Loop, Plan, statements
from unfold.poly import Poly
from unfold.program import Equation

from .facts import Term

Ranges: TypeAlias = tuple[tuple[tuple[Poly, ...], tuple[Poly, ...]], ...]

#: Nanoseconds of an operation in a chain of operations that wait for each other.
_LATENT = 1.0
#: Nanoseconds of an operation on a full register: in products, and with its loads and stores.
_PRODUCT, _WIDE = 0.1, 1.0
#: Nanoseconds of a function such as exp, on one number or on a full register.
_FUNCTION = 6.0
#: Nanoseconds of a node that does not fill a register.
_LEAST = 1.0
#: How often an implicit equation is evaluated until it is solved.
_ITERATIONS = 10


def effort(plan: Plan, lanes: int | None) -> tuple[Term, ...]:
    """What the time of a call is made of.

    Args:
        lanes: how many numbers fill a register, where every row of a tile is computed with full
            registers; ``None`` where every component is a value of its own.
    """
    total: dict[tuple[Ranges, bool], float] = {}
    for eq in plan.program.equations:
        times = 1 if eq.solver is None else _ITERATIONS
        shared = eq.name in plan.buffers and plan.buffers[eq.name].shared
        for ranges, cost in _costs(eq, lanes).items():
            total[ranges, shared] = total.get((ranges, shared), 0.0) + times * cost
    return tuple(Term(cost, *where) for where, cost in total.items() if cost)


def streamed(plan: Plan) -> int:
    """How many numbers the matrices have that a step of a loop multiplies by, for all sequences:
    those of the loop with the most."""
    found = 0
    for node in plan.body:
        if isinstance(node, Loop) and not node.parallel:
            read = {m for s in statements([node]) for m in _matrices(s.rhs, plan)}
            found = max(found, sum(plan.buffers[n].size for n in read))
    return found


def _matrices(e: Expr, plan: Plan) -> set[str]:
    """The shared operands of the products of an expression."""
    factors = (a for c in walk(e) if isinstance(c, Call) and c.op == "matmul" for a in c.args)
    read = {n for a in factors if len(a.shape) == 2 for n in names(a)}
    return {n for n in read if n in plan.buffers and plan.buffers[n].shared}


def _costs(eq: Equation, lanes: int | None) -> dict[Ranges, float]:
    """Nanoseconds of the elements, bodies of reductions as often as they run."""
    seen: set[Expr] = set()
    found: dict[Ranges, float] = {}

    def visit(e: Expr, ranges: Ranges) -> None:
        if e in seen:
            return
        seen.add(e)
        if isinstance(e, Reduce):
            ranges = ranges + _ranges(e.domain, e.indices)
        found[ranges] = found.get(ranges, 0.0) + _node(e, lanes)
        for c in e.operands:
            visit(c, ranges)

    visit(eq.rhs, _ranges(eq.domain, eq.indices))
    return found


def _ranges(domain: Domain, indices: tuple[str, ...]) -> Ranges:
    """What bounds each index."""
    found = []
    for index in indices:
        try:
            lows, highs = domain.bounds(index)
        except ValueError:  # every second position, say
            lows, highs = (), ()
        found.append((tuple(lows), tuple(highs)))
    return tuple(found)


def _node(e: Expr, lanes: int | None) -> float:
    """Nanoseconds of a node, its operands being there."""
    done = work(e) if isinstance(e, Call) else Work(size(e) if isinstance(e, Reduce) else 0)
    if lanes is None:
        return done.flops * _LATENT + done.functions * _FUNCTION
    product = isinstance(e, Call) and e.op in ("matmul", "outer")
    alone = done.flops * (_PRODUCT if product else _WIDE) + done.functions * _FUNCTION
    return max(alone / lanes, _LEAST) if alone else 0.0


__all__ = ["effort", "streamed"]
