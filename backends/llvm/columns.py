"""Products of matrices with vectors as sums of columns.

before:  q[t] = W @ x[t]
         x_bar[t] = W' @ q_bar[t]
after:   W_columns = W'                      once a call
         q[t] = x[t] @ W_columns
         x_bar[t] = q_bar[t] @ W

A sum of rows, each times a number, needs no sum across a register. Only matrices that are the same
for all sequences and all of time are turned around.

requires: a program without free sizes.
"""

from __future__ import annotations

from unfold.domain import EVERYWHERE
from unfold.expr import Call, Expr, Ref, fresh, kinds, rewrite
from unfold.ops.linear import matmul, transpose
from unfold.plan.build import shared_variables
from unfold.program import Equation, Program, Var


def columns(program: Program) -> Program:
    """The program with products from the left where that is possible."""
    shared = shared_variables(program)
    variables = dict(program.vars)
    turned: dict[Ref, Ref] = {}

    def one(e: Expr) -> Expr:
        if not (isinstance(e, Call) and e.op == "matmul"):
            return e
        left, right = e.args
        if len(left.shape) != 2 or len(right.shape) != 1:
            return e
        if isinstance(left, Call) and left.op == "transpose":
            return matmul(right, left.args[0])
        if not isinstance(left, Ref) or left.index or left.name not in shared:
            return e
        if left not in turned:
            name = fresh(f"{left.name}_columns", variables)
            shape = left.shape[::-1]
            variables[name] = Var(name, "variable", (), shape, left.type, generated=True)
            turned[left] = Ref(name, (), shape, left.type)
        return matmul(right, turned[left])

    equations = [
        eq.with_rhs(rewrite(eq.rhs, one)) if "matmul" in kinds(eq.rhs) else eq
        for eq in program.equations
    ]
    equations += [
        Equation(ref.name, (), EVERYWHERE, transpose(left)) for left, ref in turned.items()
    ]
    return program.with_(vars=variables, equations=tuple(equations))


__all__ = ["columns"]
