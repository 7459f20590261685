"""Segments that follow each other are calls of a series: what weights need is prepared once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold
from unfold.backends.llvm.slots import Slot

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which function of the native code each call takes."""
    found: list[str] = []
    for name in ("run", "again"):
        original = getattr(Slot, name)

        def noted(self: Slot, *args: Any, name: str = name, original: Any = original) -> None:
            found.append(name)
            original(self, *args)

        monkeypatch.setattr(Slot, name, noted)
    return found


def agrees(model: Any, calls: list[str], sizes: dict[str, int], **given: Any) -> None:
    """Segments of 3 steps against the whole, for values that are large where they must not be."""
    whole, cut_up = (
        unfold.compile(model, sizes=sizes, mode="reverse", checkpoint=k) for k in (None, 3)
    )
    params = whole.init(2, T=20)
    want = whole.value_and_grad(params, **given)
    for _ in range(2):  # storages are those of the call before
        calls.clear()
        got = cut_up.value_and_grad(params, **given)
        np.testing.assert_allclose(got[0], want[0], rtol=1e-12)
        for name, g in want[1].items():
            np.testing.assert_allclose(got[1][name], g, rtol=1e-10, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("name", ["lstm", "gru", "elman"])
def test_weights_are_prepared_once_for_all_segments_of_a_sweep(name: str, calls: list[str]) -> None:
    model = unfold.load(EXAMPLES / f"{name}.rec")
    sizes = {"D": 3, "H": 64, "K": 2}
    rng = np.random.default_rng(1)
    given: dict[str, Any] = {"x": rng.normal(size=(20, 3))}
    given |= (
        {"c": rng.integers(0, 2, 20)} if name == "elman" else {"target": rng.normal(size=(20, 2))}
    )
    agrees(model, calls, sizes, **given)
    # Steps 0..20 are seven segments; the last one of each sweep is not asked for its edge.
    assert calls.count("again") >= 10
    assert calls.count("run") <= 4


def test_new_parameters_are_prepared_in_the_next_call() -> None:
    model = unfold.load(EXAMPLES / "lstm.rec")
    whole, cut_up = (unfold.compile(model, D=3, H=24, K=2, checkpoint=k) for k in (None, 4))
    rng = np.random.default_rng(1)
    given: dict[str, Any] = {"x": rng.normal(size=(20, 3)), "target": rng.normal(size=(20, 2))}
    params = whole.init(0)
    for _ in range(3):
        want, got = (f.value_and_grad(params, **given) for f in (whole, cut_up))
        np.testing.assert_allclose(got[1]["W_hi"], want[1]["W_hi"], rtol=1e-10, atol=1e-13)
        for array in params.values():
            array += 0.1 * rng.normal(size=array.shape)


DEPENDENT = {
    "positions": """
model m(H):
    input  x[t]: real[H]
    param  U: real[H, H] ~ orthogonal
    param  a: real[H] = 0.3
    p[t] = sin(a * t)
    s[0] = 0
    s[t] = tanh(U @ s[t-1] + p[t] * x[t])
    loss = mean[t](norm(s[t])) + sum(s[T]) / T
    minimize loss
""",
    "families": """
model m(H):
    input  x[t]: real[H]
    param  U[t]: real[H, H] ~ orthogonal
    param  b[t]: real[H] ~ normal(0.5)
    s[0] = 0
    s[t] = tanh(U[t] @ s[t-1] + b[t] + x[t])
    loss = mean[t](norm(s[t]))
    minimize loss
""",
    "chains of parameters": """
model m(H):
    input  x[t]: real[H]
    param  U, V: real[H, H] ~ orthogonal
    param  b: real[H] = 0.2
    p[0] = b
    p[t] = tanh(V @ p[t-1] + 0.1)
    s[0] = 0
    s[t] = tanh(U @ s[t-1] + p[t] * x[t])
    loss = mean[t](norm(s[t]))
    minimize loss
""",
    "pieces": """
model m(H):
    input  x[t]: real[H]
    param  U, V: real[H, H] ~ orthogonal
    param  b, c: real[H] = 0.2
    s[0] = 0
    s[t] = tanh(U @ s[t-1] + x[t] + (b + c)) for t <= 4
    s[t] = tanh((U + V) @ s[t-1] + x[t] + b * c) for t >= 5
    loss = mean[t](norm(s[t]))
    minimize loss
""",
}


@pytest.mark.parametrize("batch", [None, 1, 3])
@pytest.mark.parametrize("text", DEPENDENT.values(), ids=DEPENDENT.keys())
def test_what_depends_on_where_a_segment_lies_is_computed_for_each(
    text: str, batch: int | None, calls: list[str]
) -> None:
    lead = () if batch is None else (batch,)
    x = np.random.default_rng(3).normal(size=(*lead, 20, 20))
    agrees(unfold.loads(text), calls, {"H": 20}, x=x)


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize(("steps", "size"), [(20, 4), (19, 4), (20, 7), (3, 100)])
def test_storages_go_back_when_a_series_ends_and_are_those_of_the_bill(
    steps: int, size: int, batch: int | None
) -> None:
    fn = unfold.compile(EXAMPLES / "lstm.rec", D=3, H=24, K=2, checkpoint=size)
    rng = np.random.default_rng(1)
    lead = () if batch is None else (batch,)
    given: dict[str, Any] = {
        "x": rng.normal(size=(*lead, steps, 3)), "target": rng.normal(size=(*lead, steps, 2))
    }  # fmt: skip
    told = dict(fn.memory(T=steps, B=batch).work)
    kernel: Any = fn.compiler.gradient(tuple(fn.params), ("loss",)).kernel
    for _ in range(3):
        fn.value_and_grad(fn.init(), **given)
        idle = [s for _, k in kernel.sweeps.values() for found in k._pool.values() for s in found]
        held = sum(slot.nbytes for slot in idle)
        spare = sum(64 * (len(slot.entry.image.record.work) + 1) for slot in idle)
        assert 0 <= held - (sum(told.values()) - told["borders"]) <= spare
    # Steps 0..T are one more than T.
    assert told["borders"] == -(-(steps + 1) // size) * 2 * 24 * 8 * (batch or 1)


def test_a_failure_in_a_segment_leaves_the_function_as_it_was() -> None:
    text = """
model m():
    input  x[t]: real
    param  a: real = 0.3
    solve z[t] by picard(tol = 1e-12, max_steps = 50):
        z[t] = a * x[t] * z[t] + s[t-1] + 1
    s[0] = 0
    s[t] = tanh(z[t])
    loss = mean[t](s[t] ** 2)
    minimize loss
"""
    whole, cut_up = (unfold.compile(text, mode="reverse", checkpoint=k) for k in (None, 3))
    good = np.full(10, 0.5)
    bad = good.copy()
    bad[6] = 100.0
    for f in (whole, cut_up):
        with pytest.raises(unfold.SolverError, match=r"z\["):
            f.value_and_grad(f.init(), x=bad)
    want, got = (f.value_and_grad(f.init(), x=good) for f in (whole, cut_up))
    np.testing.assert_allclose(got[1]["a"], want[1]["a"], rtol=1e-9)
