"""Components side by side in registers: products of all small shapes, held against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import unfold
from unfold.backends.llvm import choose

WIDTHS = range(1, 19)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 7, 8, 9, 13, 17])
def test_products_of_all_small_shapes(
    rows: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "UNROLLED", 10**9)
    text = "model m():\n    axis k: 1..1\n"
    for m in WIDTHS:
        text += f"    param A{m}[k]: real[{rows}, {m}]\n    param B{m}: real[{rows}, {m}]\n"
        text += f"    input x{m}: real[{m}]\n"
        # Matrices of a family stand row by row, others column by column if that is better.
        text += f"    y{m} = A{m}[1] @ x{m}\n    z{m} = x{m} * 2 + B{m}' @ y{m}\n"
    text += f"    loss = {' + '.join(f'sum(z{m} * x{m})' for m in WIDTHS)}\n    minimize loss\n"
    rng = np.random.default_rng(rows)
    a = {m: rng.normal(size=(rows, m)).astype(dtype) for m in WIDTHS}
    x = {m: rng.normal(size=m).astype(dtype) for m in WIDTHS}
    fn = unfold.compile(unfold.loads(text), dtype=dtype)
    params = {f"A{m}": a[m][None] for m in WIDTHS} | {f"B{m}": a[m] for m in WIDTHS}
    loss, grads = fn.value_and_grad(params, {f"x{m}": x[m] for m in WIDTHS})
    # The loss is 2 x'x + (A x)'(B x), and A is B.
    rounding = 1e-5 if dtype == "float32" else 1e-13
    y = {m: a[m] @ x[m] for m in WIDTHS}
    wanted = sum(float(2 * x[m] @ x[m] + y[m] @ y[m]) for m in WIDTHS)
    np.testing.assert_allclose(loss, wanted, rtol=rounding)
    for m in WIDTHS:
        slope = np.outer(y[m], x[m])
        scale = float(np.abs(slope).max())
        for g in (grads[f"A{m}"][0], grads[f"B{m}"]):
            np.testing.assert_allclose(g, slope, rtol=rounding, atol=rounding * scale)


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("batch", [None, 3, 17])
def test_the_best_of_one_component_is_known(
    batch: int | None, vectors: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index that is the same number for all sequences."""
    monkeypatch.setattr(choose, "UNROLLED", 10**9)
    monkeypatch.setattr(choose, "has_vectors", lambda _: vectors)
    text = """
model m:
    input x[t]: real[1]
    param v: real[1]
    h[t] = x[t][argmax(x[t])] * v[argmax(v)] + 1.0 * argmax(x[t])
    loss = sum[t](h[t] ** 2)
    minimize loss
"""
    x = np.random.default_rng(0).normal(size=(5, 1) if batch is None else (batch, 5, 1))
    found = unfold.compile(text).value_and_grad({"v": np.array([0.7])}, x=x, reduce="sum")
    squares = float(np.sum(x**2))
    np.testing.assert_allclose(found[0], 0.49 * squares)
    np.testing.assert_allclose(found[1]["v"], [1.4 * squares])
