"""The step of a model as a map, and products of its Jacobians, against what is known otherwise."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import unfold
from tests.analysis.models import ELMAN, example, linear
from unfold.analysis import jacobian_product, prepare, products, step_map
from unfold.analysis.bound import classical_bound

Array = NDArray[np.float64]
BACKENDS = ("numpy", "llvm")


def orthogonal(rng: np.random.Generator, n: int) -> Array:
    return np.linalg.qr(rng.normal(size=(n, n)))[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_linear_system_has_the_powers_of_its_matrix_as_products(backend: str) -> None:
    a = np.random.default_rng(1).normal(size=(3, 3))
    fn, params = linear(a, backend)
    x = np.random.default_rng(2).normal(size=(7, 3))
    step = step_map(prepare(fn, params, {"x": x}))
    assert np.allclose(step.jacobians(), a, rtol=0, atol=1e-15)
    assert np.array_equal(step.states[1:], fn(params, x=x)["h"])
    found = jacobian_product(fn, params, {"x": x})
    for k in range(8):
        power = np.linalg.matrix_power(a, k)
        assert np.isclose(np.exp(found.log_norms[k]), np.linalg.norm(power, 2), rtol=1e-13)
    assert np.allclose(found.matrix, np.linalg.matrix_power(a, 7), rtol=1e-13)
    assert np.allclose(np.exp(found.lyapunov * 7), np.linalg.svd(found.matrix)[1], rtol=1e-11)


@settings(max_examples=15)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**32))
def test_step_jacobians_are_differences_of_the_step(n: int, steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    fn = unfold.compile(ELMAN, D=2, H=n, backend="numpy")
    params = {"W": rng.normal(size=(n, 2)), "U": rng.normal(size=(n, n))}
    step = step_map(prepare(fn, params, {"x": rng.normal(size=(steps, 2))}))
    pre = np.arctanh(np.clip(step.states[1:], -1 + 1e-16, 1 - 1e-16))
    slope = 1 - np.tanh(pre) ** 2
    assert np.allclose(step.jacobians(), slope[:, :, None] * params["U"], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    "name", ["lstm", "residual_skip", "ntm", "lotka_volterra", "deep_stack", "rwkv", "kinetics"]
)
def test_the_gallerys_steps_follow_its_runs_and_have_the_slopes_of_differences(name: str) -> None:
    fn, params, data = example(name, steps=4)
    step = step_map(prepare(fn, params, data))
    before, now = step.states[:-1], np.arange(4)
    assert np.allclose(step.advance(before, now), step.states[1:], rtol=0, atol=1e-14)
    eps = 1e-5
    differences = np.stack(
        [
            (step.advance(before + eps * e, now) - step.advance(before - eps * e, now)) / (2 * eps)
            for e in np.eye(step.size)
        ],
        axis=-1,
    )
    jacobians = step.jacobians()
    assert np.abs(jacobians).max() > 0.1
    assert np.allclose(jacobians, differences, rtol=0, atol=1e-8 * np.abs(jacobians).max())


def test_products_of_tangents_are_what_adjoints_tell() -> None:
    fn, params, data = example("lstm", steps=9)
    product = jacobian_product(fn, params, data, lags=[4])
    of, wrt = ("h[T]", "c[T]"), ("h[T-9+1]", "c[T-9+1]")
    total = np.block([[fn.jacobian(a, b, params, data) for b in wrt] for a in of])
    # An amount added to c[t] reaches h[t] in the same step: that is the derivative at lag 0.
    here = np.block([[fn.jacobian(a, b, params, data) for b in ("h[1]", "c[1]")]
                     for a in ("h[1]", "c[1]")])  # fmt: skip
    step = step_map(prepare(fn, params, data))
    after = np.linalg.multi_dot(step.jacobians()[1:][::-1])
    assert np.allclose(after @ here, total, rtol=1e-12, atol=1e-15)
    assert np.allclose(product.matrix, after @ step.jacobians()[0], rtol=1e-12, atol=1e-15)


def test_a_step_that_reads_two_steps_back_has_a_companion_matrix() -> None:
    text = """
model fibonacci:
    h[-1] = 0
    h[0]  = 1
    h[t]  = h[t-1] + h[t-2]
    output h[t]
"""
    fn = unfold.compile(text, backend="numpy")
    step = step_map(prepare(fn, {}, {"T": 9}))
    assert step.jacobians()[3].tolist() == [[1, 1], [1, 0]]
    assert step.states[:, 0].tolist() == [1, 1, 2, 3, 5, 8, 13, 21, 34, 55]
    found = jacobian_product(fn, {}, {"T": 60})
    assert np.isclose(found.lyapunov[0], np.log((1 + np.sqrt(5)) / 2), rtol=1e-3)
    assert "exploding" in str(found)


def test_the_number_of_the_step_is_that_of_the_run() -> None:
    text = """
model clocked:
    input  x[t]: real
    h[0] = 3
    h[1] = h[0] ** 2
    h[t] = t * h[t-1] + x[t-1] for t >= 2
    output h[t]
"""
    fn = unfold.compile(text, backend="numpy")
    step = step_map(prepare(fn, {}, {"x": np.arange(5.0)}))
    assert step.jacobians().ravel().tolist() == [6, 2, 3, 4, 5]
    assert np.array_equal(step.advance(step.states[:-1], np.arange(5)), step.states[1:])


def test_what_cannot_be_stepped_says_why() -> None:
    fn, params, data = example("causal_attention", steps=4)
    with pytest.raises(unfold.InputError, match="carries no real state from step to step"):
        jacobian_product(fn, params, data)
    fn, params, data = example("td_lambda", steps=4)
    with pytest.raises(unfold.InputError, match="carries no real state"):
        jacobian_product(fn, params, data)
    fn, params, data = example("lstm", steps=4)
    with pytest.raises(unfold.InputError, match="no real variable hh over t; did you mean `h`"):
        jacobian_product(fn, params, data, states="hh")
    with pytest.raises(unfold.InputError, match=r"lags are numbers of 1\.\.4"):
        jacobian_product(fn, params, data, lags=[5])
    with pytest.raises(unfold.InputError, match="threshold is a share between 0 and 1"):
        jacobian_product(fn, params, data, threshold=2.0)
    with pytest.raises(unfold.InputError, match="lstm has no input y"):
        jacobian_product(fn, params, {**data, "y": 1})


# --- products ---------------------------------------------------------------------------------


def test_small_singular_values_are_as_accurate_as_the_largest() -> None:
    rng = np.random.default_rng(3)
    exact = np.array([1.05, 1.0, 0.9, 0.5, 0.3, 0.02, 1e-3])
    turns = [orthogonal(rng, 7) for _ in range(81)]
    steps = np.stack([turns[t + 1] @ np.diag(exact) @ turns[t].T for t in range(80)])
    for k, logs in products.singular_values(steps, [1, 2, 10, 80]).items():
        assert np.allclose(logs, k * np.log(exact), rtol=0, atol=1e-12 * k)


def test_singular_values_of_random_products_are_those_of_many_digits() -> None:
    steps = np.random.default_rng(4).normal(size=(60, 4, 4)) * 0.5
    with mpmath.workdps(200):
        total = mpmath.eye(4)
        for a in steps[::-1]:
            total = total * mpmath.matrix(a.tolist())
        exact = [float(mpmath.log(s)) for s in mpmath.svd_r(total, compute_uv=False)]
    assert exact[0] - exact[-1] > 50  # a plain product would hold the first one only
    assert np.allclose(products.singular_values(steps, [60])[60], exact, rtol=0, atol=1e-11)
    assert np.isclose(products.norms(steps)[-1], exact[0], rtol=0, atol=1e-12)


def test_products_of_singular_matrices_have_values_of_zero() -> None:
    nilpotent = np.zeros((4, 3, 3))
    nilpotent[:, 0, 1], nilpotent[:, 1, 2] = 1, 2
    found = products.singular_values(nilpotent, [1, 2, 3])
    assert np.allclose(np.exp(found[1]), [2, 1, 0])
    assert np.allclose(np.exp(found[2]), [2, 0, 0])
    assert np.allclose(np.exp(found[3]), [0, 0, 0])
    assert products.norms(nilpotent)[-1] == -np.inf


def test_norms_do_not_underflow() -> None:
    a = np.diag([1e-3, 1e-5])
    logs = products.norms(np.stack([a] * 500))
    assert np.allclose(logs, np.arange(501) * np.log(1e-3))
    assert "1.00e-1500" in str(jacobian_product(*linear(a), {"x": np.zeros((500, 2))}))


# --- bounds -----------------------------------------------------------------------------------


def test_the_bounds_are_above_what_is_measured_and_in_their_order() -> None:
    rng = np.random.default_rng(5)
    fn = unfold.compile(ELMAN, D=2, H=6, backend="numpy")
    params = {"W": rng.normal(size=(6, 2)), "U": rng.normal(size=(6, 6))}
    found = jacobian_product(fn, params, {"x": rng.normal(size=(30, 2))})
    assert found.classical_form == "sup|tanh'| ||U||"
    assert found.classical is not None
    assert np.isclose(found.classical, np.linalg.norm(params["U"], 2))
    classical = np.arange(31) * np.log(found.classical)
    assert np.all(found.log_norms <= found.log_bounds + 1e-12)
    assert np.all(found.log_bounds <= classical + 1e-12)
    assert np.any(found.log_norms < found.log_bounds - 0.1)


def test_the_classical_bound_is_read_off_where_it_stands_and_nowhere_else() -> None:
    def bound(equation: str, more: str = "") -> tuple[float, str] | None:
        text = f"""
model m(H):
    input  x[t]: real[H]
    param  U, V: real[H, H]  ~ orthogonal
    h[0] = 0
    {more}
    h[t] = {equation}
    output h[t]
"""
        fn = unfold.compile(text, H=3, backend="numpy")
        return classical_bound(step_map(prepare(fn, None, {"x": np.ones((3, 3))})))

    found = bound("sigmoid(U @ h[t-1] + V @ x[t])")
    assert found is not None
    assert np.isclose(found[0], 0.25)
    found = bound("relu(a[t] - x[t])", "a[t] = U @ h[t-1]")
    assert found is not None
    assert np.isclose(found[0], 1.0)
    found = bound("U @ h[t-1] + V @ x[t]")
    assert found is not None
    assert found[1] == "||U||"
    assert bound("tanh(U @ h[t-1] + V @ h[t-1]) + x[t]") is None
    assert bound("h[t-1] + tanh(U @ h[t-1] + V @ x[t])") is None
