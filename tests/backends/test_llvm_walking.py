"""Where positions meet positions: the values of the inner index as the rows of a tile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold
from unfold.backends.llvm import choose, jit
from unfold.backends.llvm.tiles.nodes import PORTION
from unfold.gradcheck import random_arrays

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SIZES = {
    "causal_attention": {"D": 4, "P": 19, "Q": 33, "K": 2},
    "seq2seq_attention": {"D": 3, "E": 4, "H": 18, "A": 7, "K": 3},
    "ntm": {"D": 3, "H": 5, "M": 17, "K": 2},
    "transformer_block": {"R": 8, "P": 5, "F": 9, "K": 2},
}

REDUCTIONS = """
model m(H):
    input x[t]: real[H]
    input o[t]: int<3>
    input w[t]: real
    param W: real[H, H] ~ glorot
    axis s: T
    n[t] = sum[s <= t](o[s])
    k[t] = max[s <= t](o[s])
    m[t] = min[s <= t](w[s] * w[t])
    v[t] = sum[s >= t](w[s] * x[s])
    u[t] = sum[s](w[t] * x[s] + (w[s] - w[t]) * x[t])
    a[t] = logsumexp[s <= t](w[s] * w[t])
    h[0] = 0
    h[t] = tanh(W @ h[t-1] + v[t] * n[t] + u[t] * m[t] + k[t] * a[t])
    q[t] = sum[s](x[s] @ h[T]) + max[s <= t](h[s] @ x[t])
    loss = mean[t](sum(h[t] ** 2) + q[t])
    output n[t], k[t], m[t], v[t], u[t], q[t]
    minimize loss
"""


def both(
    model: Any, sizes: dict[str, int], extents: dict[str, int], batch: int | None, dtype: str,
    **call: Any,
) -> None:  # fmt: skip
    found = []
    for backend in ("numpy", "llvm"):
        fn = unfold.compile(model, sizes=sizes, backend=backend, dtype=dtype)
        arrays = random_arrays(fn.program, extents, np.random.default_rng(1), batch)
        params = {n: arrays[n] for n in fn.params}
        inputs = {n: arrays[n] for n in fn.inputs}
        found.append((fn(params, inputs, **call), *fn.value_and_grad(params, inputs, **call)))
    (out, value, grads), (same, again, slopes) = found
    close = {"rtol": 1e-10, "atol": 1e-12} if dtype == "float64" else {"rtol": 2e-3, "atol": 2e-4}
    np.testing.assert_allclose(again, value, **close)
    for n, a in out.items():
        np.testing.assert_allclose(same[n], a, err_msg=n, **close)
    for n, g in grads.items():
        scale = float(np.abs(g).max(initial=1.0))
        np.testing.assert_allclose(slopes[n] / scale, g / scale, err_msg=n, **close)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("steps", [1, 2, 15, 17])
def test_attention_and_memory_at_lengths_that_hit_every_tail(name: str, steps: int) -> None:
    model = unfold.load(EXAMPLES / f"{name}.rec")
    sizes = {n: SIZES[name].get(n, 4) for n in model.sizes}
    lengths = {n: steps + k for k, n in enumerate(model.program.lengths)}
    both(model, sizes, lengths, None if steps % 2 else 3, "float64")


def test_heads_are_read_out_over_more_rows_than_a_portion_has() -> None:
    model = unfold.load(EXAMPLES / "cross_attention.rec")
    sizes = {"D": 6, "C": 6, "R": 4, "P": 6, "K": 5}
    both(model, sizes, {"T": PORTION + 5, "S": 3}, None, "float64")
    both(model, sizes, {"T": 3, "S": PORTION + 5}, None, "float64")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("H", [1, 2, 20])
def test_reductions_over_an_inner_index(
    H: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "UNROLLED", 0)
    for steps in (1, 16, 37):
        both(REDUCTIONS, {"H": H}, {"T": steps}, None, dtype)
    both(REDUCTIONS, {"H": H}, {"T": 9}, 4, dtype, lengths=[9, 1, 4, 8])


def test_machines_without_masks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = jit.host().narrow(32)
    assert not narrow.masks
    monkeypatch.setattr(jit, "host", lambda: narrow)
    both(REDUCTIONS, {"H": 20}, {"T": 21}, 2, "float64")
