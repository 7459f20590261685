"""Elementary functions in native code, against mpmath and NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.backends.accuracy import UNARY, errors, exact, native, samples
from unfold.backends.llvm import jit

Array = NDArray[Any]
FORMATS = ("float32", "float64")
WIDTHS = [n for n in (16, 32, 64) if n <= jit.host().vector_bytes]

NUMPY: dict[str, Callable[..., Array]] = {
    "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "softplus": lambda x: np.logaddexp(x, 0),
    "sqrt": np.sqrt, "sin": np.sin, "cos": np.cos, "tan": np.tan, "sinh": np.sinh,
    "cosh": np.cosh, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "erf": np.vectorize(math.erf), "floor": np.floor, "ceil": np.ceil,
    "round": np.round, "abs": np.abs, "sign": np.sign, "relu": lambda x: np.maximum(x, 0),
    "pow": np.power, "mod": np.mod, "floordiv": np.floor_divide, "maximum": np.maximum,
    "minimum": np.minimum,
    "exp_diff": lambda x, y: np.where(np.isneginf(x), 0, np.exp(x - y)),
}  # fmt: skip
BINARY = ("pow", "mod", "floordiv", "maximum", "minimum", "exp_diff")
EXACT = ("sqrt", "floor", "ceil", "round", "abs", "sign", "relu", "mod", "floordiv", "maximum",
         "minimum")  # fmt: skip


def specials(dtype: str) -> Array:
    """Zeros, infinities, NaN, the ends of the format, and small and large integers."""
    info = np.finfo(dtype)
    ends = [info.smallest_subnormal, info.smallest_normal, info.max, info.eps, 1 + info.eps]
    plain = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 7.0, 1e5 + 0.5, 2.0**24, 2.0**24 + 2, np.inf]
    x = np.array([*ends, *plain], dtype)
    return np.concatenate([x, -x, np.array([np.nan], dtype)])


def same(got: Array, want: Array, units: float) -> NDArray[np.bool_]:
    """Equal to some units in the last place; the same signs of zeros, infinities, NaN."""
    nan = np.isnan(got) & np.isnan(want)
    equal = (got == want) & (np.signbit(got) == np.signbit(want))
    near = np.isfinite(got) & np.isfinite(want)
    with np.errstate(all="ignore"):
        unit = np.spacing(np.abs(np.where(near, want, 1)))
        close = np.abs(np.where(near, got, 0) - np.where(near, want, 0)) <= units * unit
    signs = (np.signbit(got) == np.signbit(want)) | (want != 0)
    return nan | equal | (near & close & signs)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("name", UNARY)
def test_functions_are_right_to_two_units_in_the_last_place(name: str, dtype: str) -> None:
    x = samples(name, dtype, 150)
    truth = exact(UNARY[name][1], x)
    for vector_bytes in WIDTHS:
        found = errors(native(name, dtype, 4, vector_bytes)(x), truth)
        worst = int(np.argmax(found))
        assert found[worst] <= 2, f"{found[worst]:.2f} at {x[worst]!r}, {vector_bytes} bytes"


@pytest.mark.parametrize("name", UNARY)
def test_floats_of_all_magnitudes_agree_with_doubles(name: str) -> None:
    """Every 4,099th float there is, against the double function, which is exact beside it."""
    x = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = x[np.isfinite(x)]
    got = native(name, "float32", 16)(x)
    want = native(name, "float64", 8)(x.astype(np.float64))
    wrong = np.isnan(got) != np.isnan(want)
    assert not wrong.any(), f"NaN at {x[wrong][0]!r}"
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = want.astype(np.float32)
        unit = np.maximum(np.spacing(np.abs(rounded)).astype(np.float64), 2.0**-149)
        found = np.abs(got - want) / unit
    found[(got == rounded) | np.isnan(got)] = 0
    worst = int(np.argmax(found))
    assert found[worst] <= 2, f"{found[worst]:.2f} at {x[worst]!r}"


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("name", NUMPY)
def test_special_values_are_those_of_numpy(name: str, dtype: str) -> None:
    x = specials(dtype)
    operands = [v.ravel() for v in np.meshgrid(x, x)] if name in BINARY else [x]
    with np.errstate(all="ignore"):
        want = NUMPY[name](*operands).astype(dtype)
        if name in ("sin", "cos", "tan") and dtype == "float32":
            want = NUMPY[name](operands[0].astype(np.float64)).astype(dtype)
    if name in ("maximum", "minimum"):
        # Which of two zeros is the larger is left open.
        operands, want = [v + 0.0 for v in operands], want + 0.0
    got = native(name, dtype, 4, operands=len(operands))(*operands)
    wrong = ~same(got, want, 0 if name in EXACT else 3)
    told = [(*(o[k] for o in operands), got[k], want[k]) for k in np.flatnonzero(wrong)[:5]]
    assert not wrong.any(), told


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("name", NUMPY)
def test_a_lane_has_the_same_bits_in_vectors_of_every_length(name: str, dtype: str) -> None:
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(0, 3, 96), rng.normal(0, 1e6, 32), specials(dtype)])
    operands = [x.astype(dtype), x[::-1].astype(dtype)][: 2 if name in BINARY else 1]
    first, *rest = (
        native(name, dtype, lanes, operands=len(operands))(*operands) for lanes in (8, 1, 3, 16)
    )
    for other in rest:
        assert np.array_equal(first, other, equal_nan=True)


@pytest.mark.parametrize("dtype", FORMATS)
def test_powers_are_right_to_two_units_in_the_last_place(dtype: str) -> None:
    rng = np.random.default_rng(2)
    count = 300
    limit = 104 if dtype == "float32" else 745
    info = np.finfo(dtype)
    spread = np.ldexp(rng.uniform(1, 2, count), rng.integers(info.minexp, info.maxexp, count))
    x = np.concatenate([spread, rng.uniform(0, 10, count), rng.normal(1, 1e-3, count)])
    y = np.concatenate([
        rng.uniform(-limit, limit, count) / np.log(spread),
        rng.uniform(-30, 30, count),
        rng.uniform(-1e4, 1e4, count),
    ])  # fmt: skip
    x, y = x.astype(dtype), y.astype(dtype)
    for vector_bytes in WIDTHS:
        got = native("pow", dtype, 4, vector_bytes, operands=2)(x, y)
        assert errors(got, exact(mpmath.power, x, y)).max() <= 2


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("name", ["mod", "floordiv"])
def test_remainders_of_floats_are_exact_at_all_magnitudes(name: str, dtype: str) -> None:
    rng = np.random.default_rng(3)
    info = np.finfo(dtype)
    count = 2000

    def numbers() -> Array:
        exponents = rng.integers(info.minexp - info.nmant, info.maxexp, count)
        wild = np.ldexp(rng.uniform(1, 2, count), exponents) * rng.choice([-1, 1], count)
        return np.concatenate([wild, rng.normal(0, 30, count), rng.integers(-9, 9, count)])

    x, y = numbers().astype(dtype), numbers().astype(dtype)
    with np.errstate(all="ignore"):
        want = NUMPY[name](x, y)
    assert np.array_equal(native(name, dtype, 4, operands=2)(x, y), want, equal_nan=True)


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("name", ["mod", "floordiv", "maximum", "minimum", "abs", "sign"])
def test_integers_are_those_of_numpy_and_do_not_trap(name: str, lanes: int) -> None:
    rng = np.random.default_rng(4)
    ends = [np.iinfo(np.int64).min, np.iinfo(np.int64).max, 0, -1, 1]
    x, y = (np.concatenate([rng.integers(-20, 20, 200), rng.permutation(ends)]) for _ in range(2))
    operands = [x, y] if name in BINARY else [x]
    with np.errstate(all="ignore"):
        want = NUMPY[name](*operands)
    got = native(name, "int64", lanes, operands=len(operands))(*operands)
    assert np.array_equal(got, want)
