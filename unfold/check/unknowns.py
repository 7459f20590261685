"""The unknowns of `solve` blocks, once their equations are read: what they are, where to begin."""

from __future__ import annotations

from ..expr import REAL, Const, Expr
from ..ops import call
from ..ops.record import broadcast_to
from ..poly import Poly, ShapeError, broadcast, show_shape
from .operands import Hole, Value, settled
from .report import listed
from .scope import Block, Definition, Env, Implicit, Piece, Scope, Site
from .values import Reader


def surroundings(piece: Piece) -> Env:
    """What surrounds the right-hand side of an equation."""
    taken = frozenset(piece.indices) | frozenset(piece.env)
    return Env(piece.env, domain=piece.domain, taken=taken)


def finish(scope: Scope, d: Definition, piece: Piece, reader: Reader) -> None:
    """What is special about the right-hand side of an implicit equation, once it is read."""
    implicit = piece.implicit
    if implicit is None or d.shape is None or d.type is None:
        return
    if d.type.kind != "real":
        raise scope.report.error(
            "E0705",
            f"only real unknowns can be solved for, and `{d.name}` is {d.type}",
            (implicit.head, f"{d.type}{show_shape(d.shape)}"),
        )
    block = implicit.block
    block.reads |= {s.name for s in reader.sites if _reads_own(piece, s)}
    if implicit.start is None:
        return
    before = len(reader.sites)
    value = reader.value(implicit.start, surroundings(piece))
    for site in reader.sites[before:]:
        if _reads_own(piece, site):
            raise scope.report.error(
                "E0706",
                "the search cannot begin at its own solution",
                (site.span, "not known yet"),
                helps=["begin at something known, such as the step before, or leave it out: the "
                       "search then begins at zero"],
            )  # fmt: skip
    if not isinstance(value, Hole):
        piece.start = _start(scope, d, implicit, settled(value, REAL))


def _reads_own(piece: Piece, site: Site) -> bool:
    """Whether an unknown of the piece's own block is read, at the piece's own element."""
    assert piece.implicit is not None
    return site.name in piece.implicit.block.unknowns and is_own(piece, site.index)


def is_own(piece: Piece, index: tuple[Poly, ...]) -> bool:
    """Whether positions are those of the element that a piece defines."""
    pins = {i: p for i in piece.indices if (p := piece.domain.fixed(i)) is not None}
    here = tuple(Poly.symbol(i).subs(pins) for i in piece.indices)
    return tuple(p.subs(pins) for p in index) == here


def _start(scope: Scope, d: Definition, implicit: Implicit, value: Value) -> Expr:
    assert d.shape is not None
    assert implicit.start is not None
    assert isinstance(value, Expr)
    if value.type.kind == "int":
        value = Const(float(value.value)) if isinstance(value, Const) else call("real", value)
    try:
        fits = value.type.kind == "real" and broadcast(value.shape, d.shape) == d.shape
    except ShapeError:
        fits = False
    if not fits:
        raise scope.report.error(
            "E0706",
            f"the search for `{d.name}` cannot begin here",
            (implicit.start.span, f"{value.type}{show_shape(value.shape)}"),
            (implicit.head, f"the unknown is {d.type}{show_shape(d.shape)}"),
        )
    return broadcast_to(value, d.shape)


def check(scope: Scope) -> None:
    """Warn of blocks that solve nothing; report unknowns that are not solved for together."""
    for block in scope.blocks():
        together = groups(scope, block)
        whole = together and all(len(pieces) == len(block.unknowns) for pieces in together)
        if not whole or any(p.rhs is None for pieces in together for p in pieces):
            continue
        for first, *others in together:
            for other in others:
                if (other.indices, other.domain) != (first.indices, first.domain):
                    scope.report.error(
                        "E0704",
                        f"`{first.name}` and `{other.name}` are not solved for at the same places",
                        (other.span, "holds elsewhere"),
                        (first.span, "than this"),
                        helps=["unknowns of one block have the same indices, and their equations "
                               "the same conditions; otherwise each has a block of its own"],
                    )  # fmt: skip
        if not block.reads:
            firsts = together[0]
            scope.report.warning(
                "W0805",
                f"nothing has to be solved for {listed(block.unknowns)}",
                *((p.span, "gives it outright" if k == 0 else "") for k, p in enumerate(firsts)),
                helps=["an equation that does not read its unknown stands by itself, without "
                       "`solve`"],
            )  # fmt: skip


def groups(scope: Scope, block: Block) -> list[list[Piece]]:
    """The pieces that a block solves together: one of each unknown, in their order."""
    columns = [
        [p for p in scope.definitions[n].pieces if p.implicit and p.implicit.block is block]
        for n in block.unknowns
        if n in scope.definitions
    ]
    return [list(group) for group in zip(*columns, strict=False)]


__all__ = ["check", "finish", "groups", "is_own"]
