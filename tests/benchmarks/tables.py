"""Dynamic programmes over two positions as a JAX programmer would write them, for one sequence.

A table is filled along one index or one diagonal at a time by `lax.scan`, all elements of that at
once; elements that are not there are masked. ``TABLES[name](p, i)`` is the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Arrays = Mapping[str, Any]
Loss = Callable[[Arrays, Arrays], Any]


def ctc(p: Arrays, i: Arrays) -> Any:
    """Letters with blanks between, all states at once; -1e5 for the logarithm of 0, as in
    ``optax.ctc_loss``."""
    never, label = -1e5, i["label"]
    logp = jax.nn.log_softmax(i["x"] @ p["W"].T + p["b"])
    blank = logp.shape[1] - 1
    states = jnp.full(2 * len(label) + 1, blank).at[1::2].set(label)
    given = logp[:, states]
    skips = jnp.where((states[2:] != states[:-2]) & (states[2:] != blank), 0.0, never)

    def step(a: Any, now: Any) -> Any:
        one = jnp.concatenate([jnp.full(1, never), a[:-1]])
        two = jnp.concatenate([jnp.full(2, never), a[:-2] + skips])
        return jax.nn.logsumexp(jnp.stack([a, one, two]), axis=0) + now, None

    start = jnp.concatenate([given[0, :2], jnp.full(len(states) - 2, never)])
    last, _ = lax.scan(step, start, given[1:])
    return -jnp.logaddexp(last[-1], last[-2])


def soft_edit_distance(p: Arrays, i: Arrays) -> Any:
    """By antidiagonals: each needs the two before it."""
    gamma, gap = 0.1, p["gap"]
    a, b = p["E"][i["a"]], p["E"][i["b"]]
    differ = 1 - jnp.exp(-jnp.sum((a[:, None] - b) ** 2, axis=-1))
    n, m = differ.shape
    # Row k moved k places to the right: antidiagonals become columns.
    skewed = jnp.pad(differ, ((0, 0), (0, n))).reshape(-1)[: n * (n + m - 1)]
    columns = skewed.reshape(n, n + m - 1).T
    row = np.arange(n + 1)

    def step(carry: Any, now: Any) -> Any:
        before, last = carry
        cost, d = now
        ways = jnp.stack([last[:-1] + gap, last[1:] + gap, before[:-1] + cost])
        inner = -gamma * jax.nn.logsumexp(ways / -gamma, axis=0)
        edge = d * gap
        new = jnp.where(row >= d, edge, jnp.concatenate([edge[None], inner]))
        return (last, new), None

    edges = jnp.full(n + 1, gap), jnp.zeros(n + 1)
    steps = jnp.arange(2, n + m + 1)
    return lax.scan(step, (edges[1], edges[0]), (columns, steps))[0][1][-1]


def matrix_chain(p: Arrays, i: Arrays) -> Any:
    """By lengths of intervals: all beginnings and all places to split at once."""
    gamma, d = 0.5, i["d"]
    n = len(d) - 1
    first, split = np.arange(n)[:, None], np.arange(n)
    padded = jnp.pad(d, (0, n))

    def step(cost: Any, m: Any) -> Any:
        right = lax.dynamic_slice(jnp.pad(cost, ((0, 1), (0, n))), (1, m), (n, n)).T
        ends = lax.dynamic_slice(padded, (m + 1,), (n,))
        ways = cost + right + d[:-1, None] * d[1:] * ends[:, None]
        mask = (split >= first) & (split < first + m)
        best = -gamma * jax.nn.logsumexp(jnp.where(mask, ways / -gamma, -jnp.inf), axis=1)
        return jnp.where(split - first == m, best[:, None], cost), None

    return lax.scan(step, jnp.zeros((n, n)), jnp.arange(1, n))[0][0, -1]


def cyk(p: Arrays, i: Arrays) -> Any:
    """By lengths of intervals. The sum over splits and pairs of symbols is a matrix product of
    exponentials, each split with its own largest term taken out."""
    g, word = len(p["root"]), i["word"]
    n = len(word)
    rule = jax.nn.softmax(p["rule"].reshape(g, g * g), axis=1).reshape(g, g, g)
    leaves = jax.nn.log_softmax(p["lexicon"], axis=1)[:, word].T
    first, split = np.arange(n)[:, None], np.arange(n)

    def step(inside: Any, m: Any) -> Any:
        padded = jnp.pad(inside, ((0, 1), (0, n), (0, 0)))
        right = jnp.swapaxes(lax.dynamic_slice(padded, (1, m, 0), (n, n, g)), 0, 1)
        tops = [lax.stop_gradient(side.max(axis=2)) for side in (inside, right)]
        mask = (split >= first) & (split < first + m)
        both = jnp.where(mask, tops[0] + tops[1], -jnp.inf)
        top = both.max(axis=1, keepdims=True)
        a = jnp.exp(inside - tops[0][..., None]) * jnp.exp(both - top)[..., None]
        b = jnp.exp(right - tops[1][..., None])
        made = jnp.einsum("ikb,ikc->ibc", a, b)
        new = jnp.log(jnp.einsum("ibc,abc->ia", made, rule)) + top
        return jnp.where((split - first == m)[..., None], new[:, None], inside), None

    start = jnp.where(np.eye(n, dtype=bool)[..., None], leaves[:, None], 0.0)
    inside, _ = lax.scan(step, start, jnp.arange(1, n))
    return -jax.nn.logsumexp(jax.nn.log_softmax(p["root"]) + inside[0, -1])


def rna_folding(p: Arrays, i: Arrays) -> Any:
    """By ends of intervals: all beginnings and all partners at once."""
    heat, base = 0.6, i["base"]
    n = len(base)
    pair = p["gain"][base][:, base] / heat
    first, partner = np.arange(1, n + 1)[:, None], np.arange(1, n + 1)

    def step(carry: Any, now: Any) -> Any:
        table, last = carry
        gains, j = now
        inner = jnp.concatenate([last[1:], jnp.zeros(1)])
        ways = table[:, :-1] + inner + gains
        mask = (partner >= first) & (partner <= j - 4)
        ways = jnp.concatenate([last[:, None], jnp.where(mask, ways, -jnp.inf)], axis=1)
        new = jnp.where(partner < j, jax.nn.logsumexp(ways, axis=1), 0.0)
        return (lax.dynamic_update_slice(table, new[:, None], (0, j)), new), None

    start = jnp.zeros((n, n + 1)), jnp.zeros(n)
    steps = jnp.arange(2, n + 1)
    (_, last), _ = lax.scan(step, start, (pair.T[1:], steps))
    return -heat * last[0]


TABLES: dict[str, Loss] = {
    f.__name__: f for f in (ctc, soft_edit_distance, matrix_chain, cyk, rna_folding)
}
