"""Stage 7: every element that is read is defined, exactly once, whatever the lengths are.

All questions are put to `Domain` for all lengths at once. What fails for short sequences only
(`h[4]` where T < 4) raises the least legal length instead: a set of counterexamples that lies below
some length is empty above it. What remains is an error that names an index.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

from ..domain import Domain
from ..poly import Poly
from ..syntax.span import Span
from . import inline
from .extents import AT
from .scope import Choice, Definition, Piece, Scope, Site


def holds(scope: Scope) -> bool:
    """Whether all elements are defined once for all lengths, from some least lengths on.

    Raises ``scope.minimum`` as far as the reads ask; `gaps` reports what is still wrong.
    """
    for instance in scope.instances.values():
        if not instance.broken:
            for name, least in inline.minimum(instance.program, instance).items():
                scope.minimum[name] = max(scope.minimum.get(name, 1), least)
    while True:
        # A longer least length can only make more things right: repeat until nothing rises.
        before = dict(scope.minimum)
        failures = list(_failures(scope))
        for failure in failures:
            _raise_minimum(scope, failure)
        if before == scope.minimum:
            return not failures


def _failures(scope: Scope) -> Iterator[Domain]:
    """All sets of counterexamples."""
    seen: set[tuple[str, tuple[Poly, ...], Domain]] = set()
    for d in own(scope):
        for _, _, both in overlaps(scope, d):
            yield both
        for piece in d.pieces:
            for site in piece.sites:
                key = (site.name, site.index, piece.domain & site.domain)
                if key not in seen:
                    seen.add(key)
                    yield from missing(scope, piece, site)
            for choice in piece.choices:
                yield from outside(scope, piece, choice)
    for name, ranges, span in scope.outputs:
        yield from missing(scope, *as_read(scope, name, ranges, span))
    for _, piece, site in arguments(scope):
        yield from missing(scope, piece, site)


def own(scope: Scope) -> list[Definition]:
    return [
        d
        for d in scope.definitions.values()
        if d.role == "variable" and d.instance is None and not d.broken
    ]


def _raise_minimum(scope: Scope, failure: Domain) -> None:
    """If the counterexamples lie below some length, ask for more than that."""
    if failure.is_empty(scope.given):
        return
    free = failure & scope.given
    for length in scope.lengths:
        shadow = free.project_out(free.symbols - {length})
        bounds = [p.offset for p in shadow.constraints if p.coefficient(length) == -1]
        if bounds:
            scope.minimum[length] = max(scope.minimum.get(length, 1), min(bounds) + 1)
            return


# --- pieces -----------------------------------------------------------------------------------


def canonical(piece: Piece) -> Domain:
    """The domain of a piece over the names `@0`, `@1`… of its positions."""
    return piece.domain.subs({i: Poly.symbol(f"@{k}") for k, i in enumerate(piece.indices)})


def overlaps(scope: Scope, d: Definition) -> Iterator[tuple[Piece, Piece, Domain]]:
    """Pairs of pieces that define the same element, and which."""
    for a, b in combinations(d.pieces, 2):
        both = canonical(a) & canonical(b)
        if not both.is_empty(scope.given):
            yield a, b, both


def defined(scope: Scope, name: str) -> list[Domain]:
    """Where a variable has elements, over `@0`, `@1`…"""
    d = scope.definitions[name]
    if d.instance is not None:
        move = inline.Transplant(scope, scope.instances[d.instance])
        inner = name.removeprefix(f"{d.instance}.")
        v = move.program.vars[inner]
        if v.role != "variable":
            axes = [move.axis(a) for a in v.axes]
            return [_box((a.lo, a.hi) for a in axes)]
        placed = (move.place(eq)[:2] for eq in move.program.pieces(inner))
        return [
            domain.subs({i: Poly.symbol(f"@{k}") for k, i in enumerate(indices)})
            for indices, domain in placed
        ]
    if d.role != "variable":
        return [_box(scope.indices[i] for i in d.axes)]
    return [canonical(p) for p in d.pieces]


def _box(bounds: Iterable[tuple[Poly, Poly]]) -> Domain:
    whole = Domain()
    for k, (lo, hi) in enumerate(bounds):
        whole = whole & Domain.range(f"@{k}", lo, hi)
    return whole


def missing(scope: Scope, piece: Piece, site: Site) -> list[Domain]:
    """The reads of a site that find no element; disjoint domains, with the position as `@at0`…"""
    if scope.definitions[site.name].broken:
        return []
    given = scope.given
    rest = [piece.domain & site.domain]
    for part in defined(scope, site.name):
        here = part.subs({f"@{k}": at for k, at in enumerate(site.index)})
        rest = [left for d in rest for left in d.minus(here, given)]
    return [d for d in rest if not d.is_empty(given)]


def as_read(
    scope: Scope, name: str, ranges: tuple[tuple[Poly, Poly], ...], span: Span
) -> tuple[Piece, Site]:
    """An output as a read of all its elements."""
    index = tuple(Poly.symbol(f"{AT}{k}") for k in range(len(ranges)))
    domain = Domain()
    for k, (lo, hi) in enumerate(ranges):
        domain = domain & Domain.range(f"{AT}{k}", lo, hi)
    site = Site(name, index, Domain(), span)
    names = tuple(f"{AT}{k}" for k in range(len(ranges)))
    return Piece("", names, {}, domain, None, span, span), site


def arguments(scope: Scope) -> Iterator[tuple[str, Piece, Site]]:
    """What sub-models are given, as reads of all elements that they declare."""
    for instance in scope.instances.values():
        if instance.broken:
            continue
        for formal, actual in instance.bound.items():
            v = instance.program.vars.get(formal)
            if v is None or not v.axes:
                continue
            bounds = tuple(
                (a.lo.subs(instance.symbols), a.hi.subs(instance.symbols)) for a in v.axes
            )
            span = instance.arguments.get(formal, instance.call.span)
            yield instance.name, *as_read(scope, actual, bounds, span)


def outside(scope: Scope, piece: Piece, choice: Choice) -> list[Domain]:
    """Where a component is chosen that does not exist."""
    here = piece.domain & choice.domain
    given = scope.given
    parts = [here & Domain.of((-choice.at - 1,)), here & Domain.of((choice.at - choice.size,))]
    return [d for d in parts if not d.is_empty(given)]
