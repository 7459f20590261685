"""What those who wrote models for the first time stumbled over."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import unfold
from unfold.check.spelling import FORMS


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


NETWORK = """model m(D, H):
    input x[t]: real[D]
    param W: real[H, D] ~ glorot
    param U: real[H, H] ~ orthogonal
    param b: real[H] = 0
    h[0] = 0
    {}
    loss = {}
    output h[t]
    minimize loss
"""


@pytest.mark.parametrize(
    "value",
    [
        "tanh(W * x[t] + U @ h[t-1] + b)",
        "tanh(U @ h[t-1] + W * x[t] + b)",
        "sigmoid(b + U @ h[t-1]) * tanh(W * x[t] + b)",
    ],
)
def test_a_star_for_a_matrix_product_is_told_though_it_hides_the_shape_of_the_state(
    value: str,
) -> None:
    with pytest.raises(unfold.RecError) as error:
        unfold.loads(NETWORK.format(f"h[t] = {value}", "sum(h[T])"))
    (told,) = error.value.diagnostics
    assert told.code == "E0302"
    assert told.labels[0].text == "real[H, D]"
    assert told.helps == ("`W * x[t]` is a matrix; the matrix product is `W @ x[t]`",)


def test_no_text_is_refused_without_a_word() -> None:
    """Each mistake in a recurrence whose shape it hides, at every place of the sum."""
    wrong = ["W * x[t]", "x[t]", "W @ b", "U[0:2] @ b", "reshape(b, [3, 3])", "W", "[b; b; x[t]]"]
    said = []
    for term in wrong:
        for terms in ((term, "U @ h[t-1]", "b"), ("U @ h[t-1]", term, "b"), ("h[t-1]", "b", term)):
            text = NETWORK.format(f"h[t] = tanh({' + '.join(terms)})", "sum(h[T])")
            try:
                unfold.loads(text)
            except unfold.RecError as error:
                said.append(str(error))
    assert len(said) >= len(wrong)
    assert all(said)


def test_the_last_element_is_not_minus_one() -> None:
    with pytest.raises(unfold.RecError) as error:
        unfold.loads(NETWORK.format("h[t] = tanh(W @ x[t] + U @ h[t-1] + b)", "sum(h[-1] ** 2)"))
    assert "the last element is `h[T]`" in str(error.value)
    with pytest.raises(unfold.RecError) as error:  # a start that is missing is another mistake
        unfold.loads(NETWORK.format("h[t] = tanh(W @ x[t] + U @ h[t-2] + b)", "sum(h[T] ** 2)"))
    assert "the last element" not in str(error.value)


def test_a_constant_of_the_language_as_a_variable_is_one_mistake() -> None:
    with pytest.raises(unfold.RecError) as error:
        program("input x[t]: real\npi[t] = x[t]\ny[t] = pi[t] + pi[t]\noutput y[t], pi[t]")
    assert [d.code for d in error.value.diagnostics] == ["E0202"]


V, A, B = np.array([0.5, -2.0, 1.0]), np.array([[4.0, 1, 0], [1, 3, 1], [0, 1, 2]]), np.eye(3)
VALUES = {
    "pad": [0, *V, 0, 0], "scatter": [np.zeros(3)] * 2 + [V] + [np.zeros(3)] * 2,
    "onehot": [0, 0, 1], "clip": 0.3, "where": 2.5, "reshape": [V], "broadcast": [[2.5] * 3],
    "cross_entropy": np.log(np.exp(V).sum()) - V[2], "leaky_relu": -0.14,
    "logit": np.log(0.25 / 0.75),
    "outer": np.outer([1, 2, 3], V), "solve": np.linalg.solve(A, [1, 2, 3]), "col": V[:, None],
    "row": V[None], "eye": np.eye(5), "diag": np.diag(V), "logdet": np.log(np.linalg.det(A)),
    "cholesky": np.linalg.cholesky(A), "detach": -0.7, "norm": np.linalg.norm(V),
    "var": V.var(), "concat": np.hstack([A, B]), "mod": 2.5 % -1.5, "argmax": 2, "real": 2.0,
    "inv": np.linalg.inv(A), "max": 1.0, "min": -2.0, "mean": V.mean(), "sum": V.sum(),
    "softmax": np.exp(V) / np.exp(V).sum(), "logsumexp": np.log(np.exp(V).sum()),
    "log_softmax": V - np.log(np.exp(V).sum()),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FORMS))
def test_functions_are_written_as_explain_says(name: str) -> None:
    form, _ = FORMS[name]
    if name == "split":
        text, want = f"{form}\noutput a, b", None
    else:
        numbers = {
            r"\bn\b": "5",
            r"\bK\b": "3",
            "before": "1",
            "after": "2",
            "H": "1",
            r"\bD\b": "3",
        }
        for letter, number in numbers.items():
            form = re.sub(rf"\b{letter}\b", number, form)
        text, want = f"y = {form}\noutput y", VALUES[name]
    given: dict[str, Any] = {
        "v": V, "u": np.array([1.0, 2, 3]), "A": A, "B": B, "logits": V, "p": 0.25, "i": 2,
        "x": -0.7, "low": 0.3, "high": 0.9, "slope": 0.2, "condition": True,
        "a": 2.5, "b": np.array([1.0, 2, 3]) if name == "solve" else -1.5,
    }  # fmt: skip
    if name == "split":
        given = {"v": np.arange(4.0)}
    kinds = {"i": "int<3>", "condition": "bool"}
    declared = [
        f"input {n}: {kinds.get(n, 'real' + (str(list(np.shape(a))) if np.ndim(a) else ''))}"
        for n, a in given.items()
    ]
    fn = unfold.compile(program("\n".join([*declared, text]), "model m:"), backend="numpy")
    found = fn({}, given)
    if want is not None:
        np.testing.assert_allclose(found["y"], want)
    else:
        np.testing.assert_array_equal(found["b"], [2, 3])
