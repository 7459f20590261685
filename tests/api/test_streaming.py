"""A causal model one step at a time gives what it gives on the whole sequence."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unfold
from tests.api.streams import BACKENDS, EXAMPLES, PIECES, RANDOM, refusal, sequence
from unfold.gradcheck import random_arrays
from unfold.streaming import time_axis


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


def test_what_is_returned_is_stored() -> None:
    """A result lies in its storage, which may be wider than what the equations define."""
    from unfold.plan import plan

    for derived in unfold.compile(TANDEM).streaming():
        made = plan(derived.program)
        for r in made.results:
            for (lo, hi), (first, last) in zip(r.ranges, made.buffers[r.name].axes, strict=True):
                assert made.program.given.implies(lo - first), r
                assert made.program.given.implies(last - hi), r
