"""Calls that native code does alone: what they hold, give back and use again."""

from __future__ import annotations

import gc
import pickle
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import unfold
from tests.api.quick import D, H, compiled, data, moving, same, shortcut
from unfold.backends.llvm import capi

pytestmark = pytest.mark.skipif(capi.interface() is None, reason="there are no quick calls here")


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
