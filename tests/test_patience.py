"""Anderson's method: plain steps while these are quick, extrapolation as soon as they are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unfold
from tests.solving import KINDS, compiled, on
from unfold.backends.llvm.solving import rows_abreast
from unfold.errors import SolverError
from unfold.implicit import parts, patience, unknown

LINEAR = """
    model m(N):
        input x[t]: real[N]
        input c[t]: real
        param A: real[N, N]
        solve z[t] by METHOD(tol = 1e-11, max_steps = STEPS):
            z[t] = c[t] * (A @ z[t]) + sin(x[t])
        loss = sum[t](sum(z[t]**2))
        output z[t]
        minimize loss
"""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    return on(str(request.param), monkeypatch)


def model(method: str, kind: str, n: int, steps: int = 60) -> unfold.Function:
    text = LINEAR.replace("METHOD", method).replace("STEPS", str(steps))
    return compiled(text, kind, N=n)


def matrix(n: int, rate: float) -> Any:
    """A random matrix that contracts at a rate."""
    A = np.random.default_rng(n).normal(size=(n, n))
    return A * rate / np.abs(np.linalg.eigvals(A)).max()


def solved(A: Any, c: Any, x: Any) -> Any:
    """The solutions for points of any number of axes."""
    M = np.eye(A.shape[0]) - c[..., None, None] * A
    return np.linalg.solve(M, np.sin(x)[..., None])[..., 0]


def test_quick_steps_are_plain_ones(kind: str) -> None:
    rng = np.random.default_rng(1)
    x, c, params = rng.normal(size=(3, 9)), np.full(3, 0.3), {"A": matrix(9, 1.0)}
    plain = model("picard", kind, 9)(params, x=x, c=c).z
    np.testing.assert_array_equal(model("anderson", kind, 9)(params, x=x, c=c).z, plain)
    np.testing.assert_allclose(plain, solved(params["A"], c, x), rtol=1e-9, atol=1e-10)


def test_slow_ones_are_not(kind: str) -> None:
    rng = np.random.default_rng(2)
    x, c, params = rng.normal(size=(3, 9)), np.full(3, 0.95), {"A": matrix(9, 1.0)}
    with pytest.raises(SolverError):
        model("picard", kind, 9)(params, x=x, c=c)
    found = model("anderson", kind, 9)(params, x=x, c=c).z
    np.testing.assert_allclose(found, solved(params["A"], c, x), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("n", [6, 9, 16])
def test_extrapolation_begins_when_steps_become_slow(kind: str, n: int) -> None:
    """What is left behind the quick components moves slowly."""
    A = np.diag(np.append(np.full(n - 1, 0.05), 0.97))
    x = np.append(np.ones(n - 1), 1e-5)[None]
    one, params = np.ones(1), {"A": A}
    with pytest.raises(SolverError):
        model("picard", kind, n)(params, x=x, c=one)
    found = model("anderson", kind, n, 30)(params, x=x, c=one).z
    np.testing.assert_allclose(found, solved(A, one, x), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("batch", "steps"), [(1, 9), (3, 2), (21, 5), (70, 1)])
def test_every_sequence_has_its_own_pace(kind: str, batch: int, steps: int) -> None:
    """Quick and slow ones side by side are found as they are alone, and their gradients too."""
    rng = np.random.default_rng(batch)
    A = matrix(10, 1.0)
    x, c = rng.normal(size=(batch, steps, 10)), rng.choice([0.0, 0.2, 0.6, 0.96], (batch, steps))
    fn, params = model("anderson", kind, 10), {"A": A}
    found = fn(params, x=x, c=c).z
    np.testing.assert_allclose(found, solved(A, c, x), rtol=1e-8, atol=1e-9)
    for k in range(min(batch, 5)):
        np.testing.assert_allclose(fn(params, x=x[k], c=c[k]).z, found[k], rtol=0, atol=1e-10)
    _, grads = fn.value_and_grad(params, x=x, c=c)
    # d/dA of the mean over the batch of sum(z**2), by the adjoint of the linear equation.
    back = np.linalg.solve(np.eye(10) - c[..., None, None] * A.T, 2 * found[..., None])[..., 0]
    want = np.einsum("bt,bti,btj->ij", c, back, found) / batch
    np.testing.assert_allclose(grads["A"], want, rtol=1e-8, atol=1e-9 * np.abs(want).max())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [7, 50])
def test_steps_abreast_and_one_by_one_arrive(n: int, dtype: str) -> None:
    """States of many unknowns are too large to stand side by side."""
    assert rows_abreast(n, "double" if dtype == "float64" else "float", 8) == (8 if n < 20 else 1)
    text = LINEAR.replace("METHOD", "anderson").replace("STEPS", "100")
    rng, A = np.random.default_rng(n), matrix(n, 0.8)
    x, c = rng.normal(size=(11, 3, n)), rng.choice([0.3, 0.9, 1.0], (11, 3))
    with pytest.MonkeyPatch.context() as m:
        fn = compiled(text, on("tiles", m), N=n, dtype=dtype)
        found = fn({"A": A.astype(dtype)}, x=x.astype(dtype), c=c.astype(dtype)).z
    within = 1e-8 if dtype == "float64" else 1e-3
    np.testing.assert_allclose(found, solved(A, c, x), rtol=within, atol=within)


def test_all_kinds_of_code_take_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    x, params = rng.normal(size=(1, 12)), {"A": matrix(12, 1.0)}
    for rate in (0.3, 0.7):
        for steps in (1, 2, 3, 6, 9):
            said = []
            for kind in KINDS:
                with monkeypatch.context() as m:
                    fn = model("anderson", on(kind, m), 12, steps)
                    with pytest.raises(SolverError) as error:
                        fn(params, x=x, c=np.full(1, rate))
                said.append((error.value.steps, error.value.residual))
            assert {s for s, _ in said} == {steps}
            assert said[1][1] == pytest.approx(said[0][1], rel=1e-4)
            assert said[2][1] == pytest.approx(said[0][1], rel=1e-4)


def test_a_failure_is_told_of_the_right_step_and_sequence(kind: str) -> None:
    """Equilibria that do not depend on each other are searched for many steps at a time."""
    rng = np.random.default_rng(5)
    x, c = rng.normal(size=(40, 6, 9)), np.full((40, 6), 0.2)
    c[33, 4] = c[36, 1] = 3.0
    with pytest.raises(SolverError) as error:
        model("anderson", kind, 9, 6)({"A": 0.001 * matrix(9, 1.0)}, x=x, c=1e4 * (c > 1) + c)
    assert (error.value.equation, error.value.sequence, error.value.index) == ("z", 33, (5,))


def test_unequal_lengths_are_searched_to_their_ends(kind: str) -> None:
    rng = np.random.default_rng(6)
    x, c, lengths = rng.normal(size=(5, 7, 9)), np.full((5, 7), 0.4), np.array([7, 1, 3, 7, 2])
    # Behind its end a sequence has no solution, and nobody asks for one.
    c[np.arange(7) >= lengths[:, None]] = np.inf
    fn, params = model("anderson", kind, 9), {"A": matrix(9, 1.0)}
    found = fn(params, x=x, c=c, lengths=lengths).z
    for k, n in enumerate(lengths):
        want = solved(params["A"], c[k, :n], x[k, :n])
        np.testing.assert_allclose(found[k, :n], want, rtol=1e-8, atol=1e-9)


def limit(n: int, options: str = "", term: str = "A @ tanh(z[t])") -> float:
    text = f"""
        model m(N):
            input x[t]: real[N]
            param A: real[N, N]
            solve z[t] by anderson({options}):
                z[t] = {term} + x[t]
            output z[t]
    """
    (eq,) = unfold.compile(text, N=n).program.equations
    assert eq.solver is not None
    return patience(eq.solver, parts(eq.rhs)[0], unknown(eq))


def test_patience_is_larger_the_less_a_map_costs() -> None:
    assert limit(5) == 0.0
    assert limit(8) == 0.5
    assert 0.5 > limit(128) > limit(256) > limit(1024) > 0.0
    assert limit(1024, term="0.1 * z[t]") == 0.5
    # What does not change from step to step costs nothing.
    assert limit(256, term="0.1 * z[t] + (A @ A) @ x[t]") == 0.5
    assert limit(8, "tol = 1e-10, max_steps = 10") == pytest.approx(0.01)


def test_open_sizes_are_no_hindrance() -> None:
    text = LINEAR.replace("METHOD", "anderson").replace("STEPS", "9")
    graph = unfold.loads(text).unfold(2, level="op")
    node = next(n for n in graph.table if n.op == "implicit")
    assert node.attr("patience") == 0.0
