"""Copies and what one variable alone reads: found by their readers, not kept for all of time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import unfold
from tests.strategies import arrays, programs
from unfold.backends import numpy as interpreter
from unfold.check import elaborate
from unfold.plan import forward
from unfold.program import Program, verify
from unfold.transform import adjoint

LOSS = """
model m(H):
    input  x[t]: real[H]
    param  U: real[H, H] ~ orthogonal
    h[0] = 0
    h[t] = tanh(U @ h[t-1] + x[t])
    y[t] = h[t]
    loss = sum[t](sum(y[t] ** 2)) / T
    minimize loss
"""


def bound(text: str) -> Program:
    return adjoint(elaborate(text)).bind({"H": 2})


def defined(p: Program) -> set[str]:
    return {eq.name for eq in p.equations}


def test_a_copy_of_the_states_and_its_adjoint_go() -> None:
    p = bound(LOSS)
    assert {"y", "y_bar"} <= defined(p)
    q = verify(forward(p))
    assert defined(p) - defined(q) == {"y", "y_bar"}
    same(p, q)


@pytest.mark.parametrize(
    "line",
    [
        "output y[t]",  # a result
        "z[t] = y[T+1-t]\n    output z[t]",  # a copy, but of other elements
        "y2[t] = 2 * h[t]\n    output y2[t]",  # no copy, and the user's name
    ],
)
def test_results_and_what_has_a_meaning_of_its_own_stay(line: str) -> None:
    p = bound(LOSS.replace("    minimize loss", f"    minimize loss\n    {line}"))
    q = verify(forward(p))
    name = line.split("[")[0].split()[-1]
    assert name in defined(q)
    same(p, q)


def test_what_two_variables_read_is_computed_once() -> None:
    """The adjoint of y goes to two chains: it stays."""
    text = LOSS.replace(
        "y[t] = h[t]", "g[0] = 0\n    g[t] = U @ g[t-1] + x[t]\n    y[t] = h[t] * g[t]"
    )
    p = bound(text)
    q = verify(forward(p))
    assert "y_bar" in defined(q)
    same(p, q)


@settings(max_examples=40, deadline=None)
@given(programs())
def test_random_programs_keep_their_values(p: Program) -> None:
    same(adjoint(p), verify(forward(adjoint(p))))


def same(p: Program, q: Program) -> None:
    lengths = {"T": max(5, p.minimum.get("T", 1))}
    data = arrays(p, lengths)
    want, got = (interpreter.compile(r)(data, lengths, None, None) for r in (p, q))
    assert want.keys() == got.keys()
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-10, atol=1e-12)


def test_a_gradient_keeps_the_states_once() -> None:
    fn = unfold.compile(LOSS, H=64, dtype="float32", mode="reverse")
    kept = sum(fn.memory(T=5000, B=8).work.values())
    states = 64 * 5000 * 8 * 4
    assert states <= kept <= 1.1 * states
