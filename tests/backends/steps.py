"""Training steps of cells, and a machine that is not this one."""

from __future__ import annotations

import numpy as np
import pytest

import unfold
from tests.benchmarks.peers import CELLS
from unfold.backends.llvm import choose, jit

ARM = jit.HostTarget("aarch64-unknown-linux-gnu", "+neon", 16, 32)


def text(cell: str) -> str:
    return f"""{CELLS}
model main(D, H):
    input  x[t]: real[D]
    net = {cell}(x, H)
    loss = mean[t](mean(net.h[t] ** 2))
    output net.h[t]
    minimize loss
"""


def agree(text: str, D: int, H: int, T: int, B: int, ragged: bool, threads: int) -> None:
    """Hold gradients in tiles, of a model with an input ``x[t]: real[D]``, against those of the
    interpreter for a random batch."""
    rng = np.random.default_rng(D)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "UNROLLED", -1)
        patch.setattr("unfold.backends.llvm.division.WORTHWHILE", 0.01)
        native, same = (
            unfold.compile(text, D=D, H=H, threads=threads, backend=b) for b in ("llvm", "numpy")
        )
        params = native.init(0)
        x = rng.normal(size=(B, T, D))
        lengths = rng.integers(1, T + 1, B) if ragged else None
        loss, grads = native.value_and_grad(params, x=x, lengths=lengths)
        expected, wanted = same.value_and_grad(params, x=x, lengths=lengths)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    for n, slope in wanted.items():
        np.testing.assert_allclose(grads[n], slope, rtol=1e-9, atol=1e-11, err_msg=n)
