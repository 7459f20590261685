"""Windows with carried state: values of the whole, gradients of truncated backpropagation."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unfold
from unfold.train.carry import carried
from unfold.train.data import sequences
from unfold.train.windows import Windows

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
GRU = """
from cells use gru
model m(D, H):
    input x[t]: real[D]
    input y[t]: real
    param v: real[H] ~ normal(1)
    param h0: real[H] ~ normal(1)
    g = gru(x, H, h0 = h0)
    s[t] = v @ g.h[t]
    loss = sum[t]((s[t] - y[t]) ** 2)
    minimize loss
"""
# Several lags, pieces by number, the number of the step, earlier inputs, two losses, a filter over
# an axis of its own, truth values and integers that are carried.
MIXED = """
model m(D):
    axis   k: 0..2
    input  x[t]: real[D]
    input  y[t]: real
    param  a, b, q0: real = 0.4
    param  w[k]: real     ~ normal(1)
    param  v: real[D]     ~ normal(1)

    s[-1] = q0
    s[0]  = 1
    s[t]  = tanh(a * s[t-1] - 0.2 * s[t-2] + u[t] + 0.01 * t)
    u[t]  = v @ (x[t] - x[t-1]) if t > 1 else v @ x[t]
    q[1]  = 2 * s[1]
    q[2]  = q[1] * a + s[2]
    q[t]  = q[t-1] * 0.5 + q[t-2] * b + s[t] for t >= 3
    z[t]  = 0 for t <= 0
    z[t]  = sum[k](w[k] * s[t-k]) + 0.3 * z[t-3] for t >= 1
    up[0] = 0 < 1
    up[t] = s[t] > q[t] or not up[t-1]
    n[0]  = 0
    n[t]  = n[t-1] + 1 if up[t] else n[t-1]
    e[t]  = where(up[t-1], q[t], z[t]) - y[t] + 0.1 * n[t-1]
    loss  = sum[t](e[t] ** 2)
    small = sum[t](0.1 * z[t] ** 2 * t)
    minimize loss
    minimize small
"""


@cache
def compiled(text: str, sizes: tuple[tuple[str, int], ...], backend: str) -> unfold.Function:
    return unfold.compile(text, backend=backend, sizes=dict(sizes))


def windows(fn: unfold.Function, data: dict[str, Any], params: Any, steps: int) -> tuple[Any, Any]:
    """The losses and gradients of all windows, added."""
    feed = Windows(fn, sequences(fn, data), 99, 0, steps)
    total, grads = 0.0, {n: np.zeros_like(a) for n, a in params.items()}
    for update in feed.updates(0, 0):
        b = update.batch
        feed.finish(feed.function(params, b.inputs, lengths=b.lengths))
        loss, own = feed.function.value_and_grad(params, b.inputs, lengths=b.lengths, reduce="sum")
        total += loss
        grads = {n: a + own[n] for n, a in grads.items()}
    return total, grads


def example(text: str, seed: int, sizes: dict[str, int], T: int, B: int) -> tuple[Any, ...]:
    fn = compiled(text, tuple(sizes.items()), "numpy")
    random = np.random.default_rng(seed)
    params = {n: random.normal(0, 0.5, a.shape) for n, a in fn.init().items()}
    data = {"x": random.normal(size=(B, T, sizes["D"])), "y": random.normal(size=(B, T))}
    return fn, params, data


@settings(max_examples=8)
@given(T=st.integers(3, 9), B=st.integers(2, 3), steps=st.integers(1, 5), seed=st.integers(0, 99))
def test_values_of_windows_are_those_of_the_whole(T: int, B: int, steps: int, seed: int) -> None:
    fn, params, data = example(MIXED, seed, {"D": 2}, T, B)
    total, _ = windows(fn, data, params, steps)
    out = fn(params, data)
    np.testing.assert_allclose(total, (out.loss + out.small).sum(), rtol=1e-12)


@pytest.mark.parametrize(("text", "sizes"), [(GRU, {"D": 2, "H": 3}), (MIXED, {"D": 2})])
def test_one_window_for_all_is_one_call(text: str, sizes: dict[str, int]) -> None:
    fn, params, data = example(text, 1, sizes, 7, 2)
    total, grads = windows(fn, data, params, 7)
    loss, whole = fn.value_and_grad(params, data, reduce="sum")
    np.testing.assert_allclose(total, loss, rtol=1e-12)
    for name, grad in whole.items():
        np.testing.assert_allclose(grads[name], grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("backend", "steps"), [("numpy", 1), ("numpy", 3), ("llvm", 3)])
def test_gradients_are_those_of_truncation_at_windows(backend: str, steps: int) -> None:
    sizes = {"D": 2, "H": 3}
    fn, params, data = example(GRU, steps, sizes, 8, 2)
    cut = unfold.compile(GRU, backend="numpy", sizes=sizes, truncate=unfold.Window(steps))
    loss, expected = cut.value_and_grad(params, data, reduce="sum")
    if backend == "llvm":
        fn = unfold.compile(GRU, sizes=sizes)
    total, grads = windows(fn, data, params, steps)
    np.testing.assert_allclose(total, loss, rtol=1e-12)
    assert np.any(grads["h0"])
    for name, grad in expected.items():
        np.testing.assert_allclose(grads[name], grad, rtol=1e-9, atol=1e-12)


def test_sequences_of_unequal_length_end_in_windows_of_their_own() -> None:
    fn, params, data = example(MIXED, 5, {"D": 2}, 9, 4)
    lengths = [9, 4, 2, 6]
    data = {n: [a[k, :T] for k, T in enumerate(lengths)] for n, a in data.items()}
    total, _ = windows(fn, data, params, 3)
    expected = 0.0
    for k in range(4):
        out = fn(params, {n: a[k] for n, a in data.items()})
        expected += out.loss + out.small
    np.testing.assert_allclose(total, expected, rtol=1e-12)


CAUSAL = ["elman", "lstm", "residual_skip", "leaky_integrators", "slstm", "charlm"]


@pytest.mark.parametrize("name", CAUSAL)
def test_models_of_the_gallery_carry_their_states(name: str) -> None:
    """Their losses are means over time, so windows of equal length have the whole's as a mean."""
    model = unfold.load(EXAMPLES / f"{name}.rec")
    fn = unfold.compile(model, backend="numpy", sizes=dict.fromkeys(model.sizes, 2))
    random = np.random.default_rng(0)
    data = {}
    for v in fn.program.inputs:
        shape = (2, *[6] * len(v.axes), *[n.evaluate({}) for n in v.shape])
        real = v.type.kind == "real"
        data[v.name] = random.normal(size=shape) if real else random.integers(0, 2, shape)
    params = {n: random.normal(0, 0.5, a.shape) for n, a in fn.init().items()}
    total, _ = windows(fn, data, params, 2)
    out = fn(params, data)
    expected = sum(out[n].sum() for n in fn.program.losses)
    np.testing.assert_allclose(total / 3, expected, rtol=1e-10)


@pytest.mark.parametrize("checkpoint", [None, 2])
def test_a_step_of_training_also_returns_the_states_at_the_end(checkpoint: int | None) -> None:
    fn, params, data = example(MIXED, 5, {"D": 2}, 9, 4)
    lengths = [9, 4, 2, 6]
    data = {n: [a[k, :T] for k, T in enumerate(lengths)] for n, a in data.items()}
    fn = unfold.compile(MIXED, D=2, backend="numpy", checkpoint=checkpoint)
    feed = Windows(fn, sequences(fn, data), 99, 0, 4)
    trainer = feed.function.trainer(params, unfold.SGD(rate=0.0), keep=feed.keep)
    for update in feed.updates(0, 0):
        b = update.batch
        loss = trainer.step(b.inputs, lengths=b.lengths)
        out = feed.function(params, b.inputs, lengths=b.lengths)
        np.testing.assert_allclose(loss, (out.loss + out.small).mean(), rtol=1e-12)
        for name in feed.keep:
            np.testing.assert_allclose(trainer.outputs[name], out[name], rtol=1e-12)
        feed.finish(trainer.outputs)


def refused(body: str) -> str:
    text = f"""model m:
    input x[t]: real
    param a: real = 0.5
    {body}
    minimize loss
"""
    with pytest.raises(unfold.InputError) as error:
        carried(unfold.compile(text, backend="numpy").program)
    return str(error.value)


def test_what_needs_more_than_a_window_is_refused_with_its_equation() -> None:
    ahead = refused("h[T+1] = 0\n    h[t] = a * h[t+1] + x[t]\n    loss = sum[t](h[t] ** 2)")
    assert "cannot be trained with carried state: this equation looks ahead" in ahead
    assert "h[t] = a * h[t+1] + x[t]" in ahead
    past = refused("h[t] = sum[s <= t](a * x[s])\n    loss = sum[t](h[t] ** 2)\n    axis s: T")
    assert "reads all of the past, not a fixed part" in past
    end = refused("h[t] = a * x[t] / T\n    loss = sum[t](h[t] ** 2)")
    assert "depends on the sequence's length T" in end
    fixed = refused("h[t] = a * x[1] + x[t]\n    loss = sum[t](h[t] ** 2)")
    assert "reads one fixed step of x" in fixed
    last = refused("h[t] = a * x[T] + x[t]\n    loss = sum[t](h[t] ** 2)")
    assert "reads the end of x" in last
    later = refused("h[t] = a * x[t]\n    loss = sum[t >= 3](h[t] ** 2)")
    assert "it counts some steps and not others, by number" in later
    none = "model m:\n    param a: real = 1\n    loss = a ** 2\n    minimize loss\n"
    with pytest.raises(unfold.InputError, match="no sequence over t"):
        carried(unfold.compile(none, backend="numpy").program)


# Each step is held against later inputs, up to two steps ahead; the last two have none.
AHEAD = """
model m(D):
    input  x[t]: real[D]
    input  y[t]: real
    param  a: real    = 0.6
    param  v: real[D] ~ normal(1)
    s[0] = 0
    s[t] = tanh(a * s[t-1] + v @ x[t] + 0.01 * t)
    loss = sum[t <= T-2]((s[t] - y[t+2] + 0.1 * y[t+1] * s[t-1]) ** 2 * (1 + 0.1 * t))
    minimize loss
"""


@pytest.mark.parametrize("steps", [1, 2, 3, 50])
def test_windows_of_a_loss_that_looks_ahead_overlap(steps: int) -> None:
    """Every step counts once, the windows' last ones too, in sequences of unequal length."""
    fn, params, data = example(AHEAD, steps, {"D": 2}, 9, 4)
    lengths = [9, 3, 8, 5]
    ragged = {n: [a[k, :T] for k, T in enumerate(lengths)] for n, a in data.items()}
    total, _ = windows(fn, ragged, params, steps)
    expected = [fn(params, {n: a[k] for n, a in ragged.items()}).loss for k in range(4)]
    np.testing.assert_allclose(total, sum(expected), rtol=1e-12)


def test_gradients_of_overlapping_windows_are_those_of_truncation() -> None:
    text = AHEAD.replace(" * s[t-1])", ")")  # a loss's own read of the last step is not cut
    fn, params, data = example(text, 3, {"D": 2}, 11, 2)
    cut = unfold.compile(text, backend="numpy", D=2, truncate=unfold.Window(3))
    _, expected = cut.value_and_grad(params, data, reduce="sum")
    _, grads = windows(fn, data, params, 3)
    for name, grad in expected.items():
        np.testing.assert_allclose(grads[name], grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("carry", [1, 4, 100])
def test_a_stream_that_looks_ahead_has_the_loss_of_the_whole(carry: int) -> None:
    """The streams that one is cut into overlap as well: 4 times 15 steps count of 62."""
    fn, params, data = example(AHEAD, carry, {"D": 2}, 62, 1)
    feed = Windows(fn, sequences(fn, {n: a[0] for n, a in data.items()}), 4, 0, carry)
    counted = sum(update.weight for update in feed.updates(0, 0))
    assert counted == 60
    fit = unfold.fit(
        AHEAD.replace("sum[", "mean["), {n: a[0] for n, a in data.items()}, params=params,
        carry=carry, batch=1, epochs=1, optimiser=unfold.SGD(rate=1e-13), backend="numpy",
    )  # fmt: skip
    whole = fn(params, {n: a[0] for n, a in data.items()}).loss / 60
    np.testing.assert_allclose(fit.history[0]["loss"], whole, rtol=1e-10)


def test_losses_that_windows_do_not_add_up_to_are_refused() -> None:
    state = "h[0] = 0\n    h[t] = a * h[t-1] + x[t]\n    "
    last = refused(state + "loss = h[T] ** 2")
    assert "this equation reads the end of h, which only the last window has" in last
    assert "a loss is the sum or mean of a value for each step" in last
    assert "loss = h[T] ** 2" in last
    assert "a max over all steps" in refused(state + "loss = max[t](h[t])")
    assert "another order" in refused(state + "loss = sum[t](h[t] * x[T+1-t])")
    assert "pairs of steps" in refused(state + "axis s: T\n    loss = sum[t, s <= t](h[t] * h[s])")
    assert "pairs of steps" in refused(state + "loss = sum[t]((h[t] - mean[s](h[s])) ** 2)\n"
                                       "    axis s: T")  # fmt: skip
    centre = state + "m = mean[t](h[t])\n    loss = sum[t]((h[t] - m) ** 2)"
    assert "needs m at every step" in refused(centre)
    assert "how far the sequence's end is" in refused(state + "loss = sum[t](h[t] * (T - t))")
    some = refused(state + "loss = sum[t](h[t] if t > 3 else 0)")
    assert "it counts some steps and not others, by number" in some
    whole = refused("m = mean[t](x[t])\n    h[t] = a * (x[t] - m)\n    loss = sum[t](h[t] ** 2)")
    assert "this equation needs m, of the whole sequence" in whole
    mixed = refused(state + "near = mean[t < T]((h[t] - x[t+1]) ** 2)\n"
                    "    small = mean[t](h[t] ** 2)\n    loss = near + small")  # fmt: skip
    assert "the last step that counts is T in this equation and T - 1 in that of near" in mixed
    assert "small = " in mixed
    assert "let both end at T - 1" in mixed


@pytest.mark.parametrize("carry", [None, 2])
def test_a_sequence_too_short_for_a_mean_is_named(carry: int | None) -> None:
    """0 / 0 would be the loss of the whole batch."""
    text = AHEAD.replace("sum[", "mean[")
    rows = {n: [np.zeros((T, *s)) for T in (5, 2, 4)] for n, s in {"x": (2,), "y": ()}.items()}
    options: dict[str, Any] = {"D": 2, "backend": "numpy", "carry": carry}
    with pytest.raises(unfold.InputError, match="data: sequence 1 has 2 steps, too few") as error:
        unfold.fit(text, rows, **options)
    assert "loss = sum[t <= T-2]" in str(error.value)
    good = {n: [a[0], a[2]] for n, a in rows.items()}
    with pytest.raises(unfold.InputError, match="validation: sequence 1 has 2 steps, too few"):
        unfold.fit(text, good, validation=rows, **options)
    stream = {n: np.zeros((50, *a[0].shape[1:])) for n, a in rows.items()}
    with pytest.raises(unfold.InputError, match=r"validation=0\.04: sequence 0 has 2 steps"):
        unfold.fit(text, stream, validation=0.04, **options)
    if carry is not None:
        with pytest.raises(unfold.InputError, match="none of them counts in loss, which ends at"):
            unfold.fit(AHEAD, rows, **options)
