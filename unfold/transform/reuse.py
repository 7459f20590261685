"""Read a value that already has a name instead of computing it again.

before:  a[t,s] = exp_diff(score[t,s], m[t])
         score_bar[t,s] = a_bar[t,s] * exp_diff(score[t,s], m[t])
after:   score_bar[t,s] = a_bar[t,s] * a[t,s]
requires: nothing. Only equations that the compiler wrote are changed, never the user's.
"""

from __future__ import annotations

from ..domain import Domain
from ..expr import (
    Call,
    Const,
    Expr,
    Guard,
    Reduce,
    Ref,
    kinds,
    subs_positions,
    walk,
    with_operands,
)
from ..implicit import unknown
from ..intern import remembered
from ..poly import Poly
from ..program import Equation, Program
from .common import hit, is_heavy
from .naming import LINEAR


def reuse(program: Program) -> Program:
    """Replace subexpressions of compiler-made equations by reads of equal variables."""
    finder = _Finder(program)
    return program.with_(
        equations=tuple(
            e.with_rhs(finder.visit(e.rhs, e.domain, e))
            if program.vars[e.name].generated or program.vars[e.name].adjoint_of
            else e
            for e in program.equations
        )
    )


def _worth_reading(e: Expr) -> bool:
    """Whether a value costs more to compute than to load."""
    if isinstance(e, Call) and e.op not in LINEAR and e.op not in ("mul", "div", "pow", "where"):
        return True
    return is_heavy(e) and isinstance(e, (Call, Reduce))


def _is_open(e: Expr, reader: Equation) -> bool:
    """Whether ``e`` is part of what an implicit equation solves: it has no value before that."""
    return reader.solver is not None and unknown(reader) in walk(e)


@remembered
def form(e: Expr) -> int:
    """A hash of all but positions: expressions that differ in nothing else have the same."""
    inner = tuple(form(c) for c in e.operands)
    if isinstance(e, Call):
        return hash((Call, e.op, e.attrs, e.shape, e.type, inner))
    if isinstance(e, Reduce):
        return hash((Reduce, e.op, len(e.indices), inner))
    if isinstance(e, Ref):
        return hash((Ref, e.name, e.shape, e.type))
    return hash(e) if isinstance(e, Const) else hash((type(e), inner))


class _Finder:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.given = program.given
        self.rank = {id(eq): k for k, eq in enumerate(program.equations)}
        self.known: dict[int, list[Equation]] = {}
        self.kinds: set[str] = set()
        for eq in program.equations:
            if eq.solver is None and isinstance(eq.rhs, (Call, Reduce)) and _worth_reading(eq.rhs):
                self.known.setdefault(form(eq.rhs), []).append(eq)
                self.kinds.add(eq.rhs.op if isinstance(eq.rhs, Call) else "Reduce")

    def visit(self, e: Expr, domain: Domain, reader: Equation) -> Expr:
        if kinds(e).isdisjoint(self.kinds):
            return e
        if isinstance(e, (Call, Reduce)) and not _is_open(e, reader):
            for eq in self.known.get(form(e), ()):
                # Of two equations that are equal as a whole only the later one reads the other.
                whole = e is reader.rhs and self.rank[id(eq)] > self.rank[id(reader)]
                if eq.name != reader.name and not whole:
                    read = self.match(eq, e, domain)
                    if read is not None:
                        return read
        inner = domain & e.domain if isinstance(e, (Reduce, Guard)) else domain
        return with_operands(e, tuple([self.visit(c, inner, reader) for c in e.operands]))

    def match(self, eq: Equation, e: Expr, domain: Domain) -> Ref | None:
        """The element of ``eq`` whose right-hand side is ``e``, if it is defined there."""
        if eq.rhs.shape != e.shape:
            return None
        found: dict[str, Poly] = {}
        for mine, other in zip(walk(eq.rhs), walk(e), strict=False):
            if isinstance(mine, Ref) and isinstance(other, Ref) and mine.name == other.name:
                for p, q in zip(mine.index, other.index, strict=True):
                    for i in eq.indices:
                        if i not in found and p.coefficient(i) == 1:
                            found[i] = q - (p - Poly.symbol(i))
        pins = eq.pins
        if set(found) | set(pins) != set(eq.indices):
            return None
        if subs_positions(eq.rhs, found) is not e:
            return None
        index = tuple(found[i] if i in found else pins[i] for i in eq.indices)
        if not domain.subset(hit(index, eq), self.given):
            return None
        v = self.program.vars[eq.name]
        return Ref(eq.name, index, v.shape, v.type)
