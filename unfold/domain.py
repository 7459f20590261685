"""Sets of integer points given by affine constraints.

A `Domain` is the conjunction of constraints ``p >= 0`` over index names (``t``, ``s``) and length
symbols (``T``, ``S``). It says for which indices an equation holds, a reduction runs or a guarded
expression counts. Questions about all lengths at once (is the set ever non-empty? does it lie in
another?) are decided by Fourier-Motzkin elimination (Schrijver, *Theory of Linear and Integer
Programming*, 1986, section 12.2) with integer tightening, which is exact when the coefficients of
the eliminated symbols are 1 or -1, as they are in all but contrived programs; otherwise the answer
"empty" is certain and "not empty" may be a rational point only.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import gcd
from operator import add
from typing import TypeAlias

from .intern import Value, remembered
from .poly import Poly, PolyLike


@remembered
def _tighten(p: Poly) -> Poly:
    """Divide ``p >= 0`` by the content of its symbols, rounding the constant down."""
    content = 0
    for mono, coef in p.terms:
        if mono:
            content = gcd(content, abs(coef))
    if content <= 1:
        return p
    return Poly._from((m, c // content) for m, c in p.terms)


def contradict(constraints: Iterable[Poly]) -> bool:
    """Whether no point satisfies all constraints ``p >= 0``, whatever the lengths."""
    return _is_empty(frozenset(constraints))


#: Constraints ``row . symbols + offset >= 0``: the smallest offset of each row of coefficients.
_Rows: TypeAlias = "dict[tuple[int, ...], int]"


@remembered
def _is_empty(constraints: frozenset[Poly]) -> bool:
    symbols = sorted({mono for p in constraints for mono, _ in p.terms if mono})
    columns = {mono: k for k, mono in enumerate(symbols)}
    rows: _Rows = {}
    for p in constraints:
        coefs = [0] * len(columns)
        for mono, coef in p.terms:
            if mono:
                coefs[columns[mono]] = coef
        if not _added(rows, tuple(coefs), p.offset):
            return True
    while rows:
        chosen = _cheapest(rows)
        lower = [(row, c) for row, c in rows.items() if row[chosen] > 0]
        upper = [(row, c) for row, c in rows.items() if row[chosen] < 0]
        rows = {row: c for row, c in rows.items() if not row[chosen]}
        for low, c in lower:
            for high, d in upper:
                a, b = -high[chosen], low[chosen]
                if a == b == 1:
                    both = tuple(map(add, low, high))
                else:
                    both = tuple(x * a + y * b for x, y in zip(low, high, strict=True))
                if not _added(rows, both, c * a + d * b):
                    return True
    return False


def _added(rows: _Rows, row: tuple[int, ...], offset: int) -> bool:
    """Whether a constraint may hold: one that never does is not put among the rows."""
    content = gcd(*row)
    if content == 0:
        return offset >= 0
    if content > 1:
        row, offset = tuple(x // content for x in row), offset // content
    known = rows.get(row)
    if known is None or offset < known:
        rows[row] = offset
    return True


def _cheapest(rows: _Rows) -> int:
    """The column to eliminate: the first that leaves fewer rows, else one that multiplies them
    least, among those with unit coefficients, which keep it exact, if there are any."""
    best: tuple[bool, int] | None = None
    chosen = -1
    for k, column in enumerate(zip(*rows, strict=True)):
        low = high = 0
        units = True
        for c in column:
            if c > 0:
                low += 1
                units = units and c == 1
            elif c < 0:
                high += 1
                units = units and c == -1
        if low or high:
            cost = (not units, low * high - low - high)
            if cost < (False, 0):
                return k
            if best is None or cost < best:
                best, chosen = cost, k
    return chosen


@dataclass(frozen=True, eq=False)
class Domain(Value):
    """The points where every constraint ``p >= 0`` holds. ``Domain()`` is everything."""

    constraints: tuple[Poly, ...] = ()

    @staticmethod
    def of(constraints: Iterable[Poly]) -> Domain:
        """A domain in canonical order, without repetitions and without the trivially true."""
        return _canonical(tuple(constraints))

    @staticmethod
    def range(index: str, lo: PolyLike, hi: PolyLike) -> Domain:
        """``lo <= index <= hi``, both ends included."""
        i = Poly.symbol(index)
        return Domain.of((i - lo, Poly.of(hi) - i))

    @staticmethod
    def point(index: str, position: PolyLike) -> Domain:
        """``index == position``."""
        return Domain.range(index, position, position)

    def __and__(self, other: Domain) -> Domain:
        return _both(self, other)

    @cached_property
    def symbols(self) -> frozenset[str]:
        """All index names and lengths that occur."""
        return frozenset(s for p in self.constraints for s in p.symbols)

    def subs(self, values: Mapping[str, PolyLike]) -> Domain:
        """Replace symbols."""
        used = tuple((s, Poly.of(values[s])) for s in self.symbols if s in values)
        return _substituted(self, used) if used else self

    def is_empty(self, given: Domain | None = None) -> bool:
        """Whether no point exists for any lengths (that satisfy ``given``)."""
        return _nowhere(self if given is None else _both(self, given))

    def implies(self, constraint: Poly, given: Domain | None = None) -> bool:
        """Whether ``constraint >= 0`` holds at every point."""
        return _implies(self if given is None else _both(self, given), constraint)

    def implies_equal(self, left: PolyLike, right: PolyLike, given: Domain | None = None) -> bool:
        """Whether ``left == right`` at every point."""
        gap = Poly.of(left) - right
        return gap == Poly() or (self.implies(gap, given) and self.implies(-gap, given))

    def subset(self, other: Domain, given: Domain | None = None) -> bool:
        """Whether every point lies in ``other``."""
        return all(self.implies(p, given) for p in other.constraints)

    def minus(self, other: Domain, given: Domain | None = None) -> tuple[Domain, ...]:
        """The points outside ``other``, as disjoint domains."""
        return _minus(self, other, given)

    def gist(self, context: Domain) -> Domain:
        """The constraints that ``context`` does not already imply, irredundant."""
        return _gist(self, context)

    def simplified(self, given: Domain | None = None) -> Domain:
        """The same set without redundant constraints; `EMPTY` when it has no point."""
        if self.is_empty(given):
            return EMPTY
        return self.gist(given or Domain())

    def bounds(self, index: str) -> tuple[tuple[Poly, ...], tuple[Poly, ...]]:
        """Lower and upper bounds of ``index`` with unit coefficient: its range is
        ``max(lower) .. min(upper)``. Raises ``ValueError`` for a coefficient other than 1 or -1.
        """
        return _bounds(self, index)

    def fixed(self, index: str, given: Domain | None = None) -> Poly | None:
        """The position of ``index`` if the constraints pin it to one affine expression."""
        return _fixed(self, index, given)

    def project_out(self, names: Iterable[str]) -> Domain:
        """The shadow on the other symbols (Fourier-Motzkin; exact for unit coefficients)."""
        return _shadow(self, tuple(names))

    def contains(self, values: Mapping[str, int]) -> bool:
        """Whether a concrete point lies in the domain; ``values`` gives all symbols."""
        return all(p.evaluate(values) >= 0 for p in self.constraints)

    def extent(self, index: str, values: Mapping[str, int]) -> builtins.range:
        """The concrete range of ``index`` where the other symbols are given by ``values``."""
        lo: int | None = None
        hi: int | None = None
        for p in self.constraints:
            coef = p.coefficient(index)
            if not coef:
                continue
            rest = p.evaluate({**values, index: 0})
            if coef > 0:
                bound = -(rest // coef)
                lo = bound if lo is None else max(lo, bound)
            else:
                bound = rest // -coef
                hi = bound if hi is None else min(hi, bound)
        if lo is None or hi is None:
            raise ValueError(f"{index} is not bounded on both sides by {self}")
        return builtins.range(lo, hi + 1)

    def constant_range(self, index: str) -> builtins.range | None:
        """The range of ``index`` where constants alone bound it on both sides."""
        own = Domain.of(p for p in self.constraints if p.symbols == {index})
        if len({p.coefficient(index) > 0 for p in own.constraints}) < 2:
            return None
        return own.extent(index, {})

    def points(
        self, indices: tuple[str, ...], values: Mapping[str, int]
    ) -> Iterable[tuple[int, ...]]:
        """All concrete points, in lexicographic order, for concrete lengths."""
        if self == EMPTY:
            return ()
        return _points(self, indices, dict(values))

    def __str__(self) -> str:
        return " and ".join(f"{p} >= 0" for p in self.constraints) or "everywhere"


@remembered
def _canonical(constraints: tuple[Poly, ...]) -> Domain:
    unique: set[Poly] = set()
    for p in constraints:
        p = _tighten(p)
        value = p.constant
        if value is None or value < 0:
            unique.add(p if value is None else Poly.const(-1))
    if Poly.const(-1) in unique:
        return EMPTY
    return Domain(tuple(sorted(unique, key=lambda p: p.terms)))


@remembered
def _both(a: Domain, b: Domain) -> Domain:
    return _canonical((*a.constraints, *b.constraints))


@remembered
def _substituted(domain: Domain, values: tuple[tuple[str, Poly], ...]) -> Domain:
    at = dict(values)
    return Domain.of(p.subs(at) for p in domain.constraints)


@remembered
def _nowhere(domain: Domain) -> bool:
    return contradict(domain.constraints)


@remembered
def _implies(domain: Domain, constraint: Poly) -> bool:
    return contradict((*domain.constraints, -constraint - 1))


@remembered
def _minus(domain: Domain, other: Domain, given: Domain | None) -> tuple[Domain, ...]:
    parts: list[Domain] = []
    rest = domain
    for p in other.constraints:
        part = rest & Domain.of((-p - 1,))
        if not part.is_empty(given):
            parts.append(part)
        rest = rest & Domain.of((p,))
    return tuple(parts)


@remembered
def _gist(domain: Domain, context: Domain) -> Domain:
    kept = [p for p in domain.constraints if not context.implies(p)]
    for p in list(kept):
        others = Domain(tuple(q for q in kept if q is not p)) & context
        if others.implies(p):
            kept.remove(p)
    return Domain.of(kept)


@remembered
def _bounds(domain: Domain, index: str) -> tuple[tuple[Poly, ...], tuple[Poly, ...]]:
    i = Poly.symbol(index)
    lower, upper = [], []
    for p in domain.constraints:
        coef = p.coefficient(index)
        if coef == 1:
            lower.append(i - p)
        elif coef == -1:
            upper.append(p + i)
        elif coef:
            raise ValueError(f"the constraint {p} >= 0 is not a unit bound of {index}")
    return tuple(lower), tuple(upper)


@remembered
def _fixed(domain: Domain, index: str, given: Domain | None) -> Poly | None:
    constraints = set(domain.constraints)
    i = Poly.symbol(index)
    for p in domain.constraints:
        if p.coefficient(index) == 1 and -p in constraints:
            return i - p
    for p in domain.constraints:
        if p.coefficient(index) == 1 and domain.implies(-p, given):
            return i - p
    return None


@remembered
def _shadow(domain: Domain, names: tuple[str, ...]) -> Domain:
    rows = set(domain.constraints)
    for name in names:
        lower = [p for p in rows if p.coefficient(name) > 0]
        upper = [p for p in rows if p.coefficient(name) < 0]
        rows = {p for p in rows if p.coefficient(name) == 0}
        for p in lower:
            for q in upper:
                rows.add(_tighten(p * -q.coefficient(name) + q * p.coefficient(name)))
    return Domain.of(rows)


def _points(
    domain: Domain, indices: tuple[str, ...], values: dict[str, int]
) -> Iterable[tuple[int, ...]]:
    if not indices:
        if domain.contains(values):
            yield ()
        return
    first, rest = indices[0], indices[1:]
    shadow = domain.project_out(rest)
    for i in () if shadow == EMPTY else shadow.extent(first, values):
        inner = {**values, first: i}
        for tail in _points(domain, rest, inner):
            yield (i, *tail)


#: How many steps outside the bounds of its pieces a common range may end.
_OUTSIDE = 4
EMPTY = Domain((Poly.const(-1),))
EVERYWHERE = Domain()


def hull(domains: Iterable[Domain], index: str, given: Domain) -> tuple[Poly, Poly] | None:
    """The smallest range ``lo..hi`` of ``index`` that covers all domains at all lengths.

    The ends are picked among the domains' own bounds, or a few steps outside them (pieces at 1 and
    at ``T-1`` lie in ``0..T``); ``None`` if no single affine end serves (then the caller asks the
    user for an explicit range).
    """
    return _hull(tuple(domains), index, given)


@remembered
def _hull(domains: tuple[Domain, ...], index: str, given: Domain) -> tuple[Poly, Poly] | None:
    live = [d for d in domains if not d.is_empty(given)]
    lows = sorted({b for d in live for b in d.bounds(index)[0]}, key=lambda p: p.terms)
    highs = sorted({b for d in live for b in d.bounds(index)[1]}, key=lambda p: p.terms)
    if live and all(len(ends) == 1 for d in live for ends in d.bounds(index)):
        first, last = ([n for b in ends if (n := b.constant) is not None] for ends in (lows, highs))
        if len(first) == len(lows) and len(last) == len(highs):  # fixed ranges, perhaps many
            return Poly.const(min(first)), Poly.const(max(last))
    i = Poly.symbol(index)
    for outside in range(_OUTSIDE + 1):
        lo = [c for b in lows if all(d.implies(i - (c := b - outside), given) for d in live)]
        if lo:
            break
    for outside in range(_OUTSIDE + 1):
        hi = [c for b in highs if all(d.implies((c := b + outside) - i, given) for d in live)]
        if hi:
            break
    if not lo or not hi:
        return None
    lo = [b for b in lo if not any(c != b and given.implies(c - b) for c in lo)]
    hi = [b for b in hi if not any(c != b and given.implies(b - c) for c in hi)]

    # Of bounds that cannot be compared, those whose distance depends on the fewest lengths, and of
    # these the ones that are at most a few steps further apart than all others.
    def symbols(ends: tuple[Poly, Poly]) -> int:
        return len((ends[1] - ends[0]).symbols)

    def close(ends: tuple[Poly, Poly]) -> bool:
        gap = ends[1] - ends[0] - _OUTSIDE
        return all(given.implies(b - a - gap) for a in lo for b in hi)

    pairs = sorted(((a, b) for a in lo for b in hi), key=symbols)
    fewest = [p for p in pairs if symbols(p) == symbols(pairs[0])]
    return next(filter(close, fewest), fewest[0]) if len(fewest) > 1 else fewest[0]
