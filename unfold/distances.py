"""How far back in time an equation looks, where that varies: reductions over a part of the past."""

from __future__ import annotations

from .domain import Domain
from .expr import (
    INT,
    NEUTRAL,
    Const,
    Expr,
    Position,
    Reduce,
    fresh,
    subs_positions,
    with_operands,
)
from .ops.record import compare, where
from .poly import Poly
from .program import TIME, Equation


def by_distance(eq: Equation, t: str, given: Domain) -> Expr:
    """The right-hand side with reductions over a part of the past by the distance from ``t``.

    before:  sum[t-2 <= s <= t](x[s])
    after:   sum[0 <= s <= 2](x[t-s] if t - s >= 1 else 0)
    requires: a bounded distance; other reductions stay as they are.
    """
    usual = eq.domain & given & Domain.range(t, 1, TIME)

    def go(e: Expr) -> Expr:
        e = with_operands(e, tuple(go(c) for c in e.operands))
        if not isinstance(e, Reduce) or t not in e.domain.symbols or e.op not in NEUTRAL:
            return e
        away = {
            i: Poly.symbol(t) - Poly.symbol(i)
            for i in e.indices
            if any(q.coefficient(i) and q.coefficient(t) for q in e.domain.constraints)
        }
        domain = e.domain.subs(away)
        fixed = Domain.of(q for q in domain.constraints if t not in q.symbols)
        if any(distances(Poly.symbol(i), fixed)[1] is None for i in away):
            return e
        body = subs_positions(e.body, away)
        for q in domain.gist(usual & fixed).constraints:
            if TIME in q.symbols:
                return e
            holds = compare("ge", Position(q), Const(0, (), INT))
            body = where(holds, body, Const(NEUTRAL[e.op]))
        return Reduce(e.op, e.indices, fixed, body)

    return go(eq.rhs)


def distances(behind: Poly, domain: Domain) -> tuple[int | None, int | None]:
    """The least and the largest value of an affine expression over a domain, where they are the
    same at every length."""
    name = fresh("distance", domain.symbols | behind.symbols)
    found = (domain & Domain.point(name, behind)).project_out(
        sorted((domain.symbols | behind.symbols) - {name})
    )
    lower, upper = found.bounds(name)
    lo = [b.constant for b in lower if b.constant is not None]
    hi = [b.constant for b in upper if b.constant is not None]
    return max(lo, default=None), min(hi, default=None)


__all__ = ["by_distance", "distances"]
