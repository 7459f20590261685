"""Implicit equations in native code: the iterations of `unfold.program.Solver`, inside the step.

abreast     small dense matrices of several sequences side by side, on memory
anderson    one step of Anderson acceleration, as a function on memory
linear      small dense matrices: systems, inverses, determinants, factors, on memory
memory      room of a function for values, and the way between rows and registers
reporting   which element was not found, for `unfold.backends.llvm.failures`
registers   the iteration for systems of few components, a value for each
"""

from __future__ import annotations

from .abreast import abreast, lanes_abreast
from .anderson import (
    EXTRAPOLATED,
    FOUND,
    FRESH,
    PLAIN,
    anderson_rows,
    rows_abreast,
    state_size,
)
from .linear import cholesky, inverse, linear_system, log_determinant
from .reporting import Reporter, is_needed, solved

__all__ = ["EXTRAPOLATED", "FOUND", "FRESH", "PLAIN", "Reporter", "abreast", "anderson_rows",
           "cholesky", "inverse", "is_needed", "lanes_abreast", "linear_system",
           "log_determinant", "rows_abreast", "solved", "state_size"]  # fmt: skip
