"""Compiled kernels as Python objects: formats, empty batches, pickles, threads, refusals."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import unfold
from tests.backends.test_llvm_programs import WAYS
from unfold.backends import llvm
from unfold.backends import numpy as interpreter
from unfold.backends.llvm import choose
from unfold.check import elaborate
from unfold.expr import Call, Expr, rewrite
from unfold.plan import statements
from unfold.program import Program
from unfold.transform import adjoint

MODEL = """
model m(D, H):
    input  x[t]: real[D]
    input  k[t]: int<3>
    param  W: real[H, D]
    param  U: real[H, H]
    param  E: real[3, H]
    h[0] = 0
    h[t] = tanh(W @ x[t] + U @ h[t-1] + E[k[t]])
    top[t] = argmax(h[t])
    up[t] = h[t][0] > 0
    loss = sum[t](sum(h[t] ** 2)) / T
    output h[t], top[t], up[t]
    minimize loss
"""


@pytest.fixture(params=list(WAYS), autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(choose, "UNROLLED", WAYS[request.param])
    return request.param  # type: ignore[no-any-return]


def program() -> Program:
    return elaborate(MODEL).bind({"D": 3, "H": 5})


def data(
    batch: int | None, steps: int, dtype: str = "float64", seed: int = 0
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    lead = () if batch is None else (batch,)
    return {
        "x": rng.normal(size=(*lead, steps, 3)).astype(dtype),
        "k": rng.integers(0, 3, (*lead, steps)),
        "W": rng.normal(size=(5, 3)).astype(dtype),
        "U": rng.normal(size=(5, 5)).astype(dtype) * 0.4,
        "E": rng.normal(size=(3, 5)).astype(dtype),
    }


@pytest.mark.parametrize("batch", [None, 1, 2, 5, 17])
@pytest.mark.parametrize("steps", [1, 2, 3, 50])
def test_a_kernel_serves_every_length_and_batch(batch: int | None, steps: int) -> None:
    p = adjoint(program())
    arrays = data(batch, steps)
    got = llvm.compile(p, sum_adjoints=True)(arrays, {"T": steps}, batch, None)
    want = interpreter.compile(p, sum_adjoints=True)(arrays, {"T": steps}, batch, None)
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-10, atol=1e-12, err_msg=name)
        assert got[name].dtype == value.dtype


def test_single_precision_is_close_to_double() -> None:
    p = adjoint(program())
    got = llvm.compile(p, dtype="float32", sum_adjoints=True)(
        data(4, 9, "float32"), {"T": 9}, 4, None
    )
    want = llvm.compile(p, sum_adjoints=True)(data(4, 9), {"T": 9}, 4, None)
    for name, value in want.items():
        if value.dtype == float:
            assert got[name].dtype == np.float32
            np.testing.assert_allclose(got[name], value, rtol=2e-4, atol=2e-5, err_msg=name)


def test_an_empty_batch_has_empty_outputs_and_no_gradient() -> None:
    p = adjoint(program())
    got = llvm.compile(p, sum_adjoints=True)(data(0, 4), {"T": 4}, 0, None)
    assert got["h"].shape == (0, 4, 5)
    assert got["loss"].shape == (0,)
    assert not got["W_bar"].any()
    assert got["W_bar"].shape == (5, 3)


def test_results_are_not_overwritten_by_the_next_call() -> None:
    kernel = llvm.compile(program())
    first = kernel(data(None, 6), {"T": 6}, None, None)
    kept = {name: value.copy() for name, value in first.items()}
    kernel(data(None, 6, seed=1), {"T": 6}, None, None)
    for name, value in kept.items():
        np.testing.assert_array_equal(first[name], value)


def test_a_kernel_can_be_pickled() -> None:
    kernel = llvm.compile(program())
    again = pickle.loads(pickle.dumps(kernel))
    arrays = data(2, 5)
    want = kernel(arrays, {"T": 5}, 2, None)
    for name, value in again(arrays, {"T": 5}, 2, None).items():
        np.testing.assert_array_equal(value, want[name])


def test_several_threads_may_call_at_once() -> None:
    kernel = llvm.compile(adjoint(program()), sum_adjoints=True)
    cases = [(data(3, 4 + n % 5, seed=n), 4 + n % 5) for n in range(60)]
    want = [kernel(arrays, {"T": steps}, 3, None) for arrays, steps in cases]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda c: kernel(c[0], {"T": c[1]}, 3, None), cases))
    for a, b in zip(got, want, strict=True):
        for name, value in b.items():
            np.testing.assert_array_equal(a[name], value)


def test_the_code_does_not_depend_on_the_length() -> None:
    kernel = llvm.compile(program())
    before = kernel.ir()
    kernel(data(None, 3), {"T": 3}, None, None)
    kernel(data(None, 300), {"T": 300}, None, None)
    assert kernel.ir() == before


def test_an_op_without_lowering_is_refused_by_its_name() -> None:
    p = program()

    def unknown(e: Expr) -> Expr:
        if isinstance(e, Call) and e.op == "tanh":
            return Call("mystery", e.args, (), e.shape, e.type)
        return e

    equations = tuple(replace(eq, rhs=rewrite(eq.rhs, unknown)) for eq in p.equations)
    with pytest.raises(KeyError, match="mystery"):
        llvm.compile(p.with_(equations=equations))


def test_nan_wins_beside_a_number_on_either_side() -> None:
    p = elaborate("""
model m:
    input  x[t]: real
    a[t] = max(0, x[t])
    b[t] = max(x[t], 1)
    c[t] = min(0, x[t])
    d[t] = min(x[t], -1)
    output a[t], b[t], c[t], d[t]
""")
    x = np.array([np.nan, 2.0, -2.0, np.inf, -np.inf, 0.0])
    for batch in (None, 9):
        given = x if batch is None else np.tile(x, (batch, 1))
        got = llvm.compile(p)({"x": given}, {"T": 6}, batch, None)
        want = (np.maximum(0, x), np.maximum(x, 1), np.minimum(0, x), np.minimum(x, -1))
        for name, value in zip("abcd", want, strict=True):
            np.testing.assert_array_equal(got[name], np.broadcast_to(value, got[name].shape))


def test_a_state_that_never_changes_is_its_number() -> None:
    p = elaborate("""
model m:
    input  x[t]: real
    c[0] = 2
    c[t] = c[t-1]
    y[t] = x[t] * c[t-1]
    output y[t]
""")
    kernel = llvm.compile(p)
    assert [s.target for s in statements(kernel.source.plan.body)] == ["y"]
    got = kernel({"x": np.arange(3.0)}, {"T": 3})
    np.testing.assert_array_equal(got["y"], [0.0, 2.0, 4.0])


@pytest.mark.parametrize("steps", [1, 3, 4, 5, 8, 11])
@pytest.mark.parametrize("batch", [None, 1, 3])
def test_results_of_any_length_are_moved_whole(steps: int, batch: int | None) -> None:
    text = """
model m():
    input  x[t]: real
    s[0] = 0
    s[t] = s[t-1] + x[t]
    up[t] = s[t] > 0
    count[0] = int(0)
    count[t] = count[t-1] + (1 if x[t] > 0 else 0)
    p[t] = [s[t], s[t-1], x[t]]
    output s[t], up[t], count[t], p[t]
"""
    shape = (steps,) if batch is None else (batch, steps)
    x = np.random.default_rng(steps).normal(size=shape)
    got, want = (unfold.compile(text, backend=b)({}, x=x) for b in ("llvm", "numpy"))
    for name in ("s", "up", "count", "p"):
        np.testing.assert_allclose(got[name], want[name], rtol=1e-12)
        assert got[name].dtype == want[name].dtype
