"""Sequences of unequal length side by side, held against the interpreter and against each alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unfold
from unfold.backends.llvm import choose
from unfold.backends.llvm.kernel import Kernel
from unfold.gradcheck import random_arrays

EXAMPLES = Path(__file__).parents[2] / "examples"
#: Chains in both directions, stacks, several pieces, lengths as numbers, sums over time.
MODELS = ["lstm", "birnn", "stacked_bigru", "charlm", "smoother", "hybrid_jump", "kalman"]
OWN = """
model own(D, H):
    input  x[t]: real[D]
    input  k[t]: int<5>
    param  W, V: real[H, D]  ~ glorot
    param  U, R: real[H, H]  ~ orthogonal
    param  E: real[5, H]     ~ normal(0.5)
    param  a: real[H]        = 0.3
    random e[t]: real[H]     ~ normal
    h[0] = 0
    h[t] = tanh(W @ x[t] + U @ h[t-1] + E[k[t]] + 0.1 * e[t]) * real(t) / T
    g[t] = tanh(V @ x[T+1-t] + R @ g[t+1] + h[t]) for t in 1..T-1
    g[T] = a * h[T]
    first = h[1] - g[T]
    best = max[t](sum(h[t]))
    loss = mean[t](sum(g[t] ** 2)) + sum(first ** 2)
    output h[t], g[t], best
    minimize loss
"""
#: Matrices of a family, and numbers of parameters and the own length, which loops lie between.
FAMILY = """
model family(D, H):
    axis   k: 0..2
    input  x[t]: real[D]
    input  y[t]: real[H]
    param  A[k]: real[H, D]  ~ glorot
    param  U[k]: real[H, H]  ~ glorot
    param  w, v: real[H]     ~ normal(1)
    u[t] = tanh(sum[k](A[k] @ x[t-2*k] if t > 2*k else 0)) * softmax(w / T)
    h[t] = 0 for t in -2..0
    h[t] = tanh(u[t] + sum[k](U[k] @ h[t-k-1]))
    g[t] = h[t] + sum[k](U[k] @ u[t-k] if t > k else 0) * softmax(w / T)
    s = softmax(w / T) * h[T] + softmax(v / T) * h[1]
    loss = mean[t](sum((tanh(g[t]) * softmax(v / T) + s / T - y[t]) ** 2)) + sum(softmax(v / T) * s)
    output g[t], s
    minimize loss
"""


def falls(fn: unfold.Function) -> bool:
    """Whether the function has code for sequences side by side."""
    kernels = [d.kernel for d in fn.compiler._derived.values()]
    return any(
        e.image.falling for k in kernels if isinstance(k, Kernel) for e in k._entries.values()
    )


def batch_of(fn: unfold.Function, steps: int, count: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters, and the inputs of some sequences."""
    lengths = dict.fromkeys(fn.program.lengths, steps)
    drawn = [random_arrays(fn.program, lengths, np.random.default_rng(k)) for k in range(count)]
    return (
        {n: drawn[0][n] for n in fn.params},
        {n: np.stack([d[n] for d in drawn]) for n in fn.inputs},
    )


def compare(model: unfold.Model, sizes: dict[str, int], lengths: list[int], **how: Any) -> None:
    ours = unfold.compile(model, sizes=sizes, **how)
    meaning = unfold.compile(model, sizes=sizes, backend="numpy")
    params, data = batch_of(ours, max(lengths) + 1, len(lengths))
    for a in data.values():
        if a.dtype == float:
            for row, end in enumerate(lengths):
                a[row, end:] = np.nan  # what is padding is not looked at
    wrt = [*params, *(n for n in data if data[n].dtype == float)]
    value, grads = ours.value_and_grad(params, data, lengths=lengths, seed=3, wrt=wrt)
    expected, slopes = meaning.value_and_grad(params, data, lengths=lengths, seed=3, wrt=wrt)
    assert falls(ours)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for n, g in slopes.items():
        np.testing.assert_allclose(grads[n], g, rtol=1e-9, atol=1e-12, err_msg=n)
    out, want = (f(params, data, lengths=lengths, seed=3) for f in (ours, meaning))
    for n, a in want.items():
        np.testing.assert_allclose(out[n], a, rtol=1e-9, atol=1e-12, err_msg=n)


@pytest.mark.parametrize("name", MODELS)
def test_examples_agree_with_the_interpreter(name: str) -> None:
    model = unfold.load(EXAMPLES / f"{name}.rec")
    # Large enough for tiles.
    sizes = {n: {"D": 8, "H": 16, "K": 4, "N": 9}.get(n, 6) for n in model.sizes}
    compare(model, sizes, [3, 7, 1, 5, 5])


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=11), st.integers(0, 3))
def test_any_lengths_agree_with_the_interpreter(lengths: list[int], odd: int) -> None:
    compare(unfold.loads(OWN), {"D": 9 + odd, "H": 24 + odd}, lengths)


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=11), st.integers(0, 2))
def test_families_and_shared_numbers_agree_too(lengths: list[int], odd: int) -> None:
    compare(unfold.loads(FAMILY), {"D": 9 + odd, "H": 24 + odd}, lengths)


@pytest.mark.parametrize("threads", [1, 3])
def test_every_sequence_has_the_bits_that_it_has_alone(threads: int) -> None:
    fn = unfold.compile(unfold.loads(OWN), D=20, H=33, threads=threads)
    params, data = batch_of(fn, 40, 64)
    lengths = np.random.default_rng(0).integers(1, 41, 64)
    out = fn(params, data, lengths=lengths, seed=3)
    for row in range(0, 64, 7):
        end = lengths[row]
        one = {n: a[row : row + 1, :end] for n, a in data.items()}
        alone = fn(params, one, seed=3, first=row)
        np.testing.assert_array_equal(out["h"][row, :end], alone["h"][0])
        np.testing.assert_array_equal(out["g"][row, :end], alone["g"][0])


def test_the_order_of_sequences_does_not_matter() -> None:
    fn = unfold.compile(unfold.load(EXAMPLES / "lstm.rec"), D=8, H=32, K=4)
    params, data = batch_of(fn, 12, 6)
    lengths = np.array([3, 12, 7, 7, 1, 9])
    value, grads = fn.value_and_grad(params, data, lengths=lengths)
    order = np.array([4, 0, 3, 5, 1, 2])
    mixed = {n: a[order] for n, a in data.items()}
    again, same = fn.value_and_grad(params, mixed, lengths=lengths[order])
    np.testing.assert_allclose(again, value, rtol=1e-12)
    for n, g in grads.items():
        np.testing.assert_allclose(same[n], g, rtol=1e-9, atol=1e-12)


def test_what_only_sequences_of_one_length_share_is_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "UNROLLED", -1)
    text = """
model m():
    input u[t]: real
    param a: real
    v[T+1] = a
    v[t] = tanh(u[t] + 0.5 * v[t+1])
    loss = sum[t](v[t] ** 2) + v[T]
    minimize loss
"""
    # In the adjoint of v[1] stands a term for sequences of one step alone.
    compare(unfold.loads(text), {}, [6, 4, 4, 2, 2, 1, 1, 2])
