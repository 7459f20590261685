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
