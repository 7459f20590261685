"""Loops over pairs of positions in blocks give what they give position by position."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unfold
from unfold.backends import llvm
from unfold.backends.llvm import choose
from unfold.gradcheck import random_arrays

EXAMPLES = Path(__file__).parent.parent.parent / "examples"

# Which `s` a step `t` meets, and the indices of all pairs by arithmetic of our own.
MEETS: dict[str, Any] = {
    "s <= t": lambda t, s, T: s <= t,
    "s < t": lambda t, s, T: s < t,
    "s >= t": lambda t, s, T: s >= t,
    "s <= 40 * t": lambda t, s, T: s <= 40 * t,
    "s >= t - 5 and s <= t": lambda t, s, T: t - 5 <= s <= t,
    "s >= t - 1 and s <= t + 2": lambda t, s, T: t - 1 <= s <= t + 2,
    "s >= t + 3 and s <= t + 21": lambda t, s, T: t + 3 <= s <= t + 21,
    "s <= T + 1 - t": lambda t, s, T: s <= T + 1 - t,
    "s >= T - t and s <= 9": lambda t, s, T: T - t <= s <= 9,
    "2 * s <= t + 3": lambda t, s, T: 2 * s <= t + 3,
    "s <= 3 * t - 4": lambda t, s, T: s <= 3 * t - 4,
}
MODEL = """
model pairs(K, N):
    axis s: T
    input q[t], k[t]: real[K]
    input v[t]: real[N]
    input w[t,s]: real
    e[t,s] = q[t] @ k[s] for PAIRS
REST
    z[t] = sum[MEETS](w[t,s] * v[s])
    y[t] = sum[TEEMS](w[s,t] * v[s])
    output e[t,s], z[t], y[t]
"""


@pytest.fixture(scope="module", autouse=True)
def tiles() -> Any:
    """Operations on tiles for models of any size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "UNROLLED", -1)
        yield


def model(meets: str) -> unfold.Model:
    """The model for one of `MEETS`; an element of `e` for any other pair is 0.

    The bounds of an element's positions have no factors.
    """
    turned = meets.replace("s", "#").replace("t", "s").replace("#", "t")
    pairs = "s <= t" if "*" in meets else meets
    first, *second = pairs.split(" and ")
    lines = [f"    e[t,s] = 0 for {_not(first)}"]
    lines += [f"    e[t,s] = 0 for {first} and {_not(part)}" for part in second]
    text = MODEL.replace("REST", "\n".join(lines))
    return unfold.loads(
        text.replace("TEEMS", turned).replace("MEETS", meets).replace("PAIRS", pairs)
    )


def _not(condition: str) -> str:
    for sign, other in ((" <= ", " > "), (" >= ", " < "), (" < ", " >= ")):
        if sign in condition:
            return condition.replace(sign, other)
    raise AssertionError(condition)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), meets=st.sampled_from(sorted(MEETS)), seed=st.integers(0, 2**31))
def test_blocks_of_pairs_have_every_pair_and_no_other(
    data: st.DataObject, meets: str, seed: int
) -> None:
    K, N = data.draw(st.integers(7, 21), "K"), data.draw(st.integers(2, 41), "N")
    T, batch = data.draw(st.integers(1, 45), "T"), data.draw(st.sampled_from([None, 2]), "batch")
    dtype = data.draw(st.sampled_from(["float32", "float64"]), "dtype")
    fn = unfold.compile(model(meets), K=K, N=N, dtype=dtype)
    rng = np.random.default_rng(seed)
    lead = () if batch is None else (batch,)

    def drawn(*shape: int) -> Any:
        return rng.normal(size=(*lead, *shape)).astype(dtype)

    q, k, v, w = drawn(T, K), drawn(T, K), drawn(T, N), drawn(T, T)
    out = fn({}, q=q, k=k, v=v, w=w)
    there = met(MEETS[meets], T).astype(dtype)
    close: Any = {"rtol": 1e-4, "atol": 1e-4} if dtype == "float32" else {"atol": 1e-12}
    np.testing.assert_allclose(out.z, (w * there) @ v, **close)
    np.testing.assert_allclose(out.y, np.swapaxes(w * there, -1, -2) @ v, **close)
    if "*" in meets:
        there = np.tri(T, dtype=dtype)
    np.testing.assert_allclose(out.e, q @ np.swapaxes(k, -1, -2) * there, **close)


def met(meets: Callable[[int, int, int], bool], T: int) -> Any:
    """Whether each step meets each other one."""
    return np.array([[meets(t, s, T) for s in range(1, T + 1)] for t in range(1, T + 1)])


@pytest.mark.parametrize("meets", ["s <= t", "s >= t - 5 and s <= t"])
def test_pairs_are_done_in_blocks(meets: str) -> None:
    program = model(meets).program.bind({"K": 16, "N": 24}, {})
    text = llvm.compile(program, dtype="float64").ir()
    calls = [
        line.split("@")[1].split("(")[0] for line in text.splitlines() if " call void @" in line
    ]
    assert calls.count("unfold.weighted.4.f64.24") == 2
    assert any(name.startswith("unfold.transpose.") for name in calls)


def test_nothing_is_read_at_pairs_that_do_not_meet() -> None:
    fn = unfold.compile(model("s <= t"), K=9, N=12)
    rng = np.random.default_rng(0)
    q, k, v, w = (rng.normal(size=(37, n)) for n in (9, 9, 12, 37))
    plain = fn({}, q=q, k=k, v=v, w=w)
    k[20:], v[20:], w[np.triu_indices(37, 1)] = np.nan, np.inf, np.nan
    out = fn({}, q=q, k=k, v=v, w=w)
    np.testing.assert_array_equal(out.z[:20], plain.z[:20])
    np.testing.assert_array_equal(out.e[:20], plain.e[:20])
    assert not np.isfinite(out.z[20:]).any()


@pytest.mark.parametrize("T", [16, 21, 37])
@pytest.mark.parametrize("name", ["causal_attention", "memory_reader"])
def test_gradients_over_several_blocks_are_those_of_the_interpreter(name: str, T: int) -> None:
    found = unfold.load(EXAMPLES / f"{name}.rec")
    sizes = dict.fromkeys(found.sizes, 5)
    native, other = (
        unfold.compile(found, sizes=sizes, backend=backend) for backend in ("llvm", "numpy")
    )
    lengths = dict.fromkeys(native.program.lengths, T)
    arrays = [random_arrays(native.program, lengths, np.random.default_rng(k)) for k in range(2)]
    params = {n: arrays[0][n] for n in native.params}
    data = {n: np.stack([a[n] for a in arrays]) for n in native.inputs}
    for inputs in ({n: a[0] for n, a in data.items()}, data):
        value, grads = native.value_and_grad(params, inputs)
        wanted, slopes = other.value_and_grad(params, inputs)
        np.testing.assert_allclose(value, wanted, rtol=1e-10)
        for n, g in slopes.items():
            np.testing.assert_allclose(grads[n], g, rtol=1e-8, atol=1e-10 * np.abs(g).max())
