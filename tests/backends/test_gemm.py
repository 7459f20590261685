"""Matrix products in native code, against NumPy: every tail of rows, columns and sums."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from unfold.backends.llvm import gemm, ir, jit
from unfold.backends.llvm.body import BOOL, INT, POINTER, VOID, Body, define
from unfold.backends.llvm.gemm.tiling import tiling

Array = NDArray[Any]
WIDTHS = [n for n in (16, 32, 64) if n <= jit.host().vector_bytes]
C_TYPES = {POINTER: ctypes.c_void_p, INT: ctypes.c_int64, BOOL: ctypes.c_bool}

FUNCTIONS = {
    "pack": (POINTER, INT, POINTER),
    "pack_transposed": (POINTER, INT, POINTER),
    "product": (INT, POINTER, INT, POINTER, POINTER, INT, POINTER, INT),
    "outer_sum": (INT, POINTER, INT, POINTER, INT, POINTER, INT, BOOL, POINTER),
    "matvec": (POINTER, INT, POINTER, POINTER, POINTER),
    "matvec_transposed": (POINTER, INT, POINTER, POINTER, POINTER),
    "weighted_sum": (INT, POINTER, INT, POINTER, INT, POINTER, BOOL),
}


class Products:
    """The functions for B[K, N] (and for outer sums of N by K), compiled and called on arrays."""

    def __init__(self, dtype: str, N: int, K: int, vector_bytes: int) -> None:
        self.dtype, self.N, self.K = dtype, N, K
        self.target = target = jit.host().narrow(vector_bytes)
        module = ir.Module(target)
        sizes = module, target, dtype, N, K
        emitted: dict[str, Callable[..., None]] = {
            "pack": partial(gemm.bring, transposed=False),
            "pack_transposed": partial(gemm.bring, transposed=True),
            "outer_sum": gemm.outer_sum,
        }
        inner = {
            "product": gemm.product(*sizes),
            "matvec": gemm.matvec(*sizes, transposed=False),
            "matvec_transposed": gemm.matvec(*sizes, transposed=True),
            "weighted_sum": gemm.weighted_sum(module, target, dtype, N),
        }
        for name, params in FUNCTIONS.items():

            def write(b: Body, name: str = name) -> None:
                if name in emitted:
                    emitted[name](b.f, target, dtype, N, K, b.args)
                else:
                    b.call_void(inner[name], *b.args)

            define(module, f"test.{name}", VOID, params, write, linkage="")
        self.library = jit.compile_ir(str(module), target=target)

    def call(self, name: str, *args: Any) -> None:
        """Arrays become addresses, and matrices that of their first entry and their stride."""
        flat: list[Any] = []
        for a in args:
            if isinstance(a, np.ndarray):
                flat.append(a.ctypes.data)
                if a.ndim == 2:
                    flat.append(a.strides[0] // a.itemsize)
            else:
                flat.append(a)
        kinds = [C_TYPES[p] for p in FUNCTIONS[name]]
        ctypes.CFUNCTYPE(None, *kinds)(self.library.address(f"test.{name}"))(*flat)

    def packed(self, source: Array, transposed: bool) -> Array:
        # What is behind the packed panels must not be touched.
        size = gemm.packed_size(self.target, self.dtype, self.N, self.K)
        packed = np.full(size + 8, np.nan, self.dtype)
        self.call("pack_transposed" if transposed else "pack", source, packed)
        assert np.isnan(packed[size:]).all()
        return packed

    def product(self, A: Array, packed: Array, C: Array, start: Array | None) -> None:
        begin = (None, 0) if start is None else (start,)
        if start is not None and start.ndim == 1:
            begin = (start, 0)  # type: ignore[assignment]
        self.call("product", len(A), A, packed, *begin, C)

    def outer_sum(self, A: Array, B: Array, C: Array, accumulate: bool) -> None:
        work = np.empty(gemm.outer_work(self.target, self.dtype, self.N, self.K) + 1, self.dtype)
        self.call("outer_sum", len(A), A, B, C, accumulate, work)


class Matrices:
    """Random matrices inside larger ones, whose rest must stay as it is."""

    def __init__(self, dtype: str, seed: int) -> None:
        self.dtype = dtype
        self.rng = np.random.default_rng(seed)

    def __call__(self, rows: int, columns: int, beside: int = 3) -> Array:
        full = self.rng.standard_normal((rows + 1, columns + beside)).astype(self.dtype)
        full[:, columns:] = 77
        full[rows] = 77
        return full[:rows, :columns]

    def vector(self, n: int) -> Array:
        return self.rng.standard_normal(n).astype(self.dtype)


def check(got: Array, want: Array, terms: int) -> None:
    """Equal to the rounding of so many terms, and nothing written beside the matrix."""
    unit = np.finfo(got.dtype).eps
    assert np.abs(got - want).max(initial=0) <= 8 * unit * (terms + 1)
    if got.base is not None and got.ndim == 2:
        rows, columns = got.shape
        assert (got.base[:rows, columns:] == 77).all()
        assert (got.base[rows:] == 77).all()


def check_all(dtype: str, N: int, K: int, rows: list[int], vector_bytes: int) -> None:
    p = Products(dtype, N, K, vector_bytes)
    matrix = Matrices(dtype, N * 100 + K)
    W, B = matrix(N, K), matrix(K, N, 1)
    for M in rows:
        A = matrix(M, K, 2)
        for source, right in ((W, W.T), (B, B)):
            packed = p.packed(source, source is W)
            want = A.astype(np.float64) @ right
            C, bias, before = matrix(M, N), matrix.vector(N), matrix(M, N, 5)
            p.product(A, packed, C, None)
            check(C, want, K)
            p.product(A, packed, C, bias)
            check(C, want + bias, K)
            p.product(A, packed, C, before)
            check(C, want + before, K)
            old = C.copy()
            p.product(A, packed, C, C)
            check(C, want + old, K)
        U, V = matrix(M, N), matrix(M, K, 1)
        want = U.T.astype(np.float64) @ V
        C = matrix(N, K)
        p.outer_sum(U, V, C, False)
        check(C, want, M)
        old = C.copy()
        p.outer_sum(U, V, C, True)
        check(C, want + old, M)
        # The weights stand in the first column of a matrix, the sum in a row of another.
        sums = matrix(1, N)
        p.call("weighted_sum", M, V[:, :1], U, sums[0], False)
        check(sums, V[:, :1].T.astype(np.float64) @ U, M)
        old = sums.copy()
        p.call("weighted_sum", M, V[:, :1], U, sums[0], True)
        check(sums, V[:, :1].T.astype(np.float64) @ U + old, M)
    x, y = matrix.vector(K), matrix.vector(N)
    for name, source, want in (("matvec_transposed", W, W @ x), ("matvec", B, x @ B)):
        z = np.empty(N, dtype)
        p.call(name, source, x, None, z)
        check(z, want, K)
        p.call(name, source, x, y, z)
        check(z, want + y, K)


@pytest.mark.parametrize("vector_bytes", WIDTHS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("N", "K"),
    [
        (1, 1),
        (1, 70),
        (2, 3),
        (4, 33),
        (17, 9),
        (64, 16),
        (100, 50),
        (33, 600),
        (8, 1100),
        (150, 600),
    ],
)
def test_products_of_every_shape_are_those_of_numpy(
    N: int, K: int, dtype: str, vector_bytes: int
) -> None:
    check_all(dtype, N, K, [0, 1, 5, 13], vector_bytes)


@settings(max_examples=15, deadline=None)
@given(
    N=st.integers(1, 70),
    K=st.integers(1, 70),
    rows=st.lists(st.integers(0, 40), min_size=3, max_size=3),
    dtype=st.sampled_from(["float32", "float64"]),
    vector_bytes=st.sampled_from(WIDTHS),
)
def test_products_of_any_shape_are_those_of_numpy(
    N: int, K: int, rows: list[int], dtype: str, vector_bytes: int
) -> None:
    check_all(dtype, N, K, rows, vector_bytes)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_long_sums_and_many_rows_are_cut_into_chunks(dtype: str) -> None:
    check_all(dtype, 40, 1300, [300], WIDTHS[-1])
    check_all(dtype, 7, 90, [1500], WIDTHS[-1])


@pytest.mark.parametrize(("N", "K"), [(3, 40), (16, 24), (20, 31), (70, 64), (150, 600)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_has_the_same_bits_whatever_the_number_of_rows(N: int, K: int, dtype: str) -> None:
    p = Products(dtype, N, K, WIDTHS[-1])
    matrix = Matrices(dtype, 5)
    A, packed = matrix(23, K), p.packed(matrix(N, K), True)
    whole = np.empty((23, N), dtype)
    p.product(A, packed, whole, None)
    for first, last in ((0, 1), (3, 5), (2, 9), (0, 22), (4, 17)):
        part = np.empty((last - first, N), dtype)
        p.product(A[first:last], packed, part, None)
        assert np.array_equal(part, whole[first:last])


def test_numbers_that_are_not_finite_stay_in_their_row() -> None:
    p = Products("float64", 5, 3, WIDTHS[-1])
    A = np.ones((4, 3))
    A[2, 1] = np.nan
    C = np.full((4, 5), np.inf)
    p.product(A, p.packed(np.ones((5, 3)), True), C, None)
    assert np.isnan(C[2]).all()
    assert np.isfinite(np.delete(C, 2, 0)).all()


ARM = jit.HostTarget("aarch64-unknown-linux-gnu", "+neon", 16, 32)


def test_code_for_other_processors_uses_their_vectors() -> None:
    module = ir.Module(ARM)

    def write(b: Body) -> None:
        sizes = module, ARM, "float32", 70, 40
        b.call_void(gemm.pack(*sizes, transposed=True), *b.args[:3])
        zero = b.const(INT, 40)
        null = b.const(POINTER, 0)
        b.call_void(gemm.product(*sizes), zero, b.args[0], zero, b.args[2], null, zero,
                    b.args[0], zero)  # fmt: skip

    define(module, "run", VOID, (POINTER, INT, POINTER), write, linkage="")
    listing = jit.assembly(str(module), target=ARM)
    # Whole vectors times one lane of another, six rows of four vectors at a time.
    assert listing.count("fmla\tv") >= 24
    called = {line.split()[-1] for line in listing.splitlines() if line.startswith("\tbl\t")}
    assert all(name.startswith("unfold.") for name in called)


def test_a_module_has_one_function_for_products_sums_and_packing_of_all_whole_sizes() -> None:
    target = jit.host()
    wide = 2 * tiling(target, "float32").columns
    module = ir.Module(target)

    def write(b: Body) -> None:
        number, address = b.const(INT, 1), b.args[0]
        for n in (1, 2, 3):
            sizes = (b.f, target, "float32")
            row = (number, address, number, address, address, number, address, number)
            gemm.multiply(*sizes, n * wide, 16, row)
            for transposed in (False, True):
                whole = (address, number, address)
                gemm.bring(*sizes, n * wide, 16 * n, whole, transposed=transposed)
            sums = (*(number, address) * 3, number, b.const(BOOL, 1), address)
            gemm.outer_sum(*sizes, 30 + n, wide // 2, sums)

    define(module, "test", VOID, (POINTER,), write)
    parts = [name.split(".")[1] for name in module.defined if name.startswith("unfold.")]
    counts = {name: parts.count(name) for name in ("product", "outer", "pack", "transpose")}
    assert counts == {"product": 1, "outer": 1, "pack": 2, "transpose": 1}
