"""Random programs: native code gives what the interpreter gives, and the adjoints likewise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import unfold
from tests.strategies import programs
from unfold.backends import llvm
from unfold.backends import numpy as interpreter
from unfold.backends.llvm import choose
from unfold.backends.llvm.tiles import strips
from unfold.program import Program
from unfold.transform import adjoint

WAYS = {"lanes": 10**9, "vectors": 10**9, "tiles": -1, "short strips": -1}
SETTINGS = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(params=list(WAYS))
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each of the kinds of native code, whatever the size of the program: the components of one
    sequence by themselves or side by side, or in memory, the last also with strips of two steps."""
    monkeypatch.setattr(choose, "UNROLLED", WAYS[request.param])
    monkeypatch.setattr(choose, "has_vectors", lambda program: request.param == "vectors")
    if request.param == "short strips":
        monkeypatch.setattr(strips, "ROWS", 2)
        monkeypatch.setattr(strips, "STEPS", 2)
    return request.param  # type: ignore[no-any-return]


def arrays_for(
    p: Program, lengths: dict[str, int], batch: int | None, seed: int
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = {}
    for v in p.vars.values():
        if v.role not in ("input", "param"):
            continue
        shape = [hi.evaluate(lengths) - lo.evaluate(lengths) + 1 for lo, hi in
                 ((a.lo, a.hi) for a in v.axes)]  # fmt: skip
        shape += [n.evaluate({}) for n in v.shape]
        if batch is not None and v.role == "input":
            shape = [batch, *shape]
        found[v.name] = np.asarray(rng.normal(size=shape) * 0.5)
    return found


def agree(p: Program, lengths: dict[str, int], batch: int | None, ragged: Any, total: bool) -> None:
    arrays = arrays_for(p, lengths, batch, 1)
    want = interpreter.compile(p, sum_adjoints=total)(arrays, lengths, batch, ragged)
    got = llvm.compile(p, sum_adjoints=total)(arrays, lengths, batch, ragged)
    assert list(got) == list(want)
    for name, expected in want.items():
        assert got[name].shape == expected.shape, name
        assert got[name].dtype == expected.dtype, name
        scale = max(1.0, float(np.max(np.abs(expected[np.isfinite(expected)]), initial=0.0)))
        np.testing.assert_allclose(got[name], expected, rtol=1e-9, atol=1e-11 * scale, err_msg=name)


calls = st.tuples(
    st.sampled_from([1, 2, 3, 7]), st.sampled_from([None, 0, 1, 2, 5, 17]), st.booleans()
)


@SETTINGS
@given(p=programs(), call=calls)
def test_a_random_program_gives_what_the_interpreter_gives(
    way: str, p: Program, call: tuple[int, int | None, bool]
) -> None:
    length, batch, _ = call
    agree(p, {"T": max(length, p.minimum.get("T", 1))}, batch, None, False)


@SETTINGS
@given(p=programs(), call=calls)
def test_the_adjoint_of_a_random_program_gives_what_the_interpreter_gives(
    way: str, p: Program, call: tuple[int, int | None, bool]
) -> None:
    length, batch, total = call
    wrt = [v.name for v in p.vars.values() if v.role in ("input", "param")]
    agree(adjoint(p, wrt=wrt), {"T": max(length, p.minimum.get("T", 1))}, batch, None, total)


@SETTINGS
@given(p=programs(), batch=st.sampled_from([1, 3, 9]), seed=st.integers(0, 99))
def test_sequences_of_unequal_length_give_what_the_interpreter_gives(
    way: str, p: Program, batch: int, seed: int
) -> None:
    least = p.minimum.get("T", 1)
    longest = least + 5
    ragged = np.random.default_rng(seed).integers(least, longest + 1, batch)
    wrt = [v.name for v in p.vars.values() if v.role in ("input", "param")]
    agree(adjoint(p, wrt=wrt), {"T": longest}, batch, ragged, True)


@pytest.mark.parametrize("lengths", [None, [3, 5, 1]])
def test_outputs_that_are_given(way: str, lengths: list[int] | None) -> None:
    """Whatever else reads them, and whether they are copied strip by strip for that."""
    text = """
model m():
    input  x[t]: real[12]
    input  c[t]: int<4>
    input  z: real[12]
    param  b: real[12]
    v[t] = tanh(x[t] + b * c[t])
    h[0] = 0
    h[t] = tanh(h[t-1] + x[t] + z)
    output v[t], x[t], c[t], z, b, h[t]
"""
    fn = unfold.compile(text)
    rng = np.random.default_rng(1)
    b, c = rng.normal(size=12), rng.integers(0, 4, (3, 5))
    x, z = rng.normal(size=(3, 5, 12)), rng.normal(size=(3, 12))
    for _ in range(2):
        out = fn({"b": b}, x=x[0], c=c[0], z=z[0])
        for name, whole in {"x": x[0], "c": c[0], "z": z[0], "b": b}.items():
            np.testing.assert_array_equal(out[name], whole, err_msg=name)
        out = fn({"b": b}, x=x, c=c, z=z, lengths=lengths)
        for row, own in enumerate(lengths or [5, 5, 5]):
            np.testing.assert_array_equal(out["x"][row, :own], x[row, :own])
            np.testing.assert_array_equal(out["c"][row, :own], c[row, :own])
            np.testing.assert_array_equal(out["z"][row], z[row])


@pytest.mark.parametrize("batch", [None, 1, 5])
def test_a_sum_over_time_reads_what_was_computed_before_it(way: str, batch: int | None) -> None:
    """A value that has one row for each sequence, in sums whose steps are rows of one long tile."""
    text = """
model m():
    input  x[t]: real[5]
    param  W: real[5, 5]
    param  b: real[5]
    context = silu(x[T])
    v[0] = 0
    v[t] = tanh(0.6 * v[t-1] + silu(x[T]) @ b + sum(tanh(W @ context) * x[t]))
    loss = sum[t](v[t] ** 2) + sum[t](sum(x[t] * silu(x[T])))
    minimize loss
"""
    p = unfold.loads(text).program
    agree(adjoint(p, wrt=["x", "W", "b"]), {"T": 6}, batch, None, True)
