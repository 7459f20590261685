"""Cut loops where the conditions inside of them change.

before:  scan t in 1..T backward:
             g[t] = f(g[t+1])    where t <= T-1
             y[t] = g[t] * 2
after:   scan t in max(1, T)..T backward:
             y[t] = g[t] * 2
         scan t in 1..T-1 backward:
             g[t] = f(g[t+1])
             y[t] = g[t] * 2

requires: a plan. Conditions on several loop indices at once stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..domain import Domain
from ..expr import Expr, Guard, kinds, walk
from ..poly import Poly
from .build import lighten
from .nodes import Loop, Node, Plan, Statement

#: So many cuts at most: each one repeats the loop's body.
CUTS = 2


def split(plan: Plan) -> Plan:
    """The plan with conditions on one index replaced by loops over the parts of its range."""
    work = _Splitter(frozenset(plan.lengths), plan.program.given)
    shared = tuple(work.nodes(plan.shared, plan.program.given))
    body = tuple(work.nodes(plan.body, plan.program.given))
    return replace(plan, shared=shared, body=body)


class _Splitter:
    def __init__(self, lengths: frozenset[str], given: Domain) -> None:
        self.lengths = lengths
        self.given = given

    def nodes(self, nodes: Sequence[Node], context: Domain) -> Iterator[Node]:
        for node in nodes:
            if isinstance(node, Statement):
                yield from self.statement(node, context)
            elif len(node.ranges) == 1:
                yield from self.loop(node, context)
            else:
                yield replace(node, body=tuple(self.nodes(node.body, context)))

    def statement(self, s: Statement, context: Domain) -> Iterator[Statement]:
        """The statement without what the context ensures; nothing where it excludes it."""
        if (s.guard & context).is_empty():
            return
        rhs = lighten(s.rhs, s.guard & context)
        yield replace(s, guard=s.guard.gist(context), rhs=rhs)

    def loop(self, loop: Loop, context: Domain) -> Iterator[Loop]:
        ((lows, highs),) = loop.ranges
        here = context & loop.domain
        found = _in_order(cuts(loop, here, self.lengths), here)
        segments: list[tuple[tuple[Poly, ...], tuple[Poly, ...]]] = []
        start = lows
        for cut in found:
            segments.append((start, _ends(highs, cut - 1)))
            start = (*lows, cut)
        segments.append((start, highs))
        for lo, hi in segments if loop.direction > 0 else reversed(segments):
            segment = replace(loop, ranges=((lo, hi),))
            here = context & segment.domain
            if here.is_empty():
                continue
            body = tuple(self.nodes(loop.body, here))
            if body:
                yield replace(segment, ranges=(self.tidy(lo, hi, context),), body=body)

    def tidy(
        self, lows: Sequence[Poly], highs: Sequence[Poly], context: Domain
    ) -> tuple[tuple[Poly, ...], tuple[Poly, ...]]:
        """Bounds without those that another one implies."""
        lo = list(dict.fromkeys(lows))
        for p in list(lo):
            if any(q != p and context.implies(q - p) for q in lo):
                lo.remove(p)
        hi = list(dict.fromkeys(highs))
        for p in list(hi):
            if any(q != p and context.implies(p - q) for q in hi):
                hi.remove(p)
        return tuple(lo), tuple(hi)


def cuts(loop: Loop, context: Domain, lengths: frozenset[str]) -> list[Poly]:
    """Positions from which on some condition in a loop holds, or no longer holds.

    ``context`` is what is known inside the loop; conditions on several indices do not count.
    """
    found: list[Poly] = []
    for p in conditions(loop.body):
        coef = p.coefficient(loop.index)
        if abs(coef) != 1 or p.symbols - lengths - {loop.index}:
            continue
        if context.implies(p) or context.implies(-p - 1):
            continue
        i = Poly.symbol(loop.index)
        # i - b >= 0 begins at b; b - i >= 0 ends there.
        cut = i - p if coef == 1 else p + i + 1
        if cut not in found:
            found.append(cut)
    return found


def _in_order(found: Sequence[Poly], context: Domain) -> list[Poly]:
    """The first few cuts whose order is known, in that order."""
    ordered: list[Poly] = []
    for cut in found:
        if all(context.implies(cut - q) or context.implies(q - cut) for q in ordered):
            ordered.append(cut)
    ordered = ordered[:CUTS]
    return sorted(ordered, key=lambda c: sum(context.implies(c - q) for q in ordered))


def _ends(highs: tuple[Poly, ...], end: Poly) -> tuple[Poly, ...]:
    return (*highs, end)


def conditions(nodes: Sequence[Node]) -> Iterator[Poly]:
    """Every constraint of a guard, of a statement or inside an expression."""
    for node in nodes:
        if isinstance(node, Loop):
            yield from conditions(node.body)
        else:
            yield from node.guard.constraints
            yield from _guards(node.rhs)


def _guards(e: Expr) -> Iterator[Poly]:
    if "Guard" in kinds(e):
        for n in walk(e):
            if isinstance(n, Guard):
                yield from n.domain.constraints
