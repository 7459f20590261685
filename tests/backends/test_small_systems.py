"""`solve`, `inv`, `logdet`, `cholesky` in whole models, against `numpy.linalg` and differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unfold
from tests.solving import ALL
from unfold.backends.llvm import choose

Array = Any
WAYS = ("numpy", "lanes", "tiles")

# Everything depends on everything, so that each second derivative has its part.
CHAIN = """
model chain(N):
    input  y[t]: real[N]
    param  A: real[N, N]
    param  F: real[N, N]
    param  v: real[N]
    h[0] = v
    P[0] = eye(N)
    P[t] = A @ P[t-1] @ A' / 4 + F @ F' + eye(N)
    L[t] = cholesky(P[t])
    h[t] = solve(A + outer(h[t-1], v) / 8, y[t] + L[t] @ h[t-1])
    loss = sum[t](logdet(A @ P[t]) + h[t] @ inv(P[t]) @ h[t] + sum(solve(L[t], outer(h[t], v))))
    minimize loss
    output h[t]
"""


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The interpreter, and both kinds of native code whatever the size of the model."""
    if request.param != "numpy":
        monkeypatch.setattr(choose, "UNROLLED", {"lanes": 10**9, "tiles": -1}[request.param])
    return str(request.param)


def compiled(text: str, way: str, **sizes: Any) -> unfold.Function:
    backend = "numpy" if way == "numpy" else "llvm"
    return unfold.compile(unfold.loads(text), backend=backend, **sizes)


def positive(rng: np.random.Generator, n: int, batch: int) -> Array:
    root = rng.normal(size=(batch, n, n + 2))
    return root @ np.swapaxes(root, 1, 2)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_random_matrices_agree_with_numpy(way: str, n: int) -> None:
    rng = np.random.default_rng(n)
    fn = compiled(ALL, way, N=n, M=3)
    A, S = rng.normal(size=(13, n, n)), positive(rng, n, 13)
    if n > 1:
        # Every sequence needs other exchanges of rows, the first at once and the last at the end.
        A = A * (1 - np.eye(n)) * (rng.permuted(np.tile(np.eye(n), (13, 1, 1)), axis=1) * 9 + 1)
        A[:, 0, 0] = 0
    b, B = rng.normal(size=(13, n)), rng.normal(size=(13, n, 3))
    out = fn({}, A=A, S=S, b=b, B=B)
    for k in range(13):
        room = 1e-15 * np.linalg.cond(A[k]) * n**2
        wanted = {"x": np.linalg.solve(A[k], b[k]), "X": np.linalg.solve(A[k], B[k]),
                  "Y": np.linalg.inv(A[k])}  # fmt: skip
        for name, want in wanted.items():
            gap = np.abs(out[name][k] - want).max()
            assert gap <= room * np.abs(want).max(), name
        np.testing.assert_allclose(out.d[k], np.linalg.slogdet(A[k])[1], rtol=1e-12, atol=room)
        np.testing.assert_allclose(
            out.L[k], np.linalg.cholesky(S[k]), rtol=0,
            atol=1e-15 * np.linalg.cond(S[k]) ** 0.5 * n * np.abs(S[k]).max() ** 0.5,
        )  # fmt: skip


def test_a_tiny_pivot_is_not_divided_by(way: str) -> None:
    """Without an exchange the solution would be (0, 1)."""
    A = np.array([[1e-20, 1.0], [1.0, 1.0]])
    out = compiled(ALL, way, N=2, M=1)({}, A=A, S=np.eye(2), b=np.array([1.0, 2.0]), B=np.eye(2, 1))
    np.testing.assert_allclose(out.x, [1.0, 1.0], rtol=1e-15)
    np.testing.assert_allclose(out.d, 0.0, atol=1e-15)


SINGULAR = [
    np.zeros((3, 3)),
    np.array([[1.0, 2, 3], [2, 4, 6], [1, 0, 1]]),
    np.array([[0.0, 1, 1], [0, 2, 5], [0, 3, 4]]),
    np.diag([1.0, 2, 0]),
]


def test_a_singular_matrix_gives_nan_and_a_determinant_of_zero(way: str) -> None:
    fn = compiled(ALL, way, N=3, M=2)
    # Beside them stands a regular one, which must not be touched.
    A = np.array([*SINGULAR, np.eye(3)])
    S = np.array([-np.eye(3), np.ones((3, 3)), np.diag([1.0, -1, 1]), np.diag([4.0, 1, 0]),
                  np.eye(3)])  # fmt: skip
    ones = np.ones((5, 3))
    out = fn({}, A=A, S=S, b=ones, B=np.ones((5, 3, 2)))
    for name in ("x", "X", "Y", "L"):
        assert np.isnan(out[name][:4]).all(), name
        assert np.isfinite(out[name][4]).all(), name
    assert (out.d[:4] == -np.inf).all()
    assert out.d[4] == 0.0


def test_an_entry_that_is_nan_makes_everything_nan(way: str) -> None:
    rng = np.random.default_rng(3)
    fn = compiled(ALL, way, N=3, M=2)
    A, S = np.tile(3 * np.eye(3), (9, 1, 1)), np.tile(3 * np.eye(3), (9, 1, 1))
    for k in range(9):
        A[k, k // 3, k % 3] = S[k, k // 3, k % 3] = np.nan
    out = fn({}, A=A, S=S, b=rng.normal(size=(9, 3)), B=rng.normal(size=(9, 3, 2)))
    for name in ("x", "X", "Y", "d", "L"):
        assert np.isnan(out[name]).all(), name


def test_only_the_symmetric_part_has_a_factor(way: str) -> None:
    rng = np.random.default_rng(4)
    fn = compiled(ALL, way, N=4, M=1)
    S, skew = positive(rng, 4, 1)[0], rng.normal(size=(4, 4))
    given: dict[str, Any] = {"A": np.eye(4), "b": np.ones(4), "B": np.ones((4, 1))}
    found = [fn({}, S=S + by * (skew - skew.T), **given).L for by in (0, 1)]
    np.testing.assert_allclose(*found, rtol=1e-11)
    np.testing.assert_allclose(found[0] @ found[0].T, S, rtol=1e-12)


class Chain:
    """A model in which all of them recur, at a point."""

    def __init__(self, way: str, n: int, batch: int | None = None) -> None:
        rng = np.random.default_rng(n)
        self.fn = compiled(CHAIN, way, N=n)
        self.params = {"A": 2 * np.eye(n) + 0.4 * rng.normal(size=(n, n)),
                       "F": rng.normal(size=(n, n)), "v": rng.normal(size=n)}  # fmt: skip
        self.y = rng.normal(size=(3, n) if batch is None else (batch, 3, n))
        self.by = {k: rng.normal(size=np.shape(a)) for k, a in self.params.items()}

    def at(self, step: float) -> dict[str, Array]:
        return {k: a + step * self.by[k] for k, a in self.params.items()}

    def along(self, step: float) -> tuple[float, dict[str, Array]]:
        loss, grads = self.fn.value_and_grad(self.at(step), y=self.y)
        return float(np.sum(loss)), grads


# With a value for every component the second derivatives of 6 by 6 compile for a minute, and are
# code that no user gets (see `choose.UNROLLED`).
@pytest.mark.parametrize(
    ("way", "n"),
    [(way, n) for way in WAYS for n in (1, 2, 3, 4 if way == "lanes" else 6)],
    indirect=["way"],
)
def test_derivatives_of_first_and_second_order_agree_with_differences(way: str, n: int) -> None:
    c = Chain(way, n)
    h = 1e-3
    (b2, g_b2), (b1, g_b1), (a1, g_a1), (a2, g_a2) = (c.along(s * h) for s in (-2, -1, 1, 2))
    slope = (8 * (a1 - b1) - (a2 - b2)) / (12 * h)
    _, grads = c.along(0.0)
    along = sum(float(np.sum(grads[k] * c.by[k])) for k in grads)
    assert along == pytest.approx(slope, rel=1e-8)
    _, tangent = c.fn.jvp(c.params, c.by, y=c.y)
    assert float(tangent["loss"]) == pytest.approx(along, rel=1e-11)
    bent = c.fn.hvp(c.params, c.by, y=c.y)
    for k in grads:
        change = (8 * (g_a1[k] - g_b1[k]) - (g_a2[k] - g_b2[k])) / (12 * h)
        np.testing.assert_allclose(bent[k], change, rtol=0, atol=1e-7 * np.abs(change).max())


def test_a_batch_is_what_its_sequences_are(way: str) -> None:
    c = Chain(way, 3, batch=11)
    loss, grads = c.fn.value_and_grad(c.params, y=c.y)
    each = [c.fn.value_and_grad(c.params, y=y) for y in c.y]
    assert loss == pytest.approx(np.mean([x for x, _ in each]), rel=1e-12)
    for k, g in grads.items():
        want = np.mean([gs[k] for _, gs in each], axis=0)
        np.testing.assert_allclose(g, want, rtol=0, atol=1e-12 * np.abs(want).max())


SOLVED = """
model both(N):
    input  y[t]: real[N]
    param  A: real[N, N]
    h[0] = 0
    solve h[t] from h[t-1] by newton(tol = 1e-13):
        h[t] = solve(A, y[t] + tanh(h[t]))
    loss = sum[t](h[t] @ h[t])
    minimize loss
    output h[t]
"""


def test_a_system_inside_of_an_implicit_equation(way: str) -> None:
    rng = np.random.default_rng(6)
    fn = compiled(SOLVED, way, N=3)
    A, y = 3 * np.eye(3) + 0.3 * rng.normal(size=(3, 3)), rng.normal(size=(4, 3))
    h = fn({"A": A}, y=y).h
    np.testing.assert_allclose(h @ A.T, y + np.tanh(h), rtol=1e-11)
    _, grads = fn.value_and_grad({"A": A}, y=y)
    by = rng.normal(size=(3, 3))
    ends = [fn({"A": A + s * by}, y=y).loss for s in (1e-5, -1e-5)]
    assert np.sum(grads["A"] * by) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-7)


def test_a_matrix_that_maps_made_is_read_transposed(way: str) -> None:
    """What reads it in another order waits until all of it is there."""
    text = """
    model turned(N):
        input A: real[N, N]
        y = softmax(A, axis = 1)' * 2
        z = softmax(A, axis = 1)[0:1, :] * A
        output y, z
    """
    A = np.random.default_rng(7).normal(size=(3, 3))
    out = compiled(text, way, N=3)({}, A=A)
    rows = np.exp(A) / np.exp(A).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(out.y, 2 * rows.T, rtol=1e-14)
    np.testing.assert_allclose(out.z, rows[:1] * A, rtol=1e-14)


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_products_of_every_size_give_what_the_interpreter_gives(size: int, dtype: str) -> None:
    """Rows that fill registers, or do not, of matrices that change in time and that do not."""
    text = """
        model m(N):
            input x[t]: real[N]
            param W: real[N, N]
            A[0] = W
            A[t] = 0.5 * A[t-1] + outer(x[t], W @ x[t])
            y[t] = A[t] @ x[t] + A[t]' @ tanh(x[t])
            loss = sum[t](y[t] @ y[t] + max(A[t] @ A[t]'))
            output y[t]
            minimize loss
    """
    fast, slow = (unfold.compile(text, N=size, dtype=dtype, backend=b) for b in ("llvm", "numpy"))
    rng = np.random.default_rng(size)
    params, x = {"W": rng.normal(size=(size, size))}, rng.normal(size=(4, size))
    tolerance = 1e-11 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(
        fast(params, x=x)["y"], slow(params, x=x)["y"], rtol=tolerance, atol=tolerance * 10
    )
    (_, found), (_, wanted) = (fn.value_and_grad(params, x=x) for fn in (fast, slow))
    scale = float(np.max(np.abs(wanted["W"])))
    np.testing.assert_allclose(found["W"], wanted["W"], rtol=tolerance, atol=tolerance * scale)
