"""A trainer takes whatever way there is to a gradient, and the numbers are the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import unfold
from tests.train.test_trainer import D, T, adam, compiled, data

RAGGED = np.array([6, 2, 4, 1, 5, 6, 3])

WAYS: dict[str, tuple[dict[str, Any], Callable[[], dict[str, Any]], dict[str, Any], bool]] = {
    # name: options of compile, data, options of step, whether native code does it all
    "one sequence": ({}, data, {}, True),
    "a batch": ({}, lambda: data(7), {}, True),
    "a large batch": ({}, lambda: data(40), {}, True),
    "unequal lengths": ({}, lambda: data(7), {"lengths": RAGGED}, False),
    "the interpreter": ({"backend": "numpy"}, lambda: data(3), {}, False),
    "threads": ({"threads": 2}, lambda: data(2000, 40), {}, True),
    "threads, few sequences": ({"threads": 2}, lambda: data(3), {}, True),
    "checkpoints": ({"checkpoint": 2}, lambda: data(3), {}, False),
    "automatic checkpoints": ({"checkpoint": "auto"}, lambda: data(3, 40), {}, True),
    "windows": ({"truncate": unfold.Window(2)}, lambda: data(3), {}, True),
    "a horizon": ({"truncate": unfold.Horizon(2)}, lambda: data(3), {}, True),
    "forward mode": ({"mode": "forward"}, lambda: data(3), {}, False),
    "checked numbers": ({"check_finite": True}, lambda: data(3), {}, True),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_a_gradient_trains_alike(way: str) -> None:
    options, make, more, native = WAYS[way]
    fn = compiled(**options)
    params, inputs = fn.init(1), make()
    trainer = fn.trainer(params, unfold.Adam(rate=0.05))
    grads = []
    for _ in range(4):
        expected, found = fn.value_and_grad(trainer.params, inputs, **more)
        grads.append({n: g.copy() for n, g in found.items()})
        assert trainer.step(inputs, **more) == expected
        norm = math.sqrt(sum(np.sum(g**2) for g in found.values()))
        assert trainer.grad_norm == pytest.approx(norm, rel=1e-12)
    for n, w in adam(grads, params, 0.05).items():
        np.testing.assert_allclose(trainer.params[n], w, rtol=1e-10, atol=1e-12)
    if not more:
        assert (trainer._quick(trainer._params, inputs) is not None) == native


def test_lengths_and_sizes_may_alternate() -> None:
    fn = compiled()
    quick = fn.trainer(fn.init(1), unfold.RMSprop(0.01), clip_value=0.1)
    slow = fn.trainer(fn.init(1), unfold.RMSprop(0.01), clip_value=0.1)
    calls: list[tuple[dict[str, Any], Any]] = [
        (data(), None), (data(5, 3), None), (data(7), RAGGED), (data(None, 11), None),
    ]  # fmt: skip
    for _ in range(4):
        for inputs, lengths in calls:
            left = quick.step(inputs, lengths=lengths)
            assert left == slow._in_python(inputs, lengths, None)
    for n, a in slow.params.items():
        np.testing.assert_array_equal(quick.params[n], a)


NOISY = """
model noisy(H):
    input  x[t]: real
    param  a: real[H] ~ normal(1)
    random e[t]: real[H] ~ normal
    h[0] = 0
    h[t] = tanh(a * x[t] + 0.5 * h[t-1] + 0.3 * e[t])
    loss = mean[t](sum(h[t] ** 2))
    minimize loss
"""


def test_every_step_has_its_own_draws_and_a_seed_fixes_them() -> None:
    fn = unfold.compile(NOISY, H=3)
    x = np.linspace(0, 1, 5)
    trainer = fn.trainer(fn.init(), unfold.SGD(0.0))
    losses = [trainer.step(x=x) for _ in range(3)]
    assert len(set(losses)) == 3
    assert losses == [fn.value_and_grad(fn.init(), x=x, seed=k)[0] for k in range(3)]
    assert trainer.step(x=x, seed=1) == losses[1]


def test_losses_have_weights() -> None:
    fn = compiled()
    params, inputs = fn.init(1), data(3)
    trainer = fn.trainer(params, unfold.SGD(0.1), loss={"fit": 2.0, "small": 0.25})
    fit, of_fit = fn.value_and_grad(params, inputs, loss="fit")
    small, of_small = fn.value_and_grad(params, inputs, loss="small")
    assert trainer.step(inputs) == pytest.approx(2 * fit + 0.25 * small, rel=1e-14)
    for n, w in trainer.params.items():
        expected = params[n] - 0.1 * (2 * of_fit[n] + 0.25 * of_small[n])
        np.testing.assert_allclose(w, expected, rtol=1e-12, atol=1e-15)
    one = fn.trainer(params, unfold.SGD(0.1), loss="fit")
    assert one.step(inputs) == fit


def test_a_sum_over_the_batch_moves_as_many_times_farther() -> None:
    fn = compiled()
    inputs = data(4)
    mean, total = (fn.trainer(fn.init(1), unfold.SGD(0.1), reduce=r) for r in ("mean", "sum"))
    for _ in range(3):
        before = total.params["W"].copy()
        loss, grads = fn.value_and_grad(total.params, inputs, reduce="sum")
        assert total.step(inputs) == loss
        np.testing.assert_allclose(total.params["W"], before - 0.1 * grads["W"], rtol=1e-12)
    assert mean.step(inputs) == fn.value_and_grad(fn.init(1), inputs)[0]


def test_what_is_not_in_wrt_stays() -> None:
    fn = compiled()
    params = fn.init(1)
    trainer = fn.trainer(params, unfold.Adam(0.1), wrt=["U", "v"], decay={"v": 0.5})
    for _ in range(4):
        _, grads = fn.value_and_grad(trainer.params, data(), wrt=["U", "v"])
        trainer.step(data())
        norm = math.sqrt(sum(np.sum(g**2) for g in grads.values()))
        assert trainer.grad_norm == pytest.approx(norm, rel=1e-12)
    for n in ("W", "b"):
        np.testing.assert_array_equal(trainer.params[n], params[n])
        assert trainer.params[n] is not params[n]
    assert not np.array_equal(trainer.params["U"], params["U"])


def test_a_single_number_is_trained_by_forward_mode() -> None:
    fn = compiled()
    params = fn.init(1)
    only = unfold.compile(
        "model m:\n    input x[t]: real\n    param a: real = 0.5\n    h[0] = 1\n"
        "    h[t] = a * h[t-1] + x[t]\n    loss = h[T] ** 2\n    minimize loss\n"
    )
    trainer = only.trainer(only.init(), unfold.SGD(0.01))
    x = np.linspace(-1, 1, 6)
    for _ in range(4):
        a = float(trainer.params["a"])
        loss, grads = only.value_and_grad({"a": a}, x=x)
        assert trainer.step(x=x) == loss
        assert trainer.params["a"] == a - 0.01 * grads["a"]
    assert trainer.params["a"].shape == ()
    del fn, params


IMPLICIT = """
model deep(D):
    input  x: real[D]
    param  A: real[D, D] = 0.1
    solve z by anderson(tol = 1e-12):
        z = tanh(A @ z + x)
    loss = sum((z - 0.3) ** 2)
    minimize loss
"""


def test_equilibria_are_trained_and_their_failure_changes_nothing() -> None:
    fn = unfold.compile(IMPLICIT, D=3)
    trainer = fn.trainer(fn.init(), unfold.Adam(0.05))
    x = np.array([0.1, -0.2, 0.4])
    losses = [trainer.step(x=x) for _ in range(100)]
    assert losses[-1] < 0.1 * losses[0]
    before = trainer.state
    with pytest.raises(unfold.SolverError):
        trainer.step(x=np.full(3, np.nan))
    after = trainer.state
    assert all(np.array_equal(after[n], before[n]) for n in before)


@settings(max_examples=20, phases=[Phase.explicit, Phase.generate])
@given(
    st.sampled_from([unfold.SGD(0.1), unfold.Adam(0.1)]),
    st.integers(1, 40),
    st.sampled_from([None, 0.01, 1.0]),
    st.sampled_from([None, 1e-3, 0.5]),
    st.integers(0, 2**32 - 1),
)
def test_clipping_holds_for_any_number_of_entries(
    optimiser: Any, n: int, norm: float | None, most: float | None, seed: int
) -> None:
    """Both bounds, on gradients of any length: blocks of eight entries and their rest."""
    fn = LINEAR(n)
    a = np.random.default_rng(seed).normal(size=n)
    trainer = fn.trainer(fn.init(), optimiser, clip_norm=norm, clip_value=most)
    trainer.step(a=a)
    length = float(np.linalg.norm(a))
    assert trainer.grad_norm == pytest.approx(length, rel=1e-14)
    expected = a * min(1.0, (norm or np.inf) / (length + 1e-6))
    expected = np.clip(expected, -(most or np.inf), most or np.inf)
    np.testing.assert_allclose(trainer._recurrence.gradient, expected, rtol=1e-14)


def LINEAR(n: int) -> unfold.Function:
    return unfold.compile(
        "model linear(N):\n    input a: real[N]\n    param w: real[N] = 0\n"
        "    loss = sum(a * w)\n    minimize loss\n",
        N=n, backend="numpy",
    )  # fmt: skip


def test_large_float32_gradients_have_a_norm() -> None:
    fn = unfold.compile(
        "model linear(N):\n    input a: real[N]\n    param w: real[N] = 0\n"
        "    loss = sum(a * w)\n    minimize loss\n",
        N=9, dtype="float32",
    )  # fmt: skip
    trainer = fn.trainer(fn.init(), unfold.SGD(1.0), clip_norm=1.0)
    for _ in range(3):
        trainer.step(a=np.full(9, 1e30, np.float32))
    assert trainer.grad_norm == pytest.approx(3e30, rel=1e-6)
    np.testing.assert_allclose(trainer.params["w"], -1.0, rtol=1e-6)


assert RAGGED.max() <= T
assert D == 3
