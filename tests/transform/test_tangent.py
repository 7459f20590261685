"""The tangent of a program: forward mode as equations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold
from unfold.transform import tangent

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_tangent_of_a_tanh_recurrence() -> None:
    model = unfold.loads("""
model m(H):
    input x[t]: real[H]
    param U: real[H, H]
    h[0] = 0
    h[t] = tanh(x[t] + U @ h[t-1])
    loss = sum(h[T])
    minimize loss
""")
    lines = [line.strip() for line in str(model.tangent()).splitlines()]
    assert "h_dot[t] = (U_dot @ h[t-1] + U @ h_dot[t-1]) * (1 - h[t] ** 2)" in lines
    assert "loss_dot = sum(h_dot[T])" in lines


def random_call(model: unfold.Model, T: int = 5) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    rng = np.random.default_rng(3)
    fn = unfold.compile(model, backend="numpy", **dict.fromkeys(model.sizes, 3))
    params = {n: rng.uniform(0.2, 0.9, size=np.shape(a)) for n, a in fn.init(T=T).items()}
    data: dict[str, Any] = {}
    for v in fn.program.inputs:
        shape = (*(T for _ in v.axes), *(int(n.constant or 0) for n in v.shape))
        if v.type.kind == "int":
            data[v.name] = rng.integers(0, 3, size=shape)
        else:
            data[v.name] = rng.uniform(0.1, 0.9, size=shape)
    return fn, params, data


def test_a_tangent_is_the_slope_along_a_direction(example: str) -> None:
    model = unfold.load(example)
    fn, params, data = random_call(model)
    rng = np.random.default_rng(4)
    moved = {n: rng.normal(size=np.shape(a)) for n, a in params.items()}
    _, dots = fn.jvp(params, moved, **data)

    def along(e: float) -> Any:
        return fn({n: a + e * moved[n] for n, a in params.items()}, **data)

    # Fourth-order central differences.
    e = 1e-3
    for name, dot in dots.items():
        slope = 8 * (along(e)[name] - along(-e)[name]) - along(2 * e)[name] + along(-2 * e)[name]
        scale = max(1.0, float(np.abs(dot).max()))
        np.testing.assert_allclose(dot, slope / (12 * e), atol=2e-8 * scale)


def test_forward_and_reverse_agree_on_every_example(example: str) -> None:
    model = unfold.load(example)
    fn, params, data = random_call(model)
    rng = np.random.default_rng(5)
    moved = {n: rng.normal(size=np.shape(a)) for n, a in params.items()}
    _, dots = fn.jvp(params, moved, **data)
    _, grads = fn.value_and_grad(params, **data)
    forward = sum(dots[name] for name in model.program.losses)
    reverse = sum(np.sum(grads[n] * d) for n, d in moved.items())
    assert forward == pytest.approx(reverse, rel=1e-10, abs=1e-12)


def test_directions_must_be_real_inputs_or_params() -> None:
    program = unfold.load(EXAMPLES / "elman.rec").program
    with pytest.raises(ValueError, match="h is not a real input or param of elman"):
        tangent(program, ["h"])
