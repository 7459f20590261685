"""What a selection leaves out has a derivative of 0, whatever its slope, under a name as well.

At x = 0 the slopes of sqrt, log, a power, a quotient and a norm are infinite or no numbers. Below a
selection in the same equation they are not asked for; these tests give the branches names.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

import unfold

# Singular at x = 0, finite and smooth for x > 0.
SINGULAR = {
    "sqrt": "sqrt({0})",
    "log": "log({0})",
    "inverse": "1 / {0}",
    "quotient": "{0} / abs({0})",
    "power": "{0} ** 0.3",
    "negative power": "{0} ** (-2)",
    "power of both": "{0} ** {0}",
    "acos": "acos(1 - {0} / 9)",
    "norm": "norm({0} * [0.5, 2])",
    "log1p": "log1p({0} - 1)",
    "product": "p * log({0})",
    "overflow": "exp(1 / {0})",
}

# What lets nothing of ``a`` through at x = 0, and something for x > 0.
SELECTING = {
    "where": "where(x[t] > 0, {0}, 0)",
    "otherwise": "where(x[t] == 0, p, {0})",
    "nested": "where(x[t] > 0, where(x[t] < 9, {0}, 1), 0)",
    "twice": "where(x[t] > 0, where(x[t] > 0, {0}, 1) * p, 0)",
    "conditional": "2 * ({0} if x[t] > 0 else p)",
}

X = np.array([0.0, 0.7, 0.0, 2.0])


def text(*equations: str) -> str:
    lines = ["model m():", "    input x[t]: real", "    param p: real = 1.5", *equations]
    lines += ["loss = sum[t](y[t] ** 2)", "minimize loss"]
    return "\n    ".join(line.strip() if k else line for k, line in enumerate(lines)) + "\n"


def derivatives(source: str, backend: str, x: Any = X) -> dict[str, Any]:
    """The gradient, tangents of everything, and a product with the Hessian."""
    fn = unfold.compile(source, backend=backend)
    params = {"p": 1.5}
    directions = {"p": 1.0, "x": np.linspace(-1, 1, len(x))}
    _, grads = fn.value_and_grad(params, x=x, wrt=["p", "x"])
    _, tangents = fn.jvp(params, directions, x=x)
    hvp = fn.hvp(params, directions, x=x, wrt=["p", "x"])
    return {
        **grads,
        "tangent": tangents["loss"],
        **{f"hvp {name}": value for name, value in hvp.items()},
    }


def same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        assert np.isfinite(value).all(), name
        np.testing.assert_allclose(found[name], value, rtol=1e-10, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("selecting", SELECTING)
@pytest.mark.parametrize("singular", SINGULAR)
def test_a_named_branch_has_the_derivatives_of_one_that_is_written_out(
    singular: str, selecting: str
) -> None:
    branch, choice = SINGULAR[singular].format("x[t]"), SELECTING[selecting]
    named = text(f"a[t] = {branch}", f"y[t] = {choice.format('a[t]')}")
    # What is written only where it counts: the steps with x = 0 do not read it at all.
    kept = X[X > 0]
    without = derivatives(named, "numpy", kept)
    for backend in ("numpy", "llvm") if selecting in ("where", "twice") else ("numpy",):
        found = derivatives(named, backend)
        assert all(np.isfinite(value).all() for value in found.values())
        assert found["x"][X == 0].tolist() == [0.0, 0.0]
        np.testing.assert_allclose(found["x"][X > 0], without["x"], rtol=1e-10)
        same(found, derivatives(named, "numpy"))


@pytest.mark.parametrize(
    ("branch", "choice", "slope"),
    [
        ("sqrt(x[t])", "max(a[t] - 1, 0)", 0.0),
        ("sqrt(x[t])", "max(a[t], 1)", 0.0),
        ("-sqrt(x[t])", "min(a[t], -1)", 0.0),
        ("sqrt(x[t])", "relu(a[t] - 1)", 0.0),
        ("sqrt(x[t])", "max([a[t], 3, p])", 0.0),
        ("sqrt(x[t])", "clip(a[t], 0.5, 9)", 0.0),
        ("norm([x[t], 0])", "relu(a[t])", 0.0),
        ("log(x[t])", "max(a[t], -2)", 0.0),
        ("1 / x[t]", "min(a[t], 2)", 0.0),
    ],
)
def test_what_is_not_the_largest_has_slope_zero(branch: str, choice: str, slope: float) -> None:
    source = text(f"a[t] = {branch}", f"y[t] = {choice}")
    for backend in ("numpy", "llvm"):
        found = derivatives(source, backend)
        assert found["x"][X == 0].tolist() == [slope, slope]
        assert all(np.isfinite(value).all() for value in found.values())


def test_a_selection_reaches_through_steps_and_equations() -> None:
    chain = text(
        "s[0] = 0",
        "s[t] = 0.5 * s[t-1] + u[t]",
        "u[t] = q[t] * p",
        "q[t] = sqrt(x[t])",
        "y[t] = where(x[T] > 0, s[t], 0)",
    )
    for backend in ("numpy", "llvm"):
        found = derivatives(chain, backend, np.zeros(3))
        for name, value in found.items():
            assert not np.any(value), name


def test_a_selection_of_a_whole_vector_passes_a_product_with_a_matrix() -> None:
    source = """
model m():
    input x[t]: real[2]
    param W: real[2, 2] ~ glorot
    a[t] = sqrt(x[t])
    b[t] = W @ a[t]
    y[t] = where(x[t][0] > 0, b[t], 0)
    loss = sum[t](sum(y[t] ** 2))
    minimize loss
"""
    x = np.array([[0.0, 0.0], [1.0, 4.0], [0.0, 2.0]])
    for backend in ("numpy", "llvm"):
        fn = unfold.compile(source, backend=backend)
        _, grads = fn.value_and_grad(fn.init(), x=x, wrt=["x", "W"])
        assert all(np.isfinite(g).all() for g in grads.values())
        assert not grads["x"][[0, 2]].any()
        assert grads["x"][1].all()


def test_an_infinite_slope_that_is_selected_stays_infinite() -> None:
    source = text("a[t] = sqrt(x[t])", "y[t] = where(x[t] >= 0, a[t] + 1, 0)")
    for backend in ("numpy", "llvm"):
        fn = unfold.compile(source, backend=backend)
        _, grads = fn.value_and_grad({"p": 1.0}, x=np.array([0.0]), wrt=["x"])
        assert grads["x"].tolist() == [np.inf]


def test_a_cotangent_that_is_zero_by_chance_has_its_second_derivative() -> None:
    # Least squares at zero residual: the Hessian is 2 J'J although the gradient is 0.
    source = """
model m():
    input x[t]: real
    input goal[t]: real
    param p: real = 1
    a[t] = p * sqrt(x[t])
    y[t] = where(x[t] > 0, a[t], 0)
    loss = sum[t]((y[t] - goal[t]) ** 2)
    minimize loss
"""
    x = np.array([0.0, 4.0, 9.0])
    goal = np.array([0.0, 2.0, 3.0])
    for backend in ("numpy", "llvm"):
        fn = unfold.compile(source, backend=backend)
        _, grads = fn.value_and_grad({"p": 1.0}, x=x, goal=goal)
        assert grads["p"] == 0
        hvp = fn.hvp({"p": 1.0}, {"p": 1.0}, x=x, goal=goal, wrt=["p", "x"])
        assert hvp["p"] == pytest.approx(2 * (4 + 9), rel=1e-12)
        np.testing.assert_allclose(hvp["x"], [0.0, 1.0, 1.0], rtol=1e-12)


def test_where_nothing_is_selected_or_nothing_diverges_the_product_is_a_product() -> None:
    for equations in (
        ["a[t] = sqrt(x[t])", "y[t] = a[t] * p"],
        ["a[t] = tanh(x[t])", "y[t] = where(x[t] > 0, a[t], 0)"],
        ["y[t] = where(x[t] > 0, sqrt(x[t]), 0)"],
        ["a[t] = x[t] / sqrt(T)", "y[t] = max(a[t], p)"],
    ):
        program = unfold.loads(text(*equations))
        assert "chain_rule" not in str(program.adjoint())
    program = unfold.loads(text("a[t] = sqrt(x[t] * p)", "y[t] = where(x[t] > 0, a[t], 0)"))
    printed = str(program.adjoint())
    assert "chain_rule" in printed
    assert str(unfold.loads(printed)).splitlines()[1:4] == printed.splitlines()[1:4]


@st.composite
def branches(draw: st.DrawFn) -> tuple[str, str]:
    """A program with named branches, and the same one with them written out."""
    names: dict[str, str] = {}
    for k in range(draw(st.integers(1, 3))):
        inner = draw(st.sampled_from(["x[t]", "p * x[t]", "x[t] ** 2", *names]))
        e = SINGULAR[draw(st.sampled_from(sorted(SINGULAR)))].format(f"({inner})")
        names[f"a{k}[t]"] = draw(st.sampled_from(["{0}", "p + {0}", "3 - {0}"])).format(e)
    picked = [draw(st.sampled_from(sorted(names))) for _ in range(2)]
    choice = draw(st.sampled_from(sorted(SELECTING)))
    y = SELECTING[choice].format(draw(st.sampled_from(["{0}", "{0} * {1}", "{0} + {1}"])))
    y = y.format(*picked)
    equations = [f"{name} = {e}" for name, e in names.items()]
    whole = y
    for name, e in reversed(names.items()):
        whole = whole.replace(name, f"({e})")
    return text(*equations, f"y[t] = {y}"), text(f"y[t] = {whole}")


@settings(max_examples=30, deadline=None)
@given(branches(), st.sampled_from(["numpy", "numpy", "llvm"]))
def test_names_do_not_matter_for_derivatives(both: tuple[str, str], backend: str) -> None:
    named, whole = both
    note(named)
    x = np.array([0.0, 0.4, 0.9])
    positive = derivatives(named, backend, x[1:])
    if not all(np.isfinite(v).all() and np.all(np.abs(v) < 1e6) for v in positive.values()):
        return  # log of a negative number, or an overflow, where it is selected
    found, wanted = derivatives(named, backend, x), derivatives(whole, backend, x)
    for name, value in found.items():
        assert np.isfinite(value).all(), name
        np.testing.assert_allclose(value, wanted[name], rtol=1e-6, atol=1e-6, err_msg=name)
