"""Gradients by tangents where there is little to move."""

from __future__ import annotations

import numpy as np
import pytest

import unfold


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_one_number_and_one_sequence_need_no_axis(backend: str) -> None:
    model = unfold.loads(
        "model m:\n    input x[t]: real\n    param a: real\n    h[0] = a\n"
        "    h[t] = a * h[t-1] + x[t]\n    minimize h[T]\n"
    )
    x = np.array([1.0, 2.0])
    fn = unfold.compile(model, backend=backend, mode="forward")
    loss, grads = fn.value_and_grad({"a": 0.5}, x=x)
    assert np.shape(loss) == np.shape(grads["a"]) == ()
    assert (loss, grads["a"]) == (2.625, 3 * 0.25 + 1)
