"""Calls that native code does alone: results and errors are those of Python's way."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import unfold
from tests.api.quick import (
    RANDOM,
    D,
    H,
    compare,
    compiled,
    data,
    moving,
    odd_values,
    same,
    shortcut,
    warmed,
)
from unfold.backends.llvm import capi
from unfold.segments import checkpoints, swept
from unfold.shortcut import _nothing

pytestmark = pytest.mark.skipif(capi.interface() is None, reason="there are no quick calls here")


@pytest.fixture(scope="module")
def warm() -> tuple[unfold.Function, unfold.Function]:
    return warmed()


def test_every_call_returns_a_dict_of_its_own_in_the_order_of_the_parameters() -> None:
    names = [f"p{k}" for k in range(12)]
    terms = " + ".join(f"{n} * x[t] ** {k}" for k, n in enumerate(names))
    params = "".join(f"    param {n}: real = {k}\n" for k, n in enumerate(names))
    fn = unfold.compile(
        f"model m:\n    input x[t]: real\n{params}    loss = sum[t](({terms}) ** 2)\n"
        "    minimize loss\n"
    )
    start, x = fn.init(), np.linspace(-1.0, 1.0, 5)
    want = fn.value_and_grad(start, x=x)
    fn.value_and_grad(start, x=x)
    found: list[dict[str, Any]] = []
    for _ in range(3):
        direct = shortcut(fn).call(start, {"x": x})
        assert direct is not None
        same(direct, want)
        assert list(direct[1]) == names
        direct[1]["p3"] = direct[1].pop("p0")
        direct[1]["another"] = None
        found.append(direct[1])
    assert len({id(d) for d in found}) == 3


@pytest.mark.parametrize("reduce", ["mean", "sum", "none"])
@pytest.mark.parametrize("batch", [None, 1, 2, 7, 40])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_quick_calls_return_what_the_first_one_did(
    dtype: str, batch: int | None, reduce: str
) -> None:
    fn = compiled(dtype=dtype)
    params, inputs = fn.init(1), data(batch, dtype=dtype)
    first = fn.value_and_grad(params, **inputs, reduce=reduce)
    out = fn(params, **inputs)
    for _ in range(3):
        fn.value_and_grad(params, **inputs, reduce=reduce)
        fn(params, **inputs)
    direct = shortcut(fn, reduce).call(params, inputs)
    if reduce != "none":  # two losses, a value for each sequence: left to Python
        assert direct is not None
        same(direct, first)
    same(fn.value_and_grad(params, **inputs, reduce=reduce), first)
    assert fn._value is not None
    same(fn._value.call(params, inputs), out._values)
    again = fn(params, inputs)
    assert list(again) == list(out)
    same(again._values, out._values)


DECAY = """
model decay:
    input  x[t]: real
    param  a: real = 0.9
    h[0] = 1
    h[t] = a * h[t-1] + x[t] ** 2
    loss = sum[t](h[t])
    minimize loss
"""


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("mode", ["auto", "forward"])
def test_a_gradient_in_one_number_by_forward_mode_is_quick(mode: str, dtype: str) -> None:
    fn = unfold.compile(DECAY, mode=mode, dtype=dtype)
    for steps in (1, 4, 9):
        x = RANDOM.normal(size=steps).astype(dtype)
        for a in (0.5, -1.25):
            params = {"a": np.array(a, dtype)}
            expected = unfold.compile(DECAY, mode="forward", dtype=dtype).value_and_grad(
                params, x=x
            )
            for _ in range(4):
                same(fn.value_and_grad(params, x=x), expected)
            direct = shortcut(fn).call(params, {"x": x})
            assert direct is not None
            same(direct, expected)
            out = {"a": np.empty((), dtype)}
            assert fn.value_and_grad(params, x=x, out=out)[1]["a"] is out["a"]
            same(out, expected[1])


def test_forward_mode_for_a_batch_is_left_to_python() -> None:
    fn, other = unfold.compile(DECAY), unfold.compile(DECAY, mode="reverse")
    params, x = fn.init(), RANDOM.normal(size=(3, 6))
    for _ in range(4):
        loss, grads = fn.value_and_grad(params, x=x)
        fn.value_and_grad(params, x=x[0])
    assert shortcut(fn).call(params, {"x": x}) is None
    assert shortcut(fn).call(params, {"x": x[0]}) is not None
    expected, wanted = other.value_and_grad(params, x=x)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    np.testing.assert_allclose(grads["a"], wanted["a"], rtol=1e-12)


def test_losses_of_every_sequence_may_be_quick() -> None:
    fn = compiled()
    params, inputs = fn.init(1), data(6)
    first = fn.value_and_grad(params, **inputs, reduce="none", loss="fit", wrt=["W", "x"])
    for _ in range(3):
        same(fn.value_and_grad(params, **inputs, reduce="none", loss="fit", wrt=["W", "x"]), first)
    assert fn._gradients[("W", "x"), "fit", "none"].call(params, inputs) is not None


def test_every_length_and_batch_has_its_own_form() -> None:
    fn = compiled()
    params = fn.init(1)
    plain = compiled()
    for _ in range(3):
        for batch in (None, 2, 9):
            for steps in (1, 4, 11):
                inputs = data(batch, steps)
                want = plain.value_and_grad(params, **inputs)
                plain._gradients.clear()
                same(fn.value_and_grad(params, **inputs), want)
    for batch in (None, 2, 9):
        for steps in (1, 4, 11):
            assert shortcut(fn).call(params, data(batch, steps)) is not None


def test_checkpoints_leave_quick_the_lengths_that_keep_all_states(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fn = compiled(checkpoint="auto", mode="reverse")
    params = fn.init(1)
    # Room for the states of four steps, not for those of four hundred.
    monkeypatch.setattr(checkpoints, "FEW", 3000)
    monkeypatch.setattr(swept, "PORTION", 100)
    monkeypatch.setattr(swept, "ROWS", 1)
    short, long = data(2, 4), data(2, 400)
    plain = compiled(mode="reverse")
    for _ in range(3):
        same(fn.value_and_grad(params, **short), plain.value_and_grad(params, **short))
        fn.value_and_grad(params, **long)
    assert shortcut(fn).call(params, short) is not None
    assert shortcut(fn).call(params, long) is None


def test_results_are_new_arrays_every_time() -> None:
    fn = compiled()
    params, inputs = fn.init(1), data(None)
    calls = [fn.value_and_grad(params, **inputs)[1]["W"] for _ in range(6)]
    for a in calls:
        assert a.flags.owndata
        assert a.flags.writeable
        assert a.base is None
    calls[-1][:] = 0
    assert calls[-2].any()


# --- derivatives along directions, arrays to write to, lengths ------------------------------------


@pytest.mark.parametrize("batch", [None, 1, 7])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_tangents_are_those_of_the_first_call(dtype: str, batch: int | None) -> None:
    fn = compiled(dtype=dtype)
    params, inputs = fn.init(1), data(batch, dtype=dtype)
    along = moving(inputs, dtype)
    first = fn.jvp(params, along, inputs)
    for _ in range(3):
        again = fn.jvp(params, along, **inputs)
        for got, want in zip(again, first, strict=True):
            assert isinstance(got, unfold.Outputs)
            same(got._values, want._values)
    native = fn._tangents[tuple(along)].call
    assert native(params, inputs, along) is not None
    assert native(params, inputs, {**along, "W": along["W"][:1]}) is None
    assert native(params, inputs, {**along, "E": params["E"]}) is None
    assert native(params, inputs) is None


@pytest.mark.parametrize("reduce", ["mean", "sum", "none"])
@pytest.mark.parametrize("batch", [None, 1, 7])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_hessian_products_are_those_of_the_first_call(
    dtype: str, batch: int | None, reduce: str
) -> None:
    fn = compiled(dtype=dtype)
    params, inputs = fn.init(1), data(batch, dtype=dtype)
    along = moving(inputs, dtype)
    options: dict[str, Any] = {"reduce": reduce, "wrt": ["g", "W", "x"], "loss": "fit"}
    first = fn.hvp(params, along, inputs, **options)
    for _ in range(3):
        same(fn.hvp(params, along, **inputs, **options), first)
    key = tuple(along), ("g", "W", "x"), "fit", reduce
    assert fn._hessians[key].call(params, inputs, along) is not None
    with pytest.raises(unfold.InputError, match="the tangent of W: expected"):
        fn.hvp(params, {**along, "W": np.ones(3)}, inputs, **options)
    with pytest.raises(unfold.InputError, match="has no input or parameter V"):
        fn.hvp(params, {**along, "V": np.ones(3)}, inputs, **options)


@pytest.mark.parametrize("batch", [None, 7])
def test_results_are_written_where_they_are_wanted(batch: int | None) -> None:
    fn, slow = compiled(), compiled()
    params, inputs = fn.init(1), data(batch)
    want, values = slow.value_and_grad(params, inputs), slow(params, inputs)
    grads = {"g": np.empty(()), "W": np.empty((H, D))}
    shown = {"h": np.empty(values.h.shape), "top": np.empty(values.top.shape, np.int64)}
    for _ in range(4):
        got = fn.value_and_grad(params, inputs, out=grads)
        same(got, want)
        assert got[1]["g"] is grads["g"]
        assert got[1]["W"] is grads["W"]
        assert got[1]["E"] is not want[1]["E"]
        again = fn(params, inputs, out=shown)
        same(again._values, values._values)
        assert again.h is shown["h"]
        assert again.top is shown["top"]
    assert shortcut(fn).call(params, inputs, grads) is not None
    assert fn._value is not None
    assert fn._value.call(params, inputs, shown) is not None


def test_what_cannot_be_written_to_is_refused_as_ever(warm: Any) -> None:
    fn = warm[0]
    params, inputs = fn.init(1), data(2)
    flat = np.zeros(2 * H * D)
    block = np.zeros((H, D))
    for value in [*odd_values(), params["W"], params["E"], inputs["x"], inputs["k"]]:
        compare(warm, params, **inputs, out={"W": value})
        compare(warm, params, **inputs, out={"g": value})
        compare(warm, params, **inputs, out=value)
    compare(warm, params, **inputs, out={})
    compare(warm, params, **inputs, out={"V": block})
    compare(warm, params, **inputs, out={"W": block, 3: block})
    compare(warm, params, **inputs, out=OrderedDict(W=block))
    compare(warm, params, **inputs, out={"W": flat[: H * D].reshape(H, D), "g": flat[0:1][0:0]})
    compare(
        warm,
        params,
        **inputs,
        out={"W": flat[: H * D].reshape(H, D), "E": flat[11:23].reshape(3, H)},
    )
    call = shortcut(fn).call
    own = {**params, "W": block}
    assert call(own, inputs, {"W": block}) is None
    assert call(own, inputs, {"E": flat[: 3 * H].reshape(3, H)}) is not None
    both = {
        "W": flat[: H * D].reshape(H, D),
        "E": flat[H * D - 1 : H * D - 1 + 3 * H].reshape(3, H),
    }
    assert call(params, inputs, both) is None
    both["E"] = flat[H * D : H * D + 3 * H].reshape(3, H)
    assert call(params, inputs, both) is not None
    for wrong in (block[:, ::-1], np.zeros((D, H)), block.astype(np.float32), None, 3.0):
        assert call(params, inputs, {"W": wrong}) is None
    block.flags.writeable = False
    assert call(params, inputs, {"W": block}) is None


GROWTH = """
model growth:
    input x0: real
    param a: real = 1.1
    param b: real = 0.5
    x[0] = x0
    x[t] = a * x[t-1] + b
    loss = x[T] ** 2
    output x[t]
    minimize loss
"""


def test_lengths_that_no_array_fixes_are_part_of_a_size() -> None:
    fn, slow = unfold.compile(GROWTH), unfold.compile(GROWTH)
    params: dict[str, Any] = fn.init()
    x0 = np.asarray(2.0)
    for _ in range(3):
        for T in (3, 4):
            slow._gradients.clear()
            slow._value = None
            same(fn.value_and_grad(params, x0=x0, T=T), slow.value_and_grad(params, x0=x0, T=T))
            same(fn(params, x0=x0, T=T)._values, slow(params, x0=x0, T=T)._values)
    call = shortcut(fn).call
    for T in (3, 4):
        same(call(params, {"x0": x0, "T": T}), slow.value_and_grad(params, x0=x0, T=T))
    odd = (5, 0, -3, 2**80, -(2**80), True, 3.0, "3", None, np.int64(3), [3], np.array(3), 3 + 0j)
    for value in odd:
        assert call(params, {"x0": x0, "T": value}) is None
        compare((fn, slow), params, x0=x0, T=value)
    assert call(params, {"x0": x0}) is None
    compare((fn, slow), params, x0=x0)
    compare((fn, slow), params, x0=x0, T=3, L=3)


def test_one_call_alone_prepares_nothing() -> None:
    fn = compiled()
    fn.value_and_grad(fn.init(1), **data(2))
    assert shortcut(fn).call is _nothing


def test_the_interpreter_has_no_quick_calls() -> None:
    fn = compiled(backend="numpy")
    for _ in range(3):
        fn.value_and_grad(fn.init(1), **data(2))
    assert shortcut(fn).call is _nothing
