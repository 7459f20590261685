"""Random variables: what they become, what they draw, and what is wrong with them."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import numpy as np
import pytest

import unfold
from unfold.check import check_text
from unfold.noise import draw

WALK = """
    model walk(H):
        param scale: real = 0.5
        random e[t]: real[H] ~ normal
        random j[t]: bool ~ bernoulli(0.3)
        random c[t]: int<4> ~ categorical([0.1, 0.2, 0.3, 0.4])
        random g: real ~ uniform(2, 3)
        h[0] = g
        h[t] = 0.9 * h[t-1] + scale * e[t] + real(j[t]) + real(c[t])
        loss = sum[t](sum(h[t] ** 2))
        output h[t], j[t], c[t], g
        minimize loss
"""


def walk(backend: str, dtype: str = "float64") -> Any:
    return unfold.compile(dedent(WALK), H=3, backend=backend, dtype=dtype)


def test_a_random_variable_prints_as_noise_and_an_equation() -> None:
    text = str(unfold.loads(dedent(WALK)))
    assert "random e[t]: real[H]" in text
    assert "j[t] = j.noise[t] <= 0.3" in text
    assert str(unfold.loads(text)) == text


def test_both_backends_draw_the_same_numbers() -> None:
    a, b = walk("numpy"), walk("llvm")
    params = a.init()
    for seed in (0, 1):
        one, two = a(params, T=6, seed=seed), b(params, T=6, seed=seed)
        np.testing.assert_allclose(one.h, two.h, rtol=1e-14)
        np.testing.assert_array_equal(one.c, two.c)
    assert not np.array_equal(a(params, T=6, seed=0).h, a(params, T=6, seed=1).h)
    # float32 sees the same draws, rounded.
    low = walk("llvm", "float32")(params, T=6, seed=0)
    np.testing.assert_allclose(low.h, a(params, T=6, seed=0).h, rtol=1e-5)


def test_a_longer_sequence_begins_with_the_shorter_one() -> None:
    fn = walk("numpy")
    np.testing.assert_array_equal(fn(fn.init(), T=9).h[:4], fn(fn.init(), T=4).h)


def test_a_divided_batch_draws_what_the_whole_one_does() -> None:
    fn = walk("llvm")
    params = fn.init()
    whole = fn(params, T=5, lengths=[5] * 6)
    parts = [fn(params, T=5, lengths=[5] * 2, first=k) for k in (0, 2, 4)]
    np.testing.assert_array_equal(np.concatenate([p.h for p in parts]), whole.h)
    assert len({float(h[0, 0]) for h in whole.h}) == 6


def test_gradients_pass_through_the_draws() -> None:
    fn = walk("llvm")
    _, grads = fn.value_and_grad({"scale": 0.5}, T=5, seed=2)
    e = 1e-6
    rise = fn({"scale": 0.5 + e}, T=5, seed=2).loss - fn({"scale": 0.5 - e}, T=5, seed=2).loss
    assert grads["scale"] == pytest.approx(rise / (2 * e), rel=1e-7)


def test_a_draw_may_be_given_instead() -> None:
    fn = walk("numpy")
    given = fn(fn.init(), e=np.zeros((5, 3)))
    assert given.h.shape == (5, 3)
    assert fn.value_and_grad(fn.init(), e=np.zeros((5, 3)))[1]["scale"] == 0.0


def test_the_distributions_are_right() -> None:
    n = 200_000
    z, u = draw("normal", 7, "z", (n,)), draw("uniform", 7, "u", (n,))
    assert abs(z.mean()) < 0.01
    assert abs(z.var() - 1) < 0.02
    assert u.min() > 0.0
    assert u.max() <= 1.0
    assert abs(u.mean() - 0.5) < 0.005
    fn = walk("llvm")
    out = fn(fn.init(), T=20_000)
    shares = np.bincount(out.c, minlength=4) / 20_000
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.3, 0.4], atol=0.015)
    assert abs(out.j.mean() - 0.3) < 0.015
    assert 2 <= out.g <= 3


def test_a_category_may_be_the_next_input() -> None:
    model = unfold.loads(
        dedent("""
        model chain(K):
            param P: real[K, K]
            y[0] = 0
            random next[t]: int<K> ~ categorical(softmax(P[y[t-1]]))
            y[t] = next[t]
            output y[t]
    """)
    )
    params = {"P": np.array([[-9.0, 9.0], [9.0, -9.0]])}
    for backend in ("numpy", "llvm"):
        out = unfold.compile(model, K=2, backend=backend)(params, T=6)
        np.testing.assert_array_equal(out.y, [1, 0, 1, 0, 1, 0])


def test_a_sub_model_brings_its_own_noise() -> None:
    text = dedent("""
        model noisy(H):
            input x[t]: real[H]
            random e[t]: real[H] ~ normal
            y[t] = x[t] + e[t]
            output y[t]

        model pair(H):
            input x[t]: real[H]
            a = noisy(x)
            b = noisy(x)
            output a.y[t], b.y[t]
    """)
    out = unfold.compile(text, H=2)({}, x=np.zeros((4, 2)))
    assert not np.array_equal(out["a.y"], out["b.y"])


@pytest.mark.parametrize(
    ("line", "codes"),
    [
        ("random y[t]: real ~ gaussian", ["E0722"]),
        ("random y[t]: real ~ normal(1)", ["E0722"]),
        ("random y[t]: real ~ bernoulli(0.5)", ["E0721"]),
        ("random y[t]: int ~ categorical([0.5, 0.5])", ["E0721"]),
        ("random y[t] ~ normal", ["E0721"]),
        ("random y[t]: real ~ normal(0, q)", ["E0201"]),
    ],
)
def test_mistakes_are_reported_once(line: str, codes: list[str]) -> None:
    text = f"model m:\n    {line}\n    output y[t]\n"
    assert [d.code for d in check_text(text)] == codes
