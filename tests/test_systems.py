"""Examples without reference arrays against the same systems written in plain NumPy."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold

EXAMPLES = Path(__file__).parent.parent / "examples"
both = pytest.mark.parametrize("backend", ["numpy", "llvm"])
Array = Any


def compiled(name: str, backend: str, **sizes: float) -> unfold.Function:
    return unfold.compile(EXAMPLES / f"{name}.rec", backend=backend, sizes=sizes)


def drawn(fn: unfold.Function, rng: np.random.Generator, **lengths: int) -> dict[str, Array]:
    """Parameters of the right shapes, none of them special."""
    start = fn.init(seed=0, **lengths)
    return {k: rng.normal(size=np.shape(v)) * 0.6 for k, v in start.items()}


def soft(scores: Array) -> Array:
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@both
def test_viterbi_finds_the_best_of_all_paths(backend: str) -> None:
    rng = np.random.default_rng(1)
    fn = compiled("viterbi", backend, K=3, M=4)
    p, o = drawn(fn, rng), rng.integers(0, 4, 6)

    def score(path: tuple[int, ...]) -> float:
        moves = sum(p["log_trans"][a, b] for a, b in itertools.pairwise(path))
        seen = sum(p["log_emit"][j, o[t]] for t, j in enumerate(path))
        return float(p["log_init"][path[0]] + moves + seen)

    best = max(itertools.product(range(3), repeat=6), key=score)
    out = fn(p, o=o)
    assert out.path.tolist() == list(best)
    np.testing.assert_allclose(out.score, score(best), rtol=1e-13)
    # The gradient counts the moves of the best path.
    _, grads = fn.value_and_grad(p, o=o)
    moves = np.zeros((3, 3))
    for a, b in itertools.pairwise(best):
        moves[a, b] += 1
    np.testing.assert_allclose(-grads["log_trans"], moves, atol=1e-13)


@both
@pytest.mark.parametrize(("n", "m"), [(1, 1), (6, 4), (3, 9)])
def test_a_soft_edit_distance_hardens_to_the_edit_distance(backend: str, n: int, m: int) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 3, n), rng.integers(0, 3, m)
    p = {"E": 100 * np.eye(3), "gap": np.asarray(1.0)}
    out = compiled("soft_edit_distance", backend, K=3, M=3, gamma=1e-4)(p, a=a, b=b)
    f = np.zeros((n + 1, m + 1))
    f[:, 0], f[0, :] = np.arange(n + 1), np.arange(m + 1)
    for i, j in itertools.product(range(1, n + 1), range(1, m + 1)):
        other = a[i - 1] != b[j - 1]
        f[i, j] = min(f[i - 1, j] + 1, f[i, j - 1] + 1, f[i - 1, j - 1] + other)
    np.testing.assert_allclose(out.loss, f[n, m], atol=1e-2)
    np.testing.assert_allclose(out.f, f[1:, 1:], atol=1e-2)


@both
def test_cross_attention_with_heads(backend: str) -> None:
    rng = np.random.default_rng(3)
    fn = compiled("cross_attention", backend, D=3, C=5, R=2, P=4, K=3)
    p = drawn(fn, rng)
    x, memory = rng.normal(size=(6, 3)), rng.normal(size=(7, 5))
    q = (x @ p["W_q"].T).reshape(6, 2, 4)
    k = (memory @ p["W_k"].T).reshape(7, 2, 4)
    v = (memory @ p["W_v"].T).reshape(7, 2, 4)
    a = soft(np.einsum("trp,srp->trs", q, k) / 2)
    y = np.einsum("trs,srp->trp", a, v).reshape(6, 8) @ p["W_o"].T
    out = fn(p, x=x, memory=memory, target=np.zeros((6, 3)))
    np.testing.assert_allclose(out.y, y, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(out.a, np.moveaxis(a, 1, 2), rtol=1e-12, atol=1e-13)


@both
def test_a_transformer_block(backend: str) -> None:
    rng = np.random.default_rng(4)
    T, R, P = 7, 3, 4
    fn = compiled("transformer_block", backend, R=R, P=P, F=5, K=6)
    p, tokens = drawn(fn, rng), rng.integers(0, 6, T)

    def normal(x: Array, gain: Array, bias: Array) -> Array:
        mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return gain * (x - mean) / np.sqrt(var + 1e-5) + bias

    x = p["E"][tokens]
    n = normal(x, p["gain1"], p["bias1"])
    q, k, v = ((n @ p[w].T).reshape(T, R, P) for w in ("W_q", "W_k", "W_v"))
    scores = np.einsum("trp,srp->rts", q, k) / np.sqrt(P)
    a = soft(np.where(np.tri(T, dtype=bool), scores, -np.inf))
    u = x + np.einsum("rts,srp->trp", a, v).reshape(T, R * P) @ p["W_o"].T
    m = normal(u, p["gain2"], p["bias2"])
    y = u + np.maximum(m @ p["W_up"].T + p["b_up"], 0) @ p["W_down"].T + p["b_down"]
    out = fn(p, tokens=tokens, next=tokens)
    np.testing.assert_allclose(out.y, y, rtol=1e-11, atol=1e-12)


@both
@pytest.mark.parametrize("L", [1, 4])
def test_a_stack_has_as_many_layers_as_its_parameters(backend: str, L: int) -> None:
    rng = np.random.default_rng(5)
    fn = compiled("deep_stack", backend, H=3, K=4)
    p, x = drawn(fn, rng, L=L), rng.normal(size=(6, 3))
    out = fn(p, x=x, target=rng.integers(0, 4, 6))
    h = x
    for layer in range(L):
        above, state = np.zeros_like(h), np.zeros(3)
        for t in range(6):
            step = p["W"][layer] @ h[t] + p["U"][layer] @ state + p["b"][layer]
            state = above[t] = h[t] + np.tanh(step)
        h = above
        np.testing.assert_allclose(out.h[layer], h, rtol=1e-12, atol=1e-13)


@both
def test_leaky_integrators_and_an_echo_state(backend: str) -> None:
    rng = np.random.default_rng(6)
    x, target = rng.normal(size=(8, 2)), np.zeros((8, 1))
    fn = compiled("leaky_integrators", backend, D=2, H=3, K=1)
    p = drawn(fn, rng)
    keep, h, states = np.exp(-0.1 / np.exp(p["log_tau"])), np.zeros(3), []
    for t in range(8):
        h = keep * h + (1 - keep) * np.tanh(p["W"] @ x[t] + p["U"] @ h + p["b"])
        states.append(h)
    np.testing.assert_allclose(fn(p, x=x, target=target).h, states, rtol=1e-12)

    echo = compiled("echo_state", backend, D=2, H=3, K=1)
    W_in, W_res, W_fb = (rng.normal(size=(3, n)) for n in (2, 3, 1))
    W_out = rng.normal(size=(1, 3))
    h, y, states = np.zeros(3), np.zeros(1), []
    for t in range(8):
        h = 0.7 * h + 0.3 * np.tanh(W_in @ x[t] + 0.9 * W_res @ h + W_fb @ y)
        y = W_out @ h
        states.append(h)
    out = echo({"W_out": W_out}, x=x, target=target, W_in=W_in, W_res=W_res, W_fb=W_fb)
    np.testing.assert_allclose(out.h, states, rtol=1e-12)
