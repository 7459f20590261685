"""Reductions of few components: lines of a matrix, and rows that all sequences share, in lanes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unfold
from tests.backends.test_llvm_walking import both
from unfold.backends.llvm import choose
from unfold.backends.llvm.tiles.nodes import PORTION

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
DTYPES = st.sampled_from(["float32", "float64"])
BATCHES = st.sampled_from([None, 1, 3])

LINES = """
model m(R, P):
    input x[t]: real[R, P]
    input k[t]: int<9>[R, P]
    param w: real[R, P] ~ normal(1)
    param v: real[R] ~ normal(1)
    s[t] = sum(w * x[t], axis = 1)
    u[t] = max(w + x[t], axis = 1)
    l[t] = min(w * x[t], axis = 1)
    q[t] = logsumexp(w * x[t], axis = 1)
    c[t] = sum(k[t], axis = 1)
    e[t] = max(k[t], axis = 1)
    n[t] = argmax(w * x[t], axis = 1)
    h[0] = 0
    h[t] = tanh(v * h[t-1] + 0.1 * (s[t] + u[t] + l[t] + q[t] + c[t] + e[t]))
    loss = mean[t](sum(h[t] ** 2) + sum(softmax(w * x[t], axis = 1)[:, 0]))
    output h[t], s[t], u[t], l[t], q[t], c[t], e[t], n[t]
    minimize loss
"""

ROWS = """
model m(D):
    axis n: N
    input x[t]: real[D]
    param p[n]: real[D] ~ normal(1)
    param g[n]: real ~ normal(1)
    a[t,n] = p[n] @ x[t] + g[n]
    w[t,n] = softmax[n](a[t,n])
    z[t] = sum[n](w[t,n] * p[n])
    m[t] = max[n](p[n] * x[t])
    k[t] = min[n](g[n] * 2 + p[n] @ x[t])
    r[n] = sum[t](w[t,n] * tanh(x[t]))
    f[n] = max[t](w[t,n] * x[t])
    u = sum[t, n](w[t,n] * tanh(a[t,n]) * x[t])
    h[0] = 0
    h[t] = tanh(0.2 * h[t-1] + z[t] + m[t] + k[t])
    loss = mean[t](sum(h[t] ** 2)) + sum[n](sum(r[n] ** 2 + f[n])) + sum(u * u)
    output z[t], m[t], k[t], r[n], f[n], u
    minimize loss
"""

HEADS = """
model m(R, P):
    axis s: S
    input q[t], o[t]: real[R, P]
    input k[s]: real[R, P]
    param c: real[R, P] ~ normal(1)
    e[t,s] = sum(c * q[t] * k[s], axis = 1)
    z[t] = sum[s](col(e[t,s]) * k[s])
    y[s] = sum[t](col(e[t,s]) * o[t])
    loss = mean[t](sum((z[t] - o[t]) ** 2)) + sum[s](sum(tanh(y[s])))
    output e[t,s], z[t], y[s]
    minimize loss
"""


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 18), st.integers(1, 19), DTYPES, BATCHES)
def test_lines_of_a_matrix(R: int, P: int, dtype: str, batch: int | None) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "UNROLLED", 0)
        both(LINES, {"R": R, "P": P}, {"T": 3}, batch, dtype)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.integers(1, 19), st.integers(1, 18), DTYPES, BATCHES)
def test_rows_that_all_sequences_share(
    D: int, N: int, T: int, dtype: str, batch: int | None
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "UNROLLED", 0)
        both(ROWS, {"D": D}, {"T": T, "N": N}, batch, dtype)


def test_more_rows_than_a_portion_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "UNROLLED", 0)
    both(ROWS, {"D": 3}, {"T": 2, "N": PORTION + 3}, None, "float64")
    both(ROWS, {"D": 3}, {"T": PORTION + 3, "N": 2}, 2, "float64")


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 18), st.integers(1, 19), st.integers(1, 9), st.integers(1, 9), DTYPES, BATCHES
)
def test_heads_of_few_components(
    R: int, P: int, T: int, S: int, dtype: str, batch: int | None
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "UNROLLED", 0)
        both(HEADS, {"R": R, "P": P}, {"T": T, "S": S}, batch, dtype)


@pytest.mark.parametrize("batch", [None, 1, 2, 5])
@pytest.mark.parametrize("extents", [{"T": 3, "N": 1}, {"T": 2, "N": 7}, {"T": 3, "N": 21}])
def test_searches_over_rows_that_all_share(extents: dict[str, int], batch: int | None) -> None:
    model = unfold.load(EXAMPLES / "hopfield.rec")
    both(model, {"D": 5}, extents, batch, "float64")
