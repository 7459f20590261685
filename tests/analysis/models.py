"""Small systems whose answers are known, and random data for the gallery's models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import unfold
from unfold.gradcheck import random_arrays

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"

LINEAR = """
model linear(H):
    input  x[t]: real[H]
    param  A: real[H, H]  ~ orthogonal
    h[0] = 0
    h[t] = A @ h[t-1] + x[t]
    loss = sum(h[T])
    output h[t]
    minimize loss
"""

ELMAN = """
model elman(D, H):
    input  x[t]: real[D]
    param  W: real[H, D]  ~ glorot
    param  U: real[H, H]  ~ orthogonal
    h[0] = 0
    h[t] = tanh(W @ x[t] + U @ h[t-1])
    loss = mean[t](sum(h[t] ** 2))
    output h[t]
    minimize loss
"""

LOGISTIC = """
model logistic(r = 2.5):
    param  first: real = 0.3
    h[0] = first
    h[t] = r * h[t-1] * (1 - h[t-1])
    output h[t]
"""


def linear(a: Any, backend: str = "numpy") -> tuple[unfold.Function, dict[str, Any]]:
    """h[t] = A h[t-1] + x[t] with a given A."""
    fn = unfold.compile(LINEAR, H=len(a), backend=backend)
    return fn, {"A": np.asarray(a, dtype=float)}


def example(
    name: str, steps: int = 8, backend: str = "numpy", **sizes: int
) -> tuple[unfold.Function, dict[str, Any], dict[str, Any]]:
    """A model of the gallery with random parameters and data."""
    model = unfold.load(EXAMPLES / f"{name}.rec")
    own = {s: sizes.get(s, 2 + k) for k, s in enumerate(model.program.sizes)}
    fn = unfold.compile(model, sizes=own, backend=backend)
    lengths = {n: steps if n == "T" else 3 for n in fn.program.lengths}
    arrays = random_arrays(fn.program, lengths, np.random.default_rng(0))
    data = {n: arrays[n] for n in fn.inputs} | lengths
    return fn, {n: arrays[n] for n in fn.params}, data
