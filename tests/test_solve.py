"""Implicit equations: solved, and differentiated."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold
from tests.solving import DEQ, KINDS, METHODS, SIZES, apart, compiled, on, small
from unfold.errors import SolverError

HERE = Path(__file__).parent


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    return on(str(request.param), monkeypatch)


def reference() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The inputs, parameters, outputs and gradients of the deep equilibrium model."""
    groups: dict[str, dict[str, Any]] = {}
    with np.load(HERE / "data" / "deq.npz") as file:
        for key in file.files:
            group, _, name = key.partition("/")
            groups.setdefault(group, {})[name] = file[key]
    return groups["input"], groups["param"], groups["output"], groups["grad"]


# --- values and gradients ---------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_every_method_meets_the_reference(method: str, kind: str) -> None:
    inputs, params, outputs, grads = reference()
    fn = compiled(DEQ.replace("anderson", method), kind, sizes=SIZES)
    out = fn(params, inputs)
    assert apart(out.z, outputs["z"]) < 1e-12
    loss, found = fn.value_and_grad(params, inputs, wrt=list(grads))
    assert apart(loss, outputs["loss"]) < 1e-12
    for name, expected in grads.items():
        assert apart(found[name], expected) < 1e-10, name


@pytest.mark.parametrize("method", METHODS)
def test_an_implicit_step_within_a_recurrence_has_the_right_gradient(method: str) -> None:
    result = unfold.grad_check(unfold.loads(small(method)), D=3, T=6, entries=3)
    assert result.ok, str(result)


UNROLLED = DEQ.replace(
    """    solve z[t] by anderson(tol = 1e-13):
        z[t] = tanh(W @ z[t] + U @ x[t] + b)
""",
    """    axis k: N
    u[t,0] = 0
    u[t,k] = tanh(W @ u[t,k-1] + U @ x[t] + b)
    z[t] = u[t,N]
""",
)


def test_the_gradient_is_the_limit_of_the_unrolled_one(kind: str) -> None:
    inputs, params, _, _ = reference()
    _, implicit = compiled(DEQ, kind, sizes=SIZES).value_and_grad(params, inputs)
    unrolled = compiled(UNROLLED, kind, sizes=SIZES)
    errors = []
    for n in (5, 10, 20, 40):
        _, grads = unrolled.value_and_grad(params, inputs, N=n)
        errors.append(max(apart(grads[name], implicit[name]) for name in params))
    # The iteration contracts, and so does what is left of the gradient's error.
    assert all(later < 0.3 * earlier for earlier, later in pairwise(errors))
    assert errors[-1] < 1e-7
    _, grads = unrolled.value_and_grad(params, inputs, N=120)
    assert max(apart(grads[name], implicit[name]) for name in params) < 1e-12


def test_tangents_and_second_derivatives_pass_through(kind: str) -> None:
    inputs, params, _, _ = reference()
    fn = compiled(DEQ, kind, sizes=SIZES)
    generator = np.random.default_rng(3)
    u, v = ({n: generator.normal(size=np.shape(p)) for n, p in params.items()} for _ in range(2))

    def moved(step: float) -> dict[str, Any]:
        return {n: p + step * u[n] for n, p in params.items()}

    step = 1e-5
    _, tangents = fn.jvp(params, u, inputs)
    slope = (fn(moved(step), inputs).loss - fn(moved(-step), inputs).loss) / (2 * step)
    assert apart(tangents.loss, slope) < 1e-8
    ahead, behind = (fn.value_and_grad(moved(s), inputs)[1] for s in (step, -step))
    product = fn.hvp(params, u, inputs)
    for name in params:
        assert apart(product[name], (ahead[name] - behind[name]) / (2 * step)) < 1e-7, name
    other = fn.hvp(params, v, inputs)
    left, right = (sum(np.sum(a[n] * b[n]) for n in params) for a, b in ((v, product), (u, other)))
    assert apart(left, right) < 1e-10


def test_the_scale_of_the_loss_makes_no_difference_to_the_accuracy(kind: str) -> None:
    inputs, params, _, grads = reference()
    tiny = DEQ.replace("loss = mean", "loss = 1e-12 * mean")
    _, found = compiled(tiny, kind, sizes=SIZES).value_and_grad(params, inputs)
    assert all(apart(found[n], 1e-12 * grads[n]) < 1e-10 for n in params)


def test_both_backends_take_the_same_steps() -> None:
    inputs, params, _, _ = reference()
    for steps in (1, 2, 5, 9):
        said = []
        for backend in ("numpy", "llvm"):
            text = DEQ.replace("1e-13", f"1e-13, max_steps = {steps}")
            with pytest.raises(SolverError) as error:
                unfold.compile(text, backend=backend, sizes=SIZES)(params, inputs)
            said.append((error.value.steps, error.value.residual, str(error.value)))
        assert said[0][0] == said[1][0] == steps
        assert said[0][1] == pytest.approx(said[1][1], rel=1e-3)
        assert said[0][2] == said[1][2]


# --- batches, lengths, formats, steps ---------------------------------------------------------


def test_every_sequence_of_a_batch_is_searched_for_by_itself(kind: str) -> None:
    fn = compiled(small("anderson"), kind, D=3)
    params = fn.init(1)
    x = np.random.default_rng(1).normal(size=(11, 4, 3)) * np.logspace(-3, 1, 11)[:, None, None]
    together = fn(params, x=x)
    for b in range(11):
        alone = fn(params, x=x[b])
        np.testing.assert_allclose(together.h[b], alone.h, rtol=1e-11, atol=1e-13)


def test_short_sequences_and_empty_batches(kind: str) -> None:
    fn = compiled(small("newton"), kind, D=2)
    params = fn.init(0)
    x = np.random.default_rng(2).normal(size=(3, 5, 2))
    ragged = fn(params, x=x, lengths=[5, 1, 3])
    for b, n in enumerate((5, 1, 3)):
        np.testing.assert_allclose(ragged.h[b, :n], fn(params, x=x[b, :n]).h, rtol=1e-12)
        np.testing.assert_array_equal(ragged.h[b, n:], ragged.h[b, n - 1] + np.zeros((5 - n, 2)))
    assert fn(params, x=x[:0]).h.shape == (0, 5, 2)


def test_single_precision_is_solved_as_far_as_it_goes(kind: str) -> None:
    inputs, params, outputs, grads = reference()
    for method in METHODS:
        fn = compiled(DEQ.replace("anderson", method), kind, sizes=SIZES, dtype="float32")
        assert apart(fn(params, inputs).z, outputs["z"]) < 2e-5
        _, found = fn.value_and_grad(params, inputs)
        assert all(apart(found[n], grads[n]) < 2e-4 for n in params)


def test_a_stepper_solves_its_implicit_step(kind: str) -> None:
    fn = compiled(small("newton"), kind, D=2)
    params, x = fn.init(0), np.random.default_rng(0).normal(size=(4, 2))
    stepper = fn.stepper(params)
    for t in range(4):
        np.testing.assert_allclose(stepper.step(x=x[t]).h, fn(params, x=x).h[t], rtol=1e-11)


def test_a_truncated_gradient_passes_through_the_implicit_step_only(kind: str) -> None:
    cut = compiled(small("newton"), kind, D=2, truncate=unfold.Window(1))
    params, x = cut.init(0), np.random.default_rng(0).normal(size=(4, 2))
    _, found = cut.value_and_grad(params, x=x)
    h = np.vstack([np.zeros(2), cut(params, x=x).h])
    one = compiled(small("newton").replace("h[0] = 0", "input h0: real[D]\n            h[0] = h0"),
                   kind, D=2)  # fmt: skip
    total = sum(one.value_and_grad(params, x=x[t : t + 1], h0=h[t])[1]["W"] for t in range(4))
    assert apart(found["W"], total) < 1e-11


def test_a_horizon_reaches_through_implicit_steps(kind: str) -> None:
    params, x = {"W": np.eye(2), "k": 1.0}, np.random.default_rng(0).normal(size=(6, 2))
    full = compiled(small("newton"), kind, D=2).value_and_grad(params, x=x)[1]
    near, far = (compiled(small("newton"), kind, D=2, truncate=unfold.Horizon(n)) for n in (2, 6))
    found = far.value_and_grad(params, x=x)[1]
    assert all(apart(found[n], full[n]) < 1e-11 for n in full)
    # Two steps are what the windows of every two steps have in common.
    h = np.vstack([np.zeros(2), near(params, x=x).h])
    text = small("newton").replace("h[0] = 0", "input h0: real[D]\n            h[0] = h0")
    two = compiled(text.replace("sum[t](sum(h[t]**2))", "sum(h[T]**2)"), kind, D=2)
    parts = [
        two.value_and_grad(params, x=x[max(0, t - 2) : t], h0=h[max(0, t - 2)])[1]["W"]
        for t in range(1, 7)
    ]
    assert apart(near.value_and_grad(params, x=x)[1]["W"], sum(parts)) < 1e-11


def test_a_model_with_a_solve_may_stand_inside_another(kind: str) -> None:
    text = """
        from cells use deq
        model m(D, H):
            input x[t]: real[D]
            first = deq(x, H)
            second = reverse deq(first.z, H)
            loss = sum[t](sum(second.z[t]**2))
            minimize loss
    """
    model = unfold.loads(text)
    assert str(model).count("solve ") == 2
    # The library's cell has the default tolerance, which differences see.
    finer = unfold.loads(str(model).replace("anderson", "anderson(tol = 1e-14)"))
    result = unfold.grad_check(finer, D=2, H=3, T=3, entries=2)
    assert result.ok, str(result)
    fn = compiled(text, kind, D=2, H=3)
    assert np.isfinite(fn(fn.init(), x=np.ones((2, 2))).loss)


def test_calls_from_several_threads_do_not_disturb_each_other(kind: str) -> None:
    fn = compiled(small("anderson"), kind, D=3)
    params = fn.init(0)
    xs = np.random.default_rng(0).normal(size=(8, 5, 3))
    expected = [fn(params, x=x).h for x in xs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda x: fn(params, x=x).h, xs))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
