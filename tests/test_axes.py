"""Random systems over two axes: both backends, differences and both orders of differentiation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unfold
from tests.backends.test_llvm_programs import WAYS
from tests.strategies import arrays
from tests.strategies_axes import texts
from unfold.backends import llvm
from unfold.backends import numpy as interpreter
from unfold.backends.llvm import choose
from unfold.backends.numpy.tape import Tape
from unfold.program import Program
from unfold.transform import adjoint

Arrays = Mapping[str, Any]
SETTINGS = settings(max_examples=25)
#: Compilation takes its time.
FEW = settings(max_examples=6)
WRT = ["W", "b", "a", "p", "x", "u", "m"]
lengths = st.fixed_dictionaries({"T": st.integers(1, 4), "S": st.integers(1, 4)})


def read(text: str) -> Program:
    return unfold.loads(text).program


def agree(found: Arrays, wanted: Arrays, tolerance: float = 1e-10) -> None:
    assert set(found) == set(wanted)
    for name, want in wanted.items():
        scale = max(1.0, float(np.abs(want).max(initial=0.0)))
        np.testing.assert_allclose(
            found[name], want, rtol=0, atol=tolerance * scale, err_msg=name
        )  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@FEW
@given(text=texts(), at=lengths)
def test_native_code_gives_what_the_interpreter_gives(
    way: str, text: str, at: dict[str, int]
) -> None:
    program = read(text)
    data = arrays(program, at)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "UNROLLED", WAYS[way])
        for p in (program, adjoint(program, wrt=WRT)):
            agree(llvm.compile(p)(data, at), interpreter.compile(p)(data, at))


@SETTINGS
@given(text=texts(), at=lengths)
def test_differentiating_and_unfolding_commute(text: str, at: dict[str, int]) -> None:
    program = read(text)
    data = arrays(program, at)
    one = interpreter.compile(adjoint(program, wrt=WRT))(data, at)
    graph = unfold.Model(program, text).unfold(**at, level="op").adjoint(wrt=WRT)
    cells, _ = Tape(graph, "float64").run(data)
    other = {n: np.reshape(cells[n], np.shape(one[n])) for n in one if n in cells}
    agree(other, one)


@SETTINGS
@given(text=texts(), at=lengths)
def test_gradients_are_the_limits_of_differences(text: str, at: dict[str, int]) -> None:
    program = read(text)
    data = arrays(program, at)
    run = interpreter.compile(program)
    bars = interpreter.compile(adjoint(program, wrt=WRT))(data, at)
    rng = np.random.default_rng(1)
    way = {n: rng.normal(size=data[n].shape) for n in WRT}

    def loss(h: float) -> float:
        return float(run({**data, **{n: data[n] + h * way[n] for n in WRT}}, at)["loss"])

    def slope(h: float) -> float:
        return (8 * (loss(h) - loss(-h)) - (loss(2 * h) - loss(-2 * h))) / (12 * h)

    expected = sum(float(np.sum(bars[f"{n}_bar"] * way[n])) for n in WRT)
    wide, near = slope(1e-3), slope(1e-4)
    if abs(wide - near) < 1e-6 * (1 + abs(near)):  # else a kink is near
        assert abs(near - expected) < 1e-6 * (1 + abs(expected))


@SETTINGS
@given(text=texts(), at=lengths)
def test_a_printed_program_gives_the_same_numbers(text: str, at: dict[str, int]) -> None:
    model = unfold.loads(text)
    data = arrays(model.program, at)
    for shown in (model, model.adjoint(wrt=WRT)):
        again = interpreter.compile(read(str(shown)))
        agree(again(data, at), interpreter.compile(shown.program)(data, at))


@st.composite
def tables(draw: st.DrawFn) -> str:
    """Two tables over (i, j) that read one another on the near side of a slanted line."""
    slope = draw(st.sampled_from([(1, 1), (1, 2), (2, 1), (1, -1)]))
    steps = [(a, b) for a in range(-2, 3) for b in range(-2, 3)
             if a * slope[0] + b * slope[1] > 0]  # fmt: skip
    lines = []
    for name in "fg":
        terms = [f"w * x[i,j] + {0.1 if name == 'f' else 0.2}"]
        for _ in range(draw(st.integers(1, 2))):
            a, b = draw(st.sampled_from(steps))
            other = draw(st.sampled_from("fg"))
            inside = f"i{-a:+d} >= 1 and i{-a:+d} <= N and j{-b:+d} >= 1 and j{-b:+d} <= M"
            terms.append(f"(sin({other}[i{-a:+d},j{-b:+d}]) if {inside} else 0)")
        lines.append(f"    {name}[i,j] = {' + '.join(terms)}\n")
    return (
        "model m:\n    axis i: N\n    axis j: M\n    input x[i,j]: real\n    param w: real = 0.7\n"
        + "".join(lines)
        + "    loss = sum[i,j](f[i,j] * g[i,j])\n    output f[i,j], g[i,j]\n    minimize loss\n"
    )


@FEW
@given(text=tables(), at=st.fixed_dictionaries({"N": st.integers(1, 5), "M": st.integers(1, 5)}))
def test_tables_by_diagonals_agree_on_both_backends_and_with_differences(
    text: str, at: dict[str, int]
) -> None:
    program = read(text)
    data = arrays(program, at)
    for p in (program, adjoint(program, wrt=["w", "x"])):
        agree(llvm.compile(p)(data, at), interpreter.compile(p)(data, at))
    assert unfold.grad_check(unfold.loads(text), entries=2, sizes=at).ok


@pytest.mark.parametrize("way", ["numpy", *WAYS])
def test_sums_over_no_positions_and_over_every_second_one(way: str) -> None:
    text = (
        "model m:\n    axis s: T\n    input x[t]: real[2]\n"
        "    y[t] = sum[s <= t - 3](2.0)\n"
        "    z[t] = sum[2 * s <= t](x[s])\n"
        "    u[t] = sum[s >= T + 1 - t and s <= t](t * 1.0)\n"
        "    v = sum[2 * s <= T](s * x[s])\n"
        "    output y[t], z[t], u[t], v\n"
    )
    data = {"x": np.arange(14.0).reshape(7, 2)}
    with pytest.MonkeyPatch.context() as patch:
        if way != "numpy":
            patch.setattr(choose, "UNROLLED", WAYS[way])
        fn = unfold.compile(unfold.loads(text), backend="numpy" if way == "numpy" else "llvm")
        out = fn({}, data)
    steps = np.arange(1, 8)
    np.testing.assert_array_equal(out.y, 2 * np.maximum(steps - 3, 0))
    np.testing.assert_array_equal(out.z, [data["x"][: t // 2].sum(0) for t in steps])
    np.testing.assert_array_equal(out.u, steps * np.maximum(2 * steps - 7, 0))
    np.testing.assert_array_equal(out.v, steps[:3] @ data["x"][:3])
