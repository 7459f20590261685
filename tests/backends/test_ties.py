"""What happens where two numbers are equal: native code guesses that they are not, and is exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unfold

TEXT = """
model m:
    input  a[t]: real
    input  b[t]: real
    param  sigma: real
    param  h0: real
    h[0] = h0
    h[t] = max(0, h[t-1] + a[t] - sigma)
    m[t] = min(max(a[t], b[t]), h[t])
    e[t] = where(a[t] == b[t], exp(a[t]) * h[t], h[t-1])
    loss = sum[t](h[t] + m[t] ** 2 + e[t])
    output h[t], m[t], e[t]
    minimize loss
"""
#: Few values, so that sums and differences are often equal; and those that compare in odd ways.
PLAIN = st.sampled_from([-1.0, -0.5, 0.0, -0.0, 0.5, 1.0, 2.0])
ODD = st.one_of(PLAIN, st.sampled_from([np.nan, np.inf, -np.inf]))
WRT = ("a", "b", "sigma", "h0")


@pytest.fixture(scope="module")
def functions() -> tuple[unfold.Function, unfold.Function]:
    return unfold.compile(TEXT), unfold.compile(TEXT, backend="numpy")


@given(st.data())
def test_values_and_gradients_are_the_interpreters_at_ties_and_without(
    functions: tuple[unfold.Function, unfold.Function], data: st.DataObject
) -> None:
    numbers = data.draw(st.sampled_from([PLAIN, ODD]))
    steps = data.draw(st.integers(1, 9))
    arrays = {n: np.array(data.draw(st.lists(numbers, min_size=steps, max_size=steps)))
              for n in ("a", "b")}  # fmt: skip
    params = {"sigma": np.array(data.draw(numbers)), "h0": np.array(data.draw(numbers))}
    native, interpreted = (f.value_and_grad(params, arrays, wrt=WRT) for f in functions)
    np.testing.assert_allclose(native[0], interpreted[0], rtol=1e-14)
    for n in WRT:
        np.testing.assert_allclose(native[1][n], interpreted[1][n], rtol=1e-14, err_msg=n)
    native_out, out = (f(params, arrays) for f in functions)
    for n in ("h", "m"):
        np.testing.assert_array_equal(native_out[n], out[n], err_msg=n)


def test_equal_operands_share_in_every_step_of_a_scan(
    functions: tuple[unfold.Function, unfold.Function],
) -> None:
    """All steps are ties, and each halves what comes back."""
    native, _ = functions
    zeros = np.zeros(4)
    _, grads = native.value_and_grad({"sigma": 0.0, "h0": 0.0}, a=zeros, b=zeros + 1, wrt="h0")
    # dh[t]/dh[0] = 2**-t, in h and in e (which is the state before); m = min(1, h) is h, squared.
    expected = sum(0.5**t for t in range(1, 5)) + sum(0.5**t for t in range(4))
    assert grads["h0"] == expected


def test_a_tie_is_a_branch_in_code_for_one_sequence_and_a_choice_for_several(
    functions: tuple[unfold.Function, unfold.Function],
) -> None:
    from unfold.backends.llvm.facts import Variant

    fn, _ = functions
    kernel = fn.compiler.gradient(("sigma", "h0"), ("loss",)).kernel
    assert "!prof" in kernel.ir()  # type: ignore[attr-defined]
    assert "!prof" not in kernel.ir(Variant(4, False, True))  # type: ignore[attr-defined]
