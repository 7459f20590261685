"""Sums of outer products with one left factor: packed once, each with the bits it has alone."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backends.steps import agree
from unfold.backends import llvm
from unfold.backends.llvm import gemm, ir, jit
from unfold.backends.llvm.body import BOOL, INT, POINTER, VOID, Body, define
from unfold.backends.llvm.facts import Variant
from unfold.backends.llvm.gemm import outer
from unfold.backends.llvm.gemm.tiling import tiling
from unfold.check import elaborate
from unfold.transform import adjoint

WIDTHS = [n for n in (16, 32, 64) if n <= jit.host().vector_bytes]
C_TYPES = {POINTER: ctypes.c_void_p, INT: ctypes.c_int64, BOOL: ctypes.c_bool}


@st.composite
def sums(draw: st.DrawFn) -> tuple[str, int, int, list[int], list[int]]:
    """A number format, the bytes of a register, N1, some N2 that are packed, numbers of rows."""
    dtype = draw(st.sampled_from(("float32", "float64")))
    vector = draw(st.sampled_from(WIDTHS))
    least = tiling(jit.host().narrow(vector), dtype).columns + 1
    left = draw(st.integers(24, 130))
    right = draw(st.lists(st.integers(least, 150), min_size=1, max_size=3))
    return dtype, vector, left, right, draw(st.lists(st.integers(0, 700), min_size=1, max_size=3))


@given(sums(), st.booleans())
@settings(max_examples=10, deadline=None)
def test_sums_of_one_left_matrix_have_the_bits_of_each_alone(
    case: tuple[str, int, int, list[int], list[int]], accumulate: bool
) -> None:
    dtype, vector, N1, widths, counts = case
    target = jit.host().narrow(vector)
    module = ir.Module(target)
    right, last = (POINTER, INT, POINTER, INT), (BOOL, POINTER)
    params = {"all": (INT, POINTER, INT, *right * len(widths), *last)}
    params |= {f"one.{n}": (INT, POINTER, INT, *right, *last) for n in widths}

    def together(b: Body) -> None:
        gemm.outer_sums(b.f, target, dtype, N1, widths, b.args)

    define(module, "test.all", VOID, params["all"], together, linkage="")
    for N2 in set(widths):

        def alone(b: Body, N2: int = N2) -> None:
            gemm.outer_sum(b.f, target, dtype, N1, N2, b.args)

        define(module, f"test.one.{N2}", VOID, params[f"one.{N2}"], alone, linkage="")
    library = jit.compile_ir(str(module), target=target)

    def call(name: str, *args: object) -> None:
        kinds = [C_TYPES[p] for p in params[name]]
        flat = [a.ctypes.data if isinstance(a, np.ndarray) else a for a in args]
        ctypes.CFUNCTYPE(None, *kinds)(library.address(f"test.{name}"))(*flat)

    rng = np.random.default_rng(N1)
    # What is behind the work space, and beside the matrices, must stay as it is.
    size = max(gemm.outer_work(target, dtype, N1, *w) for w in (widths, *([n] for n in widths)))
    work = np.full(size + 8, np.nan, dtype)
    for rows in counts:
        A = rng.standard_normal((rows, N1 + 3)).astype(dtype)
        B = [rng.standard_normal((rows, n + k)).astype(dtype) for k, n in enumerate(widths)]
        start = [rng.standard_normal((N1 + 1, n + 2)).astype(dtype) for n in widths]
        C, D = ([c.copy() for c in start] for _ in range(2))
        given_ = [x for b, c in zip(B, C, strict=True) for x in (b, b.shape[1], c, c.shape[1])]
        call("all", rows, A, N1 + 3, *given_, accumulate, work)
        for n, b, c, d, old in zip(widths, B, C, D, start, strict=True):
            one = (b, b.shape[1], d, d.shape[1], accumulate, work)
            call(f"one.{n}", rows, A, N1 + 3, *one)
            assert c.tobytes() == d.tobytes()
            want = A[:, :N1].T.astype(float) @ b[:, :n]
            want += old[:N1, :n] if accumulate else 0
            unit = np.finfo(A.dtype).eps
            assert np.abs(c[:N1, :n] - want).max() <= 8 * unit * (rows + 1)
            assert (c[:, n:] == old[:, n:]).all()
            assert (c[N1:] == old[N1:]).all()
    assert np.isnan(work[size:]).all()


@pytest.mark.parametrize("vector", WIDTHS)
def test_what_does_not_stay_in_the_cache_together_is_summed_alone(vector: int) -> None:
    target = jit.host().narrow(vector)
    t = tiling(target, "float32")
    room = outer.PANELS_BYTES[t.vectors] // (t.terms * t.itemsize)
    wide = 2 * t.columns
    most = room // wide
    assert gemm.shares_left(target, "float32", 512, [wide] * most)
    assert not gemm.shares_left(target, "float32", 512, [wide] * (most + 1))
    # A left matrix with few columns, or a right one of a single panel, is not packed.
    assert not gemm.shares_left(target, "float32", 16, [wide])
    assert not gemm.shares_left(target, "float32", 512, [t.columns, wide])


# Both weights' gradients are sums with one left factor; in the second model the terms of the first
# step are fewer, and a weight of its own multiplies what another has made.
MODELS = {
    "elman": """
model m(D, H):
    input  x[t]: real[D]
    param  W: real[H, D] ~ glorot
    param  U: real[H, H] ~ orthogonal
    h[0] = 0
    h[t] = tanh(W @ x[t] + U @ h[t-1])
    loss = sum[t](sum(h[t] ** 2))
    minimize loss
""",
    "lags": """
model m(D, H):
    input  x[t]: real[D]
    param  W, V: real[H, D] ~ glorot
    param  U, S: real[H, H] ~ orthogonal
    h[-1], h[0] = 0
    h[t] = tanh(W @ x[t] + U @ h[t-1] + S @ h[t-2] + V @ x[T+1-t])
    loss = sum[t](sum(h[t] ** 2))
    minimize loss
""",
}


def _joined(text: str, ragged: bool = False, **sizes: int) -> list[str]:
    """The functions of a gradient that take several sums at once."""
    program = adjoint(elaborate(text)).bind(sizes)
    kernel = llvm.compile(program, dtype="float32", sum_adjoints=True)
    shown = kernel.ir(Variant(1, ragged, True))
    heads = [line for line in shown.splitlines() if line.startswith("define")]
    names = [h.split("@")[1].split("(")[0].strip('"') for h in heads if "unfold.outer." in h]
    return [n for n in names if "_" in n]


def test_the_gradients_of_an_elman_networks_weights_share_their_left_factor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outer, "PANELS_BYTES", {2: 2**30, 4: 2**30})
    assert _joined(MODELS["elman"], D=70, H=80) == ["unfold.outer.f32.80x70_80"]
    assert _joined(MODELS["elman"], D=70, H=80, ragged=True) == []


@pytest.mark.parametrize("name", sorted(MODELS))
@given(
    st.integers(1, 40), st.integers(24, 45), st.integers(1, 14), st.integers(1, 7),
    st.booleans(), st.integers(1, 2),
)  # fmt: skip
@settings(max_examples=6, deadline=None)
def test_gradients_are_those_of_the_interpreter(
    name: str, D: int, H: int, T: int, B: int, ragged: bool, threads: int
) -> None:
    agree(MODELS[name], D, H, T, B, ragged, threads)
