"""Boundaries that read each other against the direction of their chain have gradients too."""

from __future__ import annotations

from textwrap import dedent

import numpy as np
import pytest

import unfold

STARTS = {
    "a start that reads ahead": """
        s[-2] = tanh(B @ s[0])
        s[-1] = s[0] * s[-2]
        s[0] = v
        s[t] = tanh(B @ s[t-3] + x[t]) + s[t-1]
        loss = sum(s[T])
        """,
    "a start among the steps": """
        s[3] = tanh(B @ s[1])
        s[2] = s[1] * s[3]
        s[1] = v
        s[t] = tanh(s[t-3] + x[t]) + s[t-1] for t >= 4
        loss = sum[t](sum(s[t] ** 2))
        """,
    "an end that reads back": """
        s[T+1] = v
        s[T+2] = tanh(B @ s[T+1])
        s[T+3] = s[T+1] * s[T+2]
        s[t] = tanh(s[t+3] + x[t]) + s[t+1]
        loss = sum(s[1])
        """,
    "an end in both directions": """
        s[T+1] = v
        s[T+3] = tanh(B @ s[T+1])
        s[T+2] = s[T+1] * s[T+3]
        s[t] = tanh(s[t+3] + x[t]) + s[t+1]
        loss = sum(s[1])
        """,
}
HEAD = """
model m(D):
    input x[t]: real[D]
    param B: real[D, D] ~ glorot
    param v: real[D] ~ normal(1)
    output s[t]
    minimize loss
"""
STEP = 1e-6


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
@pytest.mark.parametrize("name", STARTS)
def test_gradients_agree_with_differences(name: str, backend: str) -> None:
    fn = unfold.compile(HEAD + dedent(STARTS[name]).replace("\n", "\n    "), D=2, backend=backend)
    params = fn.init(seed=1)
    for steps in range(3 if "among" in name else 1, 8):
        x = np.sin(np.arange(2.0 * steps)).reshape(steps, 2)
        _, grads = fn.value_and_grad(params, x=x)
        for p, value in params.items():
            for at in np.ndindex(value.shape):
                moved = {sign: {n: a.copy() for n, a in params.items()} for sign in (1, -1)}
                for sign in (1, -1):
                    moved[sign][p][at] += sign * STEP
                high, low = (fn(moved[sign], x=x).loss for sign in (1, -1))
                slope = (high - low) / (2 * STEP)
                np.testing.assert_allclose(grads[p][at], slope, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", STARTS)
def test_the_printed_adjoint_means_the_same(name: str) -> None:
    model = unfold.loads(HEAD + dedent(STARTS[name]).replace("\n", "\n    "))
    fn, again = (unfold.compile(m, D=2, backend="numpy") for m in (model, str(model.adjoint())))
    params = fn.init(seed=1)
    for steps in (3, 4, 7):
        x = np.sin(np.arange(2.0 * steps)).reshape(steps, 2)
        _, grads = fn.value_and_grad(params, x=x)
        found = again(params, x=x)
        for p in params:
            np.testing.assert_allclose(found[f"{p}_bar"], grads[p], rtol=1e-12)
