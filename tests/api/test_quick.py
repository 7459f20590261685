"""Calls that native code does alone: results, errors and references are those of Python's way."""

from __future__ import annotations

import gc
import pickle
import sys
import tracemalloc
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
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


def moving(inputs: dict[str, Any], dtype: Any = np.float64) -> dict[str, Any]:
    """A direction in a matrix, in a number and in an input."""
    chance = np.random.default_rng(7)
    shapes: dict[str, tuple[int, ...]] = {"W": (H, D), "g": (), "x": inputs["x"].shape}
    return {n: np.asarray(chance.normal(size=shape), dtype) for n, shape in shapes.items()}


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


@pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")  # it is possible, still
@pytest.mark.parametrize("reduce", ["mean", "none"])
def test_what_a_caller_holds_is_never_written_again(reduce: str) -> None:
    """Arrays that were dropped serve the next call; the ones held, viewed or changed do not."""
    fn = compiled()
    params, inputs = fn.init(1), data(3)
    want = fn.value_and_grad(params, inputs, reduce=reduce, loss="fit")
    fn.value_and_grad(params, inputs, reduce=reduce, loss="fit")
    call = fn._gradients[None, "fit", reduce].call
    chance = np.random.default_rng(0)
    held: list[tuple[Any, Any]] = []
    for k in range(300):
        other = {n: a * (1 + 0.01 * (k % 7)) for n, a in params.items()}
        found = call(other, inputs)
        assert found is not None
        if not k % 7:
            same(found, want)
        value, grads = found
        for a in [*grads.values(), *([value] if reduce == "none" else [])]:
            way = chance.integers(9)
            if way == 0:
                held.append((a, a.copy()))
            elif way == 1:
                held.append((a.view(), a.copy()))
            elif way == 2:
                held.append((memoryview(a), a.copy()))
            elif way == 3:
                a.shape = (-1,)
            elif way == 4:
                a.flags.writeable = False
            elif way == 5:
                a.dtype = np.int64
        del value, grads, found, a
    for seen, was in held:
        np.testing.assert_array_equal(np.asarray(seen), was)


def test_an_array_that_was_dropped_is_used_again() -> None:
    fn = compiled()
    params, inputs = fn.init(1), data(3)
    places = []
    for _ in range(6):
        grads = fn.value_and_grad(params, inputs)[1]
        places.append({n: a.ctypes.data for n, a in grads.items()})
        del grads
    assert places[-1] == places[-2]


# --- references, threads, copies ------------------------------------------------------------------


def test_no_reference_is_gained_or_lost() -> None:
    fn = compiled()
    params: dict[str, Any] = fn.init(1)
    inputs = data(3)
    params["g"] = float(params["g"])
    bad = {**inputs, "x": inputs["x"][:2]}
    for _ in range(5):
        fn.value_and_grad(params, **inputs)
        fn(params, **inputs)
    watched = [*params.values(), *inputs.values(), *params, *inputs, np.dtype(float), None,
               np.dtype(np.int64), np.dtype(bool), "loss", float, np.ndarray]  # fmt: skip
    call = shortcut(fn).call
    along, written = moving(inputs), np.zeros((H, D))
    for _ in range(3):
        fn.jvp(params, along, inputs)
        fn.hvp(params, along, inputs)
    watched += [*along.values(), along, written]
    shared = {**params, "W": written}

    def work() -> None:
        for _ in range(1000):
            fn.jvp(params, along, inputs)
            fn.hvp(params, along, inputs)
            assert call(params, inputs, {"W": written}) is not None
            assert call(shared, inputs, {"W": written}) is None
            assert call(params, inputs, {"W": written, "V": written}) is None
            assert call(params, bad, {"W": written}) is None
            assert call(params, inputs) is not None
            call(params, bad)
            call(params, None)
            call({}, inputs)
            fn(params, **inputs)

    work()
    before = [sys.getrefcount(o) for o in watched]
    work()
    after = [sys.getrefcount(o) for o in watched]
    assert all(abs(a - b) < 50 for a, b in zip(after, before, strict=True))


def test_memory_does_not_grow() -> None:
    fn = compiled()
    params, inputs = fn.init(1), data(3)
    for _ in range(100):
        fn.value_and_grad(params, **inputs)
        fn(params, **inputs)
    gc.collect()
    tracemalloc.start()
    base = tracemalloc.get_traced_memory()[0]
    for _ in range(100_000):
        fn.value_and_grad(params, **inputs)
    for _ in range(10_000):
        fn(params, **inputs)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - base
    tracemalloc.stop()
    assert grown < 20_000


def test_quick_calls_use_the_workspace_that_the_first_ones_had() -> None:
    fn = unfold.compile(
        "model m(H):\n    input x[t]: real[H]\n    param w: real[H]\n    h[0] = w\n"
        "    h[t] = tanh(h[t-1] * x[t])\n    loss = sum[t](sum(h[t]))\n    minimize loss\n",
        H=100,
    )
    x, start = np.ones((10_000, 100)), {"w": np.ones(100)}
    tracemalloc.start()
    fn.value_and_grad(start, x=x)
    first = tracemalloc.get_traced_memory()[0]
    for _ in range(4):
        fn.value_and_grad(start, x=x)
    grown = tracemalloc.get_traced_memory()[0] - first
    tracemalloc.stop()
    assert fn.memory(T=10_000).total > x.nbytes
    assert grown < x.nbytes // 2


def test_many_threads_call_at_once() -> None:
    fn, slow = compiled(), compiled()
    params = fn.init(1)
    cases = [data(b, steps) for b in (None, 2, 50) for steps in (3, 200)]
    for inputs in cases * 3:
        fn.value_and_grad(params, **inputs)
    want = [slow.value_and_grad(params, **inputs) for inputs in cases]

    def work(n: int) -> Any:
        return n % len(cases), fn.value_and_grad(params, **cases[n % len(cases)])

    with ThreadPoolExecutor(8) as pool:
        for which, got in pool.map(work, range(600)):
            same(got, want[which])


def test_a_function_with_quick_calls_can_be_pickled() -> None:
    fn = compiled()
    params, inputs = fn.init(1), data(3)
    for _ in range(3):
        want = fn.value_and_grad(params, **inputs)
    again = pickle.loads(pickle.dumps(fn))
    for _ in range(3):
        same(again.value_and_grad(params, **inputs), want)


def test_functions_and_their_tables_are_given_back() -> None:
    class Mark:
        pass

    fn = compiled()
    for _ in range(3):
        fn.value_and_grad(fn.init(1), **data(2))
    desk = shortcut(fn).call.__self__  # type: ignore[attr-defined]
    mark = Mark()
    count = sys.getrefcount(mark)
    desk.kept.append(mark)
    assert sys.getrefcount(mark) == count + 1
    del fn, desk
    gc.collect()
    assert sys.getrefcount(mark) == count


def test_one_call_alone_prepares_nothing() -> None:
    fn = compiled()
    fn.value_and_grad(fn.init(1), **data(2))
    assert shortcut(fn).call is _nothing


def test_the_interpreter_has_no_quick_calls() -> None:
    fn = compiled(backend="numpy")
    for _ in range(3):
        fn.value_and_grad(fn.init(1), **data(2))
    assert shortcut(fn).call is _nothing
