"""Ways to solve implicit equations, and to compute them."""

from __future__ import annotations

from typing import Any

import pytest

import unfold

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
