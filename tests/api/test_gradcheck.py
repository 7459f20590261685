"""The gradient check finds what is wrong, and says what it could not judge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unfold

SMOOTH = """
model f(H):
    input x[t]: real[H]
    input c[t]: int<3>
    param w: real[H] = 0.5
    param E: real[3] ~ normal(1)

    loss = sum[t](tanh(w @ x[t]) * E[c[t]])
    output loss
    minimize loss
"""


def test_everything_real_is_checked_on_both_backends() -> None:
    result = unfold.grad_check(unfold.loads(SMOOTH), H=4, T=6)
    assert result.ok
    assert bool(result)
    assert [r.name for r in result.rows] == ["w", "E", "x"]
    assert (result.sizes, result.lengths) == ({"H": 4}, {"T": 6})
    assert set(result.values) == {"numpy", "llvm"}
    assert str(result).splitlines()[0] == "f at H = 4, T = 6"
    assert all(r.judged and not r.kinks for r in result.rows)


def test_a_wrong_gradient_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = unfold.Function.value_and_grad

    def wrong(self: unfold.Function, *args: Any, **options: Any) -> Any:
        value, grads = honest(self, *args, **options)
        if self.options.backend == "llvm":
            grads["w"] = grads["w"] + 1e-6
        return value, grads

    monkeypatch.setattr(unfold.Function, "value_and_grad", wrong)
    result = unfold.grad_check(unfold.loads(SMOOTH))
    assert not result.ok
    (row,) = [r for r in result.rows if not r.ok]
    assert row.name == "w"
    assert row.differences["llvm"] > 1e-7 > row.differences["numpy"]
    assert row.backends > 1e-10
    assert "WRONG" in str(result)


def test_a_gradient_that_is_not_a_number_is_wrong() -> None:
    text = "model f:\n    param a: real = 1\n    loss = sqrt(a - 100)\n    minimize loss\n"
    with np.errstate(invalid="ignore"):
        assert not unfold.grad_check(unfold.loads(text + "    output loss\n"))


def test_a_kink_is_reported_and_not_judged() -> None:
    text = "model f:\n    input a, b: real\n    loss = abs(a) + b ** 2\n    minimize loss\n"
    model = unfold.loads(text + "    output loss\n")
    result = unfold.grad_check(model, data={"a": 1e-4, "b": 0.5})
    a, b = result.rows
    assert (a.kinks, a.judged, a.ok) == (1, 0, False)
    assert (b.kinks, b.judged, b.ok) == (0, 1, True)
    assert "1 of 1 at a kink" in str(result)


def test_a_model_without_a_loss_has_nothing_to_check() -> None:
    model = unfold.loads("model f:\n    input x: real\n    y = x\n    output y\n")
    with pytest.raises(unfold.InputError, match="f has no `minimize` line"):
        unfold.grad_check(model)


FLOW = """
model m:
    input dt[t]: real
    param w: real = 1.3
    p[0] = w
    v[0] = 0
    flow p[t], v[t] from p[t-1], v[t-1] by METHOD:
        der(p) = v
        der(v) = -w ** 2 * sin(p)
    output p[t]
    minimize sum[t](p[t] ** 2 + 0.5 * v[t])
"""


@pytest.mark.parametrize(("tolerance", "most"), [(1e-2, 12), (1e-5, 12), (1e-10, 60)])
def test_steps_chosen_by_a_tolerance_are_held_at_every_tolerance(
    tolerance: float, most: int
) -> None:
    """The sizes of steps are detached: differences that let them change are wrong by the order of
    the tolerance over the step of the differences."""
    method = f"dopri5(dt[t], rtol = {tolerance}, atol = {tolerance}, max_steps = {most})"
    result = unfold.grad_check(unfold.loads(FLOW.replace("METHOD", method)), T=3, entries=3)
    assert result.ok, str(result)
    assert all(row.judged and not row.kinks for row in result.rows)


def test_a_wrong_gradient_of_accepted_steps_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = unfold.Function.value_and_grad

    def wrong(self: unfold.Function, *args: Any, **options: Any) -> Any:
        value, grads = honest(self, *args, **options)
        return value, {**grads, "w": grads["w"] * (1 + 1e-6)}

    monkeypatch.setattr(unfold.Function, "value_and_grad", wrong)
    text = FLOW.replace("METHOD", "dopri5(dt[t], rtol = 1e-3, atol = 1e-3, max_steps = 20)")
    result = unfold.grad_check(unfold.loads(text), T=3, entries=3)
    assert [row.name for row in result.rows if not row.ok] == ["w"]


def test_what_is_detached_is_held_wherever_it_stands() -> None:
    """In pieces, beside them, below reductions over other indices and in guards."""
    text = """
model f(H):
    axis s: S
    input x[t]: real[H]
    input y[s]: real
    param w: real[H] = 0.5
    h[0] = detach(w) * w
    h[t] = tanh(w * x[t] + detach(h[t-1] * w) + 0.3 * h[t-1])
    a[t] = sum[s](detach(y[s] * h[t][0]) * y[s] * w[0])
    b[t] = sum[k in 1..t-1](detach(h[k][0] ** 2 + w[1]) * h[k][1])
    minimize sum[t](a[t] + b[t] + detach(sum(w * h[T])) * sum(h[t]))
    output a[t]
"""
    result = unfold.grad_check(unfold.loads(text), H=3, T=4, S=3, entries=3)
    assert result.ok, str(result)


def test_a_continuous_adjoint_is_told_from_the_discrete_one_and_not_wrong() -> None:
    text = FLOW.replace("METHOD", "heun(dt[t], substeps = 2, adjoint = continuous)")
    result = unfold.grad_check(unfold.loads(text), T=3, entries=3)
    assert result.ok, str(result)
    assert all(row.continuous is not None and 1e-5 < row.continuous < 0.1 for row in result.rows)
    assert "continuous - discrete" in str(result)
    assert "differences judge the discrete gradient" in str(result)
    plain = unfold.grad_check(unfold.loads(text.replace(", adjoint = continuous", "")), T=3)
    assert [row.continuous for row in plain.rows] == [None, None]
    assert "discrete" not in str(plain)


def test_backends_are_compared_by_their_continuous_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = unfold.Function.value_and_grad

    def wrong(self: unfold.Function, *args: Any, **options: Any) -> Any:
        value, grads = honest(self, *args, **options)
        if self.options.backend == "llvm" and "continuous" in str(self.program.equations):
            grads = {**grads, "w": grads["w"] * (1 + 1e-6)}
        return value, grads

    monkeypatch.setattr(unfold.Function, "value_and_grad", wrong)
    text = FLOW.replace("METHOD", "rk4(dt[t], adjoint = continuous)")
    result = unfold.grad_check(unfold.loads(text), T=3, entries=3)
    assert [row.name for row in result.rows if not row.ok] == ["w"]
