"""One loss of several, each with its weight.

before:  minimize fit                 {"fit": 1.0, "small": 0.1}
         minimize small
after:   weighted = 1.0 * fit + 0.1 * small
         minimize weighted
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..domain import Domain
from ..errors import InputError
from ..expr import Const, Expr, Ref, fresh
from ..function import Function
from ..program import Var, equation


def weighted(fn: Function, weights: Mapping[str, float]) -> Function:
    """The function whose only loss is the weighted sum. Raises `InputError`."""
    names = fn.targets(tuple(weights)) if weights else ()
    if not names:
        raise InputError("loss: a dict from names of losses to their weights has one at least")
    program = fn.declared
    total: Expr | None = None
    for name in names:
        weight = weights[name]
        if isinstance(weight, bool) or not isinstance(weight, (int, float)):
            raise InputError(f"loss[{name!r}] is the weight of a loss, a number, not {weight!r}")
        if not math.isfinite(weight):
            raise InputError(f"loss[{name!r}] is the weight of a loss, and not finite: {weight!r}")
        term = Const(float(weight)) * Ref(name, ())
        total = term if total is None else total + term
    assert total is not None
    name = fresh("weighted", program.vars)
    changed = program.with_(
        vars={**program.vars, name: Var(name, "variable")},
        equations=(*program.equations, equation(name, (), Domain(), total)),
        losses=(name,),
    )
    return Function(changed, fn.compiler.sizes, fn.compiler.constants, fn.options)


__all__ = ["weighted"]
