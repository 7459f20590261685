"""A causal model one step at a time gives what it gives on the whole sequence."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
RANDOM = np.random.default_rng(0)
BACKENDS = ["numpy", "llvm"]


def sequence(fn: unfold.Function, steps: int, batch: int | None = None) -> dict[str, Any]:
    """Random inputs of a compiled model."""
    lead = () if batch is None else (batch,)
    made: dict[str, Any] = {}
    for v in fn.program.inputs:
        axes = tuple((a.hi - a.lo + 1).evaluate({"T": steps}) for a in v.axes)
        shape = (*lead, *axes, *(n.evaluate({}) for n in v.shape))
        if v.type.kind == "int":
            assert v.type.bound is not None
            made[v.name] = RANDOM.integers(0, v.type.bound.evaluate({}), shape)
        else:
            made[v.name] = RANDOM.uniform(0.1, 1.0, shape)
    return made


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize(
    ("example", "sizes"),
    [
        ("elman", {"D": 3, "H": 4, "K": 2}),
        ("jordan", {"D": 3, "H": 4, "K": 2}),
        ("lstm", {"D": 3, "H": 4, "K": 2}),
        ("gru", {"D": 3, "H": 4, "K": 2}),
        ("residual_skip", {"D": 3, "H": 4, "K": 2}),
        ("inventory", {}),
        ("queue", {}),
        ("kinetics", {}),
        ("pendulum_control", {}),
        ("sunspots", {"H": 4}),
    ],
)
def test_steps_add_up_to_the_sequence(
    example: str, sizes: dict[str, int], batch: int | None, backend: str
) -> None:
    fn = unfold.compile(EXAMPLES / f"{example}.rec", backend=backend, sizes=sizes)
    params = {n: a + 0.1 for n, a in fn.init(seed=1).items()}
    inputs = sequence(fn, 7, batch)
    whole = fn(params, inputs)
    plan = fn.step_program()
    stepper = fn.stepper(params, **{n: inputs[n] for n in plan.static})
    for t in range(7):
        here = {n: inputs[n][t] if batch is None else inputs[n][:, t] for n in plan.moving}
        out = stepper.step(**here)
        for name in plan.outputs:
            at = whole[name][t] if batch is None else whole[name][:, t]
            np.testing.assert_allclose(out[name], at, rtol=1e-12, atol=1e-14)


PIECES = """
model pieces:
    input x[t]: real
    axis  k: -1..0
    param start[k]: real

    s[t] = start[t] for t in -1..0
    s[t] = s[t-2] + x[t] for t <= 2
    s[t] = s[t-1] * t / 10 + (x[t-2] if t >= 4 else 1) for t >= 3
    n[t] = mod(t, 3)
    output s[t], n[t]
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_pieces_conditions_and_the_number_of_the_step(backend: str) -> None:
    fn = unfold.compile(PIECES, backend=backend)
    params = {"start": np.array([2.0, 3.0])}
    x = RANDOM.normal(size=8)
    whole = fn(params, x=x)
    stepper = fn.stepper(params)
    steps = [stepper.step(x=value) for value in x]
    np.testing.assert_allclose([s.s for s in steps], whole.s, rtol=1e-13)
    np.testing.assert_array_equal([s.n for s in steps], whole.n)


def test_a_state_may_be_kept_and_set_and_reset() -> None:
    fn = unfold.compile(EXAMPLES / "elman.rec", backend="numpy", D=3, H=4, K=2)
    params, x = fn.init(), RANDOM.normal(size=(4, 3))
    stepper = fn.stepper(params)
    stepper.step(x=x[0])
    kept = copy.deepcopy(stepper.state)
    first = stepper.step(x=x[1])
    stepper.step(x=x[2])
    stepper.state = kept
    np.testing.assert_array_equal(stepper.step(x=x[1]).y, first.y)
    stepper.reset()
    again = stepper.step(x=x[0])
    np.testing.assert_array_equal(again.h, fn.stepper(params).step(x=x[0]).h)


def test_a_step_as_a_function_of_its_state() -> None:
    fn = unfold.compile(EXAMPLES / "elman.rec", backend="numpy", D=3, H=4, K=2)
    params, x = fn.init(), RANDOM.normal(size=(4, 3))
    stepper, state = fn.stepper(params), None
    for row in x:
        out, state = fn.step(params, state, x=row)
        np.testing.assert_array_equal(out.y, stepper.step(x=row).y)


def refusal(text: str) -> str:
    with pytest.raises(unfold.InputError) as caught:
        unfold.compile(text, backend="numpy").stepper({})
    return str(caught.value)


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
    assert refusal(text) == f"f cannot run one step at a time: {why}\n    {shown}"


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
