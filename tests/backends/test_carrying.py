"""What tiny systems hand on in registers: it is right at every length, and takes no memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import unfold
from unfold.gradcheck import random_arrays

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CHAIN = """
model chain:
    input o[t]: int<3>
    param first: real[2] ~ normal(1)
    param trans: real[2, 2] ~ normal(1)
    param emit: real[2, 3] ~ normal(1)
    a[1] = first + emit[:, o[1]]
    a[t] = logsumexp(col(a[t-1]) + trans, axis = 0) + emit[:, o[t]] for t >= 2
    loss = -logsumexp(a[T])
    minimize loss
"""
# Steps before 3 have no `late`; h and y are assigned by several statements.
PIECES = """
model pieces:
    input x[t]: real
    param w: real = 0.7
    h[0] = w
    h[t] = w * h[t-1] + x[t] for t <= 3
    h[t] = tanh(h[t-1] * h[t-2] - w * x[t]) for t >= 4
    late[t] = sin(h[t] * w) for t >= 3
    y[t] = h[t] for t <= 4
    y[t] = late[t] * late[t-1] * h[t] for t >= 5
    loss = sum[t](y[t] ** 2)
    output y[t]
    minimize loss
"""


def both(text: str, steps: int, batch: int | None) -> None:
    """Native code against the interpreter."""
    model = unfold.loads(text)
    fns = [unfold.compile(model, backend=b, mode="reverse") for b in ("llvm", "numpy")]
    rng = np.random.default_rng(steps)
    found = random_arrays(fns[0].program, {"T": steps}, rng)
    params = {n: found.pop(n) for n in fns[0].params}
    if batch is not None:
        found = {n: np.stack([np.roll(a, k) for k in range(batch)]) for n, a in found.items()}
    (value, grads), (wanted, slopes) = (f.value_and_grad(params, found) for f in fns)
    np.testing.assert_allclose(value, wanted, rtol=1e-12)
    for name, slope in slopes.items():
        np.testing.assert_allclose(grads[name], slope, rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("batch", [None, 1, 3, 7])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 6, 11])
@pytest.mark.parametrize("text", [CHAIN, PIECES], ids=["chain", "pieces"])
def test_elements_under_conditions_are_right_at_every_length(
    text: str, steps: int, batch: int | None
) -> None:
    both(text, steps, batch)


@pytest.mark.parametrize(
    ("name", "kept"),
    [("inventory", {"h"}), ("queue", {"h"}), ("pendulum_control", {"theta", "omega"}),
     ("hmm", {"alpha"}), ("viterbi", {"best"}), ("echo_state", {"h", "h_pre", "y"})],
)  # fmt: skip
def test_memory_has_the_states_that_the_adjoint_reads_and_nothing_else(
    name: str, kept: set[str]
) -> None:
    model = unfold.load(EXAMPLES / f"{name}.rec")
    fn = unfold.compile(model, sizes=dict.fromkeys(model.sizes, 4), mode="reverse")
    long, longer = (fn.memory(T=steps).work for steps in (100, 200))
    assert {n for n in long if longer[n] > long[n]} == kept
    gradient = fn.cost(T=1000).gradient
    assert gradient is not None
    assert sum(fn.memory(T=1000).work.values()) <= 1.15 * gradient.stored
