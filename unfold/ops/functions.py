"""Which operations are special functions: tens of instructions for each number."""

from __future__ import annotations

#: One function for each component of the result.
FUNCTIONS = frozenset(
    ("exp", "expm1", "log", "log1p", "sqrt", "tanh", "sigmoid", "softplus", "erf")
    + ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "exp_diff")
)
