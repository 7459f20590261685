"""The classical bound on a recurrence's memory, where its equation has the form for it.

For ``h[t] = phi(… + U @ h[t-1] + …)`` the Jacobian of a step is ``D_t U``, with ``D_t`` the slopes
of phi, so that ``||D_t U|| <= sup|phi'| ||U||`` whatever the data (Pascanu, Mikolov and Bengio, "On
the difficulty of training recurrent neural networks", ICML 2013, section 2.1).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..expr import Call, Expr, Ref, names, rewrite
from .steps import StepMap

#: The largest slope of an activation.
SLOPES = {"tanh": 1.0, "sigmoid": 0.25, "relu": 1.0, "sin": 1.0, "cos": 1.0, "atan": 1.0,
          "softplus": 1.0, "erf": 2 / np.sqrt(np.pi)}  # fmt: skip


def classical_bound(step: StepMap) -> tuple[float, str] | None:
    """``sup|phi'| ||U||`` and how it is written; ``None`` where the step has another form."""
    if len(step.slots) != 1:
        return None
    (slot,) = step.slots
    program = step.plan.program
    pieces = program.pieces(slot.variable)
    if len(pieces) != 1 or pieces[0].solver is not None or pieces[0].indices:
        return None
    inner = {
        eq.name: eq.rhs
        for eq in program.equations
        if eq.name != slot.variable
        and not eq.indices
        and eq.solver is None
        and len(program.pieces(eq.name)) == 1
    }

    def opened(e: Expr) -> Expr:
        return inner.get(e.name, e) if isinstance(e, Ref) and slot.name in below(e.name) else e

    def below(name: str) -> frozenset[str]:
        return names(inner[name]) if name in inner else frozenset()

    rhs = pieces[0].rhs
    for _ in range(8):
        rhs = rewrite(rhs, opened)
    slope, symbol = 1.0, ""
    if isinstance(rhs, Call) and rhs.op in SLOPES:
        slope, symbol, rhs = SLOPES[rhs.op], f"sup|{rhs.op}'| ", rhs.args[0]
    weight: str | None = None
    for term in _terms(rhs):
        if slot.name not in names(term):
            continue
        if weight is not None or not isinstance(term, Call) or term.op != "matmul":
            return None
        left, right = term.args
        if not isinstance(left, Ref) or not isinstance(right, Ref) or right.name != slot.name:
            return None
        if program.vars[left.name].role != "param" or left.index:
            return None
        weight = left.name
    if weight is None:
        return None
    norm = float(np.linalg.norm(np.asarray(step.run.params[weight], dtype=float), 2))
    return slope * norm, f"{symbol}||{weight}||"


def _terms(e: Expr) -> Iterator[Expr]:
    if isinstance(e, Call) and e.op in ("add", "sub"):
        for a in e.args:
            yield from _terms(a)
    else:
        yield e
