"""Kernels of a gradient are compiled while it is derived."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold
from tests.backends.test_stock import EDITED, MODEL, SIZES, gradient
from unfold.backends.llvm import cutting, foresight, generating, ir, jit
from unfold.backends.llvm.gemm import outer
from unfold.backends.llvm.machine import llvm_version
from unfold.backends.llvm.stock import Stock

GATES = """
model m(D, H):
    input x[t]: real[D]
    param W: real[H, D]
    param V: real[H, D]
    param U: real[H, H]
    param R: real[H, 3]
    h[0] = 0
    z[t] = sigmoid(W @ x[t] + U @ h[t-1])
    h[t] = z[t] * h[t-1] + (1 - z[t]) * tanh(V @ x[t])
    y[t] = h[t] @ R
    loss = mean[t](sum(y[t] ** 2))
    minimize loss
"""


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Stock:
    """An empty stock that is not kept on disk; two processors."""
    monkeypatch.setenv("UNFOLD_CACHE", "off")
    monkeypatch.setattr(generating, "threads", lambda: 2)
    monkeypatch.setattr(cutting, "_LINES", 100)
    made = Stock(jit.host(), llvm_version())
    monkeypatch.setattr(cutting, "stock", lambda: made)
    return made


def settled() -> None:
    cutting.settle()
    assert all(thread.name != cutting._AHEAD for thread in threading.enumerate())


def begun(text: str, **sizes: int) -> None:
    program = unfold.loads(text).program.bind(sizes, {})
    foresight.begin(program, "float32")
    settled()


def test_products_with_one_vector_are_one_product() -> None:
    program = unfold.loads(GATES).program.bind({"D": 8, "H": 40}, {})
    assert sorted(foresight.products(program)) == [
        (3, 40, False, True),
        (40, 40, True, True),
        (80, 8, True, False),
    ]


def test_gradients_of_weights_that_share_their_left_factor_are_foreseen_as_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """U and W are terms of one sum, R and V of others."""
    monkeypatch.setattr(outer, "PANELS_BYTES", {2: 2**30, 4: 2**30})
    module = ir.Module(jit.host())
    text = GATES.replace("tanh(V @ x[t])", "tanh(V @ (2 * x[t]))")
    program = unfold.loads(text).program.bind({"D": 70, "H": 80}, {})
    foresight.gradients(module, "float32", program)
    sums = {n.removeprefix("unfold.outer.f32.") for n in module.defined if ".outer." in n}
    assert sums == {"80x70_80", "80x70", "80x3"}


@pytest.mark.parametrize(
    ("text", "sizes"), [(MODEL, {"D": 8, "H": 32}), (GATES, {"D": 8, "H": 40})]
)
def test_what_is_foreseen_is_called(
    text: str, sizes: dict[str, int], fresh: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(text, **sizes)
    ready = set(fresh._parts)
    assert len(ready) >= 8
    monkeypatch.setattr("unfold.backends.llvm.foresee", lambda *_, **__: None)
    called: set[str] = set()
    original = Stock.found

    def noted(self: Stock, name: str) -> Any:
        called.add(name)
        return original(self, name)

    monkeypatch.setattr(Stock, "found", noted)
    fn = unfold.compile(text, sizes=sizes, dtype="float32")
    x = np.zeros((5, sizes["D"]), "float32")
    fn.value_and_grad(fn.init(seed=0), x=x)
    reached = {n for name in called & ready for p in original(fresh, name) or () for n in p.names}
    assert len(ready - reached) <= len(ready) / 3
    assert len(called & ready) >= len(called) / 2


def test_the_bits_are_those_without(fresh: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    with_it, _ = gradient(EDITED)
    settled()
    monkeypatch.setattr("unfold.backends.llvm.foresee", lambda *_, **__: None)
    other = Stock("another")
    monkeypatch.setattr(cutting, "stock", lambda: other)
    assert gradient(EDITED)[0] == with_it
    assert not fresh._promised


def test_small_programs_and_single_processors_begin_with_nothing(
    fresh: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(MODEL, D=2, H=2)
    monkeypatch.setattr(generating, "threads", lambda: 1)
    begun(MODEL, **SIZES)
    assert not fresh._parts


def test_what_goes_wrong_reaches_the_call_and_is_tried_again(
    fresh: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = jit.emitted

    def fails(text: str, *rest: Any) -> bytes:
        if threading.current_thread().name == cutting._AHEAD:
            raise MemoryError("no room for code")
        return original(text, *rest)

    waiting = threading.Event()

    def late(text: str, *rest: Any) -> bytes:
        waiting.wait(timeout=60)
        return fails(text, *rest)

    monkeypatch.setattr(jit, "emitted", late)
    program = unfold.loads(MODEL).program.bind(SIZES, {})
    foresight.begin(program, "float32")
    assert fresh._promised
    found = fresh.found(next(name for name in fresh._promised if "tanh" in name))
    assert found
    waiting.set()
    with pytest.raises(MemoryError, match="no room"):
        found[0].part()
    settled()
    assert not fresh._promised
    monkeypatch.setattr("unfold.backends.llvm.foresee", lambda *_, **__: None)
    monkeypatch.setattr(jit, "emitted", original)
    assert gradient(MODEL)[0] == gradient(MODEL)[0]


def test_a_gradient_that_cannot_be_derived_leaves_nothing_behind(fresh: Stock) -> None:
    interval = sys.getswitchinterval()
    text = MODEL.replace("minimize loss", "output h[t]")
    fn = unfold.compile(text, sizes=SIZES, dtype="float32")
    x = np.zeros((3, 8), "float32")
    with pytest.raises(unfold.InputError):
        fn.value_and_grad(fn.init(seed=0), x=x)
    settled()
    assert not fresh._promised
    assert sys.getswitchinterval() == interval


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_a_process_forks_when_no_thread_is_in_llvm(fresh: Stock, tmp_path: Path) -> None:
    program = unfold.loads(MODEL).program.bind(SIZES, {})
    foresight.begin(program, "float32")
    child = os.fork()
    if not child:
        names = [thread.name for thread in threading.enumerate()]
        os._exit(0 if cutting._AHEAD not in names and not fresh._promised else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
