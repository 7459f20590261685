"""A causal model one step at a time gives what it gives on the whole sequence."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unfold
from unfold.gradcheck import random_arrays
from unfold.streaming import time_axis

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


# --- windows: reads at distances that vary, up to a fixed one -------------------------------------

WINDOWS = """
model windows(D, K):
    axis lag: 0..K
    axis back: 1..3
    axis s: T
    input  x[t]: real[D]
    param  R[lag]: real ~ normal(1)
    param  W[back]: real[D, D] ~ glorot
    param  h0: real[D] ~ normal(1)

    q[t] = 0 for t <= 0
    q[t] = 0.5 * q[t-1] + sum(x[t])
    filtered[t] = sum[lag](R[lag] * q[t-lag])
    h[t] = h0 for t <= 0
    h[t] = tanh(x[t] + sum[back](W[back] @ h[t-back]))
    score[t, back] = sum(h[t] * h[t-back]) + 0.1 * back
    attended[t] = sum[back](softmax[back](score[t, back]) * h[t-back])
    recent[t] = sum[t-3 <= s <= t](h[s] * (1 + t - s))
    top[t] = max[t-2 <= s <= t-1](sum(x[s])) if t > 1 else 0
    least[t] = min[t-2 <= s <= t](q[s])
    soft[t] = logsumexp[t-K <= s <= t](q[s])
    average[t] = mean[t-2 <= s <= t](x[s])
    output filtered[t], h[t], attended[t], recent[t], top[t], least[t], soft[t], average[t]
"""


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    D=st.integers(1, 3),
    K=st.integers(1, 9),
    batch=st.sampled_from([None, 2]),
    T=st.integers(1, 12),
    seed=st.integers(0, 99),
)
@settings(max_examples=6)
def test_windows_of_a_fixed_length_are_carried(
    backend: str, D: int, K: int, batch: int | None, T: int, seed: int
) -> None:
    fn = unfold.compile(WINDOWS, D=D, K=K, backend=backend)
    chance = np.random.default_rng(seed)
    params = {n: chance.normal(size=a.shape) for n, a in fn.init().items()}
    x = chance.normal(size=(T, D) if batch is None else (batch, T, D))
    whole = fn(params, x=x)
    stepper = fn.stepper(params)
    for t in range(T):
        if t == T // 2:
            stepper = pickle.loads(pickle.dumps(stepper))
        out = stepper.step(x=x[..., t, :])
        for name in whole:
            expected = element(fn, name, whole[name], t, batch)
            np.testing.assert_allclose(out[name], expected, rtol=1e-10, atol=1e-12, err_msg=name)


def test_a_window_that_looks_ahead_is_refused_and_a_long_one_is_not() -> None:
    text = """
model f:
    axis k: -1..3
    input x[t]: real
    x0[t] = 0 for t <= 0
    x0[t] = x[t] for t in 1..T
    x0[T+1] = 0
    y[t] = sum[k](x0[t-k])
    output y[t]
"""
    assert refusal(text) == (
        "f cannot run one step at a time: this equation looks ahead\n    y[t] = sum[k](x0[t-k])"
    )
    text = text.replace("-1..3", "0..365").replace("    x0[T+1] = 0\n", "")
    fn = unfold.compile(text, backend="numpy")
    x = np.random.default_rng(0).normal(size=400)
    stepper = fn.stepper({})
    last = [stepper.step(x=v)["y"] for v in x][-1]
    np.testing.assert_allclose(last, x[-366:].sum(), rtol=1e-12)


# --- every causal example -------------------------------------------------------------------------

SMALL = {"D": 3, "H": 4, "K": 2}


def causal(backend: str) -> Iterator[tuple[str, unfold.Function]]:
    """The examples that run one step at a time."""
    for path in sorted(EXAMPLES.glob("*.rec")):
        model = unfold.load(path)
        fn = unfold.compile(model, backend=backend, sizes={n: SMALL.get(n, 4) for n in model.sizes})
        try:
            fn.step_program()
        except unfold.InputError:
            continue
        yield path.stem, fn


REFUSED = {
    "advantage", "birnn", "causal_attention", "ctc", "cyk", "garch", "hyena",
    "matrix_chain", "min_gru", "rna_folding", "sinkhorn", "smoother",
    "soft_edit_distance", "stacked_bigru", "td_lambda", "transformer_block", "value_iteration",
    "viterbi",
}  # fmt: skip


def element(fn: unfold.Function, name: str, array: Any, t: int, batch: int | None) -> Any:
    """Step ``t`` (from 0) of a sequence."""
    axis = time_axis(fn.program.vars[name])
    assert axis is not None
    return np.take(array, t, axis=axis + (batch is not None))


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_causal_example_adds_up_to_the_sequence(backend: str) -> None:
    done = set()
    for name, fn in causal(backend):
        done.add(name)
        chance = np.random.default_rng(len(done))
        arrays = random_arrays(fn.program, dict.fromkeys(fn.program.lengths, 6), chance)
        params = {n: arrays[n] for n in fn.params}
        inputs = {v.name: arrays[v.name] for v in fn.program.inputs}
        plan = fn.step_program()
        told = {
            symbol
            for v in (*fn.program.inputs, *fn.program.params)
            for a in v.axes
            for symbol in (a.hi - a.lo).symbols
        }
        stated: dict[str, Any] = {n: 6 for n in fn.program.lengths if n not in told}
        whole = fn(params, {**inputs, **stated})
        stated |= {n: inputs[n] for n in plan.static}
        stated.pop("T", None)
        stepper = fn.stepper(params, **stated)
        for t in range(6):
            out = stepper.step({n: element(fn, n, inputs[n], t, None) for n in plan.moving})
            for shown in plan.outputs:
                np.testing.assert_allclose(
                    out[shown], element(fn, shown, whole[shown], t, None), rtol=1e-9, atol=1e-11,
                    err_msg=f"{name}, step {t}",
                )  # fmt: skip
    every = {path.stem for path in EXAMPLES.glob("*.rec")}
    assert every - done == REFUSED


@given(st.data(), st.sampled_from(BACKENDS), st.sampled_from([None, 2]))
@settings(max_examples=25, deadline=None)
def test_random_recurrences_with_several_lags(data: Any, backend: str, batch: int | None) -> None:
    lags = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True))
    looks = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=2, unique=True))
    size = data.draw(st.integers(1, 3))
    terms = [f"0.{2 + k} * h[t-{lag}]" for k, lag in enumerate(lags)]
    reads = [f"(x[t-{k}] if t > {k} else 0)" if k else "x[t]" for k in looks]
    counted = data.draw(st.sampled_from(["", " + 0.1 * mod(t, 3)"]))
    text = (
        "model m(H):\n    input x[t]: real[H]\n    param a: real[H]\n"
        f"    h[t] = a * t for t in {1 - max(lags)}..0\n"
        f"    h[t] = tanh({' + '.join(terms + reads)}{counted})\n"
        "    s[0] = 0\n    s[t] = s[t-1] + sum(h[t])\n"
        "    output h[t], s[t]\n"
    )
    fn = unfold.compile(text, backend=backend, H=size)
    chance = np.random.default_rng(data.draw(st.integers(0, 99)))
    params = {"a": chance.normal(size=size)}
    lead = () if batch is None else (batch,)
    x = chance.normal(size=(*lead, 9, size))
    whole, stepper = fn(params, x=x), fn.stepper(params)
    for t in range(9):
        out = stepper.step(x=x[..., t, :])
        np.testing.assert_allclose(out.h, whole.h[..., t, :], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(out.s, whole.s[..., t], rtol=1e-12, atol=1e-14)


# --- native steps ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_quick_steps_are_those_of_the_interpreter(dtype: str) -> None:
    text, near = EXAMPLES / "lstm.rec", 1e-6 if dtype == "float32" else 1e-13
    fns = [unfold.compile(text, D=3, H=4, K=2, dtype=dtype, backend=b) for b in BACKENDS]
    params, x = fns[0].init(), RANDOM.normal(size=(20, 3)).astype(dtype)
    slow, quick = (fn.stepper(params) for fn in fns)
    for row in x:
        one, two = slow.step(x=row), quick.step(x=row)
        for name in one:
            np.testing.assert_allclose(two[name], one[name], rtol=near, atol=near)
            assert two[name].dtype == dtype
    assert quick._quick is not None
    assert slow._quick is None


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


@pytest.mark.parametrize("backend", BACKENDS)
def test_writing_to_results_and_inputs_does_not_change_the_state(backend: str) -> None:
    text = (
        "model m:\n    input x[t]: real[2]\n    h[0] = 0\n"
        "    h[t] = h[t-1] + x[t] + (x[t-1] if t > 1 else 0)\n    output h[t]\n"
    )
    fn = unfold.compile(text, backend=backend)
    x = RANDOM.normal(size=(6, 2))
    whole, stepper, row = fn({}, x=x).h, fn.stepper({}), np.empty(2)
    for t in range(6):
        row[:] = x[t]
        out = stepper.step(x=row)
        np.testing.assert_allclose(out.h, whole[t], rtol=1e-13)
        out.h[:] = row[:] = 99.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_results_go_where_they_are_asked_to(backend: str) -> None:
    fn = unfold.compile(EXAMPLES / "elman.rec", backend=backend, D=3, H=4, K=2)
    params, x = fn.init(), RANDOM.normal(size=(5, 3))
    stepper, other = fn.stepper(params), fn.stepper(params)
    y = np.empty(2)
    for row in x:
        assert stepper.step(x=row, out={"y": y}).y is y
        np.testing.assert_array_equal(y, other.step(x=row).y)
    with pytest.raises(unfold.InputError, match="expected an array of float64 of shape"):
        stepper.step(x=x[0], out={"y": np.empty(3)})


# --- states ---------------------------------------------------------------------------------------

SKIP = "residual_skip"  # two lags


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [None, 3])
def test_a_stepper_goes_on_from_a_file_a_copy_and_a_pickle(
    backend: str, batch: int | None, tmp_path: Path
) -> None:
    fn = unfold.compile(PIECES, backend=backend)
    params = {"start": np.array([2.0, 3.0])}
    x = RANDOM.normal(size=(9,) if batch is None else (9, batch))
    stepper = fn.stepper(params)
    for row in x[:4]:
        stepper.step(x=row)
    stepper.save(tmp_path / "s.npz")
    stepper.save(tmp_path / "s.safetensors")
    others = [stepper.copy(), copy.deepcopy(stepper), pickle.loads(pickle.dumps(stepper))]
    for name in ("s.npz", "s.safetensors"):
        fresh = fn.stepper(params)
        fresh.load(tmp_path / name)
        others.append(fresh)
    set_again = fn.stepper(params)
    set_again.state = stepper.state
    others.append(set_again)
    for row in x[4:]:
        wanted = stepper.step(x=row)
        for other in others:
            got = other.step(x=row)
            np.testing.assert_array_equal(got.s, wanted.s)
            np.testing.assert_array_equal(got.n, wanted.n)
    np.testing.assert_array_equal(others[0].steps, stepper.steps)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.npz", "s.safetensors"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_single_streams_of_a_batch_begin_anew(backend: str) -> None:
    fn = unfold.compile(PIECES, backend=backend)
    params = {"start": np.array([2.0, 3.0])}
    x = RANDOM.normal(size=(3, 10))
    stepper = fn.stepper(params)
    made = []
    for t in range(10):
        if t == 4:
            stepper.reset(where=np.array([False, True, False]))
        made.append(stepper.step(x=x[:, t]))
    whole, late = fn(params, x=x), fn(params, x=x[1, 4:])
    s, n = (np.stack([m[k] for m in made], axis=1) for k in ("s", "n"))
    for k in (0, 2):
        np.testing.assert_allclose(s[k], whole.s[k], rtol=1e-13)
        np.testing.assert_array_equal(n[k], whole.n[k])
    np.testing.assert_allclose(s[1, :4], whole.s[1, :4], rtol=1e-13)
    np.testing.assert_allclose(s[1, 4:], late.s, rtol=1e-13)
    np.testing.assert_array_equal(n[1, 4:], late.n)
    np.testing.assert_array_equal(stepper.steps, [10, 6, 10])


def test_a_state_is_read_only() -> None:
    fn = unfold.compile(EXAMPLES / "elman.rec", D=3, H=4, K=2)
    stepper = fn.stepper(fn.init())
    with pytest.raises(ValueError, match="read-only"):
        stepper.state["h"][0][:] = 1
    with pytest.raises(TypeError):
        stepper.state["h"] = np.zeros(4)  # type: ignore[index]
    stepper.state = {"h": [np.ones(4)]}
    np.testing.assert_array_equal(stepper.state["h"][0], np.ones(4))


def test_states_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    fn = unfold.compile(EXAMPLES / "elman.rec", D=3, H=4, K=2)
    params = fn.init()
    stepper = fn.stepper(params)

    def message(call: Callable[[], Any]) -> str:
        with pytest.raises(unfold.InputError) as caught:
            call()
        return str(caught.value)

    def setting(value: Any) -> Callable[[], None]:
        return lambda: setattr(stepper, "state", value)

    assert message(setting(3)) == "state: expected a dict from names to arrays, got an int"
    assert message(setting({"g": 0})) == "state: elman carries no g; it carries h"
    assert message(setting({})) == "state: h missing"
    assert message(setting({"h": []})) == (
        "state['h']: expected 1 values, the most recent first, got 0"
    )
    assert message(setting({"h": [np.zeros(5)]})) == (
        "state['h'][0]: expected an array of float64 of shape (4,), "
        "got one of float64 of shape (5,)"
    )
    assert message(lambda: stepper.reset(where=[True])) == (
        "where: there is one stream only; `reset()` begins it anew"
    )
    stepper.step(x=np.zeros((2, 3)))
    assert message(lambda: stepper.reset(where=[True])) == (
        "where: expected truth values of shape (2,), got bool of shape (1,)"
    )
    assert message(setting({"h": [np.zeros((3, 4))]})) == (
        "state: the stepper has 2 streams, this is the state of 3 streams"
    )
    path = tmp_path / "s.npz"
    stepper.save(path)
    other = unfold.compile(EXAMPLES / "elman.rec", D=3, H=5, K=2)
    assert message(lambda: other.stepper(other.init()).load(path)) == (
        f"{path} holds the state of another model: its sizes is {{'D': 3, 'H': 4, 'K': 2}}, "
        "not {'D': 3, 'H': 5, 'K': 2}"
    )
    unfold.save_params(path, params)
    assert message(lambda: stepper.load(path)) == f"{path} does not hold the state of a stepper"


@pytest.mark.parametrize("backend", BACKENDS)
def test_steps_draw_what_the_sequence_draws(backend: str) -> None:
    fn = unfold.compile(EXAMPLES / "charlm_sample.rec", backend=backend, K=5, M=3, H=4)
    params = {n: p * 2 for n, p in fn.init(seed=1).items()}
    start = np.array([0, 1, 2])
    whole = fn(params, start=start, T=8, seed=4, first=7).tok
    stepper = fn.stepper(params, start=start, seed=4, first=7)
    np.testing.assert_array_equal(np.stack([stepper.step().tok for _ in range(8)], 1), whole)
    for b in range(3):
        one = fn.stepper(params, start=start[b], seed=4, first=7 + b)
        tokens = []
        for t in range(8):
            if t == 5:
                one = pickle.loads(pickle.dumps(one))
            tokens.append(one.step().tok)
        np.testing.assert_array_equal(tokens, whole[b])


TANDEM = """
model tandem:
    axis m: N
    input service[t, m]: real
    input release[t]: real
    input due[t]: real
    param speed[m]: real = 1
    C[t, 0] = release[t]
    C[0, m] = 0
    C[t, m] = max(C[t-1, m], C[t, m-1]) + service[t, m] / speed[m]
    late = mean[t](C[t, N] - due[t])
    output C[t, m]
    minimize late
"""


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_steps_along_an_axis_whose_length_the_parameters_tell(backend: str) -> None:
    fn = unfold.compile(TANDEM, backend=backend)
    chance = np.random.default_rng(0)
    params = {"speed": chance.uniform(1, 2, 3)}
    data = {"service": chance.random((5, 3)), "release": chance.random(5), "due": np.ones(5)}
    want = fn(params, data)["C"]
    for names in (["service", "release"], [*data]):  # with the target, which no step needs
        stepper = fn.stepper(params)
        for t in range(5):
            out = stepper.step({n: data[n][t] for n in names})
            np.testing.assert_allclose(out["C"], want[t], rtol=1e-12)
    several = fn.stepper(params)
    both = {n: np.stack([a, a[::-1]]) for n, a in data.items()}
    for t in range(5):
        out = several.step({n: a[:, t] for n, a in both.items()})
        np.testing.assert_allclose(out["C"], fn(params, both)["C"][:, t], rtol=1e-12)
    with pytest.raises(unfold.InputError, match=r"service: expected real\[N\] with N = 3; got an"):
        stepper.step(service=np.ones(4), release=0.0)
    with pytest.raises(unfold.InputError, match="the input service is missing"):
        stepper.step(release=0.0, due=1.0)
    with pytest.raises(unfold.InputError, match="has no input realease; did you mean `release`"):
        stepper.step(service=np.ones(3), realease=0.0)


def test_what_is_no_sequence_is_given_once() -> None:
    fn = unfold.compile(
        "model m:\n    axis s: S\n    input x[t]: real\n    input k[s]: real\n    h[0] = 0\n"
        "    h[t] = 0.5 * h[t-1] + x[t] * sum[s](k[s])\n    output h[t]\n"
    )
    stepper = fn.stepper({}, k=np.ones(3))
    assert stepper.step(x=2.0)["h"] == 6
    with pytest.raises(unfold.InputError, match="k is no sequence: give it once, to `stepper`"):
        stepper.step(x=2.0, k=np.ones(3))


def test_what_is_returned_is_stored() -> None:
    """A result lies in its storage, which may be wider than what the equations define."""
    from unfold.plan import plan

    for derived in unfold.compile(TANDEM).streaming():
        made = plan(derived.program)
        for r in made.results:
            for (lo, hi), (first, last) in zip(r.ranges, made.buffers[r.name].axes, strict=True):
                assert made.program.given.implies(lo - first), r
                assert made.program.given.implies(last - hi), r
