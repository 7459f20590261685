"""Truncation changes gradients, never values, and only as it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unfold
from unfold.transform.truncate import Horizon, Window, truncate

ROOT = Path(__file__).parents[2]
ELMAN = """
model elman(D):
    input  x[t]: real[D]
    param  U: real[D, D]
    param  h0: real[D]
    h[0] = h0
    h[t] = tanh(x[t] + U @ h[t-1])
    loss = sum[t](sum(h[t] ** 2))
    output h[t]
    minimize loss
"""


def gradients(source: unfold.Model | Any, backend: str = "numpy", **call: Any) -> Any:
    sizes = call.pop("sizes")
    fn = unfold.compile(source, backend=backend, sizes=sizes)
    return fn.value_and_grad(call.pop("params"), **call)


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_windows_of_ten_steps_give_the_reference_gradient(backend: str) -> None:
    with np.load(ROOT / "tests" / "data" / "lstm_tbptt.npz") as file:
        arrays = dict(file)
    model = unfold.load(ROOT / "examples" / "lstm.rec")
    params = {k[6:]: v for k, v in arrays.items() if k.startswith("param/")}
    data = {k: arrays[f"input/{k}"] for k in ("x", "target")}
    sizes = {"D": 3, "H": 4, "K": 2}
    for program, group in (
        (truncate(model.program, Window(10)), "grad/"),
        (model.program, "gradfull/"),
    ):
        wrt = [k[len(group) :] for k in arrays if k.startswith(group)]
        loss, grads = gradients(program, backend, sizes=sizes, params=params, wrt=wrt, **data)
        np.testing.assert_allclose(loss, arrays["output/loss"], rtol=1e-12)
        for name in wrt:
            want = arrays[group + name]
            np.testing.assert_allclose(grads[name], want, atol=1e-10 * np.abs(want).max())


def elman_by_hand(x: Any, U: Any, h0: Any, sees: Any) -> tuple[Any, Any]:
    """The gradient of the loss where term τ passes back from step s to s-1 if sees(τ, s)."""
    T = len(x)
    h = [h0]
    for t in range(T):
        h.append(np.tanh(x[t] + U @ h[-1]))
    dU, dh0 = np.zeros_like(U), np.zeros_like(h0)
    for tau in range(1, T + 1):
        back = 2 * h[tau]
        for s in range(tau, 0, -1):
            pre = back * (1 - h[s] ** 2)
            dU += np.outer(pre, h[s - 1])
            back = U.T @ pre
            if not sees(tau, s):
                break
        else:
            dh0 += back
    return dU, dh0


@settings(max_examples=25, deadline=None)
@given(T=st.integers(1, 9), k=st.integers(1, 5), seed=st.integers(0, 99))
def test_a_window_cuts_where_a_new_window_begins(T: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, U, h0 = rng.normal(size=(T, 3)), rng.normal(size=(3, 3)), rng.normal(size=3)
    program = truncate(unfold.loads(ELMAN).program, Window(k))
    _, grads = gradients(program, sizes={"D": 3}, params={"U": U, "h0": h0}, x=x)
    dU, dh0 = elman_by_hand(x, U, h0, lambda tau, s: s == 1 or (s - 1) % k != 0)
    np.testing.assert_allclose(grads["U"], dU, atol=1e-12)
    np.testing.assert_allclose(grads["h0"], dh0, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(T=st.integers(1, 9), k=st.integers(1, 5), seed=st.integers(0, 99))
def test_a_horizon_lets_every_term_see_so_many_steps(T: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, U, h0 = rng.normal(size=(T, 3)), rng.normal(size=(3, 3)), rng.normal(size=3)
    program = truncate(unfold.loads(ELMAN).program, Horizon(k))
    _, grads = gradients(program, sizes={"D": 3}, params={"U": U, "h0": h0}, x=x)
    dU, dh0 = elman_by_hand(x, U, h0, lambda tau, s: s == 1 or tau - (s - 1) < k)
    np.testing.assert_allclose(grads["U"], dU, atol=1e-12)
    np.testing.assert_allclose(grads["h0"], dh0, atol=1e-12)


@pytest.mark.parametrize("how", [Window(3), Horizon(3)])
@pytest.mark.parametrize("name", ["lstm", "gru", "residual_skip", "birnn", "td_lambda"])
def test_values_stay_and_a_long_truncation_changes_nothing(
    name: str, how: Window | Horizon
) -> None:
    model = unfold.load(ROOT / "examples" / f"{name}.rec")
    sizes = dict.fromkeys(model.sizes, 2)
    rng = np.random.default_rng(0)
    fn = unfold.compile(model, backend="numpy", sizes=sizes)
    params = {n: rng.normal(size=np.shape(a)) for n, a in fn.init().items()}
    shapes = {"x": (7, 2), "target": (7, 2), "r": (7,), "V": (7,)}
    data: dict[str, Any] = {n: rng.normal(size=shapes[n]) for n in fn.inputs if n in shapes}
    if "c" in fn.inputs:
        data["c"] = rng.integers(0, 2, size=7)
    loss, full = fn.value_and_grad(params, **data)
    cut = unfold.compile(truncate(model.program, how), backend="numpy", sizes=sizes)
    assert cut.value_and_grad(params, **data)[0] == pytest.approx(loss, rel=1e-13)
    far = unfold.compile(truncate(model.program, type(how)(50)), backend="numpy", sizes=sizes)
    for param, g in far.value_and_grad(params, **data)[1].items():
        np.testing.assert_allclose(g, full[param], rtol=1e-10, atol=1e-12)


def test_there_must_be_something_to_truncate() -> None:
    still = unfold.loads("model m:\n    input x[t]: real\n    y = sum[t](x[t])\n    minimize y\n")
    with pytest.raises(ValueError, match="m has no recurrence over t to truncate"):
        truncate(still.program, Window(5))
    with pytest.raises(ValueError, match="at least one step, not 0"):
        truncate(unfold.loads(ELMAN).program, Horizon(0))
