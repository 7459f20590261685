"""What to say about elements that are defined twice or never.

All reads of a variable that miss elements on the same side become one error, which names the
elements, shows where they are read and which equations there are, and offers the missing one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from ..domain import Domain
from ..poly import Poly
from ..syntax.span import Span
from .coverage import arguments, as_read, canonical, missing, outside, overlaps, own
from .extents import AT
from .scope import Choice, Definition, Piece, Scope, Site

#: Labels of one error: more would hide the text.
MOST = 4


@dataclass(frozen=True)
class Gap:
    """A read that misses elements.

    Attributes:
        ends: for each axis the first and last position that is missed, if they can be said.
        example: one of the elements, as text: `[0]`.
        words: what reads it.
        past: what a chain from the start reads in its place, `h[t-1]` for `h[t+1]`, if an
            equation reads its own variable ahead.
    """

    name: str
    span: Span
    ends: tuple[tuple[Poly, Poly] | None, ...]
    example: str
    words: str
    past: str | None = None

    @property
    def side(self) -> str:
        """Before the beginning, behind the end, or within."""
        if len(self.ends) == 1 and self.ends[0] is not None:
            lo, hi = self.ends[0]
            if hi.constant is not None and hi.constant <= 0:
                return "before"
            if (hi - lo).constant is not None and lo.symbols and lo.offset > 0:
                return "behind"
        return "within"


def report(scope: Scope) -> None:
    """Report every element that is defined twice, or read and never defined."""
    for d in own(scope):
        for a, b, both in overlaps(scope, d):
            _twice(scope, d, a, b, both)
        for piece in d.pieces:
            for choice in piece.choices:
                if outside(scope, piece, choice):
                    _no_component(scope, choice)
    groups: dict[tuple[str, str], list[Gap]] = {}
    for gap in _gaps(scope):
        groups.setdefault((gap.name, gap.side), []).append(gap)
    for (name, _), found in groups.items():
        _never(scope, scope.definitions[name], found)


def _gaps(scope: Scope) -> Iterator[Gap]:
    for d in own(scope):
        for piece in d.pieces:
            for site in piece.sites:
                yield from _gap(scope, piece, site)
    for name, ranges, span in scope.outputs:
        yield from _gap(scope, *as_read(scope, name, ranges, span), "is an output")
    for instance, piece, site in arguments(scope):
        yield from _gap(scope, piece, site, f"all of it is read by `{instance}`")


def _gap(scope: Scope, piece: Piece, site: Site, words: str = "") -> Iterator[Gap]:
    parts = missing(scope, piece, site)
    if not parts:
        return
    ends = tuple(_ends_of_all(scope, parts, at) for at in site.index)
    exact = all(e is not None and e[0] == e[1] for e in ends)
    if exact:
        example = _brackets(e[0].compact() for e in ends if e is not None)
        when = _when(scope, piece, site, parts)
    else:
        example, when = _example(scope, parts, site)
    words = words or f"reads {public_name(scope, site.name)}{example}{when}"
    yield Gap(site.name, site.span, ends, example, words, _past(scope, piece, site))


def _past(scope: Scope, piece: Piece, site: Site) -> str | None:
    """`h[t-1]`, where the equation of `h[t]` reads `h[t+1]`."""
    if len(site.index) != 1 or len(piece.indices) != 1:
        return None
    (index,) = piece.indices
    ahead = (site.index[0] - Poly.symbol(index)).constant
    if not ahead or ahead < 0 or piece not in scope.definitions[site.name].pieces:
        return None
    return f"{site.name}[{(Poly.symbol(index) - ahead).compact()}]"


def public_name(scope: Scope, name: str) -> str:
    """The name that the text uses: `x` for `x_ext`."""
    return next((k for k, v in scope.extended.items() if v == name), name)


def _brackets(positions: Iterator[str] | Sequence[str]) -> str:
    inner = ", ".join(positions)
    return f"[{inner}]" if inner else ""


# --- where ------------------------------------------------------------------------------------


def ends(scope: Scope, domain: Domain, symbol: str) -> tuple[Poly, Poly] | None:
    """The least and greatest position for all lengths; numbers are preferred to lengths."""
    given = scope.given
    keep = {symbol, *(s for p in given.constraints for s in p.symbols)}
    shadow = domain.project_out(domain.symbols - keep)
    try:
        lows, highs = shadow.simplified(given).bounds(symbol)
    except ValueError:
        return None
    if not lows or not highs:
        return None

    def first(bounds: tuple[Poly, ...]) -> Poly:
        return min(bounds, key=lambda p: (len(p.symbols), p.terms))

    return first(lows), first(highs)


def _ends_of_all(scope: Scope, parts: list[Domain], at: Poly) -> tuple[Poly, Poly] | None:
    """The range of the positions `at` in several domains together."""
    symbol = f"{AT}:"
    found = [ends(scope, part & Domain.point(symbol, at), symbol) for part in parts]
    known = [e for e in found if e is not None]
    if len(known) < len(found):
        return None
    given = scope.given
    lo = next((a for a, _ in known if all(given.implies(b - a) for b, _ in known)), None)
    hi = next((b for _, b in known if all(given.implies(b - a) for _, a in known)), None)
    return None if lo is None or hi is None else (lo, hi)


def _when(scope: Scope, piece: Piece, site: Site, parts: list[Domain]) -> str:
    """` when t = 1`, if that is when the read fails."""
    said = []
    for index in piece.indices:
        if index.startswith(AT) or index not in {s for p in site.index for s in p.symbols}:
            continue
        found = {ends(scope, part, index) for part in parts}
        if len(found) == 1:
            (only,) = found
            if only is not None and only[0] == only[1]:
                said.append(f"{index} = {only[0].compact()}")
    return f" when {' and '.join(said)}" if said else ""


def _example(scope: Scope, parts: list[Domain], site: Site) -> tuple[str, str]:
    """One element that is missed, for lengths like 4, and for which lengths that is."""
    for part in parts:
        # Sizes and lengths of ordinary magnitude make the best example.
        outer = sorted({*scope.lengths, *scope.sizes} & {*part.symbols, *_symbols(site)})
        inner = tuple(sorted({*part.symbols, *_symbols(site)} - set(outer)))
        for numbers in sorted(product(range(1, 8), repeat=len(outer)), key=_distance):
            values = dict(zip(outer, numbers, strict=True))
            if any(v < scope.minimum.get(n, 1) for n, v in values.items()):
                continue
            try:
                point = next(iter(part.points(inner, values)), None)
            except ValueError:
                break
            if point is not None:
                known = values | dict(zip(inner, point, strict=True))
                element = _brackets([str(p.evaluate(known)) for p in site.index])
                lengths = " and ".join(f"{n} = {v}" for n, v in values.items())
                return element, f", for example, when {lengths}" if lengths else ", for example"
    return _brackets([p.compact() for p in site.index]), ""


def _symbols(site: Site) -> set[str]:
    return {s for p in site.index for s in p.symbols}


def _distance(numbers: tuple[int, ...]) -> tuple[int, ...]:
    return (sum(abs(n - 4) for n in numbers), *numbers)


# --- defined twice ----------------------------------------------------------------------------


def _twice(scope: Scope, d: Definition, a: Piece, b: Piece, both: Domain) -> None:
    which = []
    for k, index in enumerate(d.axes):
        found = ends(scope, both, f"@{k}")
        if found and found[0] == found[1]:
            which.append(found[0].compact())
            continue
        same = (j for j in range(k) if both.implies_equal(f"@{j}", f"@{k}", scope.given))
        which.append(which[j] if (j := next(same, None)) is not None else index)
    element = _brackets(which)
    if a.copy_of is not None:
        scope.report.error(
            "E0401",
            f"`{a.copy_of}{element}` is data, and defined by an equation as well",
            (b.span, f"defines {a.copy_of}{element}"),
            (a.span, f"declared for {d.axes[0]} in {_range(scope, d.axes[0])}"),
            helps=["an equation may extend an input beyond its range only"],
        )
        return
    scope.report.error(
        "E0401",
        f"`{d.name}{element}` is defined twice",
        (b.target, "here again"),
        (a.target, "first here"),
        helps=[_apart(d, a, b)],
    )


def _apart(d: Definition, a: Piece, b: Piece) -> str:
    """How two equations can be kept apart."""
    if not d.axes or canonical(a) == canonical(b):
        return "remove one of them, or give it another name"
    index = d.axes[0]
    fixed = next((p for p in (a, b) if p.domain.fixed(p.indices[0]) is not None), None)
    at = fixed.domain.fixed(fixed.indices[0]) if fixed is not None else None
    other = b if fixed is a else a
    if at is not None and other.domain.fixed(other.indices[0]) is None:
        if at == Poly.const(1):
            return f"let the other one begin later: `{other.target.text} = … for {index} >= 2`"
        if at.as_symbol is not None:
            return f"let the other one end before: `{other.target.text} = … for {index} < {at}`"
    return "say behind each equation where it holds, as in `for t <= 3` and `for t > 3`"


def _range(scope: Scope, index: str) -> str:
    lo, hi = scope.indices[index]
    return f"{lo.compact()}..{hi.compact()}"


# --- never defined ----------------------------------------------------------------------------


def _never(scope: Scope, d: Definition, gaps: list[Gap]) -> None:
    name = public_name(scope, d.name)
    reads = {g.example: g for g in reversed(gaps)}
    shown = sorted(reads.values(), key=lambda g: g.span.start)[:MOST]
    span = _union(scope, gaps)
    elements = _elements(name, shown, span)
    verb = "are" if elements.count("`") > 2 or "to" in elements else "is"
    labels = [(g.span, g.words) for g in shown]
    if d.role != "variable" or name != d.name:
        what = "parameter" if d.role == "param" else "input"
        axis = d.axes[0]
        scope.report.error(
            "E0403",
            f"{elements} {'lie' if verb == 'are' else 'lies'} outside of the {what}",
            *labels,
            (d.span, f"`{name}` is declared for {axis} in {_range(scope, axis)}"),
            helps=[_extend(d, name, span, what)],
        )
        return
    taken = {span for span, _ in labels}
    there = [(p.target, f"defines {_defines(scope, d, p)}") for p in d.pieces]
    if d.instance is not None:
        there = [(d.span, f"a `{scope.instances[d.instance].program.name}`")]
    scope.report.error(
        "E0402",
        f"{elements} {verb} never defined",
        *labels,
        *[(place, words) for place, words in there if place not in taken][:MOST],
        helps=[
            _last(scope, d, name, shown)
            or _turned(d, shown, span)
            or _whole(d, shown)
            or _give(d, name, span)
        ],
    )


def _last(scope: Scope, d: Definition, name: str, shown: list[Gap]) -> str | None:
    """What to say where `h[-1]` is written for the last element."""
    if len(d.axes) == 1 and all(g.words == f"reads {name}[-1]" for g in shown):
        last = scope.indices[d.axes[0]][1].compact()
        return f"positions count from 1; the last element is `{name}[{last}]`"
    return None


def _turned(d: Definition, shown: list[Gap], span: tuple[Poly, Poly] | None) -> str | None:
    """What to say where a chain that has a start, `h[0]`, reads ahead: which way it should run."""
    past = shown[0].past
    if past is None or span is None or len(shown) > 1 or not any(map(_is_start, d.pieces)):
        return None
    if shown[0].side != "behind":
        return f"the past is `{past}`; a chain that runs from the end needs values there"
    give = _give(d, d.name, span)
    return f"the past is `{past}`; if the chain is to run from the end, {give}"


def _is_start(piece: Piece) -> bool:
    """Whether no element of it lies behind the first step."""
    return all(piece.domain.implies(1 - Poly.symbol(i)) for i in piece.indices)


def _union(scope: Scope, gaps: list[Gap]) -> tuple[Poly, Poly] | None:
    """The range of all positions that are missed, for one axis."""
    known = [g.ends[0] for g in gaps if len(g.ends) == 1 and g.ends[0] is not None]
    if len(known) < len(gaps) or not known:
        return None
    given = scope.given
    lo = next((a for a, _ in known if all(given.implies(b - a) for b, _ in known)), None)
    hi = next((b for _, b in known if all(given.implies(b - a) for _, a in known)), None)
    return None if lo is None or hi is None else (lo, hi)


def _elements(name: str, shown: list[Gap], span: tuple[Poly, Poly] | None) -> str:
    if span is not None and span[0] != span[1] and (span[1] - span[0]).constant is not None:
        return f"`{name}[{span[0].compact()}]` to `{name}[{span[1].compact()}]`"
    return f"`{name}{shown[0].example}`"


def _defines(scope: Scope, d: Definition, piece: Piece) -> str:
    """`h[t] for t in 1..T`, or `h[0]`."""
    parts, ranges = [], []
    for k, index in enumerate(piece.indices):
        same = (
            i
            for i in piece.indices[:k]
            if piece.domain.implies_equal(Poly.symbol(i), Poly.symbol(index), scope.given)
        )
        if (first := next(same, None)) is not None:
            parts.append(first)
            continue
        found = ends(scope, piece.domain, index)
        if found is None or found[0] != found[1]:
            parts.append(index)
        else:
            parts.append(found[0].compact())
        if found is not None and found[0] != found[1]:
            ranges.append(f"{index} in {found[0].compact()}..{found[1].compact()}")
    text = d.name + _brackets(parts)
    if piece.clauses:
        return f"{text} for {piece.clauses}"
    return text + (f" for {', '.join(ranges)}" if ranges else "")


def _equation(name: str, index: str, span: tuple[Poly, Poly]) -> str:
    """The equation that is missing."""
    lo, hi = span
    if lo == hi:
        return f"`{name}[{lo.compact()}] = 0`"
    if hi.constant is not None and hi.constant <= 0:
        return f"`{name}[{index}] = 0 for {index} <= {hi}`"
    return f"`{name}[{index}] = 0 for {index} in {lo.compact()}..{hi.compact()}`"


def _whole(d: Definition, shown: list[Gap]) -> str | None:
    """What to say where only the results ask for elements: those of `a[t,s]` for s > t, say."""
    at = shown[0].example.strip("[]").split(", ")
    if len(d.axes) != 2 or at[0] == at[-1] or not all(p.lstrip("-").isdecimal() for p in at):
        return None
    if any(g.words != "is an output" for g in shown):
        return None
    sign, index = "<" if int(at[0]) < int(at[1]) else ">", ",".join(d.axes)
    return (
        "an output has an element at every position: give the others an equation too, "
        f"`{d.name}[{index}] = 0 for {d.axes[0]} {sign} {d.axes[1]}`"
    )


def _give(d: Definition, name: str, span: tuple[Poly, Poly] | None) -> str:
    if d.instance is not None:
        return "only the positions that the sub-model defines can be read"
    if span is None:
        return ("give it an equation there, or read it only where it is defined, as in "
                "`a if s <= t else 0`")  # fmt: skip
    equation = _equation(name, d.axes[0], span)
    return f"give {'it a value' if span[0] == span[1] else 'them values'}: {equation}"


def _extend(d: Definition, name: str, span: tuple[Poly, Poly] | None, what: str) -> str:
    elsewhere = ("read it only where it is declared, with `for` behind the equation or "
                 "`… if … else 0` around the read")  # fmt: skip
    if span is None or what == "parameter":
        return elsewhere
    return f"extend it by an equation, {_equation(name, d.axes[0], span)}, or {elsewhere}"


def _no_component(scope: Scope, choice: Choice) -> None:
    scope.report.error(
        "E0306",
        f"`{choice.base}` may not have the component {choice.at.compact()}",
        (choice.span, f"there are {choice.size}, counted 0..{(choice.size - 1).compact()}"),
        helps=["components are counted from 0 and chosen by numbers, sizes, or indices that stay "
               "below the size; what there is one of for each step is indexed instead"],
    )  # fmt: skip
