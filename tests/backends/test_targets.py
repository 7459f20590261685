"""Whole training steps for other machines: narrower vectors run here, ARM's are compiled."""

from __future__ import annotations

import numpy as np
import pytest

import unfold
from tests.backends.steps import ARM, text
from unfold.backends.llvm import choose, jit
from unfold.backends.llvm.elementwise import Formats
from unfold.backends.llvm.facts import Variant
from unfold.backends.llvm.tiles import generate
from unfold.gradcheck import random_arrays
from unfold.plan import hoist, plan, retime, split
from unfold.transform import adjoint

CELL_NAMES = ("elman", "gru", "lstm")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_a_training_step_is_right_with_vectors_of_any_width(
    cell: str, width: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = jit.host().narrow(width)
    monkeypatch.setattr(jit, "host", lambda: machine)
    monkeypatch.setattr(choose, "UNROLLED", -1)
    tolerance = 2e-4 if dtype == "float32" else 1e-10
    # Sizes below, at and above a register, and rows that fill no block.
    for D, H, B in ((3, 5, 7), (16, 16, 1), (9, 33, 13)):
        model = unfold.loads(text(cell), model="main")
        fn = unfold.compile(model, D=D, H=H, dtype=dtype)
        same = unfold.compile(model, D=D, H=H, backend="numpy")
        arrays = random_arrays(fn.program, {"T": 6}, np.random.default_rng(0))
        params = {n: arrays[n] for n in fn.params}
        x = np.random.default_rng(1).standard_normal((B, 6, D))
        loss, grads = fn.value_and_grad(params, x=x)
        expected, wanted = same.value_and_grad(params, x=x)
        np.testing.assert_allclose(loss, expected, rtol=tolerance)
        for name, g in wanted.items():
            limit = tolerance * np.abs(g).max()
            np.testing.assert_allclose(grads[name], g, rtol=0, atol=limit, err_msg=name)


@pytest.mark.parametrize("dtype", ["float", "double"])
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_a_training_step_compiles_for_arm(
    cell: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = adjoint(unfold.loads(text(cell), model="main").program.bind({"D": 9, "H": 33}))
    lanes = ARM.lanes("float32" if dtype == "float" else "float64")
    with monkeypatch.context() as patched:
        patched.setattr(jit, "host", lambda: ARM)
        code = generate(
            split(plan(retime(hoist(p)))), Formats(dtype), lanes, Variant(1, False, True)
        )
    listing = jit.assembly(code.text, target=ARM)
    assert "fmla" in listing
