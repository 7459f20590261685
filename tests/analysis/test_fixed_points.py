"""Fixed points, time constants and frequencies against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

import unfold
from tests.analysis.models import LINEAR, LOGISTIC, example, linear
from unfold import analysis


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_a_linear_system_has_the_time_scales_of_its_eigenvalues(backend: str) -> None:
    turn, decay = 2 * np.pi * 0.05, 0.9
    block = decay * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    a = np.zeros((3, 3))
    a[:2, :2], a[2, 2] = block, 0.5
    basis = np.random.default_rng(0).normal(size=(3, 3))
    fn, params = linear(basis @ a @ np.linalg.inv(basis), backend)
    x = np.ones((20, 3))
    found = analysis.fixed_points(fn, params, {"x": x}, hold={"x": 2.0}, dt=0.1, unit="s")
    (point,) = found.points
    assert (found.starts, found.converged, found.failed) == (32, 32, 0)
    assert np.allclose(point.state["h"], np.linalg.solve(np.eye(3) - params["A"], [2, 2, 2]))
    assert np.allclose(point.jacobian, params["A"], rtol=0, atol=1e-14)
    assert point.kind == "stable focus"
    assert point.stable
    assert np.allclose(point.time_constants, [-0.1 / np.log(0.9)] * 2 + [-0.1 / np.log(0.5)])
    assert np.allclose(point.frequencies, [0.5, 0.5, 0.0])  # 0.05 of a turn in 0.1 s
    assert "x = [2, 2, 2]" in str(found)


@pytest.mark.parametrize(("r", "kind"), [(2.5, "stable node"), (3.2, "unstable node")])
def test_the_logistic_map_has_the_two_points_of_its_formula(r: float, kind: str) -> None:
    fn = unfold.compile(LOGISTIC, r=r, backend="numpy")
    found = analysis.fixed_points(fn, data={"T": 20}, initial=[[0.5], [0.1], [-0.1]])
    states = sorted(float(p.state["h"]) for p in found.points)
    assert np.allclose(states, [0, 1 - 1 / r], rtol=0, atol=1e-10)
    inner = max(found.points, key=lambda p: float(p.state["h"]))
    assert np.isclose(inner.eigenvalues[0], 2 - r)
    assert inner.kind == kind
    assert np.isclose(inner.frequencies[0], 0.5)  # it alternates


def test_a_harmonic_oscillator_has_its_own_frequency() -> None:
    text = """
model oscillator(omega = 3.0):
    input  dt[t]: real
    param  q0: real = 1
    q[0] = q0
    p[0] = 0
    flow q[t], p[t] from q[t-1], p[t-1] by rk4(dt[t], substeps = 4):
        der(q) = p
        der(p) = -omega ** 2 * q
    output q[t], p[t]
"""
    found = analysis.fixed_points(text, None, {"dt": np.full(50, 0.05)}, dt=0.05, unit="s")
    (point,) = found.points
    assert np.allclose([point.state["q"], point.state["p"]], 0)
    assert np.allclose(point.frequencies, 3.0 / (2 * np.pi), rtol=1e-7)
    assert point.kind == "centre"
    assert np.all(np.abs(point.time_constants) > 1e5)


def test_predators_and_prey_turn_around_their_balance() -> None:
    fn, params, data = example("lotka_volterra", steps=20)
    names = ("growth", "eaten", "fed", "death")
    growth, eaten, fed, death = (abs(float(params[n])) for n in names)
    params |= {n: np.asarray(v) for n, v in zip(names, (growth, eaten, fed, death), strict=True)}
    found = analysis.fixed_points(fn, params, data, hold={"gap": 0.1}, dt=0.1, unit="years")
    (point,) = found.points
    assert np.isclose(point.state["prey"], np.log(death / fed))
    assert np.isclose(point.state["hunter"], np.log(growth / eaten))
    # Linearised, the two turn with the frequency sqrt(growth * death) (Volterra 1926).
    assert np.allclose(point.frequencies, np.sqrt(growth * death) / (2 * np.pi), rtol=1e-5)
    assert point.kind == "centre"


def test_saddles_and_unstable_foci_are_told_apart() -> None:
    kind = analysis.kind_of_point
    assert kind(np.array([1.5, 0.2], complex)) == "saddle"
    assert kind(np.array([0.9 + 0.9j, 0.9 - 0.9j, 0.2])) == "saddle focus"
    assert kind(np.array([0.9 + 0.9j, 0.9 - 0.9j])) == "unstable focus"
    assert kind(np.array([1.0, 0.5], complex)) == "marginal"
    assert kind(np.exp([1j, -1j])) == "centre"
    tau, f = analysis.time_scales(np.array([1.0, 0.0, -0.5, 2.0], complex), dt=2.0)
    assert np.allclose(tau, [np.inf, 0.0, 2 / np.log(2), -2 / np.log(2)])
    assert np.allclose(f, [0, 0, 0.25, 0])


def test_a_system_without_a_fixed_point_has_a_slow_one_where_it_is_slowest() -> None:
    text = """
model passing(gap = 0.01):
    param  h0: real = -1
    h[0] = h0
    h[t] = h[t-1] + gap + h[t-1] ** 2 / (1 + h[t-1] ** 2)
    output h[t]
"""
    found = analysis.fixed_points(text, data={"T": 3}, slow=True, starts=8)
    assert found.points == ()
    assert found.converged == 0
    assert found.slowed + found.failed == 8
    assert found.slowed >= 4
    slow = found.slow_points[0]
    assert abs(float(slow.state["h"])) < 1e-6
    assert np.isclose(slow.speed, 0.01)
    assert slow.slow
    assert "none was found" not in str(found)
    hidden = analysis.fixed_points(text, data={"T": 3}, starts=8)
    assert hidden.slow_points == ()
    assert f"{hidden.slowed} in minima of the speed above zero" in str(hidden)


def test_starts_that_do_not_converge_are_counted() -> None:
    fn = unfold.compile(LOGISTIC, backend="numpy")
    found = analysis.fixed_points(fn, data={"T": 5}, initial=[[np.inf], [0.5]])
    assert (found.converged, found.failed) == (1, 1)
    stopped = analysis.fixed_points(fn, data={"T": 5}, initial=[[40.0]], max_steps=1)
    assert stopped.failed == 1
    assert stopped.failed_residuals[0] > 1
    assert "1 did not converge (|F(z) - z| = " in str(stopped)


def test_memories_of_a_hopfield_network_are_its_stable_points() -> None:
    text = LINEAR.replace("A @ h[t-1] + x[t]", "tanh(A @ h[t-1] + x[t])")
    patterns = np.array([[1, 1, 1, 1, -1, -1, -1, -1], [1, -1, 1, -1, 1, -1, 1, -1]], dtype=float)
    fn = unfold.compile(text, H=8, backend="numpy")
    params = {"A": 2 * patterns.T @ patterns / 8}
    # From noisy versions of the patterns, from their mixtures, and from nothing at all.
    noise = 0.2 * np.random.default_rng(0).normal(size=(4, 8))
    both = np.array([[1, 1], [1, -1]]) @ patterns / 2
    initial = np.concatenate([[*patterns, *-patterns] + noise, both, np.zeros((1, 8))])
    found = analysis.fixed_points(fn, params, {"x": np.zeros((5, 8))}, initial=initial)
    stable = [p for p in found.points if p.stable]
    signs = {tuple(np.sign(p.state["h"]).astype(int)) for p in stable}
    assert signs == {tuple(s * p.astype(int)) for p in patterns for s in (1, -1)}
    assert np.allclose([np.abs(p.state["h"]) for p in stable], 0.9575040240772687)  # x = tanh(2 x)
    assert sum(p.kind == "saddle" for p in found.points) == 3


def test_what_cannot_be_held_is_refused() -> None:
    fn, params = linear(np.eye(2) / 2)
    x = {"x": np.zeros((4, 2))}
    with pytest.raises(unfold.InputError, match="no input y over t"):
        analysis.fixed_points(fn, params, x, hold={"y": 0})
    with pytest.raises(unfold.InputError, match=r"elements of shape \(2,\), not \(3,\)"):
        analysis.fixed_points(fn, params, x, hold={"x": [1, 2, 3]})
    with pytest.raises(unfold.InputError, match=r"expected shape \(starts, 2\)"):
        analysis.fixed_points(fn, params, x, initial=[1.0, 2.0, 3.0])
    with pytest.raises(unfold.InputError, match="hold: x is to be finite"):
        analysis.fixed_points(fn, params, x, hold={"x": np.nan})
    tokens = example("charlm", steps=4)
    name = next(v.name for v in tokens[0].declared.inputs if v.type.kind == "int")
    for wrong in (99, -1, 0.5):
        with pytest.raises(unfold.InputError, match=rf"hold: {name} is an integer in 0\.\."):
            analysis.fixed_points(*tokens, hold={name: wrong})
    with pytest.raises(unfold.InputError, match="dt is the time of a step"):
        analysis.fixed_points(fn, params, x, dt=0)


# --- gates ------------------------------------------------------------------------------------


def test_the_forget_gate_of_an_lstm_is_found_and_has_its_time_constants() -> None:
    fn, params, data = example("lstm", steps=9)
    found = analysis.time_constants(fn, params, data, dt=0.5, unit="s")
    assert found.gates == {"c": "f[t]"}
    named = analysis.time_constants(fn, params, data, gate="f", dt=0.5)
    assert np.array_equal(named.values["f"], found.values["c"])
    assert np.allclose(found.tau["c"], -0.5 / np.log(found.values["c"]))
    assert np.allclose(found.tau_of_mean["c"], -0.5 / np.log(found.values["c"]).mean(axis=0))
    # The gate is the derivative of c[t] in c[t-1], which is diagonal.
    step = analysis.step_map(analysis.prepare(fn, params, data))
    cell = step.slots_of("c")[0].part
    own = step.jacobians()[:, cell, cell]
    assert np.allclose(own, found.values["c"][:, :, None] * np.eye(own.shape[1]), rtol=1e-13)


def test_a_leaky_unit_has_the_time_constant_that_it_was_given() -> None:
    fn, params, data = example("leaky_integrators", steps=5)
    found = analysis.time_constants(fn, params, data, dt=0.1)
    assert np.allclose(found.tau_of_mean["h"], np.exp(params["log_tau"]))


@pytest.mark.parametrize(
    ("equation", "gate"),
    [
        ("(1 - z[t]) * tanh(x[t]) + z[t] * h[t-1]", "z[t]"),
        ("h[t-1] + z[t] * (x[t] - h[t-1])", "1 - z[t]"),
        ("x[t] - 0.5 * h[t-1]", "-0.5"),
        ("h[t-1] / 4 + z[t] * h[t-1]", "0.25 + z[t]"),
        ("tanh(h[t-1]) + x[t]", None),
        ("z[t] * h[t-1] * h[t-1]", None),
    ],
)
def test_gates_are_read_off_the_algebra(equation: str, gate: str | None) -> None:
    text = f"""
model m(H):
    input  x[t]: real[H]
    param  U: real[H, H]  ~ orthogonal
    h[0] = 0
    z[t] = sigmoid(U @ h[t-1])
    h[t] = {equation}
    output h[t]
"""
    data = {"x": np.linspace(0, 1, 8).reshape(4, 2)}
    fn = unfold.compile(text, H=2, backend="numpy")
    if gate is None:
        with pytest.raises(unfold.InputError, match="unit by unit; its states are h"):
            analysis.time_constants(fn, None, data)
        return
    found = analysis.time_constants(fn, None, data)
    z = analysis.time_constants(fn, None, data, gate="z").values["z"]
    given = {"z[t]": z, "1 - z[t]": 1 - z, "-0.5": np.full_like(z, -0.5), "0.25 + z[t]": 0.25 + z}
    assert np.allclose(found.values["h"], given[gate])
