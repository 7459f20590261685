"""The arithmetic of one op: floating-point operations and special functions.

A floating-point operation is an addition, subtraction, multiplication, division, comparison or
choice of real numbers; a multiplication and an addition in one instruction count as two. A special
function (exp, tanh, a square root, …) counts as one function. Moving numbers costs nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..expr import Call, Const, Expr
from ..ops.functions import FUNCTIONS


@dataclass(frozen=True)
class Work:
    """Floating-point operations and values of special functions."""

    flops: int = 0
    functions: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.functions + other.functions)

    def __mul__(self, times: int) -> Work:
        return Work(self.flops * times, self.functions * times)


#: One operation for each component of the result.
ARITHMETIC = frozenset(
    ("add", "sub", "mul", "div", "neg", "abs", "sign", "maximum", "minimum", "relu", "where")
    + ("lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not")
    + ("mod", "floordiv", "floor", "ceil", "round", "outer", "scatter", "half_lower")
)
#: Numbers are moved or renamed, none is computed.
MOVES = frozenset(
    ("broadcast", "concat", "stack", "slice", "pad", "take", "onehot", "transpose", "reshape")
    + ("real", "detach", "starting_from", "arrived", "continuous")
)
#: One operation for each component of the operand.
REDUCTIONS = frozenset(("sum", "max", "min", "argmax"))
#: Elimination in a square matrix.
SYSTEMS = frozenset(("solve", "inv", "logdet", "cholesky"))


def size(e: Expr) -> int:
    """The number of components of a value whose shape is known."""
    total = 1
    for n in e.shape:
        total *= n.evaluate({})
    return total


def work(e: Call) -> Work:
    """What one evaluation costs, without the operands' own.

    Shapes must be numbers. Raises ``KeyError`` for an op that no table here knows.
    """
    if e.op in ARITHMETIC:
        return Work(size(e))
    if e.op == "chain_rule":
        # A product, and a comparison and a choice where the first factor is 0.
        return Work(3 * size(e))
    if e.op == "pow":
        return _power(e)
    if e.op in FUNCTIONS:
        return Work(0, size(e))
    if e.op in MOVES:
        return Work()
    operand = size(e.args[0])
    if e.op in REDUCTIONS:
        return Work(operand)
    if e.op == "matmul":
        return Work(2 * size(e) * e.args[0].shape[-1].evaluate({}))
    if e.op in ("logsumexp", "softmax", "log_softmax", "cross_entropy"):
        # The largest is found and subtracted, exponentials are summed, one more pass normalises.
        return Work(4 * operand, operand + 1)
    if e.op in SYSTEMS:
        return _elimination(e)
    raise KeyError(e.op)


def _elimination(e: Call) -> Work:
    """Factors of a matrix of n rows, and forward and back substitution for each right side."""
    n = e.args[0].shape[0].evaluate({})
    if e.op == "cholesky":
        # The symmetric part, the sums below and on the diagonal, the quotients below it.
        return Work(n * (n - 1) + n * (n - 1) * (n + 1) // 3 + n * (n - 1) // 2, n)
    factors = n * (n - 1) * (4 * n + 1) // 6
    if e.op == "logdet":
        return Work(factors + n, n)
    return Work(factors + (2 * n - 1) * size(e))


def _power(e: Call) -> Work:
    """Products where the exponent is a small integer that stands in the text; else a function."""
    exponent = e.args[1]
    if isinstance(exponent, Const) and exponent.shape == () and exponent.value in (2, 3, 4):
        return Work(size(e) * (2 if exponent.value == 3 else int(exponent.value) // 2))
    return Work(0, size(e))
