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
