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


@both
def test_connectionist_temporal_classification_sums_over_all_paths(backend: str) -> None:
    rng = np.random.default_rng(7)
    fn = compiled("ctc", backend, D=2, K=2)
    p, x, label = drawn(fn, rng), rng.normal(size=(5, 2)), np.array([1, 1])
    logp = x @ p["W"].T + p["b"]
    logp -= np.log(np.exp(logp).sum(axis=1, keepdims=True))
    total = 0.0
    for path in itertools.product(range(3), repeat=5):
        read = [k for k, _ in itertools.groupby(path) if k != 2]
        if read == label.tolist():
            total += np.exp(sum(logp[t, k] for t, k in enumerate(path)))
    np.testing.assert_allclose(fn(p, x=x, label=label).loss, -np.log(total), rtol=1e-12)
    # Too few frames for the letters: no path, an infinite loss, and no gradient is NaN.
    loss, grads = fn.value_and_grad(p, x=x[:2], label=label)
    assert loss == np.inf
    assert all(not np.isnan(g).any() for g in grads.values())


@both
def test_a_kalman_filter_gives_the_likelihood_of_the_joint_normal(backend: str) -> None:
    rng = np.random.default_rng(8)
    fn = compiled("kalman", backend, N=2)
    p, y = drawn(fn, rng), rng.normal(size=5)
    # The observations as one vector: y = H s, where s stacks all states.
    mean, cov, means = p["m_start"], p["L_start"] @ p["L_start"].T, []
    states = np.zeros((10, 10))
    for t in range(5):
        mean, cov = p["A"] @ mean, p["A"] @ cov @ p["A"].T + p["L_step"] @ p["L_step"].T
        means.append(mean @ p["c"])
        block = cov
        for u in range(t, 5):
            states[2 * u : 2 * u + 2, 2 * t : 2 * t + 2] = block
            states[2 * t : 2 * t + 2, 2 * u : 2 * u + 2] = block.T
            block = p["A"] @ block
    H = np.kron(np.eye(5), p["c"])
    S = H @ states @ H.T + np.exp(p["log_r"]) * np.eye(5)
    e = y - np.array(means)
    want = (5 * np.log(2 * np.pi) + np.linalg.slogdet(S)[1] + e @ np.linalg.solve(S, e)) / 2
    np.testing.assert_allclose(fn(p, y=y).loss, want, rtol=1e-11)


@both
def test_a_smoother_gives_the_moments_of_the_joint_normal(backend: str) -> None:
    rng = np.random.default_rng(18)
    fn = compiled("smoother", backend, N=2, M=3)
    p, y = drawn(fn, rng), rng.normal(size=(5, 3))
    # All states as one vector s, all observations as y = H s + noise.
    mean, cov, means = p["m_start"] + 1.0, p["L_start"] @ p["L_start"].T, []
    p["m_start"] = mean
    states = np.zeros((10, 10))
    for t in range(5):
        mean, cov = p["A"] @ mean, p["A"] @ cov @ p["A"].T + p["L_step"] @ p["L_step"].T
        means.append(mean)
        block = cov
        for u in range(t, 5):
            states[2 * u : 2 * u + 2, 2 * t : 2 * t + 2] = block
            states[2 * t : 2 * t + 2, 2 * u : 2 * u + 2] = block.T
            block = p["A"] @ block
    H = np.kron(np.eye(5), p["C"])
    S = H @ states @ H.T + np.kron(np.eye(5), p["L_seen"] @ p["L_seen"].T)
    e = y.ravel() - H @ np.concatenate(means)
    gain = np.linalg.solve(S, H @ states).T
    after, spread = np.concatenate(means) + gain @ e, states - gain @ H @ states
    want = (15 * np.log(2 * np.pi) + np.linalg.slogdet(S)[1] + e @ np.linalg.solve(S, e)) / 2
    out = fn(p, y=y)
    np.testing.assert_allclose(out.loss, want, rtol=1e-11)
    np.testing.assert_allclose(out.ms, after.reshape(5, 2), rtol=1e-9)
    blocks = [spread[2 * t : 2 * t + 2, 2 * t : 2 * t + 2] for t in range(5)]
    np.testing.assert_allclose(out.Ps, blocks, rtol=1e-9, atol=1e-12)


@both
def test_a_hawkes_process_adds_all_pairs_of_events(backend: str) -> None:
    rng = np.random.default_rng(9)
    fn = compiled("hawkes", backend, K=2)
    p, time, kind = drawn(fn, rng), np.cumsum(rng.exponential(size=6)), rng.integers(0, 2, 6)
    end, beta, alpha = time[-1] + 1.0, np.exp(p["log_beta"]), np.exp(p["log_alpha"])
    want = end * np.exp(p["log_mu"]).sum()
    for t in range(6):
        pairs = (alpha[kind[t], kind[u]] * np.exp(-beta * (time[t] - time[u])) for u in range(t))
        want -= np.log(np.exp(p["log_mu"][kind[t]]) + beta * sum(pairs))
        want += (1 - np.exp(-beta * (end - time[t]))) * alpha[:, kind[t]].sum()
    loss = fn(p, time=time, kind=kind, end=end).loss
    np.testing.assert_allclose(loss, want, rtol=1e-12)


@both
def test_weighted_averages_of_rwkv_without_its_logarithms(backend: str) -> None:
    rng = np.random.default_rng(10)
    fn = compiled("rwkv", backend, D=3, F=4, K=5)
    p, tokens = drawn(fn, rng), rng.integers(0, 5, 6)
    x = p["E"][tokens]
    before = np.vstack([np.zeros(3), x[:-1]])
    k = (p["mu_k"] * x + (1 - p["mu_k"]) * before) @ p["W_k"].T
    v = (p["mu_v"] * x + (1 - p["mu_v"]) * before) @ p["W_v"].T
    for t, found in enumerate(fn(p, tokens=tokens, next=tokens).wkv):
        age = np.array([t - 1 - s for s in range(t)]).reshape(-1, 1)
        w = np.vstack([np.exp(k[:t] - age * np.exp(p["decay"])), np.exp(p["bonus"] + k[t])])
        np.testing.assert_allclose(found, (w * v[: t + 1]).sum(0) / w.sum(0), rtol=1e-11)


@both
def test_advantages_stop_where_an_episode_ends_and_carry_no_derivative(backend: str) -> None:
    rng = np.random.default_rng(11)
    fn = compiled("advantage", backend, D=2, H=3, A=4)
    p, s = drawn(fn, rng), rng.normal(size=(6, 2))
    data: dict[str, Any] = {
        "s": s, "a": rng.integers(0, 4, 6), "r": rng.normal(size=6), "old": rng.normal(size=6) - 1,
        "done": np.array([0, 0, 1, 0, 0, 0], bool), "last": 0.3,
    }  # fmt: skip
    value = np.append(np.tanh(s @ p["W"].T) @ p["v"], 0.3)
    adv = np.zeros(7)
    for t in range(5, -1, -1):
        going = 1 - data["done"][t]
        adv[t] = data["r"][t] + 0.99 * going * value[t + 1] - value[t]
        adv[t] += 0.99 * 0.95 * going * adv[t + 1]
    np.testing.assert_allclose(fn(p, **data).adv, adv[:6], rtol=1e-12)
    _, grads = fn.value_and_grad(p, wrt=["r", "last"], **data)
    assert not grads["r"].any()
    assert not grads["last"].any()
