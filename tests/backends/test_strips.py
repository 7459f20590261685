"""Loops in strips: little memory beside the states, the same numbers at every border of strips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import unfold
from unfold.backends.llvm import choose

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.mark.parametrize("name", ["elman", "gru", "lstm", "birnn", "neural_ode"])
def test_a_gradient_takes_little_more_than_the_states_that_its_adjoint_reads(name: str) -> None:
    model = unfold.load(EXAMPLES / f"{name}.rec")
    sizes = {n: {"D": 32, "H": 64}.get(n, 8) for n in model.sizes}
    fn = unfold.compile(model, sizes=sizes, dtype="float32")
    gradient = fn.cost(32, T=1000).gradient
    assert gradient is not None
    allocated = sum(fn.memory(T=1000, B=32).work.values())
    assert gradient.stored <= allocated <= 1.15 * gradient.stored


TWO = """
from cells use elman, gru

model main(D, H):
    input  x[t]: real[D]
    input  c[t]: int<3>
    param  V: real[3, H] ~ glorot
    there = gru(x, H)
    back  = reverse elman(there.h, H)
    y[t]  = V @ back.h[t] + V @ there.h[t]
    loss  = sum[t](cross_entropy(y[t], c[t]) + sum(x[t]) * y[t][0])
    end = back.h[T]
    output end
    minimize loss
"""


# What one product gives to loops of both directions, and a weight's gradient from both.
BOTH = """
model main(D, H):
    input  x[t]: real[D]
    input  c[t]: int<3>
    param  W: real[H, D] ~ glorot
    param  U, S: real[H, H] ~ orthogonal
    param  V: real[3, 2*H] ~ glorot
    f[0] = 0
    f[t] = tanh(W @ x[t] + U @ f[t-1])
    b[T+1] = 0
    b[t] = tanh(W @ x[t] + S @ b[t+1])
    y[t] = V @ [f[t]; b[t]]
    loss = sum[t](cross_entropy(y[t], c[t]))
    output f[t], b[t]
    minimize loss
"""

# Terms of one weight's gradient with sums that are made for it alone.
FLOW = """
model main(D, H):
    input  x[t]: real[D]
    input  c[t]: int<3>
    param  W: real[H, D] ~ glorot
    param  U: real[H, H] ~ orthogonal
    param  V: real[3, H] ~ glorot
    h[0] = 0
    flow h[t] from h[t-1] by rk4(0.5, substeps = 2):
        der(h) = tanh(U @ h + W @ x[t]) - h
    loss = sum[t](cross_entropy(V @ h[t], c[t]))
    output h[t]
    minimize loss
"""


# Of 3 sequences a strip has 64 steps, of 33 it has 8; a single one is read where it stands.
@pytest.mark.parametrize("text", [TWO, BOTH, FLOW], ids=["two", "both", "flow"])
@pytest.mark.parametrize(
    ("steps", "batch"), [(1, 3), (7, 33), (8, 33), (17, 33), (64, 3), (65, 3), (300, None)]
)
def test_gradients_are_the_same_at_every_border_of_strips(
    text: str, steps: int, batch: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "UNROLLED", -1)
    rng = np.random.default_rng(0)
    native, same = (unfold.compile(text, D=2, H=3, backend=b) for b in ("llvm", "numpy"))
    rows = () if batch is None else (batch,)
    data = {"x": rng.normal(size=(*rows, steps, 2)), "c": rng.integers(0, 3, (*rows, steps))}
    params = native.init(0)
    loss, grads = native.value_and_grad(params, data, wrt=[*params, "x"])
    expected, wanted = same.value_and_grad(params, data, wrt=[*params, "x"])
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    for name, slope in wanted.items():
        np.testing.assert_allclose(grads[name], slope, rtol=1e-9, atol=1e-11, err_msg=name)


def test_the_number_of_steps_does_not_matter_to_the_memory_of_a_value() -> None:
    text = """
model m(H):
    input  x[t]: real[H]
    param  U: real[H, H] ~ orthogonal
    h[0] = 0
    h[t] = tanh(U @ x[t] + U @ h[t-1])
    y = h[T]
    output y
"""
    fn = unfold.compile(text, H=64)
    kernel = fn.compiler.value().kernel
    short, long = (sum(kernel.workspace({"T": n}, 32).values()) for n in (100, 100_000))
    assert long == short
