"""Rows that fill no whole number of registers: the last vector may lie over the one before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unfold
from unfold.backends.llvm import choose
from unfold.backends.llvm.tiles.loops import pieces

MODEL = """
model m(K):
    input  x[t]: real[K]
    param  A: real[K, K]  ~ normal(1)
    a[0] = 0
    a[t] = logsumexp(col(a[t-1]) + A, axis = 0) + x[t]
    b[t] = softmax(a[t], axis = 0) * norm(a[t] * A[0]) + max(A + col(x[t]), axis = 1)
    loss = sum[t](sum(b[t] ** 2))
    output a[t]
    minimize loss
"""


@given(size=st.integers(1, 200), lanes=st.sampled_from([2, 4, 8, 16]), twice=st.booleans())
def test_pieces_cover_a_row_once_or_end_with_a_whole_vector(
    size: int, lanes: int, twice: bool
) -> None:
    found = pieces(size, lanes, twice)
    covered = [start + k for start, count, width in found for k in range(count * width)]
    assert set(covered) == set(range(size))
    if len(covered) > size:
        assert twice
        assert found[-1] == (size - lanes, 1, lanes)
        assert len(found) == 2
    else:
        assert covered == list(range(size))


@pytest.mark.parametrize("K", [3, 7, 9, 11, 14, 15, 22, 30])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_any_width_agree_with_the_interpreter(
    K: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "UNROLLED", -1)
    native, same = (unfold.compile(MODEL, K=K, backend=b, dtype=dtype) for b in ("llvm", "numpy"))
    x = np.random.default_rng(0).normal(size=(3, 11, K)).astype(dtype)
    params = native.init(0)
    loss, grads = native.value_and_grad(params, x=x, wrt=["A", "x"])
    expected, wanted = same.value_and_grad(params, x=x, wrt=["A", "x"])
    close = 1e-4 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(loss, expected, rtol=close)
    for n, g in wanted.items():
        np.testing.assert_allclose(grads[n], g, rtol=close, atol=close * np.abs(g).max())
