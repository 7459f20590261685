"""What is read at fixed positions, one for each value of another index, is gathered by segments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unfold
from unfold.segments import cut
from unfold.transform import adjoint

HOLT_WINTERS = """
# Exponential smoothing with a trend and seasons of M steps (Holt, 1957; Winters, 1960): states
# before the first step are learnt.
model holt_winters(M):
    axis   k: 1-M..0
    input  y[t]: real
    param  a, b, c: real = 0.3
    param  l0, g0: real = 0.1
    param  s0[k]: real ~ normal(0.3)
    l[0] = l0
    g[0] = g0
    s[k] = s0[k]
    l[t] = a * (y[t] - s[t-M]) + (1 - a) * (l[t-1] + g[t-1])
    g[t] = b * (l[t] - l[t-1]) + (1 - b) * g[t-1]
    s[t] = c * (y[t] - l[t]) + (1 - c) * s[t-M]
    e[t] = y[t] - (l[t-1] + g[t-1] + s[t-M])
    loss = mean[t](e[t] ** 2)
    output e[t]
    minimize loss
"""
ENDS = """
model ends(M):
    axis  k: 1-M..0
    input y[t]: real
    param a: real = 0.3
    param s0[k], w[k], v[k]: real ~ normal(0.5)
    s[k] = s0[k]
    s[t] = tanh(a * s[t-1] + y[t])
    q[k] = w[k] * s[k] + v[k] * s[T+k]
    z[t] = s[t] * sum[k](q[k]) + max[k](s[T+k])
    loss = sum[k](q[k] ** 2) + mean[t](z[t] ** 2)
    minimize loss
"""


def same(got: Any, want: Any) -> None:
    np.testing.assert_allclose(got[0], want[0], rtol=1e-12)
    assert list(got[1]) == list(want[1])
    for name, expected in want[1].items():
        assert got[1][name].shape == expected.shape, name
        np.testing.assert_allclose(got[1][name], expected, rtol=1e-10, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("backend", ["llvm", "numpy"])
@pytest.mark.parametrize("text", [HOLT_WINTERS, ENDS], ids=["holt_winters", "ends"])
@pytest.mark.parametrize("steps", [1, 3, 4, 7, 100])
def test_starts_that_are_a_family_of_parameters(text: str, steps: int, backend: str) -> None:
    whole, cut_up = (
        unfold.compile(text, M=4, mode="reverse", checkpoint=k, backend=backend)
        for k in (None, steps)
    )
    params, rng = whole.init(1), np.random.default_rng(2)
    y = rng.normal(size=(3, 13))
    wrt = [*params, "y", "s"]
    calls: list[dict[str, Any]] = [{"y": y[0]}, {"y": y}, {"y": y, "lengths": [13, 4, 5]}]
    for call in (*calls, {"y": y[:, :1]}):
        given: dict[str, Any] = {**call, "wrt": wrt}
        same(cut_up.value_and_grad(params, **given), whole.value_and_grad(params, **given))


@pytest.mark.parametrize("text", [HOLT_WINTERS, ENDS], ids=["holt_winters", "ends"])
def test_their_gradients_are_those_of_differences(text: str) -> None:
    fn = unfold.compile(text, M=4, mode="reverse", checkpoint=3)
    params = fn.init(1)
    y = np.random.default_rng(2).normal(size=13)
    _, grads = fn.value_and_grad(params, y=y)
    for name, value in params.items():
        for at in np.ndindex(value.shape):
            ends = []
            for sign in (1, -1):
                moved = {**params, name: value.copy()}
                moved[name][at] += sign * 1e-6
                ends.append(float(fn(moved, y=y).loss))
            slope = (ends[0] - ends[1]) / 2e-6
            np.testing.assert_allclose(grads[name][at], slope, rtol=1e-6, atol=1e-8, err_msg=name)


def test_hessian_products_of_seasons() -> None:
    whole, cut_up = (
        unfold.compile(HOLT_WINTERS, M=4, mode="reverse", checkpoint=k) for k in (None, 5)
    )
    params, rng = whole.init(1), np.random.default_rng(2)
    vectors = {"s0": rng.normal(size=4), "a": np.array(0.7)}
    y = rng.normal(size=13)
    want, got = (f.hvp(params, vectors, y=y) for f in (whole, cut_up))
    for name, expected in want.items():
        np.testing.assert_allclose(got[name], expected, rtol=1e-10, atol=1e-13, err_msg=name)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("z[t] = sum[s <= t](h[s])", "a part of the past that grows"),
        ("z[t] = sum[s](h[s] * h[t] * s)", "two axes over time"),
        ("z[s] = h[T+1-s]", "a part of the past that grows"),
    ],
)
def test_what_grows_with_the_sequence_is_still_refused(line: str, why: str) -> None:
    text = f"""
model m:
    axis s, t: T
    input x[t]: real
    param a: real = 0.9
    h[0] = 0
    h[t] = tanh(a * h[t-1] + x[t])
    {line}
    loss = sum[t](z[t] ** 2)
    minimize loss
"""
    p = unfold.loads(text).program
    with pytest.raises(unfold.InputError, match=why):
        cut(adjoint(p, ["a"]))
