"""Dynamic programmes of the gallery against enumeration and textbook algorithms."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold

EXAMPLES = Path(__file__).parent.parent / "examples"
Array = np.ndarray[Any, Any]


def compiled(name: str, backend: str, **sizes: float) -> unfold.Function:
    return unfold.compile(EXAMPLES / f"{name}.rec", backend=backend, sizes=sizes)


both = pytest.mark.parametrize("backend", ["numpy", "llvm"])


@both
def test_the_cheapest_order_of_a_matrix_chain_is_that_of_the_textbook(backend: str) -> None:
    # Cormen, Leiserson, Rivest and Stein, "Introduction to algorithms", section 14.2.
    d = np.array([30.0, 35, 15, 5, 10, 20, 25])
    fn = compiled("matrix_chain", backend, gamma=1e-3)
    assert fn({}, d=d).loss == pytest.approx(15125)
    assert fn({}, d=np.array([2.0, 3, 4])).loss == pytest.approx(24)
    assert fn({}, d=np.array([2.0, 3])).loss == 0


def foldings(i: int, j: int, score: Any) -> list[tuple[float, tuple[tuple[int, int], ...]]]:
    """Every way to fold the bases from i to j: its energy and its pairs."""
    if j - i < 4:
        return [(0.0, ())]
    found = list(foldings(i, j - 1, score))
    for k in range(i, j - 3):
        for (a, p), (b, q) in itertools.product(
            foldings(i, k - 1, score), foldings(k + 1, j - 1, score)
        ):
            found.append((a + b + score(k, j), (*p, *q, (k, j))))
    return found


@both
def test_pairs_of_a_strand_are_as_likely_as_all_foldings_say(backend: str) -> None:
    rng = np.random.default_rng(0)
    base, gain = rng.integers(0, 4, 11), rng.normal(size=(4, 4))
    fn = compiled("rna_folding", backend, K=4, kT=0.6)
    energy, grads = fn.value_and_grad({"gain": gain}, base=base, wrt=["pair", "gain"])
    ways = foldings(0, 10, lambda k, j: gain[base[k], base[j]] / 0.6)
    weights = np.exp([e for e, _ in ways])
    assert len(ways) > 100
    assert energy == pytest.approx(-0.6 * np.log(weights.sum()), rel=1e-12)
    wanted = np.zeros((11, 11))
    for w, (_, pairs) in zip(weights / weights.sum(), ways, strict=True):
        for pair in pairs:
            wanted[pair] += w
    np.testing.assert_allclose(-grads["pair"] / 0.6, wanted, rtol=1e-10, atol=1e-13)


@both
def test_the_likelihood_of_a_sentence_is_the_sum_over_its_trees(backend: str) -> None:
    fn = compiled("cyk", backend, G=3, K=4)
    params, word = fn.init(seed=2), np.array([1, 0, 3, 2, 1])

    def soft(x: Array) -> Array:
        e = np.exp(x - x.max())
        return e / e.sum()

    rule = np.stack([soft(r) for r in params["rule"]])
    lexicon = np.stack([soft(r) for r in params["lexicon"]])

    @cache
    def trees(a: int, i: int, j: int) -> float:
        if i == j:
            return float(lexicon[a, word[i]])
        return sum(
            rule[a, b, c] * trees(b, i, k) * trees(c, k + 1, j)
            for k in range(i, j) for b in range(3) for c in range(3)
        )  # fmt: skip

    wanted = sum(soft(params["root"])[a] * trees(a, 0, 4) for a in range(3))
    assert fn(params, word=word).loss == pytest.approx(-np.log(wanted), rel=1e-12)


@both
def test_the_depth_of_a_stack_comes_with_its_parameters(backend: str) -> None:
    fn = compiled("deep_stack", backend, H=3, K=2)
    rng = np.random.default_rng(4)
    x, target = rng.normal(size=(5, 3)), rng.integers(0, 2, 5)
    for depth in (1, 2, 7):
        p = {n: rng.normal(0, 0.5, v.shape) for n, v in fn.init(seed=0, L=depth).items()}
        assert p["W"].shape == (depth, 3, 3)
        below = x
        for layer in range(depth):
            h, rows = np.zeros(3), []
            for row in below:
                h = row + np.tanh(p["W"][layer] @ row + p["U"][layer] @ h + p["b"][layer])
                rows.append(h)
            below = np.array(rows)
        logits = below @ p["V"].T
        loss = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(5), target])
        value, grads = fn.value_and_grad(p, x=x, target=target)
        assert value == pytest.approx(loss, rel=1e-12)
        assert grads["W"].shape == (depth, 3, 3)
        step = rng.normal(size=p["W"].shape)
        ends = [fn({**p, "W": p["W"] + e * step}, x=x, target=target).loss for e in (1e-6, -1e-6)]
        assert (grads["W"] * step).sum() == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6)
