"""Functions that are spelled with other ops: `eye`, `diag`, reductions of several scalars."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unfold
from unfold import RecError

BACKENDS = pytest.mark.parametrize("backend", ["numpy", "llvm"])


def value(expression: str, backend: str, n: int = 3, **given: Any) -> Any:
    text = (
        "model m(N):\n    input v: real[N]\n    input M: real[N, N]\n    input a, b, c: real\n"
        f"    y = {expression} + 0 * (sum(M) + sum(v) + a + b + c)\n    output y\n"
    )
    data = {"v": np.zeros(n), "M": np.zeros((n, n)), "a": 0.0, "b": 0.0, "c": 0.0} | given
    return unfold.compile(unfold.loads(text), N=n, backend=backend)({}, data)["y"]


@BACKENDS
@pytest.mark.parametrize("n", [1, 2, 5])
def test_eye_and_diag_are_those_of_linear_algebra(backend: str, n: int) -> None:
    rng = np.random.default_rng(n)
    v, M = rng.normal(size=n), rng.normal(size=(n, n))
    np.testing.assert_array_equal(value("eye(N)", backend, n), np.eye(n))
    np.testing.assert_array_equal(value("diag(v)", backend, n, v=v), np.diag(v))
    np.testing.assert_allclose(
        value("(eye(N) - diag(v)) @ M", backend, n, v=v, M=M), (np.eye(n) - np.diag(v)) @ M
    )


@BACKENDS
def test_reductions_take_several_scalars(backend: str) -> None:
    at: dict[str, Any] = {"a": 0.3, "b": -1.0, "c": 2.5}
    x = np.array([*at.values()])
    soft = np.exp(x) / np.exp(x).sum()
    for name, wanted in (
        ("logsumexp", np.log(np.exp(x).sum())), ("mean", x.mean()), ("sum", x.sum()),
        ("max", 2.5), ("norm", np.linalg.norm(x)), ("var", x.var()),
    ):  # fmt: skip
        assert value(f"{name}(a, b, c)", backend, **at) == pytest.approx(wanted)
    np.testing.assert_allclose(value("softmax(a, b, c)", backend, **at), soft)


def test_their_gradients_are_right() -> None:
    text = """
model m(N):
    param v: real[N] ~ normal(1)
    param a, b: real ~ normal(1)
    loss = sum(diag(sin(v)) @ (eye(N) * a + outer(v, v)) @ v) + logsumexp(a, b, a * b)
    minimize loss
"""
    assert unfold.grad_check(unfold.loads(text), N=3).ok


@pytest.mark.parametrize(
    ("expression", "said"),
    [("diag(M)", "`diag` takes a vector"), ("eye(v)", "size"), ("logsumexp(a, v)", "v"),
     ("sum(M, 0)", "`sum` takes 1 argument")],
)  # fmt: skip
def test_what_they_do_not_take_is_said(expression: str, said: str) -> None:
    with pytest.raises(RecError) as caught:
        value(expression, "numpy")
    assert said in str(caught.value)
