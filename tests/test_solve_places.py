"""Where an implicit equation may stand, and of what shape its unknown may be."""

from __future__ import annotations

import numpy as np
import pytest

import unfold
from tests.solving import DEQ, KINDS, METHODS, SIZES, apart, compiled, on
from unfold.plan import hoist, plan


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    return on(str(request.param), monkeypatch)


def test_unknowns_of_all_shapes_are_found_together(kind: str) -> None:
    text = """
        model m(D, E):
            input x[t]: real
            param q: real[D]
            param M: real[D, E]
            w[0] = 0
            solve A[t], u[t], w[t], v[t] by newton(tol = 1e-13):
                let shared = 0.1 * u * sum(v)
                u = 0.3 * w + shared + x[t]
                v = 0.2 * tanh(A @ broadcast(u, [E])) + q
                A = 0.1 * outer(v, M' @ v) + M
                w = w[t-1] + 0.1 * u
            loss = sum[t](u[t]**2 + w[t] + sum(v[t]**2) + sum(A[t]**2))
            output A[t], u[t], v[t], w[t]
            minimize loss
    """
    result = unfold.grad_check(unfold.loads(text), D=2, E=3, T=3, entries=2)
    assert result.ok, str(result)
    fn = compiled(text, kind, D=2, E=3)
    out = fn(fn.init(), x=np.array([0.3, 0.1]))
    M, v, u = fn.init()["M"], out.v, out.u
    for t in range(2):
        assert apart(out.A[t], 0.1 * np.outer(v[t], M.T @ v[t]) + M) < 1e-12
        assert apart(u[t], 0.3 * out.w[t] + 0.1 * u[t] * v[t].sum() + [0.3, 0.1][t]) < 1e-12


def test_a_scalar_is_solved_for_by_newton(kind: str) -> None:
    text = """
        model m:
            input x[t]: real
            solve z[t] by newton(tol = 1e-13):
                z[t] = x[t] - z[t]**3
            output z[t]
    """
    z = compiled(text, kind)({}, x=np.array([0.0, 2.0, 30.0, -2.0])).z
    np.testing.assert_allclose(z + z**3, [0, 2, 30, -2], rtol=1e-13, atol=1e-14)


def test_where_the_search_begins_decides_which_solution_is_found(kind: str) -> None:
    # u = z^3 - z has three solutions for small u; the path stays on its branch as long as there is
    # one, then jumps.
    text = """
        model m:
            input u[t]: real
            input first: real
            z[0] = first
            solve z[t] from z[t-1] by newton(tol = 1e-13):
                z[t] = z[t]**3 - u[t]
            output z[t]
    """
    fn, u = compiled(text, kind), np.array([0.0, 0.1, 0.2])
    up, down = (fn({}, {"u": u, "first": start}).z for start in (1.0, -1.0))
    assert up.min() > 1 - 1e-12
    assert down.max() < -0.5
    np.testing.assert_allclose(up**3 - up, u, atol=1e-13)
    np.testing.assert_allclose(down**3 - down, u, atol=1e-13)


def test_the_unknown_may_be_written_without_its_index() -> None:
    bare = DEQ.replace("z[t] = tanh(W @ z[t]", "z = tanh(W @ z")
    assert str(unfold.loads(bare)) == str(unfold.loads(DEQ))


def test_pieces_of_a_variable_may_be_explicit_and_implicit(kind: str) -> None:
    text = """
        model m:
            input x[t]: real
            z[1] = x[1]
            solve z[t] by anderson(tol = 1e-13):
                z = 0.5 * tanh(z) + z[t-1] for 2 <= t <= T-1
            solve z[T] by picard(tol = 1e-13):
                z = 0.1 * z + z[T-1]
            output z[t]
    """
    z = compiled(text, kind)({}, x=np.full(5, 0.7)).z
    assert z[0] == 0.7
    np.testing.assert_allclose(z[1:4], 0.5 * np.tanh(z[1:4]) + z[:3], rtol=1e-12)
    np.testing.assert_allclose(z[4], z[3] / 0.9, rtol=1e-12)


def test_an_equilibrium_of_parameters_alone_is_found_once(kind: str) -> None:
    text = """
        model m(H):
            input x[t]: real[H]
            param W: real[H, H]
            param b: real[H]
            solve z by anderson(tol = 1e-13):
                z = tanh(W @ z + b)
            loss = sum[t](x[t] @ z)
            output z
            minimize loss
    """
    assert unfold.grad_check(unfold.loads(text), H=3, T=2, entries=2).ok
    fn = compiled(text, kind, H=3)
    params = {"W": 0.3 * np.eye(3), "b": np.ones(3)}
    z = fn(params, x=np.ones((4, 2, 3))).z
    assert z.shape == (4, 3)
    np.testing.assert_allclose(z, np.tanh(0.3 * z + 1), rtol=1e-12)


def test_a_reduction_or_a_guard_may_hold_the_unknown(kind: str) -> None:
    text = """
        model m(H):
            axis s: T
            input x[t]: real[H]
            param q: real = 0.2
            solve z[t] by anderson(tol = 1e-13):
                z = sum[s <= t](x[s] * tanh(q * z)) / T + (0.3 * z if t > 1 else 1)
            loss = sum[t](sum(z[t]**2))
            output z[t]
            minimize loss
    """
    assert unfold.grad_check(unfold.loads(text), H=2, T=4, entries=2).ok
    x = np.random.default_rng(0).uniform(0.2, 0.9, (3, 2))
    z = compiled(text, kind, H=2)({"q": 0.2}, x=x).z
    for t in range(3):
        rest = 1.0 if t == 0 else 0.3 * z[t]
        np.testing.assert_allclose(z[t], (x[: t + 1] * np.tanh(0.2 * z[t])).sum(0) / 3 + rest)


@pytest.mark.parametrize("fold", ["min", "max", "logsumexp", "mean"])
def test_the_slope_of_a_reduction_reads_the_reduction_under_other_indices(
    fold: str, kind: str
) -> None:
    """Nothing in an implicit equation has a name, so what was reduced stands in its own slope."""
    fn = compiled(
        f"""
        model m:
            axis s: T
            input u[t]: real
            solve v[t] by picard(tol = 1e-13, max_steps = 300):
                v[t] = 0.4 * sin(v[t]) + tanh({fold}[s >= t](s * cos(u[T])))
            loss = sum[t](v[t] ** 2)
            output v[t]
            minimize loss
        """,
        kind,
    )
    u, h = np.array([0.3, -0.2, 0.5, 0.4]), 1e-6
    _, grads = fn.value_and_grad({}, u=u, wrt="u")
    steps = h * np.eye(4)
    ends = [[float(fn.value_and_grad({}, u=u + d, wrt="u")[0]) for d in (e, -e)] for e in steps]
    slopes = [(after - before) / (2 * h) for after, before in ends]
    np.testing.assert_allclose(grads["u"], slopes, atol=1e-7)


def test_many_components_are_solved_for_on_tiles() -> None:
    rng = np.random.default_rng(5)
    for method in METHODS:
        text = DEQ.replace("anderson", method)
        fn, plain = (unfold.compile(text, backend=b, D=6, H=70, K=3) for b in ("llvm", "numpy"))
        params = fn.init(0) | {"W": rng.normal(size=(70, 70)) * 0.05}
        x, target = rng.normal(size=(3, 2, 6)), rng.normal(size=(3, 2, 3))
        (one, a), (two, b) = (f.value_and_grad(params, x=x, target=target) for f in (fn, plain))
        assert apart(one, two) < 1e-12
        assert all(apart(a[n], b[n]) < 1e-10 for n in a), method


def test_what_does_not_change_leaves_the_search() -> None:
    text = str(plan(hoist(unfold.loads(DEQ).program.bind(SIZES))))
    assert "z_in[t] = (U @ x[t]) + b" in text
    assert "solve z[t] by anderson: tanh(z_in[t] + (W @ z[t]))" in text
