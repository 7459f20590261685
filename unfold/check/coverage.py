"""Stage 7: every element that is read is defined, exactly once, whatever the lengths are.

All questions are put to `Domain` for all lengths at once. What fails for short sequences only
(`h[4]` where T < 4) raises the least legal length instead: a set of counterexamples that lies below
some length is empty above it. What remains is an error that names an index.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations, product

from ..domain import Domain, hull
from ..poly import Poly
from ..syntax.span import Span
from . import inline
from .extents import AT
from .scope import Choice, Definition, Piece, Scope, Site


def check(scope: Scope) -> None:
    """Check all definitions and reads; fills in the least legal lengths."""
    for instance in scope.instances.values():
        if not instance.broken:
            for name, least in inline.minimum(instance.program, instance).items():
                scope.minimum[name] = max(scope.minimum.get(name, 1), least)
    before: dict[str, int] | None = None
    while before != scope.minimum:
        # A longer least length can only make more things right: repeat until nothing rises.
        before = dict(scope.minimum)
        for failure in _failures(scope):
            _raise_minimum(scope, failure)
    _report(scope)


def _failures(scope: Scope) -> Iterator[Domain]:
    """All sets of counterexamples."""
    for d in _own(scope):
        for _, _, both in overlaps(scope, d):
            yield both
        for piece in d.pieces:
            for site in piece.sites:
                yield from missing(scope, piece, site)
            for choice in piece.choices:
                yield from _outside(scope, piece, choice)
    for name, ranges, span in scope.outputs:
        yield from missing(scope, *_as_read(scope, name, ranges, span))
    for _, piece, site in _arguments(scope):
        yield from missing(scope, piece, site)


def _own(scope: Scope) -> list[Definition]:
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
        tops = [-p.offset // p.coefficient(length) if p.coefficient(length) == -1 else None
                for p in shadow.constraints]  # fmt: skip
        bounds = [p.offset for p in shadow.constraints if p.coefficient(length) == -1]
        if tops and bounds and min(bounds) < 10_000:
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
        moved = (move.equation(eq) for eq in move.program.pieces(inner))
        return [
            eq.domain.subs({i: Poly.symbol(f"@{k}") for k, i in enumerate(eq.indices)})
            for eq in moved
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


def _as_read(
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


def _arguments(scope: Scope) -> Iterator[tuple[str, Piece, Site]]:
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
            yield instance.name, *_as_read(scope, actual, bounds, span)


def _outside(scope: Scope, piece: Piece, choice: Choice) -> list[Domain]:
    """Where a component is chosen that does not exist."""
    here = piece.domain & choice.domain
    given = scope.given
    parts = [here & Domain.of((-choice.at - 1,)), here & Domain.of((choice.at - choice.size,))]
    return [d for d in parts if not d.is_empty(given)]


# --- messages ---------------------------------------------------------------------------------


def _report(scope: Scope) -> None:
    for d in _own(scope):
        for a, b, both in overlaps(scope, d):
            _twice(scope, d, a, b, both)
    seen: set[tuple[str, str]] = set()
    for d in _own(scope):
        for piece in d.pieces:
            for site in piece.sites:
                gaps = missing(scope, piece, site)
                if gaps:
                    _never(scope, piece, site, gaps, seen)
            for choice in piece.choices:
                if _outside(scope, piece, choice):
                    _no_component(scope, choice)
    for name, ranges, span in scope.outputs:
        piece, site = _as_read(scope, name, ranges, span)
        gaps = missing(scope, piece, site)
        if gaps:
            _never(scope, piece, site, gaps, seen, "is an output")
    for instance, piece, site in _arguments(scope):
        gaps = missing(scope, piece, site)
        if gaps:
            _never(scope, piece, site, gaps, seen, f"is read by `{instance}`")


def _twice(scope: Scope, d: Definition, a: Piece, b: Piece, both: Domain) -> None:
    which = element(scope, d.name, [(f"@{k}", both) for k in range(len(d.axes))])
    if a.copy_of is not None:
        scope.report.error(
            "E0401",
            f"`{a.copy_of}{which}` is data, and defined by an equation as well",
            (b.span, f"defines {a.copy_of}{which}"),
            (a.span, f"declared for {d.axes[0]} in {_range(scope, d.axes[0])}"),
            helps=["an equation may extend an input beyond its range only"],
        )
        return
    helps = [f"let each equation hold for its own {d.axes[0]} only: `for {d.axes[0]} …` behind it"]
    if not d.axes:
        helps = ["remove one of them, or give it another name"]
    scope.report.error(
        "E0401",
        f"`{d.name}{which}` is defined twice",
        (b.target, "here again"),
        (a.target, "first here"),
        helps=helps,
    )


def _range(scope: Scope, index: str) -> str:
    lo, hi = scope.indices[index]
    return f"{lo.compact()}..{hi.compact()}"


def element(scope: Scope, name: str, shadows: list[tuple[str, Domain]]) -> str:
    """`[0]`, `[T+1]`, `[3, s]`: the position, as exactly as can be said for all lengths."""
    if not shadows:
        return ""
    d = scope.definitions[name]
    texts = []
    for k, (symbol, domain) in enumerate(shadows):
        ends = _ends(scope, domain, symbol)
        if ends is not None and ends[0] == ends[1]:
            texts.append(ends[0].compact())
        else:
            texts.append(d.axes[k])
    return f"[{', '.join(texts)}]"


def _ends(scope: Scope, domain: Domain, symbol: str) -> tuple[Poly, Poly] | None:
    """The least and greatest position, where each is one expression for all lengths."""
    given = scope.given
    keep = {symbol, *scope.lengths, *scope.sizes, *(s for p in given.constraints for s in p.symbols)}
    shadow = domain.project_out(domain.symbols - keep).simplified(given)
    try:
        return hull([shadow], symbol, given)
    except ValueError:
        return None


def _positions(scope: Scope, site: Site, gaps: list[Domain]) -> list[tuple[Poly, Poly] | None]:
    """For each axis the range of positions that are missing."""
    result = []
    for k, at in enumerate(site.index):
        symbol = f"{AT}:{k}"
        shadows = []
        for gap in gaps:
            ends = _ends(scope, gap & Domain.point(symbol, at), symbol)
            if ends is None:
                break
            shadows.append(Domain.range(symbol, *ends))
        result.append(hull(shadows, symbol, scope.given) if len(shadows) == len(gaps) else None)
    return result


def _never(
    scope: Scope,
    piece: Piece,
    site: Site,
    gaps: list[Domain],
    seen: set[tuple[str, str]],
    words: str = "",
) -> None:
    """A read of elements that no equation defines."""
    d = scope.definitions[site.name]
    ends = _positions(scope, site, gaps)
    shown = _shown(scope, d, ends, piece, site, gaps)
    public = next((k for k, v in scope.extended.items() if v == d.name), d.name)
    if (d.name, shown) in seen and not words:
        return
    seen.add((d.name, shown))
    when = _when(scope, piece, site, gaps)
    reads = words or f"reads {public}{shown}{when}"
    if d.role != "variable" or public != d.name:
        axis = d.axes[0]
        lo, hi = scope.indices[axis]
        scope.report.error(
            "E0403",
            f"`{public}{shown}` lies outside of the {_role(d)}",
            (site.span, reads),
            (d.span, f"`{public}` is declared for {axis} in {_range(scope, axis)}"),
            helps=_outside_help(scope, d, public, ends, when),
        )
        return
    where = [(p.target, f"defines {_defines(scope, d, p)}") for p in d.pieces]
    if d.instance is not None:
        where = [(d.span, f"a `{scope.instances[d.instance].program.name}`")]
    scope.report.error(
        "E0402",
        f"`{public}{shown}` is never defined",
        (site.span, reads),
        *[w for w in where if w[0] != site.span][:3],
        helps=_never_help(scope, d, public, ends),
    )


def _role(d: Definition) -> str:
    return {"input": "input", "param": "parameter"}.get(d.role, "input")


def _shown(
    scope: Scope,
    d: Definition,
    ends: list[tuple[Poly, Poly] | None],
    piece: Piece,
    site: Site,
    gaps: list[Domain],
) -> str:
    """`[0]`; for several positions one of them stands for all."""
    if not ends:
        return ""
    if all(e is not None and e[0] == e[1] for e in ends):
        return "[" + ", ".join(e[0].compact() for e in ends if e is not None) + "]"
    example = witness(scope, gaps[0], piece, site)
    if example is not None:
        return "[" + ", ".join(map(str, example[1])) + "]"
    texts = [d.axes[k] if e is None or e[0] != e[1] else e[0].compact() for k, e in enumerate(ends)]
    return "[" + ", ".join(texts) + "]"


def witness(
    scope: Scope, gap: Domain, piece: Piece, site: Site
) -> tuple[dict[str, int], tuple[int, ...]] | None:
    """A concrete case: lengths, and the position that is read there."""
    outer = sorted(s for s in gap.symbols if s in scope.lengths or s in scope.sizes)
    inner = tuple(sorted(gap.symbols - set(outer)))
    for total in sorted(product(range(1, 7), repeat=len(outer)), key=sum):
        values = dict(zip(outer, total, strict=True))
        if any(v < scope.minimum.get(n, 1) for n, v in values.items()):
            continue
        try:
            point = next(iter(gap.points(inner, values)), None)
        except ValueError:
            return None
        if point is not None:
            known = values | dict(zip(inner, point, strict=True))
            try:
                return values, tuple(p.evaluate(known) for p in site.index)
            except KeyError:
                return None
    return None


def _when(scope: Scope, piece: Piece, site: Site, gaps: list[Domain]) -> str:
    """` when t = 1`, if the read is of that kind."""
    said = []
    for index in piece.indices:
        if index.startswith(AT) or index not in {s for p in site.index for s in p.symbols}:
            continue
        found = [_ends(scope, gap, index) for gap in gaps]
        if all(e is not None and e[0] == e[1] for e in found) and len({e for e in found}) == 1:
            assert found[0] is not None
            said.append(f"{index} = {found[0][0].compact()}")
    return f" when {' and '.join(said)}" if said else ""


def _defines(scope: Scope, d: Definition, piece: Piece) -> str:
    """`h[t] for t in 1..T`, or `h[0]`."""
    parts = []
    ranges = []
    for k, index in enumerate(piece.indices):
        ends = _ends(scope, piece.domain, index)
        if ends is None:
            parts.append(index)
        elif ends[0] == ends[1]:
            parts.append(ends[0].compact())
        else:
            parts.append(index)
            ranges.append(f"{index} in {ends[0].compact()}..{ends[1].compact()}")
        del k
    text = f"{d.name}[{', '.join(parts)}]" if parts else d.name
    return text + (f" for {', '.join(ranges)}" if ranges else "")


def _never_help(
    scope: Scope, d: Definition, name: str, ends: list[tuple[Poly, Poly] | None]
) -> list[str]:
    if d.instance is not None:
        return ["only the positions that the sub-model defines can be read"]
    if not ends or any(e is None for e in ends):
        return ["give it an equation there, or read it only where it is defined: "
                "`a if s <= t else 0`"]  # fmt: skip
    known = [e for e in ends if e is not None]
    if all(lo == hi for lo, hi in known):
        text = ", ".join(lo.compact() for lo, _ in known)
        return [f"give it a value: `{name}[{text}] = 0`"]
    if len(known) == 1:
        (lo, hi), index = known[0], d.axes[0]
        if hi.constant is not None and hi.constant <= 0:
            return [f"give them values: `{name}[{index}] = 0 for {index} <= {hi}`"]
        return [f"give them values: `{name}[{index}] = 0 for {index} in "
                f"{lo.compact()}..{hi.compact()}`"]  # fmt: skip
    return ["give it an equation there, or read it only where it is defined, as in "
            "`a if s <= t else 0`"]  # fmt: skip


def _outside_help(
    scope: Scope,
    d: Definition,
    name: str,
    ends: list[tuple[Poly, Poly] | None],
    when: str,
) -> list[str]:
    helps = []
    if len(ends) == 1 and ends[0] is not None and _role(d) == "input":
        lo, hi = ends[0]
        index = d.axes[0]
        if lo == hi:
            helps.append(f"extend it by an equation: `{name}[{lo.compact()}] = 0`")
        elif hi.constant is not None and hi.constant <= 0:
            helps.append(f"extend it by an equation: `{name}[{index}] = 0 for {index} <= {hi}`")
        else:
            helps.append(f"extend it by an equation: `{name}[{index}] = 0 for {index} in "
                         f"{lo.compact()}..{hi.compact()}`")  # fmt: skip
    if when:
        helps.append("or let the equation that reads it hold elsewhere only, with `for`")
    if len(helps) == 1:
        helps[0] = helps[0].removeprefix("or ")
    return helps


def _no_component(scope: Scope, choice: Choice) -> None:
    scope.report.error(
        "E0306",
        f"`{choice.base}` may not have the component {choice.at.compact()}",
        (choice.span, f"there are {choice.size}, counted 0..{(choice.size - 1).compact()}"),
        helps=["components are counted from 0 and chosen by numbers, sizes, or indices that stay "
               "below the size; what there is one of for each step is indexed instead"],
    )  # fmt: skip
