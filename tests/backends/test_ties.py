"""What happens where two numbers are equal: native code guesses that they are not, and is exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unfold
from unfold.backends.llvm import choose

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


#: Expressions that are rounded under way, and the loss that an extreme of them is in.
TAKEN = {
    "sum(v[t] ** 2)": "max[t]({})",
    "v[t] @ d + u[t] * u[t]": "min[t]({})",
    "max(v[t] * d + u[t])": "sum[t]({})",
    "max(u[t] * outer(v[t], d) + 0.3 * u[t], axis = 1) @ d": "sum[t]({})",
}


@pytest.mark.parametrize("way", [(10**9, False), (10**9, True), (-1, False)])
@pytest.mark.parametrize("batch", [1, 4, 9])
@pytest.mark.parametrize("body", TAKEN)
def test_the_greatest_is_found_again_on_the_way_back(
    body: str, batch: int, way: tuple[int, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However a loop rounds what is compared: one term at least has the maximum, and its slope."""
    monkeypatch.setattr(choose, "UNROLLED", way[0])
    monkeypatch.setattr(choose, "has_vectors", lambda program: way[1])
    text = f"""
model m():
    input  u[t]: real
    input  z: real[3]
    param  d: real[3]
    v[T+1] = d
    v[t] = tanh(0.5 * v[t+1] + z)
    loss = {TAKEN[body].format(body)}
    output v[t]
    minimize loss
"""
    native, interpreted = unfold.compile(text), unfold.compile(text, backend="numpy")
    chance = np.random.default_rng(0)
    for _ in range(5):
        given = {"u": chance.normal(size=(batch, 3)), "z": chance.normal(size=(batch, 3))}
        params = {"d": chance.normal(size=3)}
        got, want = (f.value_and_grad(params, given, wrt=["d", "z"])[1]
                     for f in (native, interpreted))  # fmt: skip
        for n, expected in want.items():
            np.testing.assert_allclose(got[n], expected, rtol=1e-9, atol=1e-12, err_msg=n)
