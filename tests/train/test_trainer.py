"""The training step: the same numbers on every way to a gradient, live parameters, saved state."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest

import unfold
from unfold import schedules

TEXT = """
model m(D, H):
    input  x[t]: real[D]
    input  y[t]: real
    param  W: real[H, D]  ~ glorot
    param  U: real[H, H]  ~ orthogonal
    param  b: real[H]     = 0
    param  v: real[H]     ~ normal(0.5)
    h[0] = 0
    h[t] = tanh(W @ x[t] + U @ h[t-1] + b)
    fit = mean[t]((sum(v * h[t]) - y[t]) ** 2)
    small = sum(W ** 2)
    output h[t]
    minimize fit
    minimize small
"""
D, H, T = 3, 4, 6


def data(batch: int | None = None, steps: int = T, dtype: Any = np.float64) -> dict[str, Any]:
    head = () if batch is None else (batch,)
    chance = np.random.default_rng(steps)
    return {
        "x": chance.normal(size=(*head, steps, D)).astype(dtype),
        "y": chance.normal(size=(*head, steps)).astype(dtype),
    }


def compiled(**options: Any) -> unfold.Function:
    return unfold.compile(TEXT, D=D, H=H, **options)


def adam(grads: list[dict[str, Any]], params: dict[str, Any], rate: float) -> dict[str, Any]:
    """Algorithm 1 of Kingma and Ba as it is printed."""
    found = {}
    for n, start in params.items():
        w, m, v = start.copy(), 0.0, 0.0
        for t, g in enumerate(grads, 1):
            m = 0.9 * m + 0.1 * g[n]
            v = 0.999 * v + 0.001 * g[n] ** 2
            w = w - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        found[n] = w
    return found


@pytest.mark.parametrize("backend", ["llvm", "numpy"])
def test_a_step_is_the_gradient_and_then_the_optimiser(backend: str) -> None:
    fn = compiled(backend=backend)
    params, inputs = fn.init(1), data(5)
    trainer = fn.trainer(params, unfold.Adam(rate=0.05))
    grads = []
    for _ in range(6):
        expected, found = fn.value_and_grad(trainer.params, inputs)
        loss = trainer.step(inputs)
        assert loss == expected
        assert type(loss) is type(expected)
        grads.append(found)
        norm = math.sqrt(sum(np.sum(g**2) for g in found.values()))
        assert trainer.grad_norm == pytest.approx(norm, rel=1e-12)
    assert trainer.steps == 6
    for n, w in adam(grads, params, 0.05).items():
        np.testing.assert_allclose(trainer.params[n], w, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("batch", [None, 1, 7])
def test_native_steps_are_those_of_python_to_the_bit(batch: int | None, dtype: str) -> None:
    fn = compiled(dtype=dtype)
    inputs = data(batch, dtype=dtype)
    quick = fn.trainer(fn.init(1), unfold.Adam(0.05), clip_norm=0.3, decay={"[WU]": 0.1})
    slow = fn.trainer(fn.init(1), unfold.Adam(0.05), clip_norm=0.3, decay={"[WU]": 0.1})
    for _ in range(5):
        left = quick.step(inputs)
        right = slow._in_python(inputs, None, None)
        assert left == right
        assert type(left) is type(right)
        assert quick.grad_norm == slow.grad_norm
    assert quick._quick(quick._params, inputs) is not None
    slow.step(inputs)
    same_state(quick.state, slow.state)


def same_state(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a.keys() == b.keys()
    for n in a:
        np.testing.assert_array_equal(a[n], b[n], err_msg=n)


def test_parameters_are_live_and_those_given_are_left_alone() -> None:
    fn = compiled()
    params = fn.init(1)
    before = {n: a.copy() for n, a in params.items()}
    trainer = fn.trainer(params, unfold.SGD(0.1))
    mine = trainer.params
    trainer.step(data())
    assert all(np.array_equal(params[n], before[n]) for n in params)
    assert all(mine[n] is trainer.params[n] for n in params)
    assert not np.array_equal(mine["W"], before["W"])
    mine["W"][...] = 0
    expected, _ = fn.value_and_grad(mine, data())
    assert trainer.step(data()) == expected
    del mine["W"]
    trainer.step(data())


def test_a_saved_state_goes_on_to_the_same_bits() -> None:
    fn = compiled()
    options: Any = {"clip_norm": 1.0, "schedule": schedules.Linear(5, 0.1)}
    trainer = fn.trainer(fn.init(1), unfold.Adam(0.05), **options)
    for _ in range(4):
        trainer.step(data())
    saved = pickle.loads(pickle.dumps(trainer.state))
    losses = [trainer.step(data()) for _ in range(5)]
    other = fn.trainer(fn.init(2), unfold.Adam(0.05), **options)
    other.step(data())
    other.state = saved
    assert other.steps == 4
    assert [other.step(data()) for _ in range(5)] == losses
    same_state(other.state, trainer.state)
