"""Planted faults: each is found at its equation, step and sequence, on both backends alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import unfold
from unfold.debug import Report

BACKENDS = ("llvm", "numpy")


@dataclass(frozen=True)
class Planted:
    """A model, its arrays, and where its first fault is."""

    text: str
    arrays: dict[str, Any]
    phase: str
    element: str
    value: float
    words: str
    #: The text that the carets stand under.
    under: str | None = None
    sequence: int | None = None
    component: tuple[int, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    dtype: str = "float64"
    derivative_in: str | None = None


def planted(shape: tuple[int, ...], at: tuple[int, ...], value: float, rest: float = 0.5) -> Any:
    """An array of one number, with another one in one place."""
    array = np.full(shape, rest)
    array[at] = value
    return array


HEAD = "model m():\n    input x[t]: real\n    param w: real = 1\n"
END = "    loss = mean[t](h[t])\n    output h[t]\n    minimize loss\n"
MATRIX = """\
model m(H):
    input x[t]: real[H]
    param U: real[H, H] ~ orthogonal
    h[0] = 0
"""

FAULTS = {
    "log of a negative number": Planted(
        HEAD + "    h[t] = w * log(x[t])\n" + END,
        {"x": planted((4, 9), (2, 6), -0.25)},
        "forward", "h[7]", np.nan, "the logarithm of the negative number -0.25",
        "log(x[t])", 2,
    ),
    "0 / 0": Planted(
        HEAD + "    h[t] = x[t] / (w * x[t])\n" + END,
        {"x": planted((9,), (3,), 0)},
        "forward", "h[4]", np.nan, "0 / 0", "x[t] / (w * x[t])",
    ),
    "1 / 0": Planted(
        HEAD + "    h[t] = w / x[t]\n" + END,
        {"x": planted((3, 9), (1, 8), 0)},
        "forward", "h[9]", np.inf, "a division of 1 by 0", "w / x[t]", 1,
    ),
    "exp overflows": Planted(
        HEAD + "    h[t] = tanh(w * x[t]) + exp(x[t])\n" + END,
        {"x": planted((9,), (4,), 800)},
        "forward", "h[5]", np.inf, "exp of 800 is larger", "exp(x[t])",
    ),
    "exp overflows in float32 only": Planted(
        HEAD + "    h[t] = w * exp(x[t])\n" + END,
        {"x": planted((9,), (4,), 100)},
        "forward", "h[5]", np.inf, "larger in size than any float32 (3.4e+38)", "exp(x[t])",
        dtype="float32",
    ),
    "an intermediate overflow, then inf / inf": Planted(
        MATRIX + "    e[t] = exp(x[t]) / sum(exp(x[t]))\n    h[t] = U @ h[t-1] + e[t]\n"
        "    loss = sum(h[T])\n    minimize loss\n",
        {"x": planted((2, 5, 3), (1, 2, 1), 1000)},
        "forward", "e[3]", np.nan, "exp of 1000 is larger", None, 1, (1,), sizes={"H": 3},
    ),
    "growth": Planted(
        HEAD + "    h[0] = 1\n    h[t] = 10 * w * h[t-1] + x[t]\n" + END,
        {"x": np.zeros(400)},
        "forward", "h[309]", np.inf, "the product 10 * 1e+308 is larger", "10 * w * h[t-1]",
    ),
    "0 times inf": Planted(
        HEAD + "    a[t] = log(x[t])\n    h[t] = w * x[t] * a[t]\n" + END,
        {"x": planted((2, 9), (1, 4), 0)},
        "forward", "h[5]", np.nan, "times -inf", None, 1,
    ),
    "inf - inf": Planted(
        HEAD + "    a[t] = log(x[t])\n    h[t] = w * (a[t] - 2 * a[t])\n" + END,
        {"x": planted((9,), (0,), 0)},
        "forward", "h[1]", np.nan, "-inf - -inf", "a[t] - 2 * a[t]",
    ),
    "softmax of -inf": Planted(
        MATRIX + "    a[t] = log(x[t])\n    h[t] = U @ h[t-1] + exp(a[t] - max(a[t]))\n"
        "    loss = sum(h[T])\n    minimize loss\n",
        {"x": np.where(np.arange(6)[:, None] == 2, 0.0, np.ones((6, 3)))},
        "forward", "h[3]", np.nan, "-inf - -inf", "a[t] - max(a[t])", None, (0,),
        sizes={"H": 3},
    ),
    "an even root": Planted(
        HEAD + "    h[t] = w * (x[t] - 1) ** 0.5\n" + END,
        {"x": planted((9,), (8,), 0.5, 2.0)},
        "forward", "h[9]", np.nan, "negative", None,
    ),
    "a running chain backward in time": Planted(
        HEAD + "    h[T+1] = 0\n    h[t] = w * sqrt(x[t]) + h[t+1]\n" + END,
        {"x": np.where(np.isin(np.arange(9), (3, 6)), -1.0, 1.0)},
        "forward", "h[7]", np.nan, "the square root of the negative number -1", "sqrt(x[t])",
    ),
    "a table over two axes": Planted(
        "model m():\n    axis i: I\n    axis j: J\n    input c[i, j]: real\n    param w: real = 1\n"
        "    f[i, 0] = 0 for i in 0..I\n    f[0, j] = 0\n"
        "    f[i, j] = min(f[i-1, j], f[i, j-1]) + w / c[i, j]\n"
        "    loss = f[I, J]\n    minimize loss\n",
        {"c": planted((2, 4, 5), (1, 2, 3), 0, 2.0)},
        "forward", "f[3, 4]", np.inf, "a division of 1 by 0", "w / c[i, j]", 1,
    ),
    "in a reduction, at one point": Planted(
        HEAD + "    axis s: T\n    h[t] = w * sum[s <= t](log(x[s]) * t)\n" + END,
        {"x": planted((9,), (4,), -1)},
        "forward", "h[5]", np.nan, "negative number -1, at s = 5", "log(x[s])",
    ),
    "in a model inside": Planted(
        "model cell():\n    input x[t]: real\n    param w: real = 1\n"
        "    h[0] = 0\n    h[t] = h[t-1] + w * log(x[t])\n    output h[t]\n"
        "model m():\n    input x[t]: real\n    enc = cell(x)\n"
        "    loss = enc.h[T]\n    minimize loss\n",
        {"x": planted((2, 9), (1, 4), -1)},
        "forward", "enc.h[5]", np.nan, "the negative number -1", "log(x[t])", 1,
    ),
    "the slope of a root at 0": Planted(
        HEAD + "    a[t] = w * x[t]\n    h[t] = sqrt(a[t])\n" + END,
        {"x": planted((3, 9), (1, 4), 0)},
        "backward", "a_bar[5]", np.inf, "by 0", "h[t] = sqrt(a[t])", 1, derivative_in="a",
    ),
    "the slope of a norm at 0": Planted(
        MATRIX + "    h[t] = U @ h[t-1] + x[t]\n    y = norm(h[2])\n    loss = y + sum(h[T])\n"
        "    minimize loss\n",
        {"x": np.zeros((5, 3))},
        "backward", "y_pre_bar", np.inf, "by 0", "y = norm(h[2])", None, (), sizes={"H": 3},
    ),
    "a gradient that explodes": Planted(
        HEAD + "    h[0] = 0\n    h[t] = 10 * w * h[t-1] + 0 * x[t]\n"
        "    loss = sum[t](h[t] * 1e-8)\n    output h[t]\n    minimize loss\n",
        {"x": np.zeros(400)},
        "backward", "h_bar[83]", np.inf, "larger", None, derivative_in="h",
    ),
    "a parameter that is no number": Planted(
        HEAD + "    h[t] = w * x[t]\n" + END,
        {"x": np.ones((2, 5))},
        "given", "w", np.nan, "", params={"w": np.nan},
    ),
    "an input that is infinite": Planted(
        HEAD + "    h[t] = w * x[t]\n" + END,
        {"x": planted((3, 5), (2, 3), np.inf)},
        "given", "x[4]", np.inf, "", None, 2,
    ),
    "an equilibrium that is none": Planted(
        HEAD + "    solve h[t] by picard(max_steps = 30):\n"
        "        h[t] = 2 * w * h[t] + x[t]\n" + END,
        {"x": planted((3, 5), (2, 3), 1, 0.0)},
        "forward", "h[4]", np.nan, "", "h[t] = 2 * w * h[t] + x[t]", 2,
    ),
    "a singular matrix": Planted(
        MATRIX + "    h[t] = U @ h[t-1] + solve(outer(x[t], x[t]) * 0, x[t])\n"
        "    loss = sum(h[T])\n    minimize loss\n",
        {"x": np.ones((5, 3))},
        "forward", "h[1]", np.nan, "the matrix is singular", None, None, (0,), sizes={"H": 3},
    ),
}  # fmt: skip


def found(case: Planted, backend: str) -> Report:
    fn = unfold.compile(case.text, backend=backend, dtype=case.dtype, sizes=case.sizes)
    return fn.debug({**fn.init(seed=1), **case.params}, case.arrays)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_where_it_is(name: str, backend: str) -> None:
    case = FAULTS[name]
    report = found(case, backend)
    fault = report.first
    assert fault is not None, str(report)
    place = (fault.phase, fault.element, fault.sequence, fault.component)
    assert place == (case.phase, case.element, case.sequence, case.component), str(report)
    np.testing.assert_equal(fault.value, case.value)
    assert fault.derivative_in == case.derivative_in
    reasons = [op.reason for op in fault.operations]
    assert (case.words in reasons[0]) if case.words else True, reasons
    if case.under is not None:
        assert fault.source is not None
        assert fault.source.whole[fault.source.start : fault.source.end] == case.under
    assert fault.element in str(report)
