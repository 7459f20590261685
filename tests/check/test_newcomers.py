"""What those who wrote models for the first time stumbled over."""

from __future__ import annotations

import pytest

import unfold


def program(body: str, head: str = "model m(R, P):") -> unfold.Model:
    return unfold.loads(f"{head}\n" + "".join(f"    {line}\n" for line in body.splitlines()))


def test_a_shorthand_may_name_a_size() -> None:
    m = program(
        "let D = R * P\ninput x[t]: real[D]\nparam W: real[D, 2*D]\n"
        "loss = sum[t](sum(x[t] @ W) / sqrt(D))\nminimize loss"
    )
    fn = unfold.compile(m, R=2, P=3, backend="numpy")
    assert fn.init()["W"].shape == (6, 12)


def test_a_size_that_is_defined_by_itself_is_one_mistake() -> None:
    with pytest.raises(unfold.RecError) as caught:
        program("let D = 2 * F\nlet F = D\nparam W: real[D]\nminimize sum(W)")
    assert [d.code for d in caught.value.diagnostics] == ["E0211"]


def test_a_matrix_of_fast_weights_is_found_from_its_outer_product() -> None:
    m = program(
        "input k[t]: real[P]\ninput v[t]: real[R]\nS[0] = 0\n"
        "S[t] = S[t-1] + outer(v[t] - S[t-1] @ k[t], k[t])\noutput S[t]"
    )
    assert str(m.program.vars["S"]) == "variable S[t]: real[R, P]"


def test_a_choice_has_no_branch_where_its_index_never_comes() -> None:
    m = program("axis n: 6\ninput x[n]: real\ny[n] = 2 * x[n] if n == 6 else x[n+1]\noutput y[n]")
    assert "n == 7" not in str(m)
    assert "y[n] = 2 * x[n] if n == 6 else x[n+1]" in str(m)


def test_a_name_that_is_missing_is_declared_with_its_index() -> None:
    text = (
        "model m:\n    axis k: 0..2\n    input x[t]: real\n"
        "    y[t] = q[t-1] * w[k, 0] + x[t] + sum[k](c[t-k, k]) + v[0]\n    output y[t]\n"
    )
    with pytest.raises(unfold.RecError) as error:
        unfold.loads(text)
    helps = " ".join(h for d in error.value.diagnostics for h in d.helps)
    assert "(`input q[t]: real`) or learnt (`param q: real`)" in helps
    assert "`q[t] = …`" in helps
    assert "`input v: real`" in helps


def test_an_input_in_the_head_of_a_model_is_told_once() -> None:
    text = "model m(x, H):\n    input x[t]: real[H]\n    y[t] = 2 * x[t]\n    output y[t]\n"
    with pytest.raises(unfold.RecError) as error:
        unfold.loads(text)
    (told,) = error.value.diagnostics
    assert (told.code, told.helps[0]) == (
        "E0212",
        "leave `x` out here, its line in the model declares it; where `m` is used, inputs are "
        "given by their place or name",
    )
