"""A number that scales a matrix scales what the matrix is multiplied into instead.

before:  h[t] = tanh((0.9 * W) @ h[t-1])         W: a matrix of each sequence
after:   h[t] = tanh(0.9 * (W @ h[t-1]))

requires: a program without free sizes. A matrix that depends on parameters alone is left as it is:
that product is computed once (see `unfold.plan.hoist`).
"""

from __future__ import annotations

from ..expr import Call, Expr, names, rewrite
from ..ops import call
from ..program import Program
from .build import shared_variables


def factors(program: Program) -> Program:
    """The program with numbers outside of products of matrices with vectors."""
    shared = shared_variables(program)

    def one(e: Expr) -> Expr:
        if not isinstance(e, Call) or e.op != "matmul":
            return e
        for k, side in enumerate(e.args):
            other = e.args[1 - k]
            if len(side.shape) != 2 or len(other.shape) != 1 or names(side) <= shared:
                continue
            found = _scaled(side)
            if found is not None:
                scale, matrix = found
                return scale * call("matmul", *((matrix, other) if k == 0 else (other, matrix)))
        return e

    return program.with_(
        equations=tuple(eq.with_rhs(rewrite(eq.rhs, one)) for eq in program.equations)
    )


def _scaled(e: Expr) -> tuple[Expr, Expr] | None:
    """A number and a matrix whose product an expression is."""
    if not isinstance(e, Call):
        return None
    if e.op == "transpose":
        found = _scaled(e.args[0])
        return None if found is None else (found[0], call("transpose", found[1]))
    if e.op == "mul":
        for scale, matrix in (e.args, e.args[::-1]):
            if scale.shape == () and matrix.shape == e.shape:
                return scale, matrix
    return None


__all__ = ["factors"]
