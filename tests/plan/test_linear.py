"""Sums over what only one factor of a product depends on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import unfold
from tests.strategies import arrays
from tests.strategies_axes import texts
from unfold.backends import numpy as interpreter
from unfold.check import elaborate
from unfold.plan import linear, plan
from unfold.program import Program, verify
from unfold.transform import adjoint

EXAMPLES = Path(__file__).parents[2] / "examples"


def bound(name: str) -> Program:
    p = adjoint(unfold.load(EXAMPLES / f"{name}.rec").program)
    return p.bind({n: k + 2 for k, n in enumerate(p.sizes)})


def same_values(p: Program, q: Program, lengths: dict[str, int]) -> None:
    data = arrays(p, lengths)
    want = interpreter.compile(p)(data, lengths, None, None)
    got = interpreter.compile(verify(q))(data, lengths, None, None)
    for n, value in want.items():
        np.testing.assert_allclose(got[n], value, rtol=1e-9, atol=1e-11, err_msg=n)


def test_what_is_read_at_pairs_is_summed_over_either_side_once() -> None:
    shown = str(plan(linear(bound("seq2seq_attention"))))
    assert "alpha_pre_bar_sum[t] = sum[s >= 1, S >= s](alpha_pre_bar[t, s])" in shown
    assert "alpha_pre_bar_sum_1[s] = sum[t >= 1, T >= t](alpha_pre_bar[t, s])" in shown
    assert "U_a' @ alpha_pre_bar_sum_1[s]" in shown
    assert "sum[t >= 1, T >= t](outer(alpha_pre_bar_sum[t], d[t-1]))" in shown
    assert "b_a_bar = sum[s >= 1, S >= s](alpha_pre_bar_sum_1[s])" in shown
    assert shown.count("sum[s >= 1, S >= s](alpha_pre_bar[") == 1


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("name", ["seq2seq_attention", "cross_attention", "causal_attention"])
def test_gradients_are_the_same(name: str, steps: int) -> None:
    p = bound(name)
    same_values(p, linear(p), {n: steps + k for k, n in enumerate(p.lengths)})


SUMS = {
    "a triangle": ("sum[s <= t](U @ a[t,s])", "U @ a_sum[t]"),
    "part of a row": ("sum[s >= 2](U @ a[t,s])", "U @ sum[s >= 2, "),
    "a row moved by one": ("sum[s <= t-1](U @ a[t-1,s])", "U @ a_sum[t-1]"),
    "a vector on the left": ("sum[s](x[s] @ U)", "sum[s >= 1, T >= s](x[s]) @ U"),
    "a sum of matrices": ("sum[s](outer(x[s], x[s]) @ x[t])", "](outer(x[s], x[s]) @ x[t])"),
    "a number": ("sum[s](x[t][0] * x[s] * 2)", " * sum[s >= 1, T >= s](x[s])"),
    "a vector": ("sum[s](x[t] * exp(x[s]))", "y[t] = x[t] * sum[s >= 1, T >= s](exp(x[s]))"),
    "a number in one of two terms": (
        "sum[s](x[t][0] * x[s] + x[s] ** 2)",
        "axis = 0) * x[s]) + (x[s] ** 2",
    ),
    "a term that stays": ("sum[s](U @ x[s] + x[s] ** 2)", "+ sum[s >= 1, T >= s](x[s] ** 2"),
}


@pytest.mark.parametrize("case", SUMS.values(), ids=SUMS)
def test_a_product_stands_outside_of_a_sum(case: tuple[str, str]) -> None:
    text, found = case
    domain = "for s <= t" if "a[" in text and ">=" not in text else ""
    where = "for t >= 2" if "t-1" in text else ""
    first = "\n    y[1] = x[1]" if where else ""
    p = elaborate(
        f"""
model m(H):
    axis   s: T
    input  x[t]: real[H]
    param  U: real[H, H]
    a[t,s] = x[s] * x[t] {domain}
    y[t] = {text} {where}{first}
    output y[t]
"""
    ).bind({"H": 3})
    q = linear(p)
    assert found in str(plan(q))
    for steps in (1, 2, 5):
        same_values(p, q, {"T": steps})


def test_sums_over_nothing_are_zero() -> None:
    p = elaborate(
        """
model m(H):
    axis   s: T
    input  x[t]: real[H]
    param  U: real[H, H]
    a[t,s] = x[s] * x[t] for s <= t-2
    y[t] = x[t] + sum[s <= t-2](U @ a[t,s])
    output y[t]
"""
    ).bind({"H": 2})
    for steps in (1, 2, 5):
        same_values(p, linear(p), {"T": steps})


@settings(max_examples=30, deadline=None)
@given(texts())
def test_random_programs_keep_their_values(text: str) -> None:
    p = adjoint(elaborate(text))
    p = p.bind({n: k + 2 for k, n in enumerate(p.sizes)})
    steps = max(4, *p.minimum.values()) if p.minimum else 4
    same_values(p, linear(p), {n: steps + k for k, n in enumerate(p.lengths)})
