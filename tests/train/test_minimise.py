"""SciPy's methods on recurrences: controls, rates, constraints, against independent solutions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import unfold

optimize = pytest.importorskip("scipy.optimize")
EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
Array = NDArray[np.float64]

# --- trajectory control -----------------------------------------------------------------------

T, DT, GRAV = 40, 0.1, 9.81


def swing(u: Array) -> tuple[Array, Array]:
    """The pendulum's angle and speed, written out by hand; shape of each (T + 1,)."""
    theta, omega = np.zeros(T + 1), np.zeros(T + 1)
    for t in range(T):
        theta[t + 1] = theta[t] + DT * omega[t]
        omega[t + 1] = omega[t] + DT * (-GRAV * np.sin(theta[t]) - 0.1 * omega[t] + u[t])
    return theta, omega


@pytest.fixture(scope="module")
def pendulum() -> unfold.Function:
    return unfold.compile(EXAMPLES / "pendulum_control.rec")


def effort_only(fn: unfold.Function) -> dict[str, Any]:
    """Parameters with which the loss is the effort, dt / 2 sum(u ** 2)."""
    nothing = ("q_theta", "q_omega", "s_theta", "s_omega")
    return {**fn.init(), **{n: np.zeros(()) for n in nothing}}


START = {"dt": np.array(DT), "grav": np.array(GRAV), "theta_ref": np.array(np.pi)}
TOP = {"theta[T]": np.pi, "omega[T]": 0.0}


@pytest.mark.parametrize("method", ["SLSQP", "trust-constr"])
def test_the_pendulum_reaches_the_top_with_bounded_torque(
    method: str, pendulum: unfold.Function
) -> None:
    u = 0.5 * np.sin(np.arange(T) * DT * np.sqrt(GRAV))
    options = {"maxiter": 400}
    found = unfold.minimize(
        pendulum, effort_only(pendulum), {**START, "u": u}, wrt="u", method=method,
        bounds={"u": (-6, 6)}, constraints=TOP, options=options,
    )  # fmt: skip
    assert found.success, found.message
    controls = found.inputs["u"]
    assert np.abs(controls).max() <= 6 + 1e-9
    theta, omega = swing(controls)
    assert abs(theta[-1] - np.pi) < 1e-6
    assert abs(omega[-1]) < 1e-6
    assert found.loss == pytest.approx(DT / 2 * np.sum(controls**2), rel=1e-9)
    # Gravity pulls with up to 9.81, more than the torque: the pendulum was swung back and forth.
    assert theta.min() < -0.5
    # Pontryagin: where no bound is active, dt u is a combination of the gradients of both ends.
    ends = np.stack([differences(controls, k) for k in (0, 1)], axis=1)
    free = np.abs(controls) < 6 - 1e-4
    weights, *_ = np.linalg.lstsq(ends[free], DT * controls[free], rcond=None)
    np.testing.assert_allclose(ends[free] @ weights, DT * controls[free], atol=2e-4)


def differences(u: Array, which: int) -> Array:
    """How the angle (0) or the speed (1) at the end changes with each control."""
    step = 1e-6
    return np.array(
        [(swing(u + step * e)[which][-1] - swing(u - step * e)[which][-1]) / (2 * step)
         for e in np.eye(T)]
    )  # fmt: skip


def test_bounds_on_a_whole_trajectory_hold(pendulum: unfold.Function) -> None:
    params = {**pendulum.init(), "r_u": np.array(0.01)}
    data = {**START, "theta_ref": np.array(1.0), "u": np.zeros(T)}
    free = unfold.minimize(pendulum, params, data, wrt="u")
    slow = unfold.minimize(pendulum, params, data, wrt="u", constraints={"omega": (-0.3, 0.3)})
    assert free.success
    assert slow.success
    assert np.abs(swing(free.inputs["u"])[1]).max() > 0.5
    assert np.abs(swing(slow.inputs["u"])[1]).max() < 0.3 + 1e-7
    assert slow.loss > free.loss


# --- second order -----------------------------------------------------------------------------


def orders(params: dict[str, Any], d: Array) -> Array:
    """The best orders of the inventory, by its normal equations."""
    n = d.size
    below = np.tril(np.ones((n, n)))
    stock = params["h0"] - below @ d
    c, h = params["order_cost"], params["hold"]
    return np.asarray(np.linalg.solve(c * np.eye(n) + h * below.T @ below, -h * below.T @ stock))


@pytest.mark.parametrize(
    "method",
    ["Newton-CG", "trust-ncg", "trust-krylov", "trust-exact", "trust-constr", "L-BFGS-B", "BFGS"],
)
def test_the_best_orders_are_those_of_the_normal_equations(method: str) -> None:
    fn = unfold.compile(EXAMPLES / "inventory.rec")
    params = {"h0": np.array(2.0), "order_cost": np.array(0.7), "hold": np.array(0.3)}
    d = np.random.default_rng(0).uniform(0, 2, 12)
    found = unfold.minimize(fn, params, wrt="x", method=method, x=np.zeros(12), d=d)
    np.testing.assert_allclose(found.inputs["x"], orders(params, d), atol=2e-4)
    if method in ("Newton-CG", "trust-exact"):  # quadratic: the curvature says all
        assert found.result.nit <= 15


# --- estimation -------------------------------------------------------------------------------

RATES = np.array([0.8, 0.35, 0.15])


def reaction(k: Array, dt: Array) -> Array:
    """Concentrations of A, B and C by hand; shape (T, 3)."""
    a, b, c, found = 1.0, 0.0, 0.0, []
    for step in dt:
        a, b, c = (
            a - step * k[0] * a,
            b + step * (k[0] * a - k[1] * b - k[2] * b),
            c + step * k[1] * b,
        )
        found.append((a, b, c))
    return np.array(found)


def test_reaction_rates_are_estimated_from_noisy_concentrations() -> None:
    fitted = """
model fitted:
    input dt[t]: real
    input a[t], b[t], c[t]: real
    r = kinetics(dt)
    loss = mean[t]((r.A[t] - a[t]) ** 2 + (r.B[t] - b[t]) ** 2 + (r.C[t] - c[t]) ** 2)
    output r.A[t]
    minimize loss
"""
    fn = unfold.compile((EXAMPLES / "kinetics.rec").read_text(encoding="utf-8") + fitted)
    chance = np.random.default_rng(0)
    dt = chance.uniform(0.02, 0.2, 60)
    seen = reaction(RATES, dt) + chance.normal(scale=0.01, size=(60, 3))
    data = {"dt": dt, "a": seen[:, 0], "b": seen[:, 1], "c": seen[:, 2]}
    params = {**fn.init(), "r.k": np.ones(3)}
    expected = optimize.least_squares(
        lambda k: (reaction(k, dt) - seen).ravel(), np.ones(3), xtol=1e-14, ftol=1e-14
    ).x
    for method in ("L-BFGS-B", "trust-constr", "trust-ncg"):
        low = {} if method == "trust-ncg" else {"bounds": {"r.k": (0, None)}}
        found = unfold.minimize(
            fn, params, data, wrt="r.k", method=method, tol=1e-10, **low,  # type: ignore[arg-type]
        )  # fmt: skip
        np.testing.assert_allclose(found.params["r.k"], expected, atol=2e-5, err_msg=method)
        np.testing.assert_allclose(found.params["r.k"], RATES, atol=0.03)
        assert found.params["r.a0"] == 1


# --- what may go wrong ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "newton"}, "there is no 'newton'; did you mean `newton-cg`?"),
        ({"bounds": {"v": (0, 1)}}, "bounds: v is not moved"),
        ({"bounds": {"u": 3}}, r"bounds\['u'\]: expected \(low, high\)"),
        ({"bounds": {"u": (2, 1)}}, "the lower bound is not below the upper one"),
        ({"bounds": {"u": (np.zeros(3), None)}}, "numbers that fit the shape"),
        ({"method": "BFGS", "bounds": {"u": (0, 1)}}, "BFGS knows no bounds"),
        ({"constraints": {"thet[T]": 1}}, "has no thet; did you mean `theta`?"),
        ({"constraints": {"u[1]": 1}}, "u is given and not computed"),
        ({"method": "CG", "constraints": TOP}, "CG knows no constraints"),
        ({"wrt": "theta"}, "theta is computed"),
        ({"wrt": ()}, "has no real parameters"),
        ({"reduce": "none"}, "reduce is"),
        ({"u": np.full(T, np.nan)}, "the loss at the start is nan"),
    ],
)
def test_wrong_arguments_are_named(
    change: dict[str, Any], said: str, pendulum: unfold.Function
) -> None:
    given = {**START, "u": np.zeros(T), "wrt": "u", **change}
    with pytest.raises(unfold.InputError, match=said):
        unfold.minimize(pendulum, pendulum.init(), **given)


def test_without_scipy_the_extra_is_named(
    pendulum: unfold.Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(unfold.InputError, match=r"unfold-rec\[scipy\]"):
        unfold.minimize(pendulum, pendulum.init(), {**START, "u": np.zeros(T)}, wrt="u")


def test_a_search_ends_where_beginning_again_gains_nothing(pendulum: unfold.Function) -> None:
    """After one poor step SciPy's L-BFGS-B stops wherever it is."""
    steps, weights = (
        240,
        {"q_theta": 0.0, "q_omega": 0.0, "r_u": 0.1, "s_theta": 100.0, "s_omega": 20.0},
    )
    params = {**pendulum.init(), **weights}
    data = {"dt": 6 / steps, "grav": GRAV, "theta_ref": np.pi}
    u = np.sin(np.sqrt(GRAV) * 6 / steps * np.arange(steps))

    def value(x: Array) -> tuple[float, Array]:
        loss, grads = pendulum.value_and_grad(params, data, u=x, wrt="u")
        return float(loss), grads["u"]

    def alone(x: Array) -> float:
        bounds = optimize.Bounds(-2, 2)
        return float(optimize.minimize(value, x, jac=True, method="L-BFGS-B", bounds=bounds).fun)

    found = unfold.minimize(pendulum, params, data, u=u, wrt="u", bounds={"u": (-2, 2)})
    assert found.loss <= alone(u)
    assert found.loss - alone(found.inputs["u"]) <= 2.3e-9
    assert str(found).startswith(f"<Minimum: loss {found.loss:.6g}; CONVERGENCE")
