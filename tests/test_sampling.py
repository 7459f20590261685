"""A language model that reads what it has drawn: the same text everywhere, in its frequency."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold

EXAMPLES = Path(__file__).parent.parent / "examples"
K = 5
SIZES = {"K": K, "M": 3, "H": 4}


def compiled(name: str, backend: str, **options: Any) -> unfold.Function:
    return unfold.compile(EXAMPLES / f"{name}.rec", backend=backend, sizes=SIZES, **options)


def params() -> dict[str, Any]:
    fn = compiled("charlm_sample", "numpy")
    rng = np.random.default_rng(5)
    return {n: rng.normal(0, 0.8, p.shape) for n, p in fn.init(seed=1).items()}


def test_both_backends_draw_the_same_text() -> None:
    p = params()
    for seed in range(3):
        one, two = (
            compiled("charlm_sample", backend)(p, start=0, T=40, seed=seed)
            for backend in ("numpy", "llvm")
        )
        np.testing.assert_array_equal(one.tok, two.tok)
        np.testing.assert_allclose(one.p, two.p, rtol=1e-12)
    assert len(set(np.asarray(one.tok).tolist())) > 1


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_the_texts_of_a_batch_do_not_depend_on_how_it_is_divided(backend: str) -> None:
    p, fn = params(), compiled("charlm_sample", backend)
    start = np.array([0, 1, 2, 3, 4, 0])
    whole = fn(p, start=start, T=12, seed=3).tok
    for cuts in ([0, 2, 6], [0, 1, 5, 6]):
        parts = [fn(p, start=start[a:b], T=12, seed=3, first=a).tok for a, b in pairwise(cuts)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    # Two sequences that begin alike are drawn independently.
    assert (whole[0] != whole[5]).any()
    np.testing.assert_array_equal(fn(p, start=start, T=30, seed=3).tok[:, :12], whole)


def test_threads_draw_what_one_thread_draws() -> None:
    start = np.arange(16) % K
    one, four = (
        compiled("charlm_sample", "llvm", threads=n)(params(), start=start, T=9).tok for n in (1, 4)
    )
    np.testing.assert_array_equal(one, four)


def test_what_is_drawn_is_what_is_read_next() -> None:
    p, fn = params(), compiled("charlm_sample", "llvm")
    out = fn(p, start=2, T=25, seed=7)
    read = np.concatenate([[2], out.tok[:-1]])
    # The model of charlm.rec, given that text, expects the same.
    y = compiled("charlm", "llvm")(p, x=read, target=out.tok).y
    shares = np.exp(y - y.max(1, keepdims=True))
    np.testing.assert_allclose(out.p, shares / shares.sum(1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(out.loss, -np.log(out.p[np.arange(25), out.tok]).mean())


def test_frequencies_are_the_probabilities() -> None:
    p, fn = params(), compiled("charlm_sample", "llvm")
    n = 40_000
    out = fn(p, start=np.zeros(n, int), T=2, seed=11)
    first = out.p[0, 0]
    seen = np.bincount(out.tok[:, 0], minlength=K)
    # Pearson's statistic has K - 1 degrees of freedom: below 23.5 but for one case in 10,000.
    assert ((seen - n * first) ** 2 / (n * first)).sum() < 23.5
    for k in range(K):
        # What follows a character, given that it was drawn.
        here = out.tok[:, 0] == k
        expected = here.sum() * out.p[here][0, 1]
        then = np.bincount(out.tok[here, 1], minlength=K)
        assert expected.min() > 5
        assert ((then - expected) ** 2 / expected).sum() < 23.5
    assert not np.allclose(first, 1 / K, atol=0.02)


def test_a_low_temperature_takes_what_is_likeliest() -> None:
    p, fn = params(), compiled("charlm_sample", "llvm", temperature=1e-4)
    out = fn(p, start=1, T=20, seed=0)
    np.testing.assert_array_equal(out.tok, out.p.argmax(1))
