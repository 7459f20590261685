"""Products that are read in parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import unfold
from tests.strategies import arrays, programs
from unfold.backends import numpy as interpreter
from unfold.check import elaborate
from unfold.plan import hoist, parts, plan
from unfold.program import Program, verify
from unfold.transform import adjoint

EXAMPLES = Path(__file__).parents[2] / "examples"
SIZES = {"D": 3, "H": 4, "K": 2}


def bound(name: str) -> Program:
    p = adjoint(unfold.load(EXAMPLES / f"{name}.rec").program)
    return p.bind({n: SIZES[n] for n in p.sizes})


def test_each_direction_has_its_own_part_of_a_product() -> None:
    shown = str(plan(hoist(parts(bound("birnn")))))
    assert "y_pre_bar" not in shown
    assert "h_f_bar_in[t] = slice(V, axis = 1, hi = 4, lo = 0)' @ y_bar[t]" in shown
    assert "h_b_bar_in[t] = slice(V, axis = 1, hi = 8, lo = 4)' @ y_bar[t]" in shown


def test_vectors_end_to_end_are_not_copied_for_a_gradient() -> None:
    assert "V_bar_factor" not in str(plan(hoist(bound("birnn"))))


APART = "a[t] = tanh(y[t][0:2])\n    b[t] = tanh(y[t][2:4])\n    c = 0"
READS = {
    "whole": "a[t] = y[t][0:2] + b[t]\n    b[t] = tanh(y[t][2:4])\n    c = sum[t](sum(y[t]))",
    "overlap": "a[t] = tanh(y[t][0:2])\n    b[t] = tanh(y[t][1:3])\n    c = 0",
    "twice": "a[t] = y[t][0:2] * y[t][2:4]\n    b[t] = a[t]\n    c = 0",
    "repeated": "a[t] = tanh(y[t][0:2])\n    b[t] = y[1][2:4]\n    c = 0",
}


def reading(reads: str) -> Program:
    text = f"""
model m():
    input  x[t]: real[3]
    param  W: real[4, 3]
    y[t] = W @ x[t]
    {reads}
    output a[t], b[t], c
"""
    p = elaborate(text)
    return p.with_(vars={n: replace(v, generated=n == "y") for n, v in p.vars.items()})


@pytest.mark.parametrize("reads", READS.values(), ids=READS)
def test_nothing_is_computed_twice(reads: str) -> None:
    p = reading(reads)
    assert parts(p).equations == p.equations


def test_parts_that_are_apart_are_products_of_their_own() -> None:
    assert {eq.name for eq in parts(reading(APART)).equations} == {"a", "b", "c"}


@pytest.mark.parametrize("name", ["birnn", "stacked_bigru"])
def test_gradients_of_parts_are_the_same(name: str) -> None:
    p = bound(name)
    q = verify(parts(p))
    assert q.equations != p.equations
    lengths = {"T": 5}
    data = arrays(p, lengths)
    want = interpreter.compile(p)(data, lengths, None, None)
    got = interpreter.compile(q)(data, lengths, None, None)
    for n, value in want.items():
        np.testing.assert_allclose(got[n], value, rtol=1e-10, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(programs())
def test_random_programs_keep_their_values(p: Program) -> None:
    q = adjoint(p)
    lengths = {"T": max(4, p.minimum.get("T", 1))}
    data = arrays(q, lengths)
    want = interpreter.compile(q)(data, lengths, None, None)
    got = interpreter.compile(verify(parts(q)))(data, lengths, None, None)
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-10, atol=1e-12)
