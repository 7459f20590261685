"""Small systems of several sequences abreast in registers: each as if it were alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unfold
from tests.solving import ALL
from unfold.backends.llvm import choose
from unfold.backends.llvm.solving import lanes_abreast

Array = Any
NAMES = ("x", "X", "Y", "d", "L")


@pytest.fixture(scope="module")
def functions() -> Any:
    """Compiled functions on tiles, by sizes and number format, each made once."""
    made: dict[tuple[int, int, str], unfold.Function] = {}

    def of(n: int, m: int, dtype: str) -> unfold.Function:
        if (n, m, dtype) not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(choose, "UNROLLED", -1)
                made[n, m, dtype] = unfold.compile(unfold.loads(ALL), N=n, M=m, dtype=dtype)
                made[n, m, dtype]({}, **drawn(n, m, 2, 0, dtype))
        return made[n, m, dtype]

    return of


def drawn(n: int, m: int, batch: int, seed: int, dtype: str) -> dict[str, Array]:
    """Random matrices, some of which need exchanges of rows, are badly scaled or singular."""
    rng = np.random.default_rng(seed)
    A, root = rng.normal(size=(batch, n, n)), rng.normal(size=(batch, n, n + 2))
    for k in range(batch):
        how = rng.integers(5)
        if how == 0:  # a permutation of what needs no exchange
            A[k] = (0.3 * A[k] / n + 3 * np.eye(n))[rng.permutation(n)]
        elif how == 1:  # rows and columns of very different sizes
            A[k] *= 10.0 ** rng.integers(-6, 7, (n, 1)) * 10.0 ** rng.integers(-6, 7, n)
        elif how == 2:  # zeros that are met as pivots without exchanges
            A[k] = np.triu(A[k])[::-1]
        elif how == 3:  # exactly singular: a row of zeros
            A[k, rng.integers(n)] = 0
    arrays = {"A": A, "S": root @ np.swapaxes(root, 1, 2),
              "b": rng.normal(size=(batch, n)), "B": rng.normal(size=(batch, n, m))}  # fmt: skip
    return {k: a.astype(dtype) for k, a in arrays.items()}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("n", "m"), [(1, 3), (2, 1), (3, 2), (5, 4), (8, 8), (11, 1), (20, 3)])
def test_a_system_abreast_has_the_bits_that_it_has_alone(
    functions: Any, n: int, m: int, dtype: str
) -> None:
    fn = functions(n, m, dtype)
    arrays = drawn(n, m, 19, n, dtype)
    out = fn({}, **arrays)
    for k in range(19):
        alone = fn({}, **{name: a[k] for name, a in arrays.items()})
        for name in NAMES:
            np.testing.assert_array_equal(out[name][k], alone[name], err_msg=f"{name} of {k}")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", range(1, 21))
def test_systems_of_all_sizes_agree_with_numpy(functions: Any, n: int, dtype: str) -> None:
    fn = functions(n, 2, dtype)
    arrays = drawn(n, 2, 13, 100 + n, dtype)
    out = fn({}, **arrays)
    eps = float(np.finfo(dtype).eps)
    for k in range(13):
        A, b, B = (arrays[name][k].astype("float64") for name in ("A", "b", "B"))
        if not A.any(axis=1).all():
            for name in ("x", "X", "Y"):
                assert np.isnan(out[name][k]).all(), name
            assert out.d[k] == -np.inf
            continue
        # Backward stability: the residual is small beside the sizes, however bad the condition.
        for found, want in ((out.x[k], b), (out.X[k], B), (out.Y[k], np.eye(n))):
            found = found.astype("float64")
            size = np.abs(A).sum(1).max() * np.abs(found).max() + np.abs(want).max()
            assert np.abs(A @ found - want).max() <= 20 * n * eps * size
        if np.linalg.cond(A) < 0.01 / eps:
            sign, want_d = np.linalg.slogdet(A)
            assert sign
            assert abs(out.d[k] - want_d) <= 10 * eps * (np.linalg.cond(A) + abs(want_d) + n)
        S, L = arrays["S"][k].astype("float64"), out.L[k].astype("float64")
        assert np.abs(L @ L.T - S).max() <= 10 * n * eps * np.abs(S).max()


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_neighbours_make_no_difference(functions: Any, batch: int, seed: int) -> None:
    fn = functions(5, 4, "float32")
    arrays = drawn(5, 4, batch, seed, "float32")
    order = np.random.default_rng(seed).permutation(batch)
    out, moved = fn({}, **arrays), fn({}, **{k: a[order] for k, a in arrays.items()})
    for name in NAMES:
        np.testing.assert_array_equal(out[name][order], moved[name])


def test_matrices_that_fill_the_cache_are_done_one_by_one() -> None:
    assert lanes_abreast("solve", 8, 1, "float", 8) == 8
    assert lanes_abreast("solve", 8, 8, "double", 4) == 4
    assert lanes_abreast("solve", 8, 8, "float", 16) == 8
    assert lanes_abreast("inv", 64, 0, "float", 8) == 1
    assert lanes_abreast("logdet", 1, 0, "float", 8) == 1
