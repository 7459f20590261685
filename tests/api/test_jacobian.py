"""Full Jacobians and the bias of truncation, through the public interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(params=["numpy", "llvm"])
def gru(request: pytest.FixtureRequest) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    rng = np.random.default_rng(0)
    fn = unfold.compile(EXAMPLES / "gru.rec", D=2, H=3, K=2, backend=request.param)
    data = {"x": rng.normal(size=(6, 2)), "target": rng.normal(size=(6, 2))}
    return fn, fn.init(seed=1), data


def test_jacobians_multiply_along_the_chain(gru: Any) -> None:
    fn, params, data = gru
    whole = fn.jacobian("h[T]", "h[1]", params, **data)
    first = fn.jacobian("h[3]", "h[1]", params, **data)
    second = fn.jacobian("h[T]", "h[3]", params, **data)
    assert whole.shape == (3, 3)
    np.testing.assert_allclose(second @ first, whole, rtol=1e-10)


def test_forward_and_reverse_mode_agree(gru: Any) -> None:
    fn, params, data = gru
    for of, wrt in (("h[T]", "h0"), ("y", "b_y"), ("loss", "W_in"), ("h[2]", "x"), ("y", "x[3]")):
        reverse = fn.jacobian(of, wrt, params, mode="reverse", **data)
        forward = fn.jacobian(of, wrt, params, mode="forward", **data)
        assert reverse.shape == forward.shape
        np.testing.assert_allclose(forward, reverse, rtol=1e-9, atol=1e-13)


def test_the_row_of_the_loss_is_the_gradient(gru: Any) -> None:
    fn, params, data = gru
    _, grads = fn.value_and_grad(params, wrt=["W_in", "x"], **data)
    np.testing.assert_allclose(fn.jacobian("loss", "W_in", params, **data), grads["W_in"])
    np.testing.assert_allclose(fn.jacobian("loss", "x", params, **data), grads["x"])


def test_nothing_looks_back_in_a_causal_model(gru: Any) -> None:
    fn, params, data = gru
    assert not fn.jacobian("h[2]", "h[4]", params, **data).any()
    np.testing.assert_array_equal(fn.jacobian("h[4]", "h[4]", params, **data), np.eye(3))


@pytest.mark.parametrize(
    ("of", "wrt", "mode", "message"),
    [
        ("hh[T]", "x", "auto", "gru has no hh; did you mean `h`?"),
        ("h[T]", "h[9]", "auto", "h[9] lies outside 1..6"),
        ("h[T]", "x[0]", "forward", "x[0] lies outside 1..6"),
        ("h[T]", "x[7]", "forward", "x[7] lies outside 1..6"),
        ("h[T]", "x[T+1]", "reverse", "x[7] lies outside 1..6"),
        ("h[T, 1]", "x", "auto", "h[T, 1]: h has 1 positions, not 2"),
        ("h[N]", "x", "auto", "h[N]: N is no length of gru"),
        ("h[T]", "h[1]", "forward", "forward mode moves inputs and parameters; h is a state"),
        ("h[T]", "h[1]", "both", "mode is one of auto, forward, reverse, not 'both'"),
        ("h[*]", "x", "auto", "h[*]: a position is like 1, T or T-1"),
    ],
)
def test_wrong_elements_are_named(of: str, wrt: str, mode: str, message: str, gru: Any) -> None:
    fn, params, data = gru
    with pytest.raises(unfold.InputError) as error:
        fn.jacobian(of, wrt, params, mode=mode, **data)
    assert message in str(error.value)


def test_an_element_that_no_equation_defines_has_no_derivative() -> None:
    fn = unfold.compile(
        "model m:\n    axis s: T\n    input x[t]: real\n    param w: real = 2\n"
        "    a[t,s] = w * x[t] * x[s] for s <= t\n    loss = sum[t](sum[s <= t](a[t,s]))\n"
        "    minimize loss\n"
    )
    params, x = fn.init(), np.arange(1.0, 5.0)
    assert fn.jacobian("a[3, 1]", "w", params, x=x) == 3.0
    np.testing.assert_array_equal(fn.jacobian("loss", "a[3, :]", params, x=x), [1, 1, 1, 0])
    for of, wrt in (("a[1, 3]", "x"), ("a[1, T-1]", "w"), ("loss", "a[1, 3]")):
        with pytest.raises(unfold.InputError, match=r"a\[1, 3\]: no equation defines this"):
            fn.jacobian(of, wrt, params, x=x)


def test_a_batch_has_no_single_jacobian(gru: Any) -> None:
    fn, params, data = gru
    batch = {k: np.stack([v, v]) for k, v in data.items()}
    with pytest.raises(unfold.InputError, match="one sequence"):
        fn.jacobian("h[T]", "h[1]", params, **batch)


def test_truncation_reports_its_bias(gru: Any) -> None:
    fn, params, data = gru
    options = {"D": 2, "H": 3, "K": 2, "backend": fn.options.backend}
    cut = unfold.compile(EXAMPLES / "gru.rec", truncate=unfold.Window(2), **options)
    bias = cut.truncation_bias(params, **data)
    assert 0.0 < bias.cosine < 1.0
    assert bias.relative_error > 0.01
    # What lies behind the recurrence is not truncated.
    assert bias.by_param["W_hy"].relative_error < 1e-12
    assert cut(params, **data).loss == fn(params, **data).loss
    long = unfold.compile(EXAMPLES / "gru.rec", truncate=unfold.Horizon(9), **options)
    assert long.truncation_bias(params, **data).relative_error < 1e-12
    with pytest.raises(unfold.InputError, match="not truncated"):
        fn.truncation_bias(params, **data)


def test_what_cannot_be_truncated_is_an_input_error() -> None:
    text = "model m:\n    input x[t]: real\n    y = sum[t](x[t])\n    minimize y\n"
    with pytest.raises(unfold.InputError, match="truncate: m has no recurrence over t"):
        unfold.compile(text, truncate=unfold.Window(3))
