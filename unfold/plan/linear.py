"""What is linear in a factor is computed from the sum of that factor: once, not at each place.

before:  e_bar[s] = sum[t](U' @ a_bar[t, s])
         W_bar = sum[t, s](outer(a_bar[t, s], d[t]))
         b_bar = sum[t, s](a_bar[t, s])
         m[t] = sum[s](c[t] * x[s])
after:   a_bar_sum[t] = sum[s](a_bar[t, s])
         a_bar_sum_1[s] = sum[t](a_bar[t, s])
         e_bar[s] = U' @ a_bar_sum_1[s]
         W_bar = sum[t](outer(a_bar_sum[t], d[t]))
         b_bar = sum[t](a_bar_sum[t])
         m[t] = c[t] * sum[s](x[s])

requires: a program without free sizes. Sums over all of one axis of a variable of several axes get
a name, so that all who need one read the same; other sums stay where they stand.
"""

from __future__ import annotations

from functools import reduce
from operator import mul

from ..domain import Domain
from ..expr import (
    Call,
    Expr,
    Guard,
    Reduce,
    Ref,
    free_symbols,
    fresh,
    kinds,
    with_operands,
)
from ..ops.record import add_all
from ..poly import Poly
from ..program import Axis, Equation, Program, Var
from ..transform.common import axis_range, hit
from .hoist import terms


def linear(program: Program) -> Program:
    """The program with products outside of sums over what only one of their factors depends on."""
    work = _Summer(program)
    equations = []
    for eq in program.equations:
        if "Reduce" in kinds(eq.rhs):
            eq = eq.with_rhs(work.visit(eq.rhs, eq.domain))
        equations.append(eq)
    return program.with_(vars=work.vars, equations=(*equations, *work.equations))


class _Summer:
    def __init__(self, program: Program) -> None:
        self.given = program.given
        self.pieces: dict[str, list[Equation]] = {}
        for eq in program.equations:
            self.pieces.setdefault(eq.name, []).append(eq)
        self.vars: dict[str, Var] = dict(program.vars)
        self.equations: list[Equation] = []
        self.made: dict[tuple[str, int], str] = {}

    def visit(self, e: Expr, domain: Domain) -> Expr:
        """An expression that is asked for on a domain."""
        if "Reduce" not in kinds(e):
            return e
        if isinstance(e, Guard):
            return Guard(e.domain, self.visit(e.body, domain & e.domain))
        if isinstance(e, Reduce):
            return self.reduced(e, self.visit(e.body, domain & e.domain), domain)
        return with_operands(e, tuple(self.visit(a, domain) for a in e.operands))

    def reduced(self, e: Reduce, body: Expr, domain: Domain) -> Expr:
        """A reduction of a body that has been looked at."""
        e = Reduce(e.op, e.indices, e.domain, body)
        sums: list[Expr] = []
        rest: list[Expr] = []
        for term in terms(body) if e.op == "sum" else ():
            found = self.taken_out(term, e, domain)
            (rest if found is None else sums).append(found or term)
        if sums and (left := add_all(rest)) is not None:
            sums.append(Reduce("sum", e.indices, e.domain, left))
        return add_all(sums) or e

    def taken_out(self, term: Expr, e: Reduce, domain: Domain) -> Expr | None:
        """The sum of a term with what is linear in its factors outside; ``None`` for no gain."""
        if not isinstance(term, Call):
            return self.named(term, e, domain) if isinstance(term, Ref) else None
        indices = set(e.indices)
        if term.op == "mul":
            return self.scaled(term, e, domain)
        if term.op == "matmul":
            left, right = term.args
            if not free_symbols(left) & indices and len(right.shape) == 1:
                return with_operands(term, (left, self.sum_of(right, e, domain)))
            if not free_symbols(right) & indices and len(left.shape) == 1:
                return with_operands(term, (self.sum_of(left, e, domain), right))
            return None
        if term.op != "outer" or len(e.indices) < 2:
            return None
        own = [free_symbols(a) & indices for a in term.args]
        args = list(term.args)
        for k in range(2):
            inner = tuple(i for i in e.indices if i in own[k] - own[1 - k])
            outer = tuple(i for i in e.indices if i not in inner)
            if inner and outer:
                rest = e.domain.project_out(inner).simplified(self.given)
                about = Domain.of(p for p in e.domain.constraints if p.symbols & set(inner))
                args[k] = self.visit(Reduce("sum", inner, about, args[k]), domain & rest)
                return Reduce("sum", outer, rest, with_operands(term, tuple(args)))
        return None

    def scaled(self, term: Call, e: Reduce, domain: Domain) -> Expr | None:
        """The sum of numbers times factors that are the same for all of them."""
        factors, indices = _factors(term), set(e.indices)
        alike = [f for f in factors if f.shape in ((), term.shape)]
        still = [f for f in alike if not free_symbols(f) & indices]
        moving = [f for f in factors if f not in still]
        # For a factor alone it is not worth to have several loops in place of one.
        if not still or not moving or len(terms(e.body)) > 1:
            return None
        return reduce(mul, [*still, self.sum_of(reduce(mul, moving), e, domain)])

    def sum_of(self, e: Expr, over: Reduce, domain: Domain) -> Expr:
        """The sum of an expression over the places of another sum."""
        return self.visit(Reduce("sum", over.indices, over.domain, e), domain)

    def named(self, ref: Ref, e: Reduce, domain: Domain) -> Expr | None:
        """A sum of elements by way of sums over one whole axis, which have a name."""
        pieces = self.pieces.get(ref.name, [])
        if len(ref.index) < 2 or len(pieces) != 1 or pieces[0].solver is not None:
            return None
        there = hit(ref.index, pieces[0])
        for index in e.indices:
            places = [k for k, p in enumerate(ref.index) if index in p.symbols]
            if len(places) != 1 or ref.index[places[0]] != Poly.symbol(index):
                continue
            if _about(e.domain, index) != _about(there, index):
                continue
            rest = e.domain.project_out((index,)).simplified(self.given)
            if not (domain & rest).subset(there.project_out((index,)), self.given):
                continue
            name = self.sums(pieces[0], places[0])
            if name is None:
                continue
            at = tuple(p for k, p in enumerate(ref.index) if k != places[0])
            read = Ref(name, at, ref.shape, ref.type)
            if others := tuple(i for i in e.indices if i != index):
                return self.visit(Reduce("sum", others, rest, read), domain)
            return read if domain.subset(rest, self.given) else Guard(rest, read)
        return None

    def sums(self, piece: Equation, axis: int) -> str | None:
        """The variable that has the sums of another over one axis; ``None`` if it can have no
        bounds."""
        if (piece.name, axis) not in self.made:
            v, index = self.vars[piece.name], piece.indices[axis]
            kept = tuple(i for i in piece.indices if i != index)
            domain = piece.domain.project_out((index,)).simplified(self.given)
            try:
                axes = tuple(Axis(i, *axis_range([domain], i, kept, self.given)) for i in kept)
            except ValueError:
                return None
            own = Domain.of(_about(piece.domain, index))
            element = Ref(v.name, tuple(map(Poly.symbol, piece.indices)), v.shape, v.type)
            name = fresh(f"{v.name}_sum", self.vars)
            self.vars[name] = Var(name, "variable", axes, v.shape, v.type, generated=True)
            self.pieces[name] = [
                Equation(name, kept, domain, Reduce("sum", (index,), own, element))
            ]
            self.equations += self.pieces[name]
            self.made[piece.name, axis] = name
        return self.made[piece.name, axis]


def _factors(e: Expr) -> list[Expr]:
    """What an expression is the product of, component by component: itself, if it is none."""
    if isinstance(e, Call) and e.op == "mul" and e.type.kind == "real":
        return [f for a in e.args for f in _factors(a)]
    return [e]


def _about(domain: Domain, index: str) -> frozenset[Poly]:
    """What a domain says of an index."""
    return frozenset(p for p in domain.constraints if index in p.symbols)


__all__ = ["linear"]
