"""A printed adjoint that is read again knows which of its results are gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unfold
from unfold.gradcheck import random_arrays

BATCH = 3


def real_names(model: unfold.Model) -> list[str]:
    """The real inputs and parameters of a model."""
    p = model.program
    return [v.name for v in (*p.params, *p.inputs) if v.type.kind == "real"]


def results(model: unfold.Model, ragged: bool, backend: str) -> dict[str, Any]:
    """What a model gives for random sequences, of unequal lengths or not."""
    program = model.program
    fn = unfold.compile(model, backend=backend, sizes=dict.fromkeys(program.sizes, 2))
    lengths = {n: max(4, program.minimum.get(n, 1)) for n in program.lengths}
    arrays: dict[str, Any] = dict(
        random_arrays(fn.program, lengths, np.random.default_rng(5), BATCH)
    )
    params = {n: arrays[n] for n in fn.params}
    data = {n: arrays[n] for n in fn.inputs}
    read = {
        s for v in (*fn.program.inputs, *fn.program.params)
        for a in v.axes for s in a.hi.symbols
    }  # fmt: skip
    data |= {n: k for n, k in lengths.items() if n not in read}
    if ragged:
        longest, least = lengths["T"], program.minimum.get("T", 1)
        return dict(fn(params, data, lengths=[longest, least, longest]))
    return dict(fn(params, data))


def agree(model: unfold.Model, backend: str) -> None:
    """The adjoint and the same printed and read again give the same, to the last padding."""
    again = unfold.loads(str(model))
    for ragged in (False, "T" in model.program.lengths):
        want, got = (results(m, ragged, backend) for m in (model, again))
        assert set(got) == set(want)
        for name, expected in want.items():
            scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
            assert np.shape(got[name]) == np.shape(expected), name
            np.testing.assert_allclose(
                got[name], expected, rtol=1e-10, atol=1e-12 * scale, err_msg=name
            )


def test_the_printed_adjoint_of_every_example_sums_and_pads_like_the_adjoint(example: str) -> None:
    model = unfold.load(example)
    if not model.program.inputs:
        pytest.skip("a model without inputs has no batch")
    agree(model.adjoint(wrt=real_names(model)), "numpy")


COSTATES = """
model m(D, H):
    input x[t]: real[D]
    input start: real[H]
    param W: real[H, D]
    param U: real[H, H]
    h[0] = start
    h[t] = tanh(W @ x[t] + U @ h[t-1])
    output h[t]
    minimize sum[t](sum(h[t] ** 2))
"""


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_gradients_in_inputs_and_states_are_padded_with_zeros(backend: str) -> None:
    model = unfold.loads(COSTATES).adjoint(wrt=["x", "start", "W", "U", "h"])
    assert "gradient(x_bar[t], x)" in str(model)
    agree(model, backend)
    out = results(unfold.loads(str(model)), True, backend)
    assert out["W_bar"].shape == (2, 2)
    assert out["start_bar"].shape == (BATCH, 2)
    # The second sequence has one step.
    for name in ("x_bar", "h_bar"):
        assert out[name][1, 0].all()
        assert not out[name][1, 1:].any()
    # What is no gradient is padded with the last value.
    assert out["h"][1, 1:].all()


def test_only_what_is_said_to_be_a_gradient_is_summed() -> None:
    text = str(unfold.loads(COSTATES).adjoint())
    plain = unfold.loads(text.replace("gradient(W_bar, W)", "W_bar"))
    each, both = results(plain, False, "numpy"), results(unfold.loads(text), False, "numpy")
    assert each["W_bar"].shape == (BATCH, 2, 2)
    np.testing.assert_allclose(each["W_bar"].sum(axis=0), both["W_bar"], rtol=1e-12)
    np.testing.assert_array_equal(each["loss"], both["loss"])


def test_a_gradient_may_be_that_in_a_parameter_of_a_part() -> None:
    program = unfold.loads("""
model cell(D):
    input x[t]: real[D]
    param w: real[D]
    y[t] = w @ x[t]
    output y[t]

model m(D):
    input x[t]: real[D]
    c = cell(x)
    w_bar = sum[t](x[t])
    output c.y[t], gradient(w_bar, c.w)
""").program
    assert program.vars["w_bar"].adjoint_of == "c.w"
    assert program.vars["c.y"].adjoint_of is None
