"""Batches that are computed in parts: what all sequences share is done once, there and back."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import unfold
from tests.transform.test_apart import TEXTS
from unfold.backends.llvm import apart, choose, kernel
from unfold.backends.llvm.apart import InParts
from unfold.backends.llvm.chain import Chain
from unfold.backends.llvm.division import Division
from unfold.backends.llvm.slots import Slot
from unfold.backends.llvm.team import Team
from unfold.gradcheck import random_arrays

EQUILIBRIUM = """
model equilibrium(N):
    input  y[t]: real[N]
    param  A: real[N, N] ~ normal(0.3)
    param  b: real[N] ~ normal(1)
    solve z by picard(tol = 1e-12):
        z = tanh(0.2 * A @ z + b)
    x[0] = z
    x[t] = tanh(A @ x[t-1] + z)
    loss = sum[t](sum((x[t] - y[t]) ** 2))
    minimize loss
"""


@pytest.fixture(autouse=True)
def forced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts, however little they are worth."""
    monkeypatch.setattr(choose, "_WORTH", 0.0)
    monkeypatch.setattr(apart, "_DOUBT", float("inf"))


def made(name: str, **options: Any) -> tuple[unfold.Function, unfold.Function]:
    """A model in native code and in NumPy."""
    text, sizes = TEXTS[name]
    model = unfold.loads(text)
    native = unfold.compile(model, sizes=sizes, **options)
    dtype = options.get("dtype", "float64")
    return native, unfold.compile(model, sizes=sizes, backend="numpy", dtype=dtype)


def data(fn: unfold.Function, steps: int, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    rows = [random_arrays(fn.program, {"T": steps}, np.random.default_rng(k)) for k in range(batch)]
    dtype = fn.compiler.options.dtype
    kinds = {n: dtype if a.dtype.kind == "f" else a.dtype for n, a in rows[0].items()}
    params = {n: np.asarray(0.5 * rows[0][n], kinds[n]) for n in fn.params}
    return params, {n: np.stack([row[n] for row in rows]).astype(kinds[n]) for n in fn.inputs}


def in_parts(fn: unfold.Function) -> InParts:
    """The kernel of the gradient."""
    found = fn.compiler.gradient(fn.differentiable(None), fn.targets(None)).kernel
    assert isinstance(found, InParts)
    return found


def close(got: Any, want: Any, dtype: str) -> None:
    rtol = 1e-9 if dtype == "float64" else 2e-4
    np.testing.assert_allclose(got[0], want[0], rtol=rtol)
    for name, expected in want[1].items():
        scale = np.max(np.abs(expected), initial=1e-30)
        np.testing.assert_allclose(
            got[1][name], expected, rtol=rtol, atol=rtol * scale, err_msg=name
        )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("unrolled", [10**9, -1], ids=["lanes", "tiles"])
@pytest.mark.parametrize("name", TEXTS)
def test_batches_have_the_gradients_of_the_interpreter(
    name: str, unrolled: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "UNROLLED", unrolled)
    fn, meaning = made(name, dtype=dtype)
    for steps, batch in ((4, 2), (7, 33), (1, 3)):
        params, inputs = data(fn, steps, batch)
        for reduce in ("mean", "sum"):
            want = meaning.value_and_grad(params, inputs, reduce=reduce)
            for _ in range(4):  # the third call of a size is one of native code alone
                close(fn.value_and_grad(params, inputs, reduce=reduce), want, dtype)
        assert in_parts(fn).is_apart({"T": steps}, batch)
        assert isinstance(in_parts(fn).new_slot({"T": steps}, batch), Chain)


@pytest.mark.parametrize("name", TEXTS)
def test_one_sequence_and_sequences_of_unequal_length_are_served_by_the_whole(name: str) -> None:
    fn, meaning = made(name)
    params, inputs = data(fn, 5, 3)
    one = {n: a[0] for n, a in inputs.items()}
    for given, lengths in ((one, None), (inputs, np.array([5, 2, 3]))):
        want = meaning.value_and_grad(params, given, lengths=lengths)
        for _ in range(3):
            close(fn.value_and_grad(params, given, lengths=lengths), want, "float64")
    assert not in_parts(fn).is_apart({"T": 5}, None)
    assert not in_parts(fn).is_apart({"T": 5}, 3, ragged=True)


def test_parts_of_several_threads_are_run_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "division", lambda *_: Division(2, False))
    fn, meaning = made("covariance", threads=2)
    params, inputs = data(fn, 6, 7)
    want = meaning.value_and_grad(params, inputs)
    first = fn.value_and_grad(params, inputs)
    close(first, want, "float64")
    for _ in range(3):
        again = fn.value_and_grad(params, inputs)
        assert all(np.array_equal(first[1][n], again[1][n]) for n in first[1])
    chain = in_parts(fn).new_slot({"T": 6}, 7)
    assert isinstance(chain, Chain)
    assert {type(s) for s in chain.slots} == {Slot, Team}


def test_calls_from_several_threads_do_not_share_what_is_handed_on() -> None:
    fn, meaning = made("trajectory")
    cases = []
    for k in range(6):
        params, inputs = data(fn, 5, 4)
        params = {n: a * (1 + 0.1 * k) for n, a in params.items()}
        cases.append((params, inputs, meaning.value_and_grad(params, inputs)))

    def call(k: int) -> None:
        params, inputs, want = cases[k % len(cases)]
        close(fn.value_and_grad(params, inputs), want, "float64")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(call, range(200)))


@pytest.mark.parametrize("name", TEXTS)
def test_segments_of_a_sweep_may_be_in_parts(name: str) -> None:
    text, sizes = TEXTS[name]
    model = unfold.loads(text)
    fn, (_, meaning) = unfold.compile(model, sizes=sizes, checkpoint=3), made(name)
    for steps in (7, 3, 8):
        params, inputs = data(fn, steps, 4)
        want = meaning.value_and_grad(params, inputs)
        for _ in range(2):
            close(fn.value_and_grad(params, inputs), want, "float64")


def test_gradients_are_written_where_they_are_wanted() -> None:
    fn, meaning = made("trajectory")
    params, inputs = data(fn, 5, 4)
    out = {n: np.full_like(a, np.nan) for n, a in params.items()}
    for _ in range(4):
        for a in out.values():
            a[...] = np.nan
        value, grads = fn.value_and_grad(params, inputs, out=out)
        assert all(grads[n] is out[n] for n in out)
        close((value, out), meaning.value_and_grad(params, inputs), "float64")


def test_products_with_the_hessian_come_in_parts_too() -> None:
    fn, meaning = made("covariance")
    params, inputs = data(fn, 4, 5)
    vectors = {"A": np.ones_like(params["A"])}
    want = meaning.hvp(params, vectors, inputs)
    for _ in range(3):
        found = fn.hvp(params, vectors, inputs)
        for name, expected in want.items():
            np.testing.assert_allclose(found[name], expected, rtol=1e-8, atol=1e-9, err_msg=name)


def test_an_equilibrium_of_parameters_that_is_not_found_is_an_error() -> None:
    model = unfold.loads(EQUILIBRIUM)
    fn, meaning = unfold.compile(model, N=3), unfold.compile(model, N=3, backend="numpy")
    params, inputs = data(fn, 3, 4)
    want = meaning.value_and_grad(params, inputs)
    for _ in range(3):
        close(fn.value_and_grad(params, inputs), want, "float64")
    with pytest.raises(unfold.SolverError, match=r"\bz\b"):
        fn.value_and_grad({**params, "b": np.full(3, np.nan)}, inputs)
    close(fn.value_and_grad(params, inputs), want, "float64")


@pytest.mark.parametrize("name", TEXTS)
def test_the_bill_tells_what_parts_allocate(name: str) -> None:
    fn, _ = made(name)
    params, inputs = data(fn, 50, 6)
    fn.value_and_grad(params, inputs)
    told = in_parts(fn).workspace({"T": 50}, 6)
    (slot,) = (s for idle in in_parts(fn)._pool.values() for s in idle)
    # Storages begin at multiples of 64 bytes.
    assert sum(told.values()) <= slot.nbytes <= sum(told.values()) + 64 * (len(told) + 9)


def test_parts_survive_their_pickle() -> None:
    fn, _ = made("covariance")
    params, inputs = data(fn, 4, 3)
    want = fn.value_and_grad(params, inputs, reduce="sum")
    again = pickle.loads(pickle.dumps(in_parts(fn)))
    found = again({**params, **inputs}, {"T": 4}, 3)
    for name in params:
        np.testing.assert_array_equal(found[f"{name}_bar"], want[1][name])


def test_little_that_is_shared_is_no_reason_for_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    fn, _ = made("table")
    found = fn.compiler.gradient(fn.differentiable(None), fn.targets(None)).kernel
    assert not isinstance(found, InParts)
