"""What a stepper does not do, and what it says about it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unfold
from tests.api.streams import EXAMPLES, refusal


def test_a_model_that_looks_ahead_is_refused_with_the_equation() -> None:
    text = "model f:\n    input x[t]: real\n    h[T+1] = 0\n    h[t] = h[t+1] + x[t]\n"
    assert refusal(text + "    output h[t]\n") == (
        "f cannot run one step at a time: this equation looks ahead\n    h[t] = h[t+1] + x[t]"
    )


@pytest.mark.parametrize(
    ("equations", "why", "shown"),
    [
        (
            "m = mean[t](x[t])\n    y[t] = x[t] - m",
            "this equation reads all of x, or its end",
            "m = sum[t](x[t]) / T",
        ),
        (
            "y[t] = x[t] - x[T]",
            "this equation reads the end of x",
            "y[t] = x[t] - x[T]",
        ),
        (
            "y[t] = x[t] - x[1]",
            "this equation reads one fixed step of x",
            "y[t] = x[t] - x[1]",
        ),
        (
            "axis s: T\n    y[t] = sum[s <= t](x[s])",
            "this equation reads all of the past, not a fixed part",
            "y[t] = sum[s <= t](x[s])",
        ),
        (
            "y[t] = x[t] * t / T",
            "this equation depends on the sequence's length T",
            "y[t] = x[t] * t / T",
        ),
        (
            "y[t] = x[t] if t < T else 0",
            "this equation depends on where the sequence ends",
            "y[t] = x[t] if t < T else 0",
        ),
        (
            "y[T] = 0\n    y[t] = x[t] for t <= T-1",
            "this equation holds only up to, or at, the sequence's end",
            "y[T] = 0",
        ),
    ],
)
def test_what_needs_the_whole_sequence_is_refused(equations: str, why: str, shown: str) -> None:
    text = f"model f:\n    input x[t]: real\n    {equations}\n    output y[t]\n"
    told = refusal(text)
    assert told.startswith(f"f cannot run one step at a time: {why}\n    {shown}")
    assert ("axis k: 0..9" in told) == ("all of the past" in why)


def test_a_model_without_outputs_over_time_is_refused() -> None:
    text = "model f:\n    input x[t]: real\n    y = sum[t](x[t])\n    output y\n"
    assert refusal(text) == (
        "f cannot run one step at a time: none of its outputs is a sequence over t"
    )


def test_wrong_arguments_of_a_step_are_named() -> None:
    fn = unfold.compile(EXAMPLES / "elman.rec", backend="numpy", D=3, H=4, K=2)
    params = fn.init()
    x = np.ones((5, 3))

    def message(call: Any) -> str:
        with pytest.raises(unfold.InputError) as caught:
            call()
        return str(caught.value)

    assert message(lambda: fn.stepper(params, x=x)) == (
        "x is a sequence: give it to `step`, one element at a time"
    )
    assert message(lambda: fn.stepper({"W_xh": params["W_xh"]})).startswith(
        "5 parameters are missing for elman:"
    )
    stepper = fn.stepper(params)
    assert message(stepper.step) == ("the input x is missing for elman:\n    x: real[D] with D = 3")
    assert message(lambda: stepper.step(x=np.ones(4))) == (
        "x: expected real[D] with D = 3; got an array of shape (4,)"
    )
    stepper.step(x=x)
    assert message(lambda: stepper.step(x=x[:2])) == (
        "the state is that of 5 sequences, the inputs of 2"
    )
    assert message(lambda: stepper.step(x=x[0])) == (
        "the state is that of 5 sequences, but the inputs have no batch axis"
    )


def test_native_code_refuses_what_the_first_step_refuses() -> None:
    fn = unfold.compile(EXAMPLES / "charlm.rec", K=5, M=2, H=3)
    stepper = fn.stepper(fn.init())
    for token in (1, np.int64(2), np.array(3)):
        stepper.step(x=token)
    kept = stepper.state
    for wrong, message in (
        ({"x": 5}, "x is 5, but x is int<K> with K = 5: its values lie in 0..4"),
        ({"x": -1}, "x is -1, but x is int<K> with K = 5: its values lie in 0..4"),
        ({"x": 1.5}, "x: expected int<K> with K = 5, got float64"),
        ({"z": 1}, "charlm has no input z"),
    ):
        with pytest.raises(unfold.InputError) as caught:
            stepper.step(**wrong)
        assert str(caught.value).startswith(message)
    assert stepper.steps == 3
    for name, lags in kept.items():
        np.testing.assert_array_equal(stepper.state[name], lags)


def test_what_is_no_sequence_is_given_once() -> None:
    fn = unfold.compile(
        "model m:\n    axis s: S\n    input x[t]: real\n    input k[s]: real\n    h[0] = 0\n"
        "    h[t] = 0.5 * h[t-1] + x[t] * sum[s](k[s])\n    output h[t]\n"
    )
    stepper = fn.stepper({}, k=np.ones(3))
    assert stepper.step(x=2.0)["h"] == 6
    with pytest.raises(unfold.InputError, match="k is no sequence: give it once, to `stepper`"):
        stepper.step(x=2.0, k=np.ones(3))
