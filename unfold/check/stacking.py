"""The implicit equations of a model, as the program has them.

Several unknowns of one `solve` block are found together: they become slices of one stacked
variable, whose equation is the implicit one.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..domain import Domain
from ..expr import INT, Const, Expr, Ref, fresh, rewrite
from ..implicit import begun
from ..ops import call
from ..ops.record import broadcast_to, reshape
from ..poly import Poly
from ..program import Equation, Solver, Var, equation
from .scope import Piece, Scope
from .unknowns import groups, is_own


def implicit_equation(scope: Scope, piece: Piece, domain: Domain) -> list[Equation]:
    """The equation of the one unknown of a block; those of several are made by `stacked`."""
    assert piece.implicit is not None
    assert piece.rhs is not None
    block = piece.implicit.block
    if len(block.unknowns) > 1:
        return []
    rhs = begun(piece.rhs, piece.start)
    return [equation(piece.name, piece.indices, domain, rhs, piece.span, block.solver)]


def stacked(scope: Scope, variables: dict[str, Var]) -> list[Equation]:
    """The equations of all blocks with several unknowns; ``variables`` gets the stacked ones.

    before:  u[t] = f(u[t], v[t])    v[t] = g(u[t], v[t])                      a scalar and a vector
    after:   u_v[t] = [[f(u_v[t][0], u_v[t][1:])]; g(u_v[t][0], u_v[t][1:])]   implicit
             u[t] = u_v[t][0]        v[t] = u_v[t][1:]
    """
    made: list[Equation] = []
    names: dict[tuple[str, ...], str] = {}
    for block in scope.blocks():
        if len(block.unknowns) < 2:
            continue
        # Scalars first: their place is then a number, whatever the sizes are.
        unknowns = sorted((variables[n] for n in block.unknowns), key=lambda v: bool(v.shape))
        if block.unknowns not in names:
            name = fresh("_".join(block.unknowns), {*scope.known_names(), *variables})
            names[block.unknowns] = name
            size = sum((_volume(v) for v in unknowns), Poly())
            variables[name] = Var(name, "variable", unknowns[0].axes, (size,), generated=True)
        whole = variables[names[block.unknowns]]
        for group in groups(scope, block):
            pieces = {p.name: p for p in group}
            made += _stack(scope, whole, unknowns, pieces, block.solver)
    return made


def _volume(v: Var) -> Poly:
    total = Poly.const(1)
    for n in v.shape:
        total = total * n
    return total


def _stack(
    scope: Scope, whole: Var, unknowns: list[Var], pieces: Mapping[str, Piece], solver: Solver
) -> list[Equation]:
    first = pieces[unknowns[0].name]
    domain = first.domain.simplified(scope.given)
    here = tuple(Poly.symbol(i) for i in first.indices)
    at = Ref(whole.name, here, whole.shape, whole.type)
    shares: dict[str, Expr] = {}
    low = Poly()
    for v in unknowns:
        shares[v.name] = _share(at, low, low + _volume(v), v)
        low = low + _volume(v)

    def read(node: Expr) -> Expr:
        if isinstance(node, Ref) and node.name in shares and is_own(first, node.index):
            return shares[node.name]
        return node

    maps = {n: rewrite(p.rhs, read) for n, p in pieces.items() if p.rhs is not None}
    starts = {n: p.start for n, p in pieces.items()}
    start = None
    if any(s is not None for s in starts.values()):
        zero = {v.name: broadcast_to(Const(0.0), v.shape) for v in unknowns}
        start = _joined([starts[v.name] or zero[v.name] for v in unknowns])
    rhs = begun(_joined([maps[v.name] for v in unknowns]), start)
    made = [equation(whole.name, first.indices, domain, rhs, first.span, solver)]
    for v in unknowns:
        span = pieces[v.name].span
        made.append(equation(v.name, first.indices, domain, shares[v.name], span))
    return made


def _share(whole: Expr, low: Poly, high: Poly, v: Var) -> Expr:
    """The components of one unknown in the stacked one."""
    if not v.shape:
        return call("take", whole, Const(low.constant, (), INT), axis=0)
    return reshape(call("slice", whole, axis=0, lo=low, hi=high), v.shape)


def _joined(parts: list[Expr]) -> Expr:
    """Scalars, then vectors and matrices, as one vector."""
    scalars = [e for e in parts if not e.shape]
    rest = [reshape(e, (_components(e),)) for e in parts if e.shape]
    if scalars:
        rest.insert(0, call("stack", *scalars))
    return rest[0] if len(rest) == 1 else call("concat", *rest, axis=0)


def _components(e: Expr) -> Poly:
    total = Poly.const(1)
    for n in e.shape:
        total = total * n
    return total


__all__ = ["implicit_equation", "stacked"]
