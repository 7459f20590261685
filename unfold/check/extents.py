"""Stage 6: open ends, and the range of positions that each variable is stored for.

`s[t] = s0[t] for t <= 0` begins where `s0` does; `s[t] = 0 for t <= 0` begins at the farthest
position that anything reads. The stored range of an axis is the hull of all pieces.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..domain import Domain, hull
from ..expr import fresh
from ..poly import Poly
from .report import Failed
from .scope import Definition, Piece, Scope, Site

#: A symbol for a position that is read; no index can have this name.
AT = "@at"


def close(scope: Scope) -> None:
    """Find the missing ends of all pieces, and every variable's stored range."""
    pending = [
        (d, piece, index)
        for d in scope.definitions.values()
        for piece in d.pieces
        for index in sorted(piece.open)
    ]
    while pending:
        left = [item for item in pending if not _close(scope, *item, pending=pending)]
        if len(left) == len(pending):
            for d, piece, index in left:
                d.broken = True
                _no_end(scope, d, piece, index)
            break
        pending = left
    for d in scope.definitions.values():
        if d.role == "variable" and d.instance is None and not d.broken and d.axes:
            try:
                d.ranges = tuple(_range(scope, d, k) for k in range(len(d.axes)))
            except Failed:
                d.broken = True


def _close(
    scope: Scope,
    d: Definition,
    piece: Piece,
    index: str,
    pending: list[tuple[Definition, Piece, str]],
) -> bool:
    """Give a piece its missing end, if it can be known by now."""
    lows, highs = piece.domain.bounds(index)
    ends = _ends_of_reads(scope, piece, index, pending)
    if ends is None:
        return False
    lower, upper = ends
    i = Poly.symbol(index)
    new: list[Poly] = []
    if not lows:
        new += [i - b for b in lower]
    if not highs:
        new += [b - i for b in upper]
    if (not lows and not lower) or (not highs and not upper):
        demand = _demand(scope, d, piece, index, pending)
        if demand is None:
            return False
        low, high = demand
        if not lows and not lower:
            new.append(i - low)
        if not highs and not upper:
            new.append(high - i)
    piece.domain = piece.domain & Domain.of(new)
    piece.open = piece.open - {index}
    return True


def _ends_of_reads(
    scope: Scope, piece: Piece, index: str, pending: list[tuple[Definition, Piece, str]]
) -> tuple[list[Poly], list[Poly]] | None:
    """Bounds on the index that its own reads set: each must lie in the range of what is read.

    ``None`` while some range is not known yet.
    """
    lower: list[Poly] = []
    upper: list[Poly] = []
    waiting = {d.name for d, _, _ in pending}
    for site in piece.sites:
        source = scope.definitions[site.name]
        for k, at in enumerate(site.index):
            coef = at.coefficient(index)
            others = (at.symbols & set(piece.indices)) - {index}
            if abs(coef) != 1 or others:
                continue
            if site.name in waiting:
                if site.name == piece.name:
                    continue
                return None
            bounds = _extent(scope, source, k)
            if bounds is None:
                continue
            lo, hi = bounds
            rest = at - Poly.symbol(index) * coef
            if coef == 1:
                lower.append(lo - rest)
                upper.append(hi - rest)
            else:
                lower.append(rest - hi)
                upper.append(rest - lo)
    return lower, upper


def _extent(scope: Scope, d: Definition, axis: int) -> tuple[Poly, Poly] | None:
    """The positions of an axis that are defined, if that is a plain range."""
    if d.role != "variable":
        return scope.indices[d.axes[axis]]
    if d.instance is not None:
        from .inline import Transplant

        instance = scope.instances[d.instance]
        v = instance.program.vars[d.name.removeprefix(d.instance + ".")]
        moved = Transplant(scope, instance).axis(v.axes[axis])
        return moved.lo, moved.hi
    try:
        return _range(scope, d, axis)
    except Failed:
        return None


def _demand(
    scope: Scope,
    d: Definition,
    piece: Piece,
    index: str,
    pending: list[tuple[Definition, Piece, str]],
) -> tuple[Poly, Poly] | None:
    """The least and greatest position at which anything reads the variable."""
    axis = piece.indices.index(index)
    open_pieces = {id(p) for _, p, _ in pending}
    shadows = []
    for reader, site in sites(scope, d.name):
        if id(reader) in open_pieces:
            if reader is piece:
                continue
            return None
        here = reader.domain & site.domain & Domain.point(AT, site.index[axis])
        shadows.append(here.project_out(here.symbols - {AT, *scope.lengths, *scope.sizes}))
    found = hull(shadows, AT, scope.given) if shadows else None
    if found is None:
        return None
    return found


def sites(scope: Scope, name: str) -> Iterator[tuple[Piece, Site]]:
    """All reads of a variable, with the pieces that they stand in."""
    for d in scope.definitions.values():
        for piece in d.pieces:
            for site in piece.sites:
                if site.name == name:
                    yield piece, site


def _no_end(scope: Scope, d: Definition, piece: Piece, index: str) -> None:
    lows, highs = piece.domain.bounds(index)
    side, which = ("begins", "first") if not lows else ("ends", "last")
    known = lows or highs
    text = piece.target.text
    end = known[0].compact() if known else "T+1"
    lo, hi = ("-3", end) if side == "begins" else (end, "T+3")
    scope.report.error(
        "E0404",
        f"nothing says where this equation of `{d.name}` {side}",
        (piece.span, f"the {which} {index} is unknown"),
        notes=["the end of such an equation is the farthest position that is read, "
               "or that its own reads allow"],
        helps=[f"say it: `{text} = … for {index} in {lo}..{hi}`"],
    )  # fmt: skip


def _range(scope: Scope, d: Definition, axis: int) -> tuple[Poly, Poly]:
    """The hull of all pieces along one axis."""
    symbol = fresh("@", ())
    shadows = []
    given = scope.given
    for piece in d.pieces:
        index = piece.indices[axis]
        others = [i for i in piece.indices if i != index]
        try:
            shadow = piece.domain.project_out(others).subs({index: Poly.symbol(symbol)})
            shadow.bounds(symbol)
        except ValueError:
            raise _no_hull(scope, d, piece, axis) from None
        if not shadow.is_empty(given):
            shadows.append(shadow)
    found = hull(shadows, symbol, given) if shadows else None
    if found is None:
        raise _no_hull(scope, d, d.pieces[0], axis)
    return found


def _no_hull(scope: Scope, d: Definition, piece: Piece, axis: int) -> Failed:
    index = d.axes[axis]
    return scope.report.error(
        "E0407",
        f"the range of `{index}` in `{d.name}` is not one range for all lengths",
        (piece.span, f"from which {index} to which?"),
        helps=[f"give the equation a plain range: `for {index} in 1..T`"],
    )
