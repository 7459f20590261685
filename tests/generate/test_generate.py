"""A model that reads what it wrote, against loops written out over whole sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import unfold
from unfold.generate import NOISE
from unfold.noise import draw

Array = NDArray[Any]
EXAMPLES = Path(__file__).parent.parent.parent / "examples"
BACKENDS = ["numpy", "llvm"]
K = 6
SIZES = {"K": K, "M": 3, "H": 4}


def charlm(backend: str = "llvm", **options: Any) -> tuple[unfold.Function, dict[str, Array]]:
    fn = unfold.compile(EXAMPLES / "charlm.rec", backend=backend, sizes=SIZES, **options)
    chance = np.random.default_rng(5)
    dtype = fn.options.dtype
    return fn, {n: chance.normal(0, 1.2, a.shape).astype(dtype) for n, a in fn.init().items()}


def distribution(
    logits: Array, temperature: float, top_k: int | None, top_p: float | None
) -> Array:
    """What a token is drawn from, by sorting: the definition, written out."""
    z = logits / temperature
    if top_k is not None:
        z = np.where(z >= np.sort(z)[-min(top_k, len(z))], z, -np.inf)
    p = np.exp(z - z.max())
    p /= p.sum()
    if top_p is not None:
        order = np.argsort(-p, kind="stable")
        before = np.cumsum(p[order]) - p[order]  # the mass of those that are better
        p[order[before >= top_p]] = 0
        p /= p.sum()
    return p


def reference(
    fn: unfold.Function, params: Any, prompt: list[int], steps: int, seed: int, sequence: int = 0,
    temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None,
) -> tuple[list[int], list[Array]]:  # fmt: skip
    """Tokens and what they were drawn from, by a call on the whole text for every token."""
    u = draw("uniform", seed, NOISE, (steps,), first=sequence)
    text, shares = list(prompt), []
    for k in range(steps):
        logits = fn(params, x=text, target=text).y[-1]
        p = distribution(logits, temperature, top_k, top_p)
        token = int(np.searchsorted(np.cumsum(p), u[k] * p.sum()))
        shares.append(p)
        text.append(token)
    return text[len(prompt) :], shares


CHOICES: list[dict[str, Any]] = [
    {},
    {"temperature": 0.5},
    {"top_k": 1},
    {"top_k": 3},
    {"top_k": K},
    {"top_p": 0.05},
    {"top_p": 0.7},
    {"top_p": 1.0},
    {"top_k": 4, "top_p": 0.6, "temperature": 1.7},
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", CHOICES, ids=str)
def test_tokens_are_those_of_the_definition(how: dict[str, Any], backend: str) -> None:
    fn, params = charlm(backend)
    out = fn.generate(params, [1, 2, 3], 12, seed=3, **how)
    tokens, shares = reference(fn, params, [1, 2, 3], 12, 3, **how)
    assert out.tokens.tolist() == tokens
    assert out.probabilities is not None
    np.testing.assert_allclose(out.probabilities, shares, atol=1e-12)
    np.testing.assert_array_equal(out.probabilities > 0, np.array(shares) > 0)


@given(
    st.lists(st.floats(-8, 8), min_size=2, max_size=9),
    st.floats(0.1, 3),
    st.one_of(st.none(), st.integers(1, 10)),
    st.one_of(st.none(), st.floats(0.01, 1)),
    st.sampled_from(BACKENDS),
)
@settings(max_examples=20, deadline=None)
def test_any_logits_are_drawn_from_as_defined(
    logits: list[float], temperature: float, top_k: int | None, top_p: float | None, backend: str
) -> None:
    text = (
        "model m(K):\n    input x[t]: int<K>\n    param c: real[K]\n"
        "    y[t] = c + 0 * x[t]\n    output y[t]\n"
    )
    rounded = np.round(logits, 3)  # either equal or told apart by any number format
    fn = unfold.compile(text, K=len(rounded), backend=backend)
    out = fn.generate({"c": rounded}, [0], 1, temperature=temperature, top_k=top_k, top_p=top_p)
    wanted = kept_with_ties(rounded, temperature, top_k, top_p)
    assert out.probabilities is not None
    np.testing.assert_allclose(out.probabilities[0], wanted, atol=1e-12)


def kept_with_ties(
    logits: Array, temperature: float, top_k: int | None, top_p: float | None
) -> Array:
    """As `distribution`, of equally good tokens all or none."""
    z = logits / temperature
    kept = np.ones(len(z), bool)
    if top_k is not None:
        kept = np.array([(z > own).sum() < top_k for own in z])
    p = np.where(kept, np.exp(z - z.max()), 0)
    p /= p.sum()
    if top_p is not None:
        # Just at the border rounding decides: ask for a little less.
        kept &= np.array([p[z > own].sum() < top_p * (1 - 1e-14) for own in z])
    p = np.where(kept, p, 0)
    return np.asarray(p / p.sum())


def test_frequencies_are_the_probabilities() -> None:
    fn, params = charlm()
    n = 30_000
    for how in ({}, {"top_k": 4}, {"top_p": 0.8}):
        out = fn.generate(params, [2], 1, samples=n, seed=11, **how)
        p = out.probabilities[0, 0]  # type: ignore[index]
        seen = np.bincount(out.tokens[:, 0], minlength=K)
        assert seen[p == 0].sum() == 0
        expected = n * p[p > 0]
        # Pearson's statistic has at most K - 1 degrees of freedom: below 25.7 but for one case in
        # 10,000.
        assert ((seen[p > 0] - expected) ** 2 / expected).sum() < 25.7


def test_no_temperature_takes_the_best() -> None:
    fn, params = charlm()
    out = fn.generate(params, [1], 10, temperature=0)
    np.testing.assert_array_equal(out.tokens, out.outputs["y"].argmax(-1))
    whole = [1, *out.tokens.tolist()]
    np.testing.assert_allclose(
        fn(params, x=whole[:-1], target=whole[:-1]).y, out.outputs["y"], rtol=1e-12
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_sequences_do_not_depend_on_the_batch(backend: str) -> None:
    fn, params = charlm(backend)
    prompts = [[1, 2], [3], [4, 5, 0]]
    whole = fn.generate(params, prompts, 9, seed=2, samples=2)
    assert whole.tokens.shape == (6, 9)
    for row in range(6):
        one = fn.generate(params, prompts[row // 2], 9, seed=2, first=row)
        np.testing.assert_array_equal(one.tokens, whole.tokens[row])
    assert (whole.tokens[0] != whole.tokens[1]).any()
    longer = fn.generate(params, prompts[0], 20, seed=2)
    np.testing.assert_array_equal(longer.tokens[:9], whole.tokens[0])


@pytest.mark.parametrize("chunk", [1, 4, 50])
def test_the_iterator_gives_the_same_as_it_comes(chunk: int) -> None:
    fn, params = charlm()
    whole = fn.generate(params, [1, 2], 10, seed=5, top_k=4)
    parts = list(fn.generate_iter(params, [1, 2], 10, seed=5, top_k=4, chunk=chunk))
    np.testing.assert_array_equal(np.concatenate([p.tokens for p in parts]), whole.tokens)
    for name in whole.outputs:
        np.testing.assert_allclose(
            np.concatenate([p.outputs[name] for p in parts]), whole.outputs[name], rtol=1e-12
        )


def test_single_precision_draws_the_same_tokens() -> None:
    one, two = (charlm(dtype=d) for d in ("float64", "float32"))
    a, b = (fn.generate(p, [1, 2], 30, seed=1, top_p=0.9) for fn, p in (one, two))
    np.testing.assert_array_equal(a.tokens, b.tokens)


# --- texts ----------------------------------------------------------------------------------------


def test_texts_are_read_and_written_by_a_vocabulary(tmp_path: Path) -> None:
    fn, params = charlm()
    letters = list("abcdef")
    out = fn.generate(params, "bcd", 12, seed=3, vocabulary=letters)
    tokens = fn.generate(params, [1, 2, 3], 12, seed=3).tokens
    assert out.text == "".join(letters[k] for k in tokens)
    unfold.save_params(tmp_path / "p.safetensors", params, vocabulary=letters)
    held = unfold.load_params(tmp_path / "p.safetensors", fn)
    assert fn.generate(held, "bcd", 12, seed=3).text == out.text
    assert fn.generate(held, "", 12, seed=3, start="b").text == (
        fn.generate(held, "b", 12, seed=3).text
    )
    assert fn.generate(held, ["a", "bc"], 3, seed=3).text == [
        fn.generate(held, "a", 3, seed=3).text,
        fn.generate(held, "bc", 3, seed=3, first=1).text,
    ]
    words = ["a", "ab", "b", "c", "d", "e"]  # the longest one that fits
    np.testing.assert_array_equal(
        fn.generate(params, "aba", 5, vocabulary=words).tokens,
        fn.generate(params, [1, 0], 5).tokens,
    )


# --- forecasts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [None, 3])
def test_a_forecast_is_that_of_calls_on_all_that_is_known(backend: str, batch: int | None) -> None:
    fn = unfold.compile(EXAMPLES / "sunspots.rec", H=5, backend=backend)
    params = {n: a + 0.1 for n, a in fn.init(seed=2).items()}
    x = np.random.default_rng(0).normal(size=(7, 1) if batch is None else (batch, 7, 1))
    out = fn.generate(params, x, 6, feed={"x": "y"})
    known = x
    for _ in range(6):
        ahead = fn(params, x=known, next=known).y[..., -1:, :]
        known = np.concatenate([known, ahead], axis=-2)
    np.testing.assert_allclose(out.values, known[..., 7:, :], rtol=1e-10)
    np.testing.assert_allclose(out.outputs.y, out.values, rtol=1e-13)
    assert out.probabilities is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_forecast_reads_what_else_is_known_of_the_steps_to_come(backend: str) -> None:
    text = (
        "model m:\n    input x[t]: real\n    input u[t]: real\n    param a: real = 0.5\n"
        "    h[-1] = 1\n    h[0] = 2\n"
        "    h[t] = tanh(a * x[t] + 0.3 * h[t-1] - 0.2 * h[t-2] + u[t] + 0.1 * mod(t, 3)"
        " + (0.2 * u[t-1] + 0.1 * x[t-2] if t > 2 else 0))\n"
        "    y[t] = h[t] + 0.1 * t\n    output y[t]\n"
    )
    fn = unfold.compile(text, backend=backend)
    params, chance = fn.init(), np.random.default_rng(3)
    x, u = chance.normal(size=5), chance.normal(size=5 + 8)
    known = x
    for k in range(8):
        known = np.append(known, fn(params, x=known, u=u[: 5 + k]).y[-1])
    for coming in (u, u[:-1]):
        out = fn.generate(params, x, 8, feed={"x": "y"}, u=coming)
        np.testing.assert_allclose(out.values, known[5:], rtol=1e-10)
    parts = fn.generate_iter(params, x, 8, feed={"x": "y"}, u=u, chunk=3)
    np.testing.assert_allclose(np.concatenate([p.values for p in parts]), known[5:], rtol=1e-10)


# --- mistakes -------------------------------------------------------------------------------------

TWO = (
    "model two(K):\n    input x[t]: int<K>\n    y[t] = onehot(x[t], K)\n    z[t] = 2 * y[t]\n"
    "    output y[t], z[t]\n"
)


def test_mistakes_are_named() -> None:
    fn, params = charlm()

    def message(call: Any) -> str:
        with pytest.raises(unfold.InputError) as caught:
            call()
        return str(caught.value)

    def of(*args: Any, **options: Any) -> str:
        return message(lambda: fn.generate(params, *args, **options))

    assert of([1], -1) == "steps is a number of steps, not -1"
    assert of([1], 3, temperature=-1) == "temperature is a number from 0 on, not -1"
    assert of([1], 3, top_k=0) == "top_k is a positive number of tokens, not 0"
    assert of([1], 3, top_p=1.5) == "top_p is a share of the probability in (0, 1], not 1.5"
    assert of([1], 3, samples=0) == "samples is a positive number, not 0"
    assert of("abc", 3) == (
        "prompt: a text needs a vocabulary: give vocabulary=…, or parameters whose metadata has one"
    )
    letters = list("abcdef")
    assert of("abxyx", 3, vocabulary=letters) == (
        "prompt: not in the vocabulary: 'x' (at 2), 'y' (at 3)"
    )
    assert of([1], 3, vocabulary=letters[:3]) == (
        "vocabulary: it has 3 entries, and the model 6 tokens"
    )
    assert of([], 3) == ("prompt: it is empty; give at least one step, or a start symbol, start=…")
    assert of([1, 9], 3).startswith("x[1] is 9, but x is int<K>[T] with K = 6")
    assert of([1], 3, feed={"x": "h"}) == (
        "feed: charlm has no output over t h; there are y and net.h"
    )
    assert of([1], 3, feed={"x": "net.h"}) == (
        "feed: x is int<K>, and net.h has 4 components: it needs one logit a token"
    )
    assert of([1], 3, teperature=1) == "charlm has no input teperature"
    nan = {**params, "b_y": np.full(K, np.nan)}
    assert message(lambda: fn.generate(nan, [1], 3)).startswith("the logits y are not finite")
    two = unfold.compile(TWO, K=3)
    assert message(lambda: two.generate({}, [1], 3)) == (
        'several outputs could feed two: say which, feed={"x": "y"} or {"x": "z"}'
    )
    assert two.generate({}, [1], 3, feed={"x": "z"}, temperature=0).tokens.tolist() == [1, 1, 1]
    spots = unfold.compile(EXAMPLES / "sunspots.rec", H=3)
    assert message(lambda: spots.generate(spots.init(), [[1.0]], 3)) == (
        "sunspots reads no tokens at its steps: say which output is read by which input, "
        'feed={"x": "y"}'
    )
    ahead = unfold.compile(EXAMPLES / "birnn.rec", sizes={"D": 3, "H": 4, "K": 2})
    assert "this equation looks ahead" in message(lambda: ahead.generate({}, [1], 3))


def test_no_steps_make_nothing() -> None:
    fn, params = charlm()
    out = fn.generate(params, [1], 0, vocabulary=list("abcdef"))
    assert (out.tokens.shape, out.text) == ((0,), "")
    assert fn.generate(params, [1], 0, samples=2).tokens.shape == (2, 0)


def test_what_no_input_can_read_is_not_offered() -> None:
    text = (
        "model m(D, K):\n    input x[t]: real[D]\n    param W: real[K, D] = 1\n"
        "    y[t] = W @ x[t]\n    z[t] = 2 * x[t]\n    output y[t]\n"
    )
    fn = unfold.compile(text, D=2, K=3, backend="numpy")
    with pytest.raises(unfold.InputError, match=r"no output over t is like an input.* outputs y$"):
        fn.generate(fn.init(), np.ones((1, 2)), 3)
    fn = unfold.compile(text.replace("output y[t]", "output y[t], z[t]"), D=2, K=3, backend="numpy")
    with pytest.raises(unfold.InputError, match=r'which input, feed=\{"x": "z"\}$'):
        fn.generate(fn.init(), np.ones((1, 2)), 3)
