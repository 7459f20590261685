"""Agreement with PyTorch's optimisers, clipping and schedules, by torch_reference.py."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold
from unfold.train import schedules
from unfold.train.schedules import Cosine, Exponential, Linear, Sequence, Step

HERE = Path(__file__).parent
STEPS, RATE = 100, 0.2
TEXT = """
model m(D, H):
    input  x[t]: real[D]
    input  y[t]: real
    param  W: real[H, D]
    param  U: real[H, H]
    param  b, v: real[H]
    h[0] = 0
    h[t] = tanh(W @ x[t] + U @ h[t-1] + b)
    loss = mean[t]((sum(v * h[t]) - y[t]) ** 2)
    minimize loss
"""
WARM = Sequence([Linear(20, 0.05), Cosine(80)], [20])
RUNS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sgd": (unfold.SGD(0.1), {}),
    "sgd decay": (unfold.SGD(0.1, decay=0.02), {}),
    "momentum": (unfold.SGD(0.05, momentum=0.9), {}),
    "dampening": (unfold.SGD(0.1, momentum=0.8, dampening=0.3), {"decay": 0.01}),
    "nesterov": (unfold.SGD(0.03, momentum=0.9, nesterov=True), {}),
    "rmsprop": (unfold.RMSprop(0.01), {}),
    "rmsprop momentum": (unfold.RMSprop(0.003, alpha=0.9, momentum=0.9), {}),
    "rmsprop centred": (unfold.RMSprop(0.01, eps=1e-6, centred=True), {}),
    "rmsprop all": (
        unfold.RMSprop(0.003, alpha=0.95, momentum=0.5, centred=True, eps=1e-6),
        {"decay": {"*": 0.01}},
    ),
    "adam": (unfold.Adam(0.02), {}),
    "adam decay": (unfold.Adam(0.02, beta1=0.8, beta2=0.99, eps=1e-6, decay=0.01), {}),
    "adamw": (unfold.AdamW(0.02, decay=0.1), {}),
    "adamw by name": (unfold.AdamW(0.02), {"decay": {"W*": 0.3, "U": 0.3}}),
    "adam norm": (unfold.Adam(0.02), {"clip_norm": 0.05}),
    "sgd norm": (unfold.SGD(0.5), {"clip_norm": 0.2}),
    "sgd value": (unfold.SGD(0.5, momentum=0.5), {"clip_value": 0.02}),
    "adam cosine": (unfold.Adam(0.05), {"schedule": Cosine(100, final=0.1)}),
    "adam warm": (unfold.Adam(0.05), {"schedule": WARM}),
}


@pytest.fixture(scope="module")
def torch() -> dict[str, Any]:
    with np.load(HERE / "torch.npz") as file:
        return dict(file)


@cache
def compiled(dtype: str, backend: str = "llvm") -> unfold.Function:
    return unfold.compile(TEXT, D=3, H=4, dtype=dtype, backend=backend)


@pytest.mark.parametrize("name", RUNS)
def test_a_hundred_steps_end_where_those_of_pytorch_do(name: str, torch: dict[str, Any]) -> None:
    optimiser, options = RUNS[name]
    fn = compiled("float64")
    start = {n: torch[f"start {n}"] for n in ("W", "U", "b", "v")}
    trainer = fn.trainer(start, optimiser, **options)
    data = {"x": torch["x"], "y": torch["y"]}
    losses, norms = [], []
    for _ in range(STEPS):
        losses.append(trainer.step(data))
        norms.append(trainer.grad_norm)
    end = np.concatenate([a.ravel() for a in trainer.params.values()])
    np.testing.assert_allclose(losses[::10], torch[f"{name}: losses"], rtol=1e-9)
    np.testing.assert_allclose(end, torch[f"{name}: end"], rtol=0, atol=1e-9)
    if f"{name}: norms" in torch:
        np.testing.assert_allclose(norms[::10], torch[f"{name}: norms"], rtol=1e-8)


# Not centred RMSprop: it takes the difference of two near numbers.
@pytest.mark.parametrize("name", ["momentum", "rmsprop", "adam", "adamw by name", "adam warm"])
def test_float32_follows_at_its_own_precision(name: str, torch: dict[str, Any]) -> None:
    optimiser, options = RUNS[name]
    start = {n: torch[f"start {n}"] for n in ("W", "U", "b", "v")}
    data = {n: torch[n].astype(np.float32) for n in ("x", "y")}
    far = {}
    for backend in ("numpy", "llvm"):
        trainer = compiled("float32", backend).trainer(start, optimiser, **options)
        losses = [trainer.step(data) for _ in range(STEPS)]
        np.testing.assert_allclose(losses[::10], torch[f"{name}: losses"], rtol=2e-5)
        end = np.concatenate([a.ravel() for a in trainer.params.values()])
        assert end.dtype == np.float32
        far[backend] = np.abs(end - torch[f"{name}: end"]).max()
    # Rounding grows on the way, with some optimisers more than with others: NumPy's tells how much.
    assert far["numpy"] < 5e-5
    assert far["llvm"] < 3 * far["numpy"]


def test_all_optimisers_are_compared(torch: dict[str, Any]) -> None:
    assert {n.partition(": ")[0] for n in torch if n.endswith(": end")} == set(RUNS)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("constant", schedules.Constant()),
        ("step", Step(15, factor=0.5)),
        ("exponential", Exponential(0.97)),
        ("cosine", Cosine(100, final=0.1)),
        ("linear", Linear(20, first=0.05)),
        ("warm, then cosine", WARM),
        ("exponential and step", Exponential(0.97) * Step(15, factor=0.5)),
    ],
)
def test_schedules_are_those_of_pytorch(name: str, schedule: Any, torch: dict[str, Any]) -> None:
    rates = [RATE * schedule(step) for step in range(STEPS)]
    np.testing.assert_allclose(rates, torch[f"schedule {name}"], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("k", range(3))
@pytest.mark.parametrize("name", ["norm", "value"])
def test_gradients_are_clipped_as_by_pytorch(name: str, k: int, torch: dict[str, Any]) -> None:
    given: dict[str, Any] = {n: torch[f"clip {name} {k} {n}"] for n in ("first", "second", "third")}
    # The gradient of this loss is what is given, and the step of rate 1 what is made of it.
    fn = unfold.compile("""
model linear:
    input  a: real[11]
    input  b: real[3, 5]
    input  c: real
    param  first: real[11]    = 0
    param  second: real[3, 5] = 0
    param  third: real        = 0
    loss = sum(a * first) + sum(b * second) + c * third
    minimize loss
""")
    bound: Any = {f"clip_{name}": 1.5}
    trainer = fn.trainer(fn.init(), unfold.SGD(1.0), **bound)
    trainer.step(a=given["first"], b=given["second"], c=given["third"])
    for n, moved in trainer.params.items():
        expected = torch[f"clipped {name} {k} {n}"]
        np.testing.assert_allclose(-moved, expected, rtol=1e-14, atol=1e-15)
    norm = np.sqrt(sum(np.sum(g**2) for g in given.values()))
    assert trainer.grad_norm == pytest.approx(norm, rel=1e-14)
