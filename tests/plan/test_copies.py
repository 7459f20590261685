"""Vectors end to end, put together by each loop that reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import unfold
from tests.strategies import arrays, programs
from unfold.backends import numpy as interpreter
from unfold.check import elaborate
from unfold.plan import copies, hoist, plan
from unfold.program import Program, verify
from unfold.transform import adjoint

EXAMPLES = Path(__file__).parents[2] / "examples"
TWO = """
model two(H):
    input  x[t]: real[H]
    param  W, U: real[H, 2*H]
    h[t] = [x[t]; x[T+1-t]]
    f[0] = 0
    f[t] = tanh(W @ h[t] + f[t-1])
    b[T+1] = 0
    b[t] = tanh(U @ h[t] + b[t+1])
    loss = sum[t](sum(f[t] * b[t]))
    minimize loss
"""


def stacked() -> Program:
    p = adjoint(unfold.load(EXAMPLES / "stacked_bigru.rec").program)
    return p.bind({n: {"D": 3, "H": 4}.get(n, 2) for n in p.sizes})


def test_loops_of_both_directions_and_their_gradients_have_copies_of_their_own() -> None:
    shown = str(plan(hoist(copies(adjoint(elaborate(TWO)).bind({"H": 2})))))
    copied = [line.strip() for line in shown.splitlines() if "= concat(x[t], x[T-t+1]" in line]
    assert len(copied) == 4
    assert "h[t]" not in shown


def test_what_one_loop_alone_reads_has_one_copy() -> None:
    p = copies(stacked())
    copied = [n for n in p.vars if "h_copy" in n and any(eq.name == n for eq in p.equations)]
    # Two directions of two layers, their gradients, and the output with its own.
    assert len(copied) == 2 * (2 + 2) + 2
    assert not any(eq.name in ("layer.1.h", "layer.2.h", "layer.3.h") for eq in p.equations)


def test_results_stay() -> None:
    p = elaborate(TWO.replace("minimize loss", "output h[t], f[t], b[t]")).bind({"H": 2})
    assert copies(p) is p


@pytest.mark.parametrize("program", [adjoint(elaborate(TWO)).bind({"H": 2}), stacked()])
def test_copies_have_the_same_values(program: Program) -> None:
    q = verify(copies(program))
    assert q.equations != program.equations
    same(program, q)


@settings(max_examples=30, deadline=None)
@given(programs())
def test_random_programs_keep_their_values(p: Program) -> None:
    same(adjoint(p), verify(copies(adjoint(p))))


def same(p: Program, q: Program) -> None:
    lengths = {"T": max(5, p.minimum.get("T", 1))}
    data = arrays(p, lengths)
    want, got = (interpreter.compile(r)(data, lengths, None, None) for r in (p, q))
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-10, atol=1e-12)


def test_states_of_both_directions_are_kept_once() -> None:
    fn = unfold.compile(
        unfold.load(EXAMPLES / "stacked_bigru.rec"), dtype="float32", mode="reverse",
        D=32, H=64, K=4,
    )  # fmt: skip
    kept = sum(fn.memory(T=2000, B=8).work.values())
    # Of six chains r, z, n, h, and U @ h[t-1], of which n needs its share.
    states = 6 * 5 * 64 * 2000 * 8 * 4
    assert states <= kept <= 1.1 * states
