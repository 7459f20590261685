"""Products with matrices of each sequence's own: data, or states."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unfold
from unfold.backends.llvm import choose
from unfold.gradcheck import random_arrays

#: Matrices by rows and by columns, as data and as a state; vectors on both sides; numbers before.
TEXT = """
model own(N, K):
    input  W: real[N, K]
    input  V[t]: real[K, N]
    input  x[t]: real[N]
    param  a: real = 0.7
    param  b: real[K] ~ normal(1)
    S[0] = 0
    s[0] = 0
    S[t] = 0.9 * S[t-1] + outer(b, tanh(s[t-1]))
    u[t] = (0.8 * W)' @ x[t] + (a * V[t]) @ tanh(s[t-1]) + S[t] @ x[t]
    s[t] = W @ u[t] / 10 + (a * V[t])' @ b + u[t] @ S[t] - b @ (V[t] * 0.3)
    loss = mean[t](sum(tanh(s[t]) ** 2))
    minimize loss
"""


@pytest.mark.parametrize("unrolled", [10**9, -1], ids=["lanes", "tiles"])
@given(
    sizes=st.tuples(st.integers(1, 19), st.integers(1, 19)),
    batch=st.sampled_from([None, 1, 3, 9]),
    dtype=st.sampled_from(["float64", "float64", "float32"]),
)
@settings(max_examples=12, deadline=None)
def test_gradients_are_those_of_the_interpreter(
    unrolled: int, sizes: tuple[int, int], batch: int | None, dtype: str
) -> None:
    N, K = (1 + n % 5 for n in sizes) if unrolled > 0 else sizes
    model = unfold.loads(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "UNROLLED", unrolled)
        fn = unfold.compile(model, N=N, K=K, dtype=dtype)
        meaning = unfold.compile(model, N=N, K=K, backend="numpy")
        rows = [
            random_arrays(fn.program, {"T": 4}, np.random.default_rng(k)) for k in range(batch or 1)
        ]
        params = {n: rows[0][n].astype(dtype) for n in fn.params}
        data = {n: np.stack([row[n] for row in rows]).astype(dtype) for n in fn.inputs}
        if batch is None:
            data = {n: a[0] for n, a in data.items()}
        wrt = [*fn.params, *fn.inputs]
        value, grads = fn.value_and_grad(params, data, wrt=wrt)
        want, slopes = meaning.value_and_grad(params, data, wrt=wrt)
    rtol = 1e-9 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(value, want, rtol=rtol)
    for name, slope in slopes.items():
        scale = np.max(np.abs(slope), initial=1e-30)
        np.testing.assert_allclose(grads[name], slope, rtol=rtol, atol=rtol * scale, err_msg=name)
