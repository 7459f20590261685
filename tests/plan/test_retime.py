"""Retiming: what reads one other step alone is computed at that step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings

import unfold
from tests.strategies import arrays, programs
from unfold.backends import numpy as interpreter
from unfold.check import elaborate
from unfold.plan import hoist, plan, retime
from unfold.program import Program, verify
from unfold.transform import adjoint

EXAMPLES = Path(__file__).parents[2] / "examples"
GATED = """
model gated(H):
    input  f[t]: real[H]
    param  U: real[H, H]
    h[0] = 0
    h[t] = sigmoid(f[t]) * h[t-1] + tanh(U @ h[t-1])
    loss = sum[t](sum(h[t] ** 2))
    minimize loss
"""


def gated() -> Program:
    return adjoint(elaborate(GATED).bind({"H": 3}))


def test_a_term_of_the_next_step_alone_is_kept_from_that_step() -> None:
    text = """
model m(H):
    input  a[t]: real[H]
    f[t] = sigmoid(a[t])
    c[T] = a[T]
    c[t] = a[t] + c[t+1] * f[t+1] for t <= T-1
    output c[t], f[t]
"""
    shown = str(plan(retime(elaborate(text).bind({"H": 2}))))
    assert "c_kept[t] = c[t] * f[t]" in shown
    assert "c[t] = a[t] + c_kept[t+1]" in shown


def test_what_follows_a_chain_reads_what_was_kept() -> None:
    text = """
model m(H):
    input  a[t]: real[H]
    param  W: real[H, H]
    f[t] = sigmoid(a[t])
    c[T] = a[T]
    c[t] = a[t] + c[t+1] * f[t+1] for t <= T-1
    b = W @ a[1] + c[1] * f[1]
    output c[t], b
"""
    shown = str(plan(retime(elaborate(text).bind({"H": 2}))))
    assert "b = (W @ a[1]) + c_kept[1]" in shown


def test_a_learnt_beginning_keeps_no_gate_beside_its_gradient() -> None:
    model = unfold.load(EXAMPLES / "lstm.rec")
    fn = unfold.compile(model, D=8, H=32, K=4, dtype="float32", mode="reverse")
    one = 4 * 20_000 * 32  # bytes of a vector at every step
    kept = sum(fn.memory(T=20_000).work.values()) / one
    assert kept < 7.5  # four gates, h, c, what comes from the loss; y and weights


def test_a_term_that_reads_its_own_step_too_stays() -> None:
    p = elaborate(GATED).bind({"H": 3})
    assert retime(p).equations == p.equations


def test_a_kept_value_needs_no_condition_on_its_position() -> None:
    p = retime(hoist(gated()))
    kept = [eq for eq in p.equations if eq.name.endswith("_kept")]
    assert len({eq.name for eq in kept}) == len(kept)
    assert all(len(eq.domain.constraints) <= 2 for eq in kept)


@settings(max_examples=40, deadline=None)
@given(programs())
def test_retiming_changes_no_value(p: Program) -> None:
    q = adjoint(p)
    lengths = {"T": max(4, p.minimum.get("T", 1))}
    data = arrays(q, lengths)
    want = interpreter.compile(q)(data, lengths, None, None)
    got = interpreter.compile(verify(retime(hoist(q))))(data, lengths, None, None)
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-10, atol=1e-12)
