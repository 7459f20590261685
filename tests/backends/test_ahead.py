"""What the next step reads is asked for early where it is far, and only there."""

from __future__ import annotations

import re

import pytest

import unfold
from tests.benchmarks.peers import CELLS
from unfold.backends.llvm import choose
from unfold.backends.llvm.elementwise import Formats
from unfold.backends.llvm.tiles.generate import Generator
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
    text = str(Generator(plan, Formats("float"), 8, False, True).module)
    loops = re.findall(r"define internal void @loop\.\d+\(.*?\n}", text, re.DOTALL)
    assert loops
    return [n for loop in loops if (n := loop.count("call void @llvm.prefetch"))]


def test_the_way_back_asks_for_the_gates_and_the_state_of_the_step_before() -> None:
    # i, f, g, o and c[t-1] of the step before; c[t] of that step is c[t-1] of this one.
    assert 5 in asked(128)


@pytest.mark.parametrize("H", [4, 32])
def test_small_systems_stay_in_the_cache_and_ask_for_nothing(H: int) -> None:
    assert not asked(H)
