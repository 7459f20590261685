"""What is detached, held fixed: a program whose differences see what its gradients see.

before:  h[t] = detach(a[t]) * h[t-1]
after:   h[t] = h.held[t] * h[t-1]        with `h.held[t]` an input

A gradient takes what stands in `detach` for a number. So do differences once it is an input, with
the values that it has where the gradient is taken. `dopri5` says by `detach` that the sizes of its
steps are held fixed, so its gradients are those differences exactly, at every tolerance.
"""

from __future__ import annotations

from dataclasses import replace

from ..domain import Domain
from ..expr import Call, Expr, Guard, Reduce, Ref, fresh, with_operands
from ..poly import Poly
from ..program import Axis, Equation, Output, Program, Var, equation
from .common import axis_range


def hold_detached(program: Program) -> tuple[Program, Program, tuple[str, ...]]:
    """A program with the detached values as outputs, one with them as inputs, and their names.

    The values have the axes of their equation and of the reductions around them; they are 0 beside
    the elements that are read.
    """
    holder = _Holder(program)
    equations = tuple(
        replace(e, rhs=holder.held(e, e.rhs, e.indices, e.domain)) for e in program.equations
    )
    names = tuple(v.name for v in holder.made)
    seen = program.with_(
        vars={**program.vars, **{v.name: v for v in holder.made}},
        equations=(*program.equations, *holder.equations),
        outputs=(
            *program.outputs,
            *(Output(v.name, tuple((a.lo, a.hi) for a in v.axes)) for v in holder.made),
        ),
    )
    inputs = {v.name: replace(v, role="input", generated=False) for v in holder.made}
    return seen, program.with_(vars={**program.vars, **inputs}, equations=equations), names


class _Holder:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.made: list[Var] = []
        self.equations: list[Equation] = []
        self.known: dict[tuple[Expr, tuple[str, ...], Domain], Expr] = {}

    def held(self, eq: Equation, e: Expr, indices: tuple[str, ...], domain: Domain) -> Expr:
        """``e``, read where ``domain`` holds, with all that is detached replaced."""
        key = (e, indices, domain)
        if key not in self.known:
            if isinstance(e, Call) and e.op == "detach":
                self.known[key] = self.observed(eq, e, indices, domain)
            elif isinstance(e, Reduce | Guard):
                inner = (*indices, *e.indices) if isinstance(e, Reduce) else indices
                body = self.held(eq, e.body, inner, domain & e.domain)
                self.known[key] = replace(e, body=body)
            else:
                below = tuple(self.held(eq, c, indices, domain) for c in e.operands)
                self.known[key] = with_operands(e, below)
        return self.known[key]

    def observed(self, eq: Equation, e: Expr, indices: tuple[str, ...], domain: Domain) -> Expr:
        taken = {*self.program.vars, *(v.name for v in self.made)}
        name = fresh(f"{eq.name}.held", taken)
        given = self.program.given
        axes = tuple(Axis(i, *axis_range([domain], i, indices, given)) for i in indices)
        whole = Domain()
        for axis in axes:
            whole = whole & Domain.range(axis.index, axis.lo, axis.hi)
        self.made.append(Var(name, "variable", axes, e.shape, e.type, generated=True))
        self.equations.append(equation(name, indices, whole, Guard(domain, e), eq.span))
        return Ref(name, tuple(Poly.symbol(i) for i in indices), e.shape, e.type)


__all__ = ["hold_detached"]
