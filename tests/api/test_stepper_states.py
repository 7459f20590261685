"""The state of a stepper: kept, set, begun anew, written and read."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold
from tests.api.streams import BACKENDS, EXAMPLES, PIECES, RANDOM


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
