"""Ways to solve implicit equations, and to compute them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold

EXAMPLES = Path(__file__).parent.parent / "examples"
#: The deep equilibrium model, and sizes for it.
DEQ = (EXAMPLES / "deq.rec").read_text(encoding="utf-8")
SIZES = {"D": 3, "H": 5, "K": 2}
METHODS = ("picard", "anderson", "newton")
#: The interpreter, native code with a value for each component, and native code on tiles.
KINDS = ("numpy", "llvm", "tiles")


def on(kind: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A backend by name; "tiles" makes native code keep every component in memory."""
    if kind == "tiles":
        monkeypatch.setattr("unfold.backends.llvm.choose.is_small", lambda program: False)
    return kind


def compiled(text: str, kind: str, **options: Any) -> unfold.Function:
    return unfold.compile(text, backend="numpy" if kind == "numpy" else "llvm", **options)


def apart(actual: Any, expected: Any) -> float:
    """The largest difference, relative to the largest entry."""
    scale = max(1e-300, float(np.abs(expected).max(initial=0.0)))
    return float(np.abs(np.asarray(actual) - expected).max(initial=0.0)) / scale


def small(kind: str) -> str:
    """An implicit step within a recurrence, of a vector."""
    return """
        model m(D):
            input x[t]: real[D]
            param W: real[D, D] ~ normal(0.3)
            param k: real = 1
            h[0] = 0
            solve h[t] from h[t-1] by METHOD(tol = 1e-13):
                h[t] = h[t-1] + 0.2 * (tanh(W @ h[t] + x[t]) - k * h[t]**3)
            loss = sum[t](sum(h[t]**2))
            output h[t]
            minimize loss
    """.replace("METHOD", kind)


#: Everything that is asked of a small matrix.
ALL = """
model all(N, M):
    input A: real[N, N]
    input S: real[N, N]
    input b: real[N]
    input B: real[N, M]
    x = solve(A, b)
    X = solve(A, B)
    Y = inv(A)
    d = logdet(A)
    L = cholesky(S)
    output x, X, Y, d, L
"""
