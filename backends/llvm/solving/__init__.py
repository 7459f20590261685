"""Implicit equations in native code: the iterations of `unfold.program.Solver`, inside the step.

anderson    one step of Anderson acceleration, as a function on memory
linear      small dense matrices: systems, inverses, determinants, factors, on memory
failures    which element was not found: written by native code, raised as `SolverError`
registers   the iteration for systems of few components, a value for each
"""

from __future__ import annotations

from .anderson import anderson, state_size
from .failures import FIELD, Reporter, clear, is_needed, raise_first, words
from .linear import cholesky, inverse, linear_system, log_determinant

__all__ = ["FIELD", "Reporter", "anderson", "cholesky", "clear", "inverse", "is_needed",
           "linear_system", "log_determinant", "raise_first", "state_size", "words"]  # fmt: skip
