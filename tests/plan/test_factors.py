"""Numbers that scale matrices scale products with vectors instead."""

from __future__ import annotations

import pytest

import unfold
from unfold.plan import factors
from unfold.show.program import equation_text


def shown(products: str) -> str:
    text = f"""
model m(N):
    input  W: real[N, N]
    input  x[t]: real[N]
    param  U: real[N, N] ~ normal(1)
    param  a: real = 0.5
    y[t] = {products}
    output y[t]
"""
    program = factors(unfold.compile(unfold.loads(text), N=3).program)
    (eq,) = program.pieces("y")
    return equation_text(program, eq).split("=", 1)[1].strip()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("0.9 * W @ x[t]", "0.9 * (W @ x[t])"),
        ("(W * a) @ x[t]", "a * (W @ x[t])"),
        ("(0.9 * W)' @ x[t]", "0.9 * (W' @ x[t])"),
        ("x[t] @ (a * W)", "a * (x[t] @ W)"),
        # What depends on parameters alone is computed once, and products of matrices gain nothing.
        ("(a * U) @ x[t]", "(a * U) @ x[t]"),
        ("((a * W) @ W) @ x[t]", "(a * W) @ W @ x[t]"),
    ],
)
def test_a_number_leaves_the_matrix(before: str, after: str) -> None:
    assert shown(before) == after
