"""What a newcomer writes after reading README.md: models that no document shows, on both backends.

Values stand beside the same systems written by hand in NumPy, gradients beside differences.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import unfold
from unfold.gradcheck import grad_check, random_arrays

PATH = Path(__file__).parent / "strangers.rec"
SIZES: dict[str, dict[str, int]] = {
    "sir": {}, "tank": {}, "kf": {"N": 3, "M": 2}, "esn": {"D": 2, "H": 4, "K": 1},
    "align": {"D": 2}, "deep": {"D": 2, "H": 3, "K": 3},
}  # fmt: skip
Array = NDArray[np.float64]


def example(name: str, backend: str) -> tuple[unfold.Function, dict[str, Any], dict[str, Any]]:
    fn = unfold.compile(unfold.load(PATH, model=name), sizes=SIZES[name], backend=backend)
    chance = np.random.default_rng(3)
    lengths = {n: 6 + k for k, n in enumerate(fn.program.lengths)}
    arrays = random_arrays(fn.program, lengths, chance)
    return (
        fn,
        {n: arrays[n] for n in fn.params},
        {v.name: arrays[v.name] for v in fn.program.inputs},
    )


@pytest.mark.parametrize("name", SIZES)
def test_gradients_are_those_of_differences_on_both_backends(name: str) -> None:
    report = grad_check(unfold.load(PATH, model=name), sizes=SIZES[name])
    assert report.ok, str(report)


def lse(*values: float) -> float:
    return float(np.logaddexp.reduce(values))


def tank(p: dict[str, Any], target: Array) -> float:
    dt, area, umax = 0.1, 2.0, 3.0
    level = integral = before = total = 0.0
    for wanted in target:
        err = wanted - level
        raw = p["kp"] * err + p["ki"] * integral + p["kd"] * (err - before) / dt
        u = min(max(raw, 0.0), umax)
        integral += dt * err if raw == u else 0.0
        level += dt / area * (u - np.sqrt(max(level, 0.0) + 1e-6))
        before = err
        total += err**2 + 0.01 * u**2
    return total / len(target)


def kf(p: dict[str, Any], y: Array) -> float:
    """By the joint distribution of all observations, without a recurrence."""
    A, C, T = p["A"], p["C"], len(y)
    cov = np.eye(len(A))
    covs = [cov := A @ cov @ A.T + np.exp(p["q"]) * np.eye(len(A)) for _ in range(T)]
    whole = np.zeros((T, len(C), T, len(C)))
    for s in range(T):
        for t in range(s, T):
            block = C @ np.linalg.matrix_power(A, t - s) @ covs[s] @ C.T
            whole[t, :, s], whole[s, :, t] = block, block.T
        whole[s, :, s] += np.exp(p["r"]) * np.eye(len(C))
    flat, v = whole.reshape(y.size, y.size), y.ravel()
    return float(np.linalg.slogdet(flat)[1] + v @ np.linalg.solve(flat, v)) / (2 * T)


def align(p: dict[str, Any], a: Array, b: Array) -> float:
    """By every path through the table, each with its score."""
    tau, s = 0.5, a @ p["W"] @ b.T
    scores = []

    def walk(i: int, j: int, last: str, total: float) -> None:
        if (i, j) == s.shape:
            scores.append(total)
        if i < s.shape[0] and j < s.shape[1]:
            walk(i + 1, j + 1, "F", total + s[i, j])
        # A gap in one sequence is not followed by one in the other.
        for di, dj, kind in ((1, 0, "X"), (0, 1, "Y")):
            if i + di <= s.shape[0] and j + dj <= s.shape[1] and last in ("F", kind):
                opened = p["open"] if last != kind else 0.0
                walk(i + di, j + dj, kind, total - opened - p["extend"])

    walk(0, 0, "F", 0.0)
    return -tau * lse(*(np.array(scores) / tau))


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
@pytest.mark.parametrize("by_hand", [tank, kf, align])
def test_values_are_those_of_the_same_written_by_hand(by_hand: Any, backend: str) -> None:
    fn, params, data = example(by_hand.__name__, backend)
    if by_hand is align:
        data = {n: a[: 3 + k] for k, (n, a) in enumerate(data.items())}
    np.testing.assert_allclose(fn(params, data).loss, by_hand(params, **data), rtol=1e-9)


@pytest.mark.parametrize("name", ["sir", "tank", "esn", "deep"])
def test_they_run_one_step_at_a_time_and_train_in_windows(name: str) -> None:
    fn, params, data = example(name, "numpy")
    whole = fn(params, data)
    plan = fn.step_program()
    stepper = fn.stepper(params, **{n: data[n] for n in plan.static})
    for t in range(6):
        out = stepper.step({n: data[n][t] for n in plan.moving})
        for n in plan.outputs:
            expected = whole[n][t] if len(whole[n]) == 6 else whole[n][t + 1]
            np.testing.assert_allclose(out[n], expected, rtol=1e-9, atol=1e-12)
    fit = unfold.fit(fn, data, params=params, carry=6, epochs=1, optimiser=unfold.SGD(rate=1e-12))
    np.testing.assert_allclose(fit.history[0]["loss"], whole.loss, rtol=1e-9)


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
@pytest.mark.parametrize("weight", ["s", "(s + 1)", "0.1 * s", "(T - s)", "1 / s", "-s"])
def test_terms_of_a_sum_are_weighted_by_their_positions(weight: str, backend: str) -> None:
    text = f"""
model m():
    axis   s: T
    input  x[t]: real
    all = sum[s]({weight} * x[s])
    y[t] = sum[s <= t]({weight} * x[s])
    loss = mean[t](t * y[t])
    output all, y[t]
    minimize loss
"""
    fn = unfold.compile(text, backend=backend)
    x, s = np.random.default_rng(1).normal(size=5), np.arange(1, 6)
    factor = eval(weight, {"s": s, "T": 5})
    out = fn({}, x=x)
    np.testing.assert_allclose(out.all, (factor * x).sum())
    np.testing.assert_allclose(out.y, np.cumsum(factor * x))
    loss, grads = fn.value_and_grad({}, x=x, wrt="x")
    np.testing.assert_allclose(loss, np.mean(s * np.cumsum(factor * x)))
    np.testing.assert_allclose(grads["x"], factor * np.cumsum(s[::-1])[::-1] / 5)
