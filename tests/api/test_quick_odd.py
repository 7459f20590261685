"""Arguments that native code leaves to Python: answers and errors are those of its way."""

from __future__ import annotations

import gc
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unfold
from tests.api.quick import (
    compare,
    compiled,
    data,
    odd_values,
    same,
    shortcut,
    warmed,
)
from unfold.backends.llvm import capi

pytestmark = pytest.mark.skipif(capi.interface() is None, reason="there are no quick calls here")


@pytest.fixture(scope="module")
def warm() -> tuple[unfold.Function, unfold.Function]:
    return warmed()


class Liar(str):
    """A key that equals everything."""

    def __eq__(self, other: object) -> bool:
        gc.collect()
        return True

    def __hash__(self) -> int:
        return hash("W")


def test_odd_arguments_are_answered_as_ever(warm: Any) -> None:
    params = warm[0].init(1)
    for value in odd_values():
        compare(warm, {**params, "W": value}, **data(None))
        compare(warm, {**params, "g": value}, **data(None))
        compare(warm, params, **{**data(None), "x": value})
        compare(warm, params, **{**data(2), "k": value})
        compare(warm, params, value)
        compare(warm, value, **data(None))


def test_odd_dicts_are_answered_as_ever(warm: Any) -> None:
    params = warm[0].init(1)
    inputs = data(2)
    compare(warm, OrderedDict(params), **inputs)
    compare(warm, {**params, "V": params["W"]}, **inputs)
    compare(warm, {n: a for n, a in params.items() if n != "E"}, **inputs)
    compare(warm, {"W": params["W"], "E": params["E"], 3: 4}, **inputs)
    compare(warm, {"E": params["E"], "g": params["g"], Liar("w"): params["W"]}, **inputs)
    compare(warm, params, x=inputs["x"])
    compare(warm, params, x=inputs["x"], k=inputs["k"], T=5)
    compare(warm, params, x=inputs["x"], K=inputs["k"])
    compare(warm, params, inputs, x=inputs["x"])
    compare(warm, params, {"x": inputs["x"]}, k=inputs["k"])
    compare(warm, params, OrderedDict(inputs))
    compare(warm, params, **inputs, lengths=[2, 3])


def test_integers_out_of_range_are_refused(warm: Any) -> None:
    params = warm[0].init(1)
    for bad in (-1, 3, 2**40, -(2**63)):
        inputs = data(2)
        inputs["k"][1, 4] = bad
        compare(warm, params, **inputs)
        assert shortcut(warm[0]).call(params, inputs) is None


def test_numbers_stand_for_scalars(warm: Any) -> None:
    params = warm[0].init(1)
    for g in (0.25, np.float64(0.25), np.float32(0.25), 1, True, np.array(0.25), -0.0, np.inf):
        compare(warm, {**params, "g": g}, **data(2))
    assert shortcut(warm[0]).call({**params, "g": 0.25}, data(2)) is not None


@given(
    shape=st.lists(st.integers(0, 6), max_size=4).map(tuple),
    kind=st.sampled_from(["f8", "f4", "i8", "i4", "u8", "?", ">f8", "c16"]),
    name=st.sampled_from(["W", "E", "g", "x", "k"]),
    order=st.sampled_from(["C", "F"]),
    batch=st.sampled_from([None, 2]),
)
def test_arrays_of_any_shape_and_type_are_answered_as_ever(
    warm: Any, shape: tuple[int, ...], kind: str, name: str, order: Any, batch: int | None
) -> None:
    params, inputs = dict(warm[0].init(1)), data(batch)
    target = params if name in params else inputs
    target[name] = np.asarray(np.ones(shape), dtype=kind, order=order)
    compare(warm, params, **inputs)


def test_what_must_be_finite_is_checked() -> None:
    fn, slow = compiled(check_finite=True), compiled(check_finite=True)
    params, inputs = fn.init(1), data(2)
    for _ in range(3):
        fn.value_and_grad(params, **inputs)
    assert shortcut(fn).call(params, inputs) is not None
    for bad in (np.nan, np.inf, -np.inf):
        wrong = {**inputs, "x": inputs["x"].copy()}
        wrong["x"][1, 2, 0] = bad
        assert shortcut(fn).call(params, wrong) is None
        compare((fn, slow), params, **wrong)
        compare((fn, slow), {**params, "g": bad}, **inputs)


def test_an_equation_without_a_solution_is_an_error_every_time() -> None:
    fn = unfold.compile(
        "model root:\n"
        "    input c: real\n    param w: real = 1\n    param v: real = 1\n"
        "    solve z by newton(tol = 1e-12, max_steps = 60):\n"
        "        z = v + w * (z ** 2 + c)\n"
        "    loss = z ** 2\n    minimize loss\n"
    )
    good = [fn.value_and_grad(fn.init(), c=-2.0) for _ in range(4)]
    for again in good[1:]:
        same(again, good[0])
    for _ in range(3):
        with pytest.raises(unfold.SolverError, match="z was not found by newton"):
            fn.value_and_grad(fn.init(), c=1.0)
    same(fn.value_and_grad(fn.init(), c=-2.0), good[0])


def test_a_wrong_number_of_arguments_is_not_taken(warm: Any) -> None:
    call = shortcut(warm[0]).call
    assert call() is None  # type: ignore[call-arg]
    assert call(1) is None  # type: ignore[call-arg]
    assert call(1, 2, 3) is None  # type: ignore[call-arg]
    assert call({}, {}) is None
    with pytest.raises(TypeError):
        call(params={}, inputs={})  # type: ignore[call-arg]
