"""Domains as text: the comparisons and ranges of `for` clauses, reductions and conditions.

What a reader can infer is left out: the default range of an index, and whatever holds anyway where
the text stands.

>>> t, s, T = Poly.symbol("t"), Poly.symbol("s"), Poly.symbol("T")
>>> comparisons(Domain.range("t", 2, T - 1), Domain(), ("t",))
['2 <= t <= T-1']
>>> comparisons(Domain.of((t - s,)), Domain(), ("s", "t"))
['s <= t']
>>> comparisons(Domain.point("t", T), Domain.range("t", 1, T), ("t",))
['t == T']
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..domain import Domain
from ..poly import Poly


@dataclass(frozen=True)
class Signs:
    """How relations are spelt: ``.rec`` text, or LaTeX."""

    le: str = "<="
    lt: str = "<"
    ge: str = ">="
    gt: str = ">"
    eq: str = "=="

    def poly(self, p: Poly) -> str:
        return p.compact()


REC = Signs()
LATEX = Signs(r"\le", "<", r"\ge", ">", "=")


@dataclass(frozen=True)
class Comparison:
    """``left relation right``; ``symbol`` is the index it is mostly about, if it stands alone."""

    relation: str  # le, ge, eq
    left: Poly
    right: Poly
    symbol: str | None = None


def simplest(domain: Domain, context: Domain, order: Sequence[str]) -> list[Comparison]:
    """The constraints that ``context`` does not imply, each solved for the first symbol of
    ``order`` that it can be solved for."""
    rest = domain.gist(context)
    whole = domain & context
    found: list[Comparison] = []
    done: set[Poly] = set()
    for p in rest.constraints:
        if p in done:
            continue
        equal = whole.implies(-p)
        if equal:
            done.add(-p)
        symbol = next((s for s in order if abs(p.coefficient(s)) == 1), None)
        if symbol is None:
            plus = Poly._from((m, c) for m, c in p.terms if c > 0)
            found.append(Comparison("eq" if equal else "ge", plus, plus - p))
            continue
        at = Poly.symbol(symbol)
        lower = p.coefficient(symbol) == 1
        bound = at - p if lower else p + at
        relation = "eq" if equal else "ge" if lower else "le"
        found.append(Comparison(relation, at, bound, symbol))
    rank = {s: k for k, s in enumerate(order)}
    return sorted(found, key=lambda c: rank.get(c.symbol or "", len(rank)), reverse=True)


def comparisons(
    domain: Domain,
    context: Domain,
    order: Sequence[str],
    *,
    strict: bool = False,
    signs: Signs = REC,
) -> list[str]:
    """The constraints of ``domain`` beyond ``context``, as text; none if it adds nothing.

    Both bounds of one symbol make a chain. ``strict`` writes ``s < t`` for ``s <= t-1``.
    """
    return [text for _, text in by_symbol(domain, context, order, strict=strict, signs=signs)]


def by_symbol(
    domain: Domain,
    context: Domain,
    order: Sequence[str],
    *,
    strict: bool = False,
    signs: Signs = REC,
) -> list[tuple[str | None, str]]:
    """The `comparisons`, each with the index that it bounds (``None``: no single one)."""
    items = simplest(domain, context, order)
    texts: list[tuple[str | None, str]] = []
    for symbol in dict.fromkeys(c.symbol for c in items):
        group = [c for c in items if c.symbol == symbol]
        low = [c for c in group if c.relation == "ge"]
        high = [c for c in group if c.relation == "le"]
        if symbol is not None and len(low) == len(high) == 1 and len(group) == 2:
            below, first = _between(low[0].right, signs, strict, shift=1)
            above, last = _between(high[0].right, signs, strict, shift=-1)
            texts.append((symbol, f"{first} {below} {symbol} {above} {last}"))
        else:
            texts += [(symbol, _one(c, signs, strict)) for c in group]
    return texts


def _one(c: Comparison, signs: Signs, strict: bool) -> str:
    left = signs.poly(c.left)
    if c.relation == "eq":
        return f"{left} {signs.eq} {signs.poly(c.right)}"
    if c.relation == "le":
        sign, right = _between(c.right, signs, strict, shift=-1)
        return f"{left} {sign} {right}"
    if strict and c.symbol is not None and c.right.offset == 1 and c.right.symbols:
        return f"{left} {signs.gt} {signs.poly(c.right - 1)}"
    return f"{left} {signs.ge} {signs.poly(c.right)}"


def _between(bound: Poly, signs: Signs, strict: bool, *, shift: int) -> tuple[str, str]:
    """The sign between a symbol and its bound, ``<=`` or ``<``, and the bound beside it.

    ``shift`` is 1 for a lower bound, -1 for an upper one.
    """
    if strict and bound.symbols and bound.offset == shift:
        return signs.lt, signs.poly(bound - shift)
    return signs.le, signs.poly(bound)


def range_of(index: str, domain: Domain, context: Domain) -> tuple[Poly, Poly] | None:
    """The bounds ``lo..hi`` of an index that best describe ``domain``: constants and lengths before
    other indices. ``None`` if a side is unbounded or has no unit bound.
    """
    try:
        inner = domain.gist(Domain()).bounds(index)
        outer = context.bounds(index)
    except ValueError:
        return None

    def best(bounds: Iterable[Poly]) -> Poly | None:
        return min(bounds, key=lambda p: (len(p.symbols), p.terms), default=None)

    lo = best(inner[0]) if inner[0] else best(outer[0])
    hi = best(inner[1]) if inner[1] else best(outer[1])
    return None if lo is None or hi is None else (lo, hi)
