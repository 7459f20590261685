"""Batches shared by threads: the same bits every time, the first failure, forks, many callers."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unfold
from unfold.backends.llvm import team
from unfold.backends.llvm.effort import effort
from unfold.backends.llvm.facts import microseconds
from unfold.backends.llvm.kernel import Kernel
from unfold.backends.llvm.pool import pool
from unfold.backends.llvm.team import Team
from unfold.noise import draw

LARGE = """
model m(D, H):
    input  x[t]: real[D]
    input  k[t]: int<3>
    param  W: real[H, D]  ~ glorot
    param  U: real[H, H]  ~ orthogonal
    param  E: real[3, H]  ~ normal(0.5)
    random e[t]: real[H] ~ normal
    h[0] = 0
    h[t] = tanh(W @ x[t] + U @ h[t-1] + E[k[t]] + 0.1 * e[t])
    loss = mean[t](sum(h[t] ** 2))
    top[t] = argmax(h[t])
    output h[t], top[t]
    minimize loss
"""
SMALL = """
model s:
    input  x[t]: real
    param  a: real = 0.9
    param  b: real = 0.3
    h[0] = 0
    h[t] = tanh(a * h[t-1] + b * x[t])
    loss = sum[t](h[t] ** 2)
    output h[t]
    minimize loss
"""


def arrays(kind: str, batch: int) -> dict[str, Any]:
    """The inputs of a large or a small system."""
    chance = np.random.default_rng(batch)
    if kind == "small":
        return {"x": chance.normal(size=(batch, 1500))}
    return {"x": chance.normal(size=(batch, 40, 20)), "k": chance.integers(0, 3, (batch, 40))}


def call(kind: str, threads: int | str, batch: int, ragged: bool = False) -> Any:
    """Value, gradients and outputs."""
    data = arrays(kind, batch)
    sizes = {"D": 20, "H": 33} if kind == "large" else {}
    fn = unfold.compile(LARGE if kind == "large" else SMALL, threads=threads, sizes=sizes)
    params = fn.init(1)
    chance = np.random.default_rng(batch)
    lengths = chance.integers(1, data["x"].shape[1] + 1, batch) if ragged else None
    value, grads = fn.value_and_grad(params, data, lengths=lengths, seed=3, wrt=[*params, "x"])
    out = fn(params, data, lengths=lengths, seed=3)
    return fn, {"value": value, **{f"{n}_bar": g for n, g in grads.items()}, **out}


def teams(fn: unfold.Function) -> int:
    """How many of a function's idle slots are teams."""
    found = 0
    for derived in fn.compiler._derived.values():
        assert isinstance(derived.kernel, Kernel)
        found += sum(isinstance(s, Team) for idle in derived.kernel._pool.values() for s in idle)
    return found


@pytest.mark.parametrize("ragged", [False, True], ids=["equal", "ragged"])
@pytest.mark.parametrize("batch", [2, 64])
@pytest.mark.parametrize("kind", ["large", "small"])
def test_threads_change_nothing_but_the_order_of_sums(kind: str, batch: int, ragged: bool) -> None:
    _, alone = call(kind, 1, batch, ragged)
    for threads in (3, 16):
        fn, shared = call(kind, threads, batch, ragged)
        if batch == 64:
            assert teams(fn) >= 1
        for name, value in alone.items():
            if name in ("h", "top", "loss"):
                np.testing.assert_array_equal(shared[name], value, err_msg=name)
            np.testing.assert_allclose(shared[name], value, rtol=1e-9, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("ragged", [False, True], ids=["equal", "ragged"])
def test_the_same_number_of_threads_gives_the_same_bits(ragged: bool) -> None:
    _, first = call("large", 3, 64, ragged)
    for _ in range(5):
        _, again = call("large", 3, 64, ragged)
        for name, value in first.items():
            np.testing.assert_array_equal(again[name], value, err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reduce", ["mean", "none"])
def test_quick_calls_of_a_team_are_those_of_python(dtype: str, reduce: str) -> None:
    """From the third call of a size on native code does everything."""
    data = {n: a.astype(dtype) if n == "x" else a for n, a in arrays("large", 64).items()}
    data["e"] = np.zeros((64, 40, 33), dtype)
    fn = unfold.compile(LARGE, threads=3, sizes={"D": 20, "H": 33}, dtype=dtype)
    params = fn.init(1)
    out = {n: np.empty_like(a) for n, a in params.items()}
    want = fn.value_and_grad(params, data, reduce=reduce)
    assert teams(fn) == 1
    for _ in range(4):
        for kept in (None, out):
            value, grads = fn.value_and_grad(params, data, reduce=reduce, out=kept)
            np.testing.assert_array_equal(value, want[0])
            for n, g in want[1].items():
                np.testing.assert_array_equal(grads[n], g)
    assert teams(fn) == 0  # it serves the quick calls now
    assert fn._gradients[None, None, reduce].call(params, data) is not None


def test_the_order_of_sums_is_that_of_the_parts() -> None:
    fn, shared = call("large", 4, 64)
    assert teams(fn)
    data = arrays("large", 64)
    serial = unfold.compile(LARGE, D=20, H=33)
    parts = [
        serial.value_and_grad(
            serial.init(1), {n: a[k : k + 16] for n, a in data.items()},
            seed=3, first=k, reduce="sum",
        )[1]["U"]
        for k in range(0, 64, 16)
    ]  # fmt: skip
    total = ((parts[0] + parts[1]) + parts[2]) + parts[3]
    np.testing.assert_array_equal(shared["U_bar"], total * (1 / 64))


def test_draws_do_not_depend_on_how_a_batch_is_divided() -> None:
    whole = draw("normal", 5, "e", (7, 3), 10)
    halves = [draw("normal", 5, "e", (7, 3), 5, first) for first in (0, 5)]
    np.testing.assert_array_equal(whole, np.concatenate(halves))


def test_little_work_stays_on_one_thread() -> None:
    fn = unfold.compile(SMALL, threads=8)
    fn.value_and_grad(fn.init(), x=np.ones((32, 5)))
    assert teams(fn) == 0


def test_one_sequence_is_not_divided() -> None:
    fn = unfold.compile(SMALL, threads=8)
    fn.value_and_grad(fn.init(), x=np.ones((1, 20000)))
    fn.value_and_grad(fn.init(), x=np.ones(20000))
    assert teams(fn) == 0


def test_effort_grows_with_every_size() -> None:
    fn = unfold.compile(LARGE, D=20, H=33)
    plan = fn.compiler.value().kernel.source.plan  # type: ignore[attr-defined]
    terms = effort(plan, 8)
    base = microseconds(terms, {"T": 10}, 4)
    assert microseconds(terms, {"T": 20}, 4) == pytest.approx(2 * base, rel=0.2)
    assert microseconds(terms, {"T": 10}, 8) == 2 * base
    # But for nodes that fill no register.
    assert microseconds(effort(plan, 16), {"T": 10}, 4) == pytest.approx(base / 2, rel=0.02)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(2, 9))
def test_ragged_parts_are_balanced_and_keep_the_order(lengths: list[int], parts: int) -> None:
    ends = team.by_length(np.array(lengths), parts)
    assert ends[0] == 0
    assert ends[-1] == len(lengths)
    assert (np.diff(ends) >= 0).all()
    share = sum(lengths) / parts
    loads = [sum(lengths[a:b]) for a, b in pairwise(ends)]
    assert max(loads) <= share + max(lengths)


@given(st.integers(1, 100), st.integers(2, 9), st.sampled_from([1, 4, 8]))
def test_equal_parts_are_of_whole_groups(batch: int, parts: int, grain: int) -> None:
    ends = team.even(batch, parts, grain)
    assert ends[0] == 0
    assert ends[-1] == batch
    sizes = np.diff(ends)
    assert (sizes >= 0).all()
    assert sizes.max() - sizes.min() < 2 * grain
    assert all(e % grain == 0 or e == batch for e in ends)


def test_the_first_sequence_that_fails_is_reported_whatever_the_threads() -> None:
    text = """
model root:
    input c[t]: real
    input y[t]: real
    param w: real = 1
    solve z[t] by newton(tol = 1e-12, max_steps = 60):
        z[t] = 1 + w * (z[t] ** 2 + c[t])
    loss = sum[t]((z[t] - y[t]) ** 2)
    minimize loss
"""
    c = np.full((64, 30), -2.0)
    c[50, 3] = 1.0
    c[21, 17] = 1.0
    said = []
    for threads in (1, 2, 5):
        fn = unfold.compile(text, threads=threads)
        for _ in range(3):
            with pytest.raises(unfold.SolverError) as caught:
                fn.value_and_grad(fn.init(), c=c, y=np.zeros((64, 30)))
            said.append(str(caught.value))
            assert (caught.value.sequence, caught.value.index) == (21, (18,))
        ragged = np.full(64, 30)
        ragged[21] = 16
        with pytest.raises(unfold.SolverError, match="sequence 50"):
            fn.value_and_grad(fn.init(), c=c, y=np.zeros((64, 30)), lengths=ragged)
    assert len(set(said)) == 1


def test_many_callers_share_the_helpers() -> None:
    fn, want = call("large", 3, 64)
    data, params = arrays("large", 64), fn.init(1)

    def work(_: int) -> Any:
        return fn.value_and_grad(params, data, seed=3)

    with ThreadPoolExecutor(8) as callers:
        for value, grads in callers.map(work, range(40)):
            assert value == want["value"]
            np.testing.assert_array_equal(grads["U"], want["U_bar"])


def _value(queue: Any, fn: unfold.Function) -> None:
    asleep = len(pool().states)
    for _ in range(3):
        value = float(fn.value_and_grad(fn.init(1), arrays("large", 64), seed=3)[0])
    queue.put((value, float(call("large", 3, 64)[1]["value"]), asleep, pool().states))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_child_of_a_fork_has_helpers_of_its_own() -> None:
    fn, found = call("large", 3, 64)
    want = float(found["value"])
    for _ in range(3):
        fn.value_and_grad(fn.init(1), arrays("large", 64), seed=3)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_value, args=(queue, fn))
    child.start()
    old, new, helpers, states = queue.get(timeout=120)
    child.join(60)
    assert (old, new, child.exitcode) == (want, want, 0)
    assert helpers == len(states) == len(pool().states) >= 2


def test_a_program_ends_while_helpers_wait() -> None:
    code = (
        "import numpy as np, unfold\n"
        f"fn = unfold.compile({SMALL!r}, threads=4)\n"
        "print(fn.value_and_grad(fn.init(), x=np.ones((64, 2000)))[0] > 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "True", done.stderr
    assert (done.returncode, done.stderr) == (0, "")


def test_auto_is_the_number_of_cores_at_hand() -> None:
    fn, found = call("large", "auto", 64)
    assert fn.options.threads == "auto"
    again, same = call("large", max(1, _cores()), 64)
    assert again.options.threads == _cores()
    for name, value in same.items():
        np.testing.assert_array_equal(found[name], value)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
