"""What loops and searches do not change is computed once, outside of them."""

from __future__ import annotations

from unfold.check import elaborate
from unfold.plan import hoist, plan, steady, verify
from unfold.program import verify as verify_program

HEAD = """
model m(H):
    axis   s: T
    input  x[t]: real[H]
    param  W: real[H, H]
"""


def shown(equations: str) -> str:
    p = steady(elaborate(HEAD + equations).bind({"H": 2}))
    return str(verify(plan(verify_program(p))))


def test_functions_of_what_is_given_leave_a_search() -> None:
    text = shown("""
    solve z[t] by picard(tol = 1e-9):
        z[t] = tanh(0.1 * W @ z[t]) * exp(x[t]) + x[t]
    output z[t]
""")
    assert "z_in[t] = exp(x[t])" in text
    assert "(tanh((0.1 * W) @ z[t]) * z_in[t]) + x[t]" in text


def test_a_reduction_leaves_the_loop_that_does_not_change_it() -> None:
    text = shown("""
    a[t, s] = exp(x[s] - logsumexp[s](sum(x[s] * x[t])))
    output a[t, s]
""")
    (line,) = [line for line in text.splitlines() if "logsumexp" in line]
    assert line.strip().startswith("a_in[t] = logsumexp")


def test_equal_reductions_are_one_whatever_their_indices_are_called() -> None:
    text = shown("""
    a[t, s] = x[s] * max[u in 1..T](sum(x[u] * x[t]))
    b[s, t] = x[t] * max[k in 1..T](sum(x[k] * x[s]))
    output a[t, s], b[s, t]
""")
    assert text.count("max[") == 1


def test_what_changes_with_every_loop_stays() -> None:
    text = shown("""
    a[t, s] = x[s] * sum[u in 1..T](sum(x[u] * x[t]) * sum(x[u] * x[s]))
    h[0] = 0
    h[t] = h[t-1] + sum(h[t-1]) * x[t]
    output a[t, s], h[t]
""")
    assert "_in" not in text


def test_functions_of_parameters_leave_loops() -> None:
    text = shown("""
    h[0] = 0
    h[t] = x[t] / exp(W[0]) + softmax(W, axis = 1)[0] * h[t-1]
    output h[t]
""")
    shared, body = text.split("for each sequence:")
    assert "= exp(" in shared
    assert "softmax(W, axis = 1)" in shared
    assert "h[t] = (x[t] / h_fixed) + (h_fixed_1 * h[t-1])" in body


def test_a_matrix_that_is_read_across_its_rows_is_turned_once() -> None:
    p = hoist(elaborate(TURNED).bind({"H": 2}))
    shared, body = str(verify(plan(verify_program(p)))).split("for each sequence:")
    assert "h_fixed = W'" in shared
    assert "h[t] = h_in[t] + logsumexp(h_fixed + h[t-1], axis = 1)" in body
    # A product takes it either way.
    assert "h_in[t] = W' @ x[t]" in body


TURNED = (
    HEAD
    + """
    h[0] = 0
    h[t] = logsumexp(W' + h[t-1], axis = 1) + W' @ x[t]
    output h[t]
"""
)
