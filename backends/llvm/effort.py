"""About how long a call takes, from its sizes alone.

What is decided by it (how many threads share a batch) decides the order of sums over the batch, and
so the last bits of gradients. It must not depend on the clock: equal calls have equal results.
"""

from __future__ import annotations

from collections.abc import Mapping

from unfold.cost.work import Work, size, work
from unfold.domain import Domain
from unfold.expr import Call, Expr, Reduce, children
from unfold.plan import Plan
from unfold.program import Equation

#: Nanoseconds of an operation in a chain of operations that wait for each other.
_LATENT = 1.0
#: Nanoseconds of an operation on a full register: in products, and with its loads and stores.
_PRODUCT, _WIDE = 0.1, 1.0
#: Nanoseconds of a function such as exp, on one number or on a full register.
_FUNCTION = 6.0
#: How often an implicit equation is evaluated until it is solved.
_ITERATIONS = 10


def microseconds(plan: Plan, lengths: Mapping[str, int], groups: int, lanes: int | None) -> float:
    """About how long a plan takes on one core.

    Args:
        lengths: the value of every length.
        groups: how often the program runs: the number of sequences, divided by how many of them
            run side by side.
        lanes: how many numbers fill a register, where every row of a tile is computed with full
            registers; ``None`` where every component is a value of its own.
    """
    total = 0.0
    for eq in plan.program.equations:
        times = _points(eq.domain, eq.indices, lengths)
        times *= _ITERATIONS if eq.solver is not None else 1
        total += times * _cost(eq, lengths, lanes)
    return total * groups / 1e3


def _cost(eq: Equation, lengths: Mapping[str, int], lanes: int | None) -> float:
    """Nanoseconds of one element, bodies of reductions as often as they run."""
    seen: set[Expr] = set()

    def of(e: Expr, times: float) -> float:
        if e in seen:
            return 0.0
        seen.add(e)
        if isinstance(e, Reduce):
            times *= _points(e.domain, e.indices, lengths)
        return times * _node(e, lanes) + sum(of(c, times) for c in children(e))

    return of(eq.rhs, 1.0)


def _node(e: Expr, lanes: int | None) -> float:
    """Nanoseconds of a node, its operands being there."""
    done = work(e) if isinstance(e, Call) else Work(size(e) if isinstance(e, Reduce) else 0)
    if lanes is None:
        return done.flops * _LATENT + done.functions * _FUNCTION
    product = isinstance(e, Call) and e.op in ("matmul", "outer")
    alone = done.flops * (_PRODUCT if product else _WIDE) + done.functions * _FUNCTION
    return alone / lanes


def _points(domain: Domain, indices: tuple[str, ...], lengths: Mapping[str, int]) -> float:
    """About how many points a domain has: what bounds an index by another one is left out."""
    total, known = 1.0, set(lengths)
    for index in indices:
        try:
            lows, highs = domain.bounds(index)
        except ValueError:  # every second position, say
            lows, highs = (), ()
        least = [p.evaluate(lengths) for p in lows if p.symbols <= known]
        most = [p.evaluate(lengths) for p in highs if p.symbols <= known]
        if least and most:
            total *= max(0, min(most) - max(least) + 1)
        else:
            total *= max(lengths.values(), default=1)
    return total


__all__ = ["microseconds"]
