"""Shapes and types are found by a least fixpoint, whatever the equations recur through."""

from __future__ import annotations

import pytest

import unfold
from tests.check.reading import codes, program
from unfold.check import elaborate
from unfold.poly import Poly, show_shape


def shape(body: str, name: str, head: str = "model m(D, H, K):") -> str:
    v = program(body + f"\nresult = {name}[T]\noutput result", head).vars[name]
    return f"{v.type}{show_shape(v.shape)}"


@pytest.mark.parametrize(
    ("equations", "found"),
    [
        # A literal fits any shape.
        ("h[0] = 0\nh[t] = tanh(W @ x[t] + U @ h[t-1])", "real[H]"),
        ("h[0] = 1\nh[t] = U @ h[t-1]", "real[H]"),
        ("h[0] = 1\nh[t] = h[t-1] @ U", "real[H]"),
        ("h[0] = 1\nh[t] = 2 * h[t-1]", "real"),
        ("h[0] = 1\nh[t] = h[t-1] * p[t]", "real"),
        ("h[0] = w\nh[t] = h[t-1] * p[t]", "real[H]"),
        ("h[0] = 0\nh[t] = h[t-1] + outer(w, x[t])", "real[H, D]"),
        # Through several variables, in any order.
        ("h[t] = g[t] * 2\ng[t] = f[t-1] + 1\nf[0] = 0\nf[t] = h[t] * p[t] + w", "real[H]"),
        ("h[0] = 0\nh[t] = (1 - z[t]) * h[t-1] + z[t] * tanh(U @ h[t-1])\n"
         "z[t] = sigmoid(W @ x[t] + U @ h[t-1])", "real[H]"),
        # Through functions that fix the shape.
        ("h[0] = 0\nh[t] = softmax(h[t-1] + w)", "real[H]"),
        ("h[0] = 0\nh[t] = sum(h[t-1] + w)", "real"),
        ("h[0] = 0\nh[t] = h[t-1] if t < 3 else w", "real[H]"),
        ("h[0] = 0\nh[t] = sum[s < t](h[s]) + w", "real[H]"),
        # Integers and truth values recur too.
        ("h[0] = n[1]\nh[t] = mod(h[t-1] + n[t], K)", "int<K>"),
        ("h[T] = argmax(x[T])\nh[t] = table[t+1][h[t+1]] for t < T\n"
         "table[t] = [argmax(x[t]), argmax(2 * x[t])]", "int"),
        ("h[0] = 0\nh[t] = where(b[t], h[t-1], mod(n[t] + n[t], 3))", "int<3>"),
        ("h[0] = 7\nh[t] = mod(n[t] + h[t-1], 3)", "int<8>"),
        ("h[0] = 2\nh[t] = mod(n[t] + h[t-1], 3)", "int<3>"),
        ("h[0] = -1\nh[t] = mod(n[t] + h[t-1], 3)", "int"),
        ("h[0] = true\nh[t] = h[t-1] and b[t]", "bool"),
        ("h[0] = int(0)\nh[t] = h[t-1] + 1", "int"),
        ("h[0] = 0\nh[t] = h[t-1] + 1", "real"),
        ("h[0] = 0\nh[t] = h[t-1] + n[t]", "int"),
        ("h[0] = 0\nh[t] = h[t-1] + n[t] / 2", "real"),
    ],
)  # fmt: skip
def test_the_shape_of_a_recurrent_variable_is_found(equations: str, found: str) -> None:
    around = """axis s: T
input x[t]: real[D]
input p[t]: real
input n[t]: int<K>
input b[t]: bool
param W: real[H, D]
param U: real[H, H]
param w: real[H]
"""
    if "table" in equations:
        # The look-up needs a bound: two candidates, two entries.
        head = "model m(H, K, D):"
        body = around.replace("x[t]: real[D]", "x[t]: real[2]").replace(
            "W: real[H, D]", "W: real[H, H]"
        )
        assert shape(body + equations, "h", head) == "int<2>"
        return
    assert shape(around + equations, "h") == found


def test_an_integer_piece_of_a_real_variable_is_converted() -> None:
    p = program("input n[t]: int<4>\nh[0] = 0.5\nh[t] = n[t]\noutput h[t]")
    later = next(eq for eq in p.pieces("h") if eq.domain.contains({"t": 1, "T": 1}))
    assert later.rhs.type.kind == "real"


def test_every_piece_is_repeated_to_the_common_shape() -> None:
    p = program("input x[t]: real[3]\nh[0] = 0\nh[t] = h[t-1] + x[t]\noutput h[t]")
    assert {eq.rhs.shape for eq in p.pieces("h")} == {(Poly.const(3),)}


def test_split_gives_equal_parts() -> None:
    p = program(
        "input x[t]: real[4*H]\ni[t], f[t], g[t], o[t] = split(x[t], 4)\nh[t] = i[t] * o[t]\n"
        "k[t] = f[t] * g[t]\noutput h[t], k[t]",
        "model m(H):",
    )
    assert all(p.vars[n].shape == (Poly.symbol("H"),) for n in "ifgo")


def test_a_shorthand_is_inlined_with_its_indices() -> None:
    p = program(
        "input x[t]: real[D]\nparam W: real[H, D]\nlet drive[t] = W @ x[t]\n"
        "y[t] = drive[t] + drive[T+1-t]\noutput y[t]",
        "model m(D, H):",
    )
    assert "drive" not in p.vars
    (eq,) = p.pieces("y")
    (direct,) = program(
        "input x[t]: real[D]\nparam W: real[H, D]\ny[t] = W @ x[t] + W @ x[T+1-t]\noutput y[t]",
        "model m(D, H):",
    ).pieces("y")
    assert eq.rhs is direct.rhs


def test_a_table_of_whole_numbers_stays_one() -> None:
    p = program(
        "const period = [1, 1, 2, 4]\ninput x[t]: real\n"
        "y[t] = x[t] if mod(t, period[2]) == 0 else 0\noutput y[t]"
    )
    assert p.vars["y"].type.kind == "real"


def test_indices_can_be_solved_on_the_left() -> None:
    later = program("input x[t]: real\nh[1] = 0\nh[t+1] = h[t] + x[t]\noutput h[t]")
    here = program(
        "input x[t]: real\nh[1] = 0\nh[t] = h[t-1] + x[t-1] for t in 2..T+1\noutput h[t]"
    )
    assert set(later.equations) == set(here.equations)


def test_a_loss_may_be_an_expression() -> None:
    p = program("input x[t]: real\nparam a: real\nminimize mean[t]((x[t] - a) ** 2)")
    assert p.losses == ("loss",)
    assert p.vars["loss"].shape == ()


def test_several_losses_keep_their_order() -> None:
    p = program("param a, b: real\nu = a * b\nv = a + b\nminimize v\nminimize u")
    assert p.losses == ("v", "u")


def test_outputs_have_the_declared_ranges_of_their_indices() -> None:
    p = program(
        "axis k: 0..T\ninput x[t]: real\nh[0] = 0\nh[t] = h[t-1] + x[t]\ng[t] = x[t]\n"
        "output h[k], g[t], x[t]"
    )
    assert [[(str(lo), str(hi)) for lo, hi in o.ranges] for o in p.outputs] == [
        [("0", "T")], [("1", "T")], [("1", "T")],
    ]  # fmt: skip


def test_what_is_not_used_is_a_warning_only() -> None:
    text = "model m:\n    input x[t]: real\n    param a: real\n    y[t] = x[t]\n    output y[t]\n"
    assert codes(text) == ["W0801"]
    assert "a" in elaborate(text).vars


@pytest.mark.parametrize(
    "equations",
    [
        "n[0] = 0\nn[t] = argmax(A[n[t-1]])",
        "n[0] = start\nn[t] = argmax(A[n[t-1]])",
        "n[0] = 0\nn[t] = argmax(A[:, n[t-1]])",
        "n[0] = 0\nn[t] = argmax(A[n[t-1]] + x[t])",
        "n[0] = argmax(x[1])\nm[t] = A[n[t-1]]\nn[t] = argmax(m[t])",
        "n[0], n[-1] = 0\nn[t] = argmax(A[n[t-1]] * A[n[t-2]])",
        "n[0] = 0\nn[t] = argmax(A[n[t-1]] if t > 3 else x[t])",
        "n[T] = argmax(x[T])\nn[t] = b[t+1][n[t+1]] for t < T\nb[t] = argmax(A + x[t], axis = 1)",
    ],
)
def test_the_bound_of_argmax_is_the_size_of_what_a_row_has(equations: str) -> None:
    around = "input x[t]: real[K]\ninput start: int<K>\nparam A: real[K, K]\n"
    if "start" not in equations:
        around = around.replace("input start: int<K>\n", "")
    if "x[" not in equations:
        around = around.replace("input x[t]: real[K]\n", "")
    assert shape(around + equations, "n", "model m(K):") == "int<K>"


def test_rows_of_another_length_and_sums_of_choices_have_no_such_bound() -> None:
    head, body = "model m(K, L):", "param A: real[{}]\nn[0] = 0\nn[t] = argmax({})\noutput n[t]"
    for matrix, choice in (("K, L", "A[n[t-1]]"), ("K, K", "A[n[t-1]]) + n[t-1] + (1")):
        text = f"{head}\n    " + body.format(matrix, choice).replace("\n", "\n    ")
        assert "E0603" in codes(text)


def test_a_number_that_no_bound_allows_is_told_when_the_bound_is_known() -> None:
    text = """
model m(K):
    input x[t]: real[K]
    param A: real[K, K]
    n[0] = 7
    n[t] = argmax(A[n[t-1]] + x[t])
    loss = sum[t](A[n[t]][0])
    minimize loss
"""
    model = unfold.loads(text)
    unfold.compile(model, K=8)
    with pytest.raises(unfold.RecError, match=r"(?s)n\[0\] = 7.*7 is not one of 0\.\.3"):
        unfold.compile(model, K=4)
