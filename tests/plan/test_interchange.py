"""Interchange: sums of products over a few places go outside of loops over time."""

from __future__ import annotations

from unfold.check import elaborate
from unfold.plan import interchange, plan, split, verify
from unfold.transform import adjoint

HEAD = """
model m(H, N):
    axis   k: 0..3
    axis   s: T
    input  x[t]: real[H]
    param  A[k]: real[H, H]
    param  a[k]: real
"""


def shown(equations: str, backward: bool = False) -> str:
    p = elaborate(HEAD + equations).bind({"H": 2, "N": 2})
    return str(verify(interchange(split(plan(adjoint(p) if backward else p)))))


def test_a_sum_of_products_is_added_term_by_term() -> None:
    text = shown("""
    v[t] = x[t] + sum[k](A[k] @ x[t-2*k] if t > 2*k else 0)
    output v[t]
""")
    assert "v[t] = x[t]\n" in text
    assert "in max(2*k + 1, 1)..T:\n                v[t] += A[k] @ x[t-2*k]" in text
    assert "sum[" not in text


def test_a_sum_inside_of_a_function_becomes_a_variable() -> None:
    text = shown("""
    v[t] = tanh(sum[k](A[k] @ x[t-k] if t > k else 0))
    output v[t]
""")
    assert "v_sum[t] += A[k] @ x[t-k]" in text
    assert "v[t] = tanh(v_sum[t])" in text


def test_so_do_sums_of_the_adjoint() -> None:
    text = shown("""
    u[t] = tanh(x[t] * a[0])
    v[t] = sum[k](A[k] @ u[t-k] if t > k else 0)
    loss = sum[t](sum(v[t] ** 2))
    minimize loss
""", backward=True)  # fmt: skip
    assert "+= A[k]' @ " in text


def test_what_gains_nothing_stays_where_it_is() -> None:
    for equation in (
        "v[t] = sum[k](a[k] * x[t-k] if t > k else 0)",  # numbers
        "v[t] = sum[s <= t](A[0] @ x[s])",  # over all of time
        "v[t] = sum[k](A[k] @ x[t-k] if t > k and 2*k < T else 0)",  # as many terms as T allows
    ):
        assert "sum[" in shown(f"    {equation}\n    output v[t]\n"), equation
    text = shown("    v[0] = 0\n    v[t] = sum[k](A[k] @ (x[t] + v[t-1]))\n    output v[t]\n")
    assert "sum[" in text  # A recurrence takes its steps one by one.
