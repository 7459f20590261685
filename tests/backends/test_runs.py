"""Loops over single numbers go a register at a time, at whatever length they end."""

from __future__ import annotations

import numpy as np
import pytest

import unfold
from unfold.backends import llvm
from unfold.backends.llvm import choose

ATTENTION = """
model m():
    axis   s: T
    input  x[t]: real[3]
    param  W: real[3, 3]
    q[t] = W @ x[t]
    e[t,s] = q[t] @ x[s] for s <= t
    low[t] = min[s <= t](e[t,s] ** 2)
    top[t] = max[s <= t](tanh(e[t,s]))
    l[t] = logsumexp[s <= t](e[t,s] / 3)
    a[t,s] = exp(e[t,s] / 3 - l[t]) for s <= t
    a[t,s] = 0 for s > t
    z[t] = sum[s <= t](a[t,s] * x[s])
    far[t] = sum[s >= t - 2, s <= t](where(a[t,s] > 0.3, a[t,s] * top[t], low[t]))
    loss = sum[t](sum(z[t]) ** 2 + far[t])
    output a[t,s], low[t], top[t], l[t], far[t]
    minimize loss
"""
#: Neighbours that wait for each other, and neighbours that are not beside each other.
IN_ORDER = """
model m():
    axis   s: T
    input  x[t]: real[2]
    param  w: real[2]
    e[t,s] = (w @ x[t]) * (w @ x[s])
    c[t,0] = 0
    c[t,s] = 0.5 * c[t,s-1] + e[t,s]
    d[t,s] = c[t,s] + e[s,t]
    f[t] = sum[s](d[s,t] * s)
    loss = sum[t](f[t])
    output d[t,s]
    minimize loss
"""


def listed(text: str) -> str:
    kernel = llvm.compile(unfold.loads(text).program, dtype="float64", sum_adjoints=False)
    return kernel.ir()


def test_which_loops_go_a_register_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "masked.load" in listed(ATTENTION)
    assert "masked.store" in listed(ATTENTION)
    assert "masked.store" not in listed(IN_ORDER)
    # Where sequences go side by side, or all is scalars, nothing else does.
    monkeypatch.setattr(choose, "has_vectors", lambda program: False)
    assert "masked" not in listed(ATTENTION)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("text", [ATTENTION, IN_ORDER])
def test_every_length_gives_what_the_interpreter_gives(text: str, dtype: str) -> None:
    fast, slow = unfold.compile(text, dtype=dtype), unfold.compile(text, backend="numpy")
    rng = np.random.default_rng(0)
    size = 3 if text is ATTENTION else 2
    params = {"W": rng.normal(size=(3, 3))} if text is ATTENTION else {"w": rng.normal(size=2)}
    rtol, atol = (1e-9, 1e-11) if dtype == "float64" else (2e-3, 2e-3)
    for steps in range(1, 20):
        x = rng.normal(size=(steps, size))
        found, wanted = fast(params, x=x), slow(params, x=x)
        for name in wanted:
            np.testing.assert_allclose(found[name], wanted[name], rtol=rtol, atol=atol)
        (loss, grads), (same, expected) = (fn.value_and_grad(params, x=x) for fn in (fast, slow))
        np.testing.assert_allclose(loss, same, rtol=rtol)
        for name, g in expected.items():
            scale = float(np.max(np.abs(g)))
            np.testing.assert_allclose(grads[name], g, rtol=rtol, atol=atol * scale)
