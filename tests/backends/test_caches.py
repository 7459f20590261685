"""What is done for the caches: places of rows, what is asked for early; numbers stay the same."""

from __future__ import annotations

import re

import numpy as np
import pytest

import unfold
from tests.benchmarks.peers import CELLS
from unfold.backends.llvm import choose
from unfold.backends.llvm.elementwise import Formats
from unfold.backends.llvm.facts import Variant
from unfold.backends.llvm.tiles.generate import Generator
from unfold.backends.llvm.tiles.stack import Member
from unfold.backends.llvm.tiles.storage import spaced
from unfold.plan import hoist, retime
from unfold.transform import adjoint

LSTM = """
model main(D, H):
    input  x[t]: real[D]
    net = lstm(x, H)
    loss = mean[t](mean(net.h[t] ** 2))
    minimize loss
"""


def asked(H: int) -> list[int]:
    """How many lines each loop of an LSTM's gradient asks for, of those that ask."""
    program = unfold.compile(unfold.loads(CELLS + LSTM, model="main"), D=8, H=H).program
    plan = choose.arranged(retime(hoist(adjoint(program))), small=False)
    text = str(Generator(plan, Formats("float"), 8, Variant(1, False, True)).module)
    loops = re.findall(r"define internal void @loop\.\d+\(.*?\n}", text, re.DOTALL)
    assert loops
    return [n for loop in loops if (n := loop.count("call void @llvm.prefetch"))]


def test_the_way_back_asks_for_the_gates_and_the_state_of_the_step_before() -> None:
    # i, f, g, o and c[t-1] of the step before; c[t] of that step is c[t-1] of this one.
    assert 5 in asked(128)


@pytest.mark.parametrize("H", [4, 32])
def test_small_systems_stay_in_the_cache_and_ask_for_nothing(H: int) -> None:
    assert not asked(H)


def test_rows_of_a_bundle_do_not_fall_on_few_places() -> None:
    rows = {"wide": Member("wide", 0, 512), "odd": Member("odd", 0, 400), "w": Member("w", 0, 512)}
    found = spaced(rows, frozenset({"w"}), 4)
    assert found["wide"].total * 4 == 2048 + 64
    assert found["odd"] == rows["odd"]
    assert found["w"] == rows["w"]  # a sum is one row alone


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("lengths", [None, [7, 4, 6]])
def test_wide_rows_have_the_same_gradients(
    cell: str, lengths: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gates of 2,048 bytes stand apart, and are asked for a step ahead."""
    monkeypatch.setattr(choose, "UNROLLED", -1)
    model = unfold.loads(CELLS + LSTM.replace("lstm", cell), model="main")
    H = {"lstm": 64, "gru": 128}[cell]
    native, same = (unfold.compile(model, D=3, H=H, backend=b) for b in ("llvm", "numpy"))
    x = np.random.default_rng(0).normal(size=(3, 7, 3))
    params = native.init(0)
    loss, grads = native.value_and_grad(params, x=x, lengths=lengths)
    expected, wanted = same.value_and_grad(params, x=x, lengths=lengths)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    for name, slope in wanted.items():
        np.testing.assert_allclose(grads[name], slope, rtol=1e-9, atol=1e-13, err_msg=name)
