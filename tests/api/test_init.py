"""Parameters start as the model says, each on its own."""

from __future__ import annotations

import numpy as np
import pytest

import unfold

LINES = [
    "param A: real[20, 30] ~ glorot",
    "param Q: real[6, 6] ~ orthogonal",
    "param R: real[4, 9] ~ orthogonal",
    "param N: real[400] ~ normal(0.5)",
    "param U: real[400] ~ uniform(0.2)",
    "param c: real[3] = 1.5",
    "param v: real[3] = [1, 2, 3]",
    "param s: real = 7",
]


def text(lines: list[str]) -> str:
    names = [line.split()[1].rstrip(":") for line in lines]
    uses = " + ".join(f"{n} * 1" if n == "s" else f"sum({n})" for n in names)
    body = "\n    ".join([*lines, f"y = {uses}", "output y"])
    return f"model m:\n    {body}\n"


def start(lines: list[str], seed: int = 0, dtype: str = "float64") -> dict[str, np.ndarray]:
    return unfold.compile(text(lines), backend="numpy", dtype=dtype).init(seed)


def test_every_initialiser_has_its_shape_and_size() -> None:
    p = start(LINES)
    assert list(p) == ["A", "Q", "R", "N", "U", "c", "v", "s"]
    limit = np.sqrt(6 / 50)
    assert 0.9 * limit < np.abs(p["A"]).max() <= limit
    np.testing.assert_allclose(p["Q"] @ p["Q"].T, np.eye(6), atol=1e-14)
    np.testing.assert_allclose(p["R"] @ p["R"].T, np.eye(4), atol=1e-14)
    assert abs(p["N"].std() - 0.5) < 0.06
    assert 0.19 < np.abs(p["U"]).max() <= 0.2
    np.testing.assert_array_equal(p["c"], [1.5, 1.5, 1.5])
    np.testing.assert_array_equal(p["v"], [1, 2, 3])
    assert p["s"].shape == ()
    assert p["s"] == 7


def test_a_parameter_depends_on_the_seed_and_its_name_only() -> None:
    p, q = start(LINES), start(LINES[::-1])
    for name in p:
        np.testing.assert_array_equal(p[name], q[name])
    np.testing.assert_array_equal(p["N"], start(LINES[3:4])["N"])
    assert not np.array_equal(p["N"], start(LINES, seed=1)["N"])


def test_two_parameters_of_one_line_differ() -> None:
    p = start(["param A: real[3, 3] ~ glorot", "param B: real[3, 3] ~ glorot"])
    assert not np.array_equal(p["A"], p["B"])


def test_parameters_have_the_dtype_of_the_function() -> None:
    p = start(LINES, dtype="float32")
    assert {a.dtype for a in p.values()} == {np.dtype(np.float32)}
    np.testing.assert_allclose(p["A"], start(LINES)["A"], rtol=1e-6)


def test_a_parameter_on_an_axis_has_an_array_for_each_position() -> None:
    fn = unfold.compile(
        "model m:\n    axis l: L\n    param W[l]: real[2, 2] ~ glorot\n"
        "    y = sum[l](sum(W[l]))\n    output y\n",
        backend="numpy",
    )
    with pytest.raises(unfold.InputError) as caught:
        fn.init()
    assert str(caught.value) == "W has L entries: give L as a keyword, `L=3`"
    w = fn.init(L=3)["W"]
    assert w.shape == (3, 2, 2)
    assert not np.array_equal(w[0], w[1])
    np.testing.assert_allclose(fn({"W": w}).y, w.sum())
