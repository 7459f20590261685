"""Parameters with a value of their own at every step.

before:  h[t] = tanh(U @ h[t-1])
after:   U_at_1[t] = U
         h[t] = tanh(U_at_1[t] @ h[t-1])
requires: nothing; what is read outside of time stays as it is.

The adjoint of ``U_at_1[t]`` is what step ``t`` adds to the gradient in ``U`` through this equation,
and the gradient is the sum of all of them: backpropagation through time as weight sharing between
the layers of an unrolled network (Rumelhart, Hinton and Williams, *Learning internal
representations by error propagation*, 1986).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..domain import Domain
from ..expr import Expr, Reduce, Ref, fresh, with_operands
from ..poly import Poly
from ..program import Axis, Equation, Program, Var, equation, verify
from .common import axis_range


@dataclass(frozen=True)
class Untied:
    """A program whose parameters are untied in time.

    Attributes:
        program: with the copies as variables, whose first axis is time.
        copies: the parameter that each copy is a copy of.
        readers: the variable whose equation reads each copy.
    """

    program: Program
    copies: Mapping[str, str]
    readers: Mapping[str, str]


@dataclass(frozen=True)
class _Moment:
    """When something is read: the position in time, and for an index the range that it has."""

    at: Poly
    lo: Poly
    hi: Poly


def untie(program: Program) -> Untied:
    """Give each equation that reads a real parameter at a time a copy of that parameter.

    A read belongs to the time of the element that is defined (its position on the first axis over
    a length); in an equation without time, to the first index over a length that is bound around
    the read.
    """
    return _Untying(program).run()


def time_axis(v: Var) -> int | None:
    """The first axis of a variable that runs over a length, its time."""
    found = [k for k, a in enumerate(v.axes) if (a.hi - a.lo).symbols]
    return found[0] if found else None


class _Untying:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.real = {v.name for v in program.params if v.type.kind == "real"}
        self.vars = dict(program.vars)
        self.added: list[Equation] = []
        self.copies: dict[str, str] = {}
        self.readers: dict[str, str] = {}

    def run(self) -> Untied:
        pieces = [self.piece(eq) for eq in self.program.equations]
        result = self.program.with_(vars=self.vars, equations=(*self.added, *pieces))
        return Untied(verify(result), self.copies, self.readers)

    def piece(self, eq: Equation) -> Equation:
        """An equation that reads copies."""
        known: dict[tuple[str, _Moment], str] = {}
        memo: dict[tuple[Expr, _Moment | None], Expr] = {}

        def go(e: Expr, moment: _Moment | None) -> Expr:
            key = (e, moment)
            if key in memo:
                return memo[key]
            if isinstance(e, Ref) and moment is not None and e.name in self.real:
                if (e.name, moment) not in known:
                    known[e.name, moment] = self.copy(e.name, eq.name, moment)
                new: Expr = replace(e, name=known[e.name, moment], index=(moment.at, *e.index))
            else:
                inside = moment
                if moment is None and isinstance(e, Reduce):
                    inside = self.bound(e, eq.domain)
                new = with_operands(e, tuple(go(c, inside) for c in e.operands))
            memo[key] = new
            return new

        return replace(eq, rhs=go(eq.rhs, self.moment(eq)))

    def moment(self, eq: Equation) -> _Moment | None:
        """When an equation's elements are."""
        axis = time_axis(self.program.vars[eq.name])
        if axis is None:
            return None
        at = eq.element[axis]
        if at != Poly.symbol(eq.indices[axis]):
            return _Moment(at, at, at)
        return _Moment(at, *self.range_of(eq.indices[axis], eq.indices, eq.domain))

    def bound(self, e: Reduce, outside: Domain) -> _Moment | None:
        """The first index over a length that a reduction binds."""
        for index in e.indices:
            lo, hi = self.range_of(index, e.indices, outside & e.domain)
            if (hi - lo).symbols & set(self.program.lengths):
                return _Moment(Poly.symbol(index), lo, hi)
        return None

    def range_of(self, index: str, indices: tuple[str, ...], domain: Domain) -> tuple[Poly, Poly]:
        others = domain.symbols - set(self.program.lengths) - {index}
        return axis_range([domain], index, {index, *indices, *others}, self.program.given)

    def copy(self, param: str, reader: str, moment: _Moment) -> str:
        """A new variable that is the parameter at every moment."""
        v = self.program.vars[param]
        number = 1 + sum(p == param for p in self.copies.values())
        name = fresh(f"{param}_at_{number}", self.vars)
        index = fresh("t", {a.index for a in v.axes})
        axes = (Axis(index, moment.lo, moment.hi), *v.axes)
        self.vars[name] = Var(name, "variable", axes, v.shape, v.type)
        domain = self.vars[name].domain & v.domain
        value = self.program.ref(param, *(a.index for a in v.axes))
        indices = tuple(a.index for a in axes)
        self.added.append(equation(name, indices, domain, value))
        self.copies[name] = param
        self.readers[name] = reader
        return name


__all__ = ["Untied", "time_axis", "untie"]
