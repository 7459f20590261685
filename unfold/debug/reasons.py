"""Why an operation gives a value that is not finite, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

#: Ops that are infinite for a number where what they say is infinite: log 0 = -inf.
_POLES = {"log": 0.0, "log1p": -1.0}
#: Ops whose result is -inf for a matrix that has no inverse.
_SINGULAR = frozenset(("logdet",))
_SUMS = frozenset(
    ("sum", "matmul", "reduce_sum", "scatter", "norm", "logsumexp", "reduce_logsumexp")
)
_PRODUCTS = frozenset(("mul", "chain_rule", "outer"))


def is_honest(op: str, operands: Sequence[float], value: float) -> bool:
    """Whether an infinite value of finite operands stands for a number: the logarithm of 0, the
    log-determinant of a singular matrix, a maximum or logsumexp over nothing."""
    if op in _SINGULAR or op in ("nothing", "const"):
        return True
    return value == -math.inf and op in _POLES and list(operands) == [_POLES[op]]


def reason(op: str, operands: Sequence[float], value: float, dtype: str) -> str:
    """What happened.

    Args:
        op: the operation.
        operands: the components that matter, one for each operand; none where many do.
        value: the result.
        dtype: of the computation.
    """
    x = [show(v) for v in operands]
    largest = f"any {dtype} ({np.finfo(dtype).max:.1e})"
    infinite = [v for v in operands if math.isinf(v)]
    if op in ("log", "log1p", "sqrt") and len(operands) == 1:
        pole = _POLES.get(op, 0.0)
        name = {"log": "logarithm", "log1p": "log1p", "sqrt": "square root"}[op]
        if operands[0] < pole:
            sort = "negative number " if op != "log1p" else ""
            return f"the {name} of the {sort}{x[0]}" if sort else f"the {name} of {x[0]}, below -1"
        return f"the {name} of {x[0]}"
    if op in ("asin", "acos"):
        return f"the {'arcsine' if op == 'asin' else 'arccosine'} of {x[0]}, outside of -1..1"
    if op in ("sin", "cos", "tan") and infinite:
        return f"the {op} of {x[0]}"
    if op in ("div", "mod", "floordiv") and len(operands) == 2:
        if operands[1] == 0:
            what = "0 / 0" if operands[0] == 0 else f"a division of {x[0]} by 0"
            return what if op == "div" else f"{x[0]} modulo 0"
        if len(infinite) == 2:
            return f"{x[0]} / {x[1]}"
        return f"the quotient {x[0]} / {x[1]} is larger than {largest}"
    if op == "pow" and len(operands) == 2:
        if operands[0] < 0 and operands[1] != round(operands[1]):
            return f"the power of a negative number to a fraction: {x[0]} ** {x[1]}"
        if operands[0] == 0:
            return f"0 to the negative power {x[1]}"
        return f"{x[0]} ** {x[1]} is larger than {largest}"
    if op in _PRODUCTS and len(operands) == 2:
        if infinite:
            return f"{x[0]} times {x[1]}"
        return f"the product {x[0]} * {x[1]} is larger than {largest}"
    if op in ("add", "sub", "exp_diff") and len(operands) == 2:
        sign = "+" if op == "add" else "-"
        if len(infinite) == 2:
            return f"{x[0]} {sign} {x[1]}"
        if op == "exp_diff":
            return f"exp({x[0]} - {x[1]}) is larger than {largest}"
        return f"{x[0]} {sign} {x[1]} is larger in size than {largest}"
    if op in ("exp", "expm1", "sinh", "cosh") and operands:
        return f"{op} of {x[0]} is larger in size than {largest}"
    if op in ("inv", "solve"):
        return "the matrix is singular"
    if op in _SINGULAR:
        return "the matrix is singular: its determinant is 0"
    if op == "cholesky":
        return "the matrix is not positive definite"
    if op in ("softmax", "log_softmax"):
        if infinite:
            return "the largest of all components is infinite"
        return "all components are -inf" if math.isnan(value) else "an operand is infinite"
    if op in _SUMS:
        if math.isnan(value) and not infinite:
            return f"products or partial sums of both signs that are larger in size than {largest}"
        if math.isnan(value):
            return "in the sum, inf and -inf meet, or 0 times inf"
        return f"a sum of finite numbers that is larger in size than {largest}"
    of = f" of {', '.join(x)}" if x else ""
    return f"{op}{of} is {show(value)}"


def show(x: float) -> str:
    """A number with four digits, whole numbers as they are."""
    if math.isnan(x) or math.isinf(x):
        return str(x)
    if x == int(x) and abs(x) < 1e6:
        return str(int(x))
    return f"{x:.4g}"


__all__ = ["is_honest", "reason", "show"]
