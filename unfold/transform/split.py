"""Turn guarded terms into pieces of their own, so that equations read like a textbook.

before:  h_bar[t] = y_bar[t] + (U' @ a_bar[t+1] if t < T else 0)
after:   h_bar[T] = y_bar[T]
         h_bar[t] = y_bar[t] + U' @ a_bar[t+1] for t <= T-1
requires: nothing.

Only guards that cut off an end of the range are split; one in the middle (``if t == 4``) would
give pieces whose order depends on the length, and stays a guard. But where it guards a read of the
adjoint's own element elsewhere (a start that reads ahead, ``s[-2] = B @ s[0]``), that point cannot
take its turn in the loop of all others, and has a piece of its own:

before:  s_bar[t] = (B' @ s_bar[-2] if t == 0 else 0) + (W' @ a_bar[t+3] if t <= T-3 else 0)
after:   s_bar[0] = B' @ s_bar[-2] + (W' @ a_bar[3] if 3 <= T else 0)
         s_bar[t] = (W' @ a_bar[t+3] if t <= T-3 else 0) for t in -2..-1, and for t >= 1
"""

from __future__ import annotations

from collections.abc import Callable

from ..domain import Domain
from ..expr import Call, Const, Expr, Guard, Reduce, kinds, names, reads, with_operands
from ..ops.record import broadcast_to
from ..poly import Poly
from ..program import Equation, Program, equation
from .common import needed_for

_MOST_PIECES = 4


def split_guards(program: Program) -> Program:
    """Split every equation along the guards that cut off ends of its domain."""
    equations: list[Equation] = []
    for eq in program.equations:
        for part in _turned(eq, program):
            equations.extend(_split(part, program.given))
    return program.with_(equations=tuple(equations))


def _turned(eq: Equation, program: Program) -> list[Equation]:
    """The equation, and points of their own where it reads its own variable, or one that is made
    from that, at another fixed position."""
    if len(eq.indices) != 1 or "Guard" not in kinds(eq.rhs):
        return [eq]
    (index,) = eq.indices
    given, fixed = program.given, {*program.lengths, *program.sizes}
    single = [
        (read.ref, at)
        for read in reads(eq.rhs)
        if all(p.symbols <= fixed for p in read.ref.index)
        and (at := (eq.domain & read.domain).fixed(index, given)) is not None
    ]
    made = {n for n in {ref.name for ref, _ in single} if eq.name in needed_for(program, [n])}
    if not made:
        return [eq]
    mutual = {n for n in names(eq.rhs) if n in made or eq.name in needed_for(program, [n])}
    own = [read.ref.index for read in reads(eq.rhs) if read.ref.name in mutual]
    way = {_sign(p - Poly.symbol(index)) for at in own for p in at} - {None, 0}
    points: list[Domain] = []
    for ref, at in single:
        # What lies the way that the others are read is settled by their loop.
        settled = len(way) == 1 and [_sign(p - at) for p in ref.index] == [*way]
        if ref.name in made and not settled and (point := Domain.point(index, at)) not in points:
            points.append(point)
    cells = [eq.domain]
    for point in points:
        cells = [part for cell in cells for part in _cut(cell, point, given)]
    if len(cells) == 1:
        return [eq]
    return [_resolve(eq, cell.simplified(given), given) for cell in cells]


def _sign(distance: Poly) -> int | None:
    """Whether a constant distance leads back or ahead."""
    k = distance.constant
    return None if k is None else (k > 0) - (k < 0)


def _split(eq: Equation, given: Domain) -> list[Equation]:
    cuts = [g for g in _guards(eq.rhs) if _cuts_an_end(g, eq, given)]
    if not cuts or eq.pins:
        return [_resolve(eq, eq.domain, given)]
    cells = [eq.domain]
    for cut in cuts:
        cells = [part for cell in cells for part in _cut(cell, cut, given)]
    if len(cells) > _MOST_PIECES:
        return [_resolve(eq, eq.domain, given)]
    cells.sort(key=lambda d: not any(d.fixed(i) is not None for i in eq.indices))
    return [_resolve(eq, cell.simplified(given), given) for cell in cells]


def _guards(e: Expr) -> list[Domain]:
    """The guards outside reductions, each once."""
    found: list[Domain] = []
    stack = [e]
    while stack:
        node = stack.pop()
        if isinstance(node, Guard) and node.domain not in found:
            found.append(node.domain)
        if isinstance(node, (Call, Guard)):
            stack.extend(node.operands)
    return found


def _cut(cell: Domain, cut: Domain, given: Domain) -> list[Domain]:
    inside = cell & cut
    outside = cell.minus(cut, given)
    if inside.is_empty(given) or not outside:
        return [cell]
    return [inside, *outside]


def _cuts_an_end(guard: Domain, eq: Equation, given: Domain) -> bool:
    """Whether what the guard leaves out, or keeps, is a piece at one end of the range."""
    if len(eq.indices) != 1 or not guard.symbols & set(eq.indices):
        return False
    (index,) = eq.indices
    i = Poly.symbol(index)
    at = (eq.domain & guard).fixed(index, given)
    if at is None:
        return True
    return eq.domain.implies(i - at, given) or eq.domain.implies(at - i, given)


def _resolve(eq: Equation, domain: Domain, given: Domain) -> Equation:
    """The equation on a smaller domain, without the guards that are decided there and the sums
    that have no terms."""

    def decide(e: Expr) -> Expr:
        if isinstance(e, Reduce):
            apart = not set(e.indices) & set(eq.indices)
            empty = apart and e.op == "sum" and (domain & e.domain).is_empty(given)
            return broadcast_to(Const(0.0), e.shape) if empty else e
        if not isinstance(e, Guard):
            return e
        if domain.subset(e.domain, given):
            return e.body
        if (domain & e.domain).is_empty(given):
            return broadcast_to(Const(0.0), e.shape)
        return e

    if kinds(eq.rhs).isdisjoint(("Guard", "Reduce")):
        return equation(eq.name, eq.indices, domain, eq.rhs, eq.span, eq.solver)
    rhs = _outside_reductions(eq.rhs, decide)
    return equation(eq.name, eq.indices, domain, rhs, eq.span, eq.solver)


def _outside_reductions(e: Expr, fn: Callable[[Expr], Expr]) -> Expr:
    """Rewrite, but leave the bodies of reductions alone (their indices are not the equation's)."""
    if isinstance(e, Reduce):
        return fn(e)
    new = tuple(_outside_reductions(c, fn) for c in e.operands)
    return fn(with_operands(e, new))
