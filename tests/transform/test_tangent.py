"""The tangent of a program: forward mode as equations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold
from unfold.gradcheck import random_arrays
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


def random_call(model: unfold.Model) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The interpreted function of a model, with small sizes, and random arrays for a call."""
    program = model.program
    fixed = dict.fromkeys(program.sizes, 2)
    fn = unfold.compile(model, backend="numpy", sizes=fixed)
    lengths = {n: max(4, program.minimum.get(n, 1)) for n in program.lengths}
    arrays = random_arrays(fn.program, lengths, np.random.default_rng(3))
    params = {n: arrays[n] for n in fn.params}
    data = {n: arrays[n] for n in fn.inputs}
    fixed_by_arrays = {
        s for v in fn.program.vars.values() if v.role in ("input", "param")
        for a in v.axes for s in a.hi.symbols
    }  # fmt: skip
    return fn, params, data | {n: k for n, k in lengths.items() if n not in fixed_by_arrays}


def test_a_tangent_is_the_slope_along_a_direction(example: str) -> None:
    model = unfold.load(example)
    detached = "detach(" in str(model)
    fn, params, data = random_call(model)
    rng = np.random.default_rng(4)
    moved = {n: rng.normal(size=np.shape(a)) for n, a in params.items()}
    _, dots = fn.jvp(params, moved, **data)

    def along(e: float) -> Any:
        return fn({n: a + e * moved[n] for n, a in params.items()}, **data)

    def slope(name: str, e: float) -> Any:
        """Fourth-order central differences."""
        near = along(e)[name] - along(-e)[name]
        far = along(2 * e)[name] - along(-2 * e)[name]
        return (8 * near - far) / (12 * e)

    for name, dot in dots.items():
        # Two step sizes say how far the differences themselves can be trusted (not at a kink).
        coarse, fine = slope(name, 1e-3), slope(name, 3e-4)
        scale = max(1.0, float(np.abs(dot).max()))
        allowed = 2e-8 * scale + np.abs(coarse - fine)
        # What is detached does move, but the derivative must not see it.
        assert (np.abs(dot - fine) <= allowed).all() or detached, name
    assert not detached or not np.allclose(dots["loss"], slope("loss", 3e-4))


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


def test_reductions_inside_reductions_may_have_the_same_index() -> None:
    text = """
model m:
    axis n: N
    param w[n]: real ~ normal(1)
    axis t: T
    input x[t]: real
    y[t] = sum[n](softmax[n](w[n] * sin(x[t] * sum[n](softmax[n](w[n] * x[t]) * w[n]))) * w[n])
    loss = sum[t](y[t] ** 2)
    minimize loss
"""
    model = unfold.loads(text.replace("    axis t: T\n", ""))
    second = model.adjoint().tangent()
    assert lines(unfold.loads(str(second))) == lines(second)
    fn = unfold.compile(model)
    rng = np.random.default_rng(0)
    p, v, x = {"w": rng.normal(size=3)}, {"w": rng.normal(size=3)}, rng.normal(size=4)
    ahead, back = (
        fn.value_and_grad({"w": p["w"] + e * v["w"]}, x=x)[1]["w"] for e in (1e-6, -1e-6)
    )
    found = fn.hvp(p, v, x=x)["w"]
    np.testing.assert_allclose(found, (ahead - back) / 2e-6, rtol=1e-6)


def lines(model: unfold.Model) -> list[str]:
    return sorted(line for line in str(model).splitlines() if line and "# " not in line)
