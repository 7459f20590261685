"""Some of the examples once more, as a JAX programmer would write them: loss of one sequence.

``TWINS[name](p)`` takes parameters and inputs by their names in the example.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

#: The size R of attention in the benchmarks.
HEADS = 8
Loss = Callable[[dict[str, Any]], Any]


def causal_attention(p: dict[str, Any]) -> Any:
    q, k, v = (p["x"] @ p[name].T for name in ("W_q", "W_k", "W_v"))
    score = q @ k.T / jnp.sqrt(float(q.shape[1]))
    mask = jnp.tril(jnp.ones(score.shape, bool))
    z = jax.nn.softmax(jnp.where(mask, score, -jnp.inf), axis=1) @ v
    return jnp.mean((z @ p["W_o"].T + p["b_o"] - p["target"]) ** 2)


def cross_attention(p: dict[str, Any]) -> Any:
    heads, width = HEADS, p["W_q"].shape[0] // HEADS
    q = (p["x"] @ p["W_q"].T).reshape(-1, heads, width)
    k, v = ((p["memory"] @ p[name].T).reshape(-1, heads, width) for name in ("W_k", "W_v"))
    score = jnp.einsum("trp,srp->rts", q, k) / jnp.sqrt(float(width))
    z = jnp.einsum("rts,srp->trp", jax.nn.softmax(score, axis=-1), v)
    y = z.reshape(len(z), -1) @ p["W_o"].T
    return jnp.mean((y - p["target"]) ** 2)


def transformer_block(p: dict[str, Any]) -> Any:
    heads, width = HEADS, p["W_q"].shape[0] // HEADS

    def normal(x: Any, gain: Any, bias: Any) -> Any:
        centred = x - x.mean(axis=1, keepdims=True)
        return gain * centred / jnp.sqrt(x.var(axis=1, keepdims=True) + 1e-5) + bias

    x = p["E"][p["tokens"]]
    n = normal(x, p["gain1"], p["bias1"])
    q, k, v = ((n @ p[f"W_{a}"].T).reshape(-1, heads, width) for a in "qkv")
    score = jnp.einsum("trp,srp->rts", q, k) / jnp.sqrt(float(width))
    mask = jnp.tril(jnp.ones(score.shape[1:], bool))
    a = jax.nn.softmax(jnp.where(mask, score, -jnp.inf), axis=-1)
    u = x + jnp.einsum("rts,srp->trp", a, v).reshape(len(x), -1) @ p["W_o"].T
    m = normal(u, p["gain2"], p["bias2"])
    inner = jax.nn.relu(m @ p["W_up"].T + p["b_up"])
    logits = (u + inner @ p["W_down"].T + p["b_down"]) @ p["W_y"].T
    chosen = jnp.take_along_axis(logits, p["next"][:, None], axis=1)[:, 0]
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - chosen)


def ntm(p: dict[str, Any]) -> Any:
    def address(key: Any, beta: Any, mem: Any) -> Any:
        length = jnp.linalg.norm(mem, axis=1) * jnp.linalg.norm(key)
        return jax.nn.softmax(beta * (mem @ key) / (length + 1e-8))

    def head(h: Any, mem: Any, which: str) -> Any:
        key = jnp.tanh(p[f"W_k{which}"] @ h + p[f"b_k{which}"])
        beta = jax.nn.softplus(p[f"w_b{which}"] @ h + p[f"b_b{which}"])
        return address(key, beta, mem)

    def step(carry: Any, x: Any) -> Any:
        h, r, mem = carry
        h = jnp.tanh(p["W_x"] @ x + p["W_r"] @ r + p["W_h"] @ h + p["b_h"])
        weights = head(h, mem, "w")
        erase = jax.nn.sigmoid(p["W_er"] @ h + p["b_er"])
        add = jnp.tanh(p["W_ad"] @ h + p["b_ad"])
        mem = mem * (1 - jnp.outer(weights, erase)) + jnp.outer(weights, add)
        r = head(h, mem, "r") @ mem
        return (h, r, mem), (h, r)

    start = jnp.zeros_like(p["b_h"]), jnp.zeros_like(p["b_kw"]), p["Mem0"]
    _, (h, r) = lax.scan(step, start, p["x"])
    y = h @ p["V_h"].T + r @ p["V_r"].T + p["b_y"]
    return jnp.sum(jax.nn.softplus(y) - p["target"] * y) / len(y)


def hmm(p: dict[str, Any]) -> Any:
    def step(alpha: Any, o: Any) -> Any:
        paths = alpha[:, None] + p["log_trans"]
        return jax.nn.logsumexp(paths, axis=0) + p["log_emit"][:, o], None

    first = p["log_init"] + p["log_emit"][:, p["o"][0]]
    last, _ = lax.scan(step, first, p["o"][1:])
    return -jax.nn.logsumexp(last)


def neural_ode(p: dict[str, Any]) -> Any:
    substeps = 3

    def step(h: Any, given: Any) -> Any:
        u, dt = given
        held = p["B"] @ u + p["b"]

        def slope(z: Any) -> Any:
            return jnp.tanh(p["A"] @ z + held)

        d = dt / substeps
        for _ in range(substeps):
            k1 = slope(h)
            k2 = slope(h + d * k1 / 2)
            k3 = slope(h + d * k2 / 2)
            k4 = slope(h + d * k3)
            h = h + d * (k1 + 2 * k2 + 2 * k3 + k4) / 6
        return h, h

    _, h = lax.scan(step, p["h0"], (p["u"], p["dt"]))
    return jnp.mean((h - p["target"]) ** 2)


def lstm(p: dict[str, Any]) -> Any:
    def step(carry: Any, x: Any) -> Any:
        h, c = carry
        i, f, g, o = (
            p[f"W_i{k}"] @ x + p[f"b_i{k}"] + p[f"W_h{k}"] @ h + p[f"b_h{k}"] for k in "ifgo"
        )
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    _, h = lax.scan(step, (p["h0"], p["c0"]), p["x"])
    return jnp.mean((h @ p["W_hy"].T + p["b_y"] - p["target"]) ** 2)


def gru(p: dict[str, Any]) -> Any:
    def step(h: Any, x: Any) -> Any:
        def gate(k: str) -> tuple[Any, Any]:
            return p[f"W_i{k}"] @ x + p[f"b_i{k}"], p[f"W_h{k}"] @ h + p[f"b_h{k}"]

        r, z = (jax.nn.sigmoid(sum(gate(k))) for k in "rz")
        inner, own = gate("n")
        h = (1 - z) * jnp.tanh(inner + r * own) + z * h
        return h, h

    _, h = lax.scan(step, p["h0"], p["x"])
    return jnp.mean((h @ p["W_hy"].T + p["b_y"] - p["target"]) ** 2)


def hyena(p: dict[str, Any]) -> Any:
    x = p["x"]
    lag = jnp.arange(len(x))[:, None]
    window = jnp.exp(-jnp.exp(p["decay"]) * lag)
    kernel = (jnp.sin(p["freq"] * lag + p["phase"]) @ p["A"].T) * window
    u = (x @ p["W_k"].T) * (x @ p["W_v"].T)
    both = (jnp.fft.rfft(a, n=2 * len(x), axis=0) for a in (kernel, u))
    c = jnp.fft.irfft(next(both) * next(both), n=2 * len(x), axis=0)[: len(x)]
    y = ((x @ p["W_q"].T) * c) @ p["W_o"].T
    return jnp.mean((y - p["target"]) ** 2)


TWINS: dict[str, Loss] = {
    f.__name__: f
    for f in (causal_attention, cross_attention, transformer_block, ntm, hmm, neural_ode, lstm)
}
TWINS |= {f.__name__: f for f in (gru, hyena)}
