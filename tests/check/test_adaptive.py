"""`dopri5` against closed forms and fine fixed steps: values, order, gradients, and its errors."""

from __future__ import annotations

import pickle
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import unfold
from unfold import SolverError

BACKENDS = ("numpy", "llvm")

OSCILLATOR = """
    model oscillator:
        input dt[t]: real
        param w: real = 1
        param start: real = 1
        p[0] = start
        v[0] = 0
        flow p[t], v[t] from p[t-1], v[t-1] by dopri5(dt[t], OPTIONS):
            der(p) = v
            der(v) = -w ** 2 * p
        output p[t], v[t]
        minimize sum[t](p[t] ** 2 + 0.5 * v[t])
"""


@cache
def compiled(source: str, options: str, backend: str = "llvm", **sizes: Any) -> Any:
    lines = source.replace("OPTIONS", options).splitlines()
    text = "\n".join(line[4:] for line in lines)
    return unfold.compile(unfold.loads(text), backend=backend, **sizes)


@pytest.mark.parametrize("backend", BACKENDS)
def test_irregular_backward_and_empty_steps_follow_the_solution(backend: str) -> None:
    fn = compiled(OSCILLATOR, "rtol = 1e-10, atol = 1e-10", backend)
    dt = np.array([[0.3, 0.0, 1.1, 0.0, -0.9, 0.02], [1.0, 0.5, 0.0, -1.5, 2.0, 0.0]])
    out = fn({"w": 1.3, "start": 0.8}, dt=dt)
    now = np.cumsum(dt, axis=1)
    np.testing.assert_allclose(out.p, 0.8 * np.cos(1.3 * now), atol=3e-9)
    np.testing.assert_allclose(out.v, -1.3 * 0.8 * np.sin(1.3 * now), atol=3e-9)
    # A step of length 0 is no step at all.
    assert (out.p[0, 1], out.v[0, 1]) == (out.p[0, 0], out.v[0, 0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_are_those_of_the_solution(backend: str) -> None:
    """Exact to the tolerance: the loss has a closed form, and so do its derivatives."""
    fn = compiled(OSCILLATOR, "rtol = 1e-11, atol = 1e-11", backend)
    dt = np.array([0.3, 0.0, 1.1, -0.4])
    w, start = 1.3, 0.8
    _, grads = fn.value_and_grad({"w": w, "start": start}, dt=dt, wrt=["w", "start", "dt"])
    s = np.cumsum(dt)
    c, n = np.cos(w * s), np.sin(w * s)
    by_w = -2 * start**2 * s * c * n - 0.5 * start * (n + w * s * c)
    by_time = -2 * start**2 * w * c * n - 0.5 * start * w**2 * c
    np.testing.assert_allclose(grads["w"], np.sum(by_w), rtol=1e-8)
    np.testing.assert_allclose(grads["start"], np.sum(2 * start * c**2 - 0.5 * w * n), rtol=1e-8)
    np.testing.assert_allclose(grads["dt"], np.cumsum(by_time[::-1])[::-1], rtol=1e-8)


def test_the_error_follows_the_tolerance() -> None:
    dt = np.full(4, 1.0)
    errors = []
    for rtol in (1e-4, 1e-6, 1e-8, 1e-10):
        out = compiled(OSCILLATOR, f"rtol = {rtol}, atol = {rtol}")({"w": 2.0, "start": 1.0}, dt=dt)
        errors.append(abs(out.p[-1] - np.cos(8.0)))
        # A step is wrong by no more than its tolerance; in all of them errors add up.
        assert errors[-1] < 100 * rtol
    assert all(fine < coarse / 10 for coarse, fine in pairwise(errors))


VAN_DER_POL = """
    model vdp(H):
        input dt[t]: real
        param mu: real[H] = 1
        y[0] = [2, 0.1]
        z[0] = 1
        flow y[t], z[t] from y[t-1], z[t-1] by SCHEME:
            let force = mu[0] * (1 - y[0] ** 2) * y[1] - y[0]
            der(y) = [y[1], force]
            der(z) = -mu[1] * z + 0.1 * y[0]
        output y[t], z[t]
        minimize sum(y[T] ** 2) + sum[t](z[t])
"""


def test_a_stiffer_system_agrees_with_many_small_steps_and_differences() -> None:
    params, dt = {"mu": np.array([2.0, 0.7])}, np.array([0.8, 1.7, 0.4])
    adaptive = VAN_DER_POL.replace("SCHEME", "dopri5(dt[t], rtol = 1e-10, atol = 1e-10)")
    fine = VAN_DER_POL.replace("SCHEME", "rk4(dt[t] / 400)")
    values = []
    for backend in BACKENDS:
        fn = compiled(adaptive, "", backend, H=2)
        values.append(fn.value_and_grad(params, dt=dt, wrt=["mu", "dt", "y", "z"]))
    out = compiled(adaptive, "", H=2)(params, dt=dt)
    steps = compiled(fine, "", H=2)(params, dt=np.repeat(dt, 400))
    np.testing.assert_allclose(out.y, steps.y[399::400], rtol=1e-7)
    np.testing.assert_allclose(out.z, steps.z[399::400], rtol=1e-7)
    (loss, grads), (same, other) = values
    assert loss == pytest.approx(same, rel=1e-12)
    for name, grad in grads.items():
        np.testing.assert_allclose(grad, other[name], rtol=1e-9, atol=1e-12)
    differences = []
    for k in range(2):
        for sign in (1, -1):
            mu = params["mu"] + sign * 1e-5 * np.eye(2)[k]
            differences.append(sign * float(compiled(adaptive, "", H=2)({"mu": mu}, dt=dt).loss))
    slopes = np.reshape(differences, (2, 2)).sum(1) / 2e-5
    np.testing.assert_allclose(grads["mu"], slopes, rtol=2e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_step_that_is_not_completed_is_an_error(backend: str) -> None:
    fn = compiled(OSCILLATOR, "max_steps = 12", backend)
    params = {"w": 1.0, "start": 1.0}
    dt = np.array([[0.1, 0.1, 0.1], [0.1, 50.0, 0.1]])
    for call in (fn, fn.value_and_grad):
        with pytest.raises(SolverError, match="max_steps") as caught:
            call(params, dt=dt)
        error = caught.value
        assert (error.equation, error.index, error.sequence) == ("p", (2,), 1)
        assert (error.method, error.steps, error.tol) == ("dopri5", 12, 1e-8)
        assert error.reached is not None
        assert 0 < error.reached < 1
    # What a short sequence does not have is not missed.
    assert np.isfinite(fn(params, dt=dt, lengths=[3, 1]).loss).all()
    with pytest.raises(SolverError) as caught:
        fn({"w": np.nan, "start": 1.0}, dt=dt[0])
    assert (caught.value.reached, caught.value.sequence) == (0.0, None)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rejected_attempts_leave_no_trace_in_a_gradient(backend: str) -> None:
    """An attempt may leave the domain of the right-hand side; the step that is made does not.

    h' = -1 / sqrt(h) reaches 0 at t = 2/3 from 1: h(t) = (1 - 3/2 t) ** (2/3).
    """
    fn = compiled("""
    model falling:
        input dt[t]: real
        param start: real = 1
        h[0] = start
        flow h[t] from h[t-1] by dopri5(dt[t], rtol = 1e-9, atol = 1e-9):
            der(h) = -1 / sqrt(h)
        output h[t]
        minimize h[T]
    """, "", backend)  # fmt: skip
    dt = np.array([0.666])
    loss, grads = fn.value_and_grad({"start": 1.0}, dt=dt)
    assert loss == pytest.approx((1 - 1.5 * 0.666) ** (2 / 3), rel=1e-4)
    assert grads["start"] == pytest.approx((1 - 1.5 * 0.666) ** (-1 / 3), rel=1e-3)


def model_of(options: str) -> unfold.Model:
    lines = OSCILLATOR.replace("OPTIONS", options).splitlines()
    return unfold.loads("\n".join(line[4:] for line in lines))


@pytest.mark.parametrize("options", ["max_steps = 7", "max_steps = 9, rtol = 1e-5, atol = 0.001"])
def test_the_printed_program_is_the_program(options: str) -> None:
    model = model_of(options)
    for text in (str(model), str(model.adjoint())):
        again = str(unfold.loads(text))
        # The same lines; only the order of equations is the printer's.
        assert sorted(again.split()) == sorted(text.split())


def test_the_size_of_the_program_does_not_depend_on_the_attempts() -> None:
    few, many = (model_of(f"max_steps = {n}").adjoint().program for n in (5, 500))
    assert len(few.equations) == len(many.equations)


@pytest.mark.parametrize("backend", BACKENDS)
def test_single_steps_and_copies_of_the_function_fail_as_well(backend: str) -> None:
    fn = compiled(OSCILLATOR, "max_steps = 9", backend)
    params, dt = {"w": 1.0, "start": 1.0}, np.array([0.1, 30.0])
    stepper = fn.stepper(params)
    assert float(stepper.step(dt=dt[0]).p) == pytest.approx(np.cos(0.1), abs=1e-7)
    with pytest.raises(SolverError):
        stepper.step(dt=dt[1])
    with pytest.raises(SolverError) as caught:
        pickle.loads(pickle.dumps(fn))(params, dt=dt)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.index, again.reached) == ((2,), caught.value.reached)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_element_of_another_axis_has_steps_of_its_own(backend: str) -> None:
    fn = compiled("""
    model many:
        axis k: 3
        input rate[k]: real
        input dt[t]: real
        h[0, k] = 1
        flow h[t, k] from h[t-1, k] by dopri5(dt[t], max_steps = 30):
            der(h) = -rate[k] * h
        output h[t, k]
        minimize sum[t, k](h[t, k])
    """, "", backend)  # fmt: skip
    rate, dt = np.array([0.1, 2.0, 5.0]), np.array([0.5, 0.0, 1.0])
    now = np.cumsum(dt)[:, None]
    np.testing.assert_allclose(fn({}, rate=rate, dt=dt)["h"], np.exp(-now * rate), atol=1e-7)
    _, grads = fn.value_and_grad({}, rate=rate, dt=dt, wrt=["rate"])
    np.testing.assert_allclose(grads["rate"], -np.sum(now * np.exp(-now * rate), 0), atol=1e-6)


def test_stages_of_the_scheme_that_nothing_needs_are_not_warned_of() -> None:
    """Where no derivative reads a state, its probe of the first step's size is idle."""
    model = unfold.loads(
        "model gone:\n"
        "    param k: real = 1\n"
        "    a[0] = 1\n"
        "    r[0] = 0\n"
        "    flow a[t], r[t] from a[t-1], r[t-1] by dopri5(0.5):\n"
        "        der(a) = -k * a\n"
        "        der(r) = k * a\n"
        "    output a[t], r[t]\n"
    )
    assert model.check() == ()
