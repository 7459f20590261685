"""Variables that have one known value everywhere are read as that number.

before:  c_bar[T] = 1
         c_bar[t] = c_bar[t+1] for t <= T-1
         b_bar[t] = c_bar[t+1] * dt[t+1]
after:   b_bar[t] = 1 * dt[t+1]

requires: nothing. Such a variable is the adjoint of a state that only passes its value on; its
equation stays where it is an output.
"""

from __future__ import annotations

from ..expr import Call, Const, Expr, Ref, rewrite
from ..ops.record import broadcast_to
from ..program import Program


def settle(program: Program) -> Program:
    """The program with numbers in place of reads of variables that never change."""
    values: dict[str, set[Const]] = {}
    others: set[str] = set()
    for eq in program.equations:
        number = _number(eq.rhs)
        if number is not None and eq.solver is None:
            values.setdefault(eq.name, set()).add(number)
        elif not (isinstance(eq.rhs, Ref) and eq.rhs.name == eq.name):
            others.add(eq.name)
    known = {n: next(iter(v)) for n, v in values.items() if len(v) == 1 and n not in others}
    if not known:
        return program

    def one(e: Expr) -> Expr:
        if isinstance(e, Ref) and e.name in known:
            return broadcast_to(known[e.name], e.shape)
        return e

    equations = (
        eq if eq.name in known or eq.solver is not None else eq.with_rhs(rewrite(eq.rhs, one))
        for eq in program.equations
    )
    return program.with_(equations=tuple(equations))


def _number(e: Expr) -> Const | None:
    """The number that an expression is in every component."""
    if isinstance(e, Call) and e.op == "broadcast":
        return _number(e.args[0])
    return e if isinstance(e, Const) and e.shape == () else None
