"""Compute at once what the next step would compute from this step's values alone.

before:  scan t backward: c[t] = a[t] + c[t+1] * f[t+1]     b = g[1] + c[1] * f[1]
after:   scan t backward: c[t] = a[t] + c_kept[t+1]
                          c_kept[t] = c[t] * f[t]
                          b = g[1] + c_kept[1]

requires: a program without free sizes, products hoisted. One value is carried from step to step
where there were several, and what is read at its own step only may be overwritten there: a gate by
its gradient, say. In circuits this is retiming (Leiserson and Saxe, Algorithmica 6, 1991).
"""

from __future__ import annotations

from ..domain import Domain
from ..expr import Call, Const, Expr, Guard, Ref, fresh, subs_positions, walk
from ..expr import with_operands as rebuilt
from ..poly import Poly
from ..program import Axis, Equation, Program, Var
from ..transform.common import axis_range
from .hoist import carried_names

#: What a kept value may be made of: cheap operations, component by component.
_CHEAP = frozenset(("add", "sub", "mul", "neg"))


def retime(program: Program) -> Program:
    """The program with terms that read one other step alone computed at that step."""
    carried = carried_names(program)
    work = _Retimer(program)
    for number, eq in enumerate(program.equations):
        free = [i for i in eq.indices if i not in eq.pins]
        rhs = eq.rhs
        if number in carried and len(free) == 1 == len(eq.indices) and eq.solver is None:
            rhs = work.expression(rhs, eq, carried[number])
        work.equations.append(Equation(eq.name, eq.indices, eq.domain, rhs, eq.span, eq.solver))
    equations = (work.ended(eq) for eq in work.equations)
    return program.with_(vars=work.vars, equations=tuple(equations))


class _Retimer:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.vars: dict[str, Var] = dict(program.vars)
        self.equations: list[Equation] = []
        self.known: dict[tuple[Expr, Domain], str] = {}

    def expression(self, e: Expr, eq: Equation, carried: frozenset[str]) -> Expr:
        """``e`` with its terms moved; sums and conditions on positions are looked into."""
        if isinstance(e, Guard):
            return Guard(e.domain, self.expression(e.body, eq, carried))
        if isinstance(e, Call) and e.op == "add":
            return rebuilt(e, tuple(self.expression(c, eq, carried) for c in e.operands))
        shift = self.shift(e, eq.indices[0], carried)
        return e if shift is None else self.kept(e, eq, shift)

    def shift(self, e: Expr, index: str, carried: frozenset[str]) -> int | None:
        """The step, counted from this one, that all of a term's values are of."""
        if not (isinstance(e, Call) and e.op in _CHEAP):
            return None
        refs: list[Ref] = []
        for node in walk(e):
            if isinstance(node, Ref):
                refs.append(node)
            elif not isinstance(node, Const) and not (
                isinstance(node, Call) and node.op in _CHEAP and node.shape == e.shape
            ):
                return None
        moving = {r for r in refs if r.index}
        if len(moving) < 2 or not any(r.name in carried for r in moving):
            return None
        shifts = {
            (r.index[0] - Poly.symbol(index)).constant if len(r.index) == 1 else None
            for r in moving
        }
        (shift, *others) = shifts
        if others or not shift or any(r.shape != e.shape for r in moving):
            return None
        return int(shift)

    def kept(self, e: Expr, eq: Equation, shift: int) -> Expr:
        """A read of the variable that holds the term."""
        index = eq.indices[0]
        back = {index: Poly.symbol(index) - shift}
        term = subs_positions(e, back)
        own = self.defined(term, index)
        name = self.known.get((term, own))
        if name is None:
            try:
                axis = Axis(index, *axis_range([own], index, (index,), self.program.given))
            except ValueError:
                return e
            name = self.known[term, own] = fresh(f"{eq.name}_kept", self.vars)
            self.vars[name] = Var(name, "variable", (axis,), e.shape, e.type, generated=True)
            self.equations.append(Equation(name, (index,), own, term))
        return Ref(name, (Poly.symbol(index) + shift,), e.shape, e.type)

    def ended(self, eq: Equation) -> Equation:
        """An equation for one element, at the end of a chain, with kept values as its terms.

        What they are made of need not outlast the chain then.
        """
        if len(eq.pins) < len(eq.indices) or eq.solver is not None:
            return eq
        rhs = self.held(eq.rhs)
        return Equation(eq.name, eq.indices, eq.domain, rhs, eq.span, eq.solver)

    def held(self, e: Expr) -> Expr:
        """``e`` with its terms read where they are kept, if they are."""
        if isinstance(e, Call) and e.op == "add":
            return rebuilt(e, tuple(map(self.held, e.operands)))
        places = {n.index for n in walk(e) if isinstance(n, Ref) and n.index}
        if len(places) == 1 and len(place := places.pop()) == 1:
            for (term, _), name in self.known.items():
                (axis,) = self.vars[name].axes
                if subs_positions(term, {axis.index: place[0]}) == e:
                    return Ref(name, place, e.shape, e.type)
        return e

    def defined(self, term: Expr, index: str) -> Domain:
        """Where all values of a term are defined: that is simpler than where it is asked for."""
        ranges: list[Poly] = []
        for node in walk(term):
            if isinstance(node, Ref) and node.index:
                (axis,) = self.vars[node.name].axes
                ranges += Domain.range(index, axis.lo, axis.hi).constraints
        return Domain.of(ranges).simplified(self.program.given)
