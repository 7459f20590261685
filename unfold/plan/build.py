"""From a schedule to loops and statements.

before:  scan t forward: h[t] where 1 <= t <= T
after:   for t in 1..T: h[t] = tanh(…)
requires: a program without free sizes, constants bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..dependence import distinct
from ..domain import Domain, hull
from ..expr import (
    Expr,
    Guard,
    Reduce,
    free_symbols,
    fresh,
    kinds,
    names,
    subs_positions,
    with_operands,
)
from ..poly import Poly
from ..program import Equation, Program, Var
from ..schedule import Node as Ordered
from ..schedule import Scan, Step, schedule
from ..transform.common import prune, zero
from ..transform.whole import whole
from .nodes import Buffer, Loop, Node, Plan, Result, Statement, statements


def build(program: Program, own: str | None = None) -> Plan:
    """The plan of a program: its schedule, with bounds for every loop and a buffer for every name.

    Args:
        program: without free sizes.
        own: a length that every sequence has for itself; what depends on it is not shared.

    Raises `CausalityError` where no order exists.
    """
    program = prune(program)
    program = whole(program, program.outputs)
    order = schedule(program).nodes
    shared_names = shared_variables(program, own)
    maker = _Maker(program)
    shared: list[Node] = []
    body: list[Node] = []
    for node in order:
        home = shared if _first_name(program, node) in shared_names else body
        home.extend(maker.nodes((node,), {}, (), program.given))
    results = results_of(program)
    used = {r.name for r in results}
    for s in statements((*shared, *body)):
        used |= names(s.rhs) | {s.target}
    buffers = {
        v.name: _buffer(v, v.name in shared_names) for v in program.vars.values() if v.name in used
    }
    return Plan(program, buffers, tuple(shared), tuple(body), results)


def shared_variables(program: Program, own: str | None = None) -> set[str]:
    """The params and what is computed from them alone (and from lengths other than ``own``)."""
    shared = {v.name for v in program.vars.values() if v.role in ("param", "variable")}
    changed = True
    while changed:
        changed = False
        for eq in program.equations:
            if eq.name in shared:
                if not names(eq.rhs) <= shared or own in _symbols(eq):
                    shared.discard(eq.name)
                    changed = True
    return shared


def _symbols(eq: Equation) -> frozenset[str]:
    """All lengths and indices that an equation mentions."""
    return free_symbols(eq.rhs) | eq.domain.symbols


def _buffer(v: Var, shared: bool) -> Buffer:
    kind = v.role if v.role in ("input", "param") else "work"
    shape = tuple(n.evaluate({}) for n in v.shape)
    return Buffer(v.name, kind, tuple((a.lo, a.hi) for a in v.axes), shape, v.type, shared)


def results_of(program: Program) -> tuple[Result, ...]:
    """The outputs, and the losses that are not among them."""
    outputs = {out.name: out.ranges for out in program.outputs}
    outputs |= {name: () for name in program.losses if name not in outputs}
    found = []
    for name, ranges in outputs.items():
        v = program.vars[name]
        source = program.vars.get(v.adjoint_of or "")
        # What a tangent is the tangent of may be gone, if nothing reads it.
        while v.tangent_of is not None and v.tangent_of in program.vars:
            v = program.vars[v.tangent_of]
        summed = v.summed or (source is not None and source.role == "param")
        found.append(Result(name, ranges, v.adjoint_of is not None, summed))
    return tuple(found)


def _first_name(program: Program, node: Ordered) -> str:
    while isinstance(node, Scan):
        node = node.body[0]
    return program.equations[node.piece].name


@dataclass
class _Piece:
    """An equation piece on its way into the loops around it."""

    position: tuple[Poly, ...]
    domain: Domain
    rhs: Expr
    left: tuple[str, ...]


class _Maker:
    def __init__(self, program: Program) -> None:
        self.program = program

    def nodes(
        self,
        ordered: Sequence[Ordered],
        pieces: Mapping[int, _Piece],
        outer: tuple[str, ...],
        context: Domain,
    ) -> list[Node]:
        """Plan nodes inside the loops over ``outer``, whose ranges ``context`` states."""
        result: list[Node] = []
        for node in ordered:
            if isinstance(node, Step):
                piece = pieces.get(node.piece) or self.piece(node.piece)
                result.extend(self.map(node.piece, piece, outer, context))
            else:
                result.extend(self.scan(node, pieces, outer, context))
        return result

    def piece(self, number: int) -> _Piece:
        eq = self.program.equations[number]
        position = tuple(Poly.symbol(i) for i in eq.indices)
        return _Piece(position, eq.domain, distinct(eq.rhs, eq.indices), eq.indices)

    def map(
        self, number: int, piece: _Piece, outer: tuple[str, ...], context: Domain
    ) -> list[Node]:
        """Loops over all indices that are left, or a statement if there are none."""
        domain = piece.domain
        if not piece.left:
            guard = domain.gist(context)
            rhs = lighten(piece.rhs, domain & context)
            eq = self.program.equations[number]
            return [Statement(eq.name, piece.position, guard, rhs, solver=eq.solver)]
        index, rest = piece.left[0], piece.left[1:]
        at = domain.fixed(index, context)
        if at is not None and not at.symbols & set(rest):
            inner = self.substituted(piece, {index: at}, rest)
            inner.domain = inner.domain & domain.subs({index: at})
            return self.map(number, inner, outer, context)
        shadow = domain.project_out(rest)
        lows, highs = _tight(shadow, index, context)
        inner = _Piece(piece.position, domain, piece.rhs, rest)
        # The loop ensures what is said of its own index; the rest becomes the statement's guard.
        ensured = Domain.of(p for p in shadow.constraints if p.coefficient(index))
        body = self.map(number, inner, (*outer, index), context & ensured)
        return [Loop(index, ((lows, highs),), 1, True, tuple(body))]

    def scan(
        self,
        node: Scan,
        pieces: Mapping[int, _Piece],
        outer: tuple[str, ...],
        context: Domain,
    ) -> list[Node]:
        index = node.index if node.index not in outer else fresh(node.index, outer)
        inner: dict[int, _Piece] = dict(pieces)
        shadows: list[Domain] = []
        for number, time in node.times.items():
            piece = pieces.get(number) or self.piece(number)
            inner[number] = self.timed(piece, time, index)
            shadows.append(inner[number].domain.project_out(inner[number].left))
        ranges, context = self.ranges(index, shadows, context)
        body = self.nodes(node.body, inner, (*outer, index), context)
        return [Loop(index, ranges, node.direction, False, tuple(body))]

    def timed(self, piece: _Piece, time: Poly, index: str) -> _Piece:
        """The piece with the index that is its time expressed by the loop's ``index``.

        Indices of the piece that are left and happen to have the loop's name are renamed.
        """
        when = Poly.symbol(index)
        own = next((i for i in piece.left if abs(time.coefficient(i)) == 1), None)
        left = tuple(i for i in piece.left if i != own)
        values: dict[str, Poly] = {}
        for i in left:
            if i == index:
                taken = {index, *left, *(own or ()), *piece.domain.symbols}
                values[i] = Poly.symbol(fresh(i, taken))
        if own is not None:
            # time = ±own + rest, so own = ±(when - rest); rest may hold an index that is renamed.
            sign = time.coefficient(own)
            rest = (time - Poly.symbol(own) * sign).subs(values)
            values[own] = (when - rest) * sign
            return self.substituted(piece, values, left)
        moved = self.substituted(piece, values, left)
        moved.domain = moved.domain & Domain.point(index, time)
        return moved

    def substituted(
        self, piece: _Piece, values: Mapping[str, Poly], left: tuple[str, ...]
    ) -> _Piece:
        renamed = tuple(values[i].as_symbol or i if i in values else i for i in left)
        return _Piece(
            tuple(p.subs(values) for p in piece.position),
            piece.domain.subs(values),
            subs_positions(piece.rhs, values),
            renamed,
        )

    def ranges(
        self, index: str, shadows: Sequence[Domain], context: Domain
    ) -> tuple[tuple[tuple[tuple[Poly, ...], tuple[Poly, ...]], ...], Domain]:
        """The range of a scan that covers all its pieces, and the context inside of it."""
        whole = hull(shadows, index, context)
        if whole is not None:
            lo, hi = whole
            return (((lo,), (hi,)),), context & Domain.range(index, lo, hi)
        return tuple(_tight(d, index, context) for d in shadows), context


def _tight(
    domain: Domain, index: str, context: Domain
) -> tuple[tuple[Poly, ...], tuple[Poly, ...]]:
    """The bounds of an index without those that others imply."""
    lows, highs = domain.bounds(index)
    own = Domain.of(p for p in domain.constraints if p.coefficient(index))
    kept = own.gist(context & Domain.of(p for p in domain.constraints if p not in own.constraints))
    tight_lows, tight_highs = kept.bounds(index)
    # An end that the context alone implies must still be stated: the loop needs both.
    return tight_lows or lows, tight_highs or highs


def lighten(e: Expr, context: Domain) -> Expr:
    """Guards and reduction domains without what the surroundings already ensure.

    before: Guard(t >= 1, h[t-1]) in a loop over 1..T       after: h[t-1]
    """
    if kinds(e).isdisjoint(("Guard", "Reduce")):
        return e
    if isinstance(e, Guard):
        if (context & e.domain).is_empty():
            return zero(e)
        body = lighten(e.body, context & e.domain)
        rest = e.domain.gist(context)
        return body if not rest.constraints else Guard(rest, body)
    if isinstance(e, Reduce):
        if e.op == "sum" and (context & e.domain).is_empty():
            return zero(e)
        return Reduce(e.op, e.indices, e.domain, lighten(e.body, context & e.domain))
    return with_operands(e, tuple(lighten(c, context) for c in e.operands))
