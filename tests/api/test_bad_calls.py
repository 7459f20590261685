"""Every wrong call is refused before anything runs, with a message that says what was expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unfold

TEXT = """
model m(D, K, alpha = 0.5):
    input  x[t]: real[D]
    input  c[t]: int<K>
    param  W: real[K, D]  ~ glorot
    param  b: real[K]     = 0

    y[t] = alpha * (W @ x[t]) + b
    loss = mean[t](cross_entropy(y[t], c[t]))

    output y[t]
    minimize loss
"""
MODEL = unfold.loads(TEXT)
FN = unfold.compile(MODEL, D=3, K=4, backend="numpy", check_finite=True)
P = FN.init()
X = np.ones((5, 3))
C = np.array([0, 1, 2, 3, 0])
XS = np.ones((2, 5, 3))
CS = np.zeros((2, 5), dtype=int)
BAD = X.copy()
BAD[2, 1] = np.nan

COMPILE: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: unfold.compile(MODEL),
        "m needs the sizes D and K: compile(…, D=…, K=…), or --size in the shell",
    ),
    (
        lambda: unfold.compile(MODEL, D=3),
        "m needs the size K: compile(…, K=…), or --size in the shell",
    ),
    (
        lambda: unfold.compile(MODEL, D=3, K=4, Alpha=2),
        "m has no size or constant Alpha; did you mean `alpha`?",
    ),
    (
        lambda: unfold.compile(MODEL, D=3, K=4, Q=2),
        "m has no size or constant Q; its sizes and constants are D, K and alpha",
    ),
    (
        lambda: unfold.compile(MODEL, D=3, K=4, T=2),
        "T is a length: it comes with the arrays of each call, not when compiling",
    ),
    (
        lambda: unfold.compile(MODEL, D=3.5, K=4),
        "D is a size: expected a positive integer, got 3.5",
    ),
    (lambda: unfold.compile(MODEL, D=0, K=4), "D is a size: expected a positive integer, got 0"),
    (
        lambda: unfold.compile(MODEL, D=3, K=4, sizes={"alpha": "x"}),  # type: ignore[dict-item]
        "alpha is a constant: expected a number, got 'x'",
    ),
    (
        lambda: unfold.compile(MODEL, D=3, K=4, backend="cuda"),
        "backend is one of llvm and numpy, not 'cuda'",
    ),
    (
        lambda: unfold.compile(MODEL, D=3, K=4, dtype="int8"),
        "dtype is one of float64 and float32, not int8",
    ),
    (
        lambda: unfold.compile(MODEL, D=3, K=4, dtype="nonsense"),
        "dtype is one of float64 and float32, not nonsense",
    ),
    (
        lambda: unfold.compile(MODEL, D=3, K=4, threads=0),
        'threads is a positive integer or "auto", not 0',
    ),
    (
        lambda: unfold.compile(MODEL, D=3, K=4, truncate=10),  # type: ignore[arg-type]
        "truncate is None, unfold.Window(steps) or unfold.Horizon(steps), not 10",
    ),
    (
        lambda: unfold.load(TEXT),
        "expected the path of a .rec file, got a text: `unfold.loads` reads one",
    ),
    (
        lambda: unfold.compile(3),  # type: ignore[arg-type]
        "expected a model, a path or a text, got an int",
    ),
    (lambda: unfold.loads(TEXT, model="n"), "<text> has no model n; there are m"),
]

FIRST = "parameters come first, in a dict by name: `fn(params, …)`; `fn.init()` makes one"
NAMES: list[tuple[Callable[[], Any], str]] = [
    (lambda: FN(P, x=X), "the input c is missing for m:\n    c: int<K>[T] with K = 4"),
    (
        lambda: FN(P),
        "2 inputs are missing for m:\n    x: real[T, D] with D = 3\n    c: int<K>[T] with K = 4",
    ),
    (
        lambda: FN({}, x=X, c=C),
        "2 parameters are missing for m:\n"
        "    W: real[K, D] with D = 3, K = 4\n    b: real[K] with K = 4\n" + FIRST,
    ),
    (
        lambda: FN(x=X, c=C),
        "2 parameters are missing for m:\n"
        "    W: real[K, D] with D = 3, K = 4\n    b: real[K] with K = 4\n" + FIRST,
    ),
    (
        lambda: FN.value_and_grad(x=X, c=C, W=P["W"], b=P["b"]),
        "W is a parameter of m: give it in the dict of parameters",
    ),
    (
        lambda: FN({"W": P["W"], "B": P["b"]}, x=X, c=C),
        "m has no parameter B; did you mean `b`?",
    ),
    (lambda: FN(P, x=X, c=C, z=3), "m has no input z; its inputs are x and c"),
    (lambda: FN(P, X=X, c=C), "m has no input X; did you mean `x`?"),
    (
        lambda: FN(P, x=X, c=C, W=P["W"]),
        "W is a parameter of m: give it in the dict of parameters",
    ),
    (lambda: FN({**P, "x": X}, c=C), "x is an input of m: give it as a keyword"),
    (
        lambda: FN([1], x=X, c=C),  # type: ignore[arg-type]
        "the parameters come as a dict from names to arrays, not as a list",
    ),
    (
        lambda: FN(None, x=X, c=C),  # type: ignore[arg-type]
        "the parameters come as a dict from names to arrays, not as None",
    ),
    (
        lambda: FN(P, X, c=C),  # type: ignore[arg-type]
        "the inputs come as a dict from names to arrays, not as an array of float64",
    ),
    (
        lambda: FN.hvp(P, P["W"], x=X, c=C),  # type: ignore[arg-type]
        "the vectors come as a dict from names to arrays, not as an array of float64",
    ),
    (
        lambda: FN.jvp(P, None, x=X, c=C),  # type: ignore[arg-type]
        "the tangents come as a dict from names to arrays, not as None",
    ),
    (lambda: FN(P, {"x": X}, x=X, c=C), "x is given twice"),
]

SHAPES: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: FN(P, x=X[:, :2], c=C),
        "x: expected real[T, D] with D = 3; got an array of shape (5, 2)",
    ),
    (
        lambda: FN(P, x=X[:4], c=C),
        "c: expected int<K>[T] with K = 4, T = 4 (as in x); got an array of shape (5,)",
    ),
    (
        lambda: FN(P, x=X[0], c=C),
        "x: expected real[T, D] with D = 3, or real[B, T, D] with D = 3; "
        "got an array of shape (3,)",
    ),
    (
        lambda: FN(P, x=2.0, c=C),
        "x: expected real[T, D] with D = 3, or real[B, T, D] with D = 3; got a single number",
    ),
    (
        lambda: FN(P, x=X[None], c=C),
        "some inputs have a batch axis and others have none:\n"
        "    with:    x of shape (1, 5, 3)\n"
        "    without: c of shape (5,)\n"
        "all inputs need one, or none; `np.broadcast_to(c, (1, *np.shape(c)))` repeats c for every "
        "sequence",
    ),
    (
        lambda: FN(P, x=XS, c=np.zeros((3, 5), dtype=int)),
        "the inputs disagree about the number of sequences: x has 2, c has 3",
    ),
    (
        lambda: FN(P, x=XS.swapaxes(0, 1), c=CS),
        "the inputs disagree about the number of sequences: x has 5, c has 2; the batch is the "
        "first axis and time the second: is `x.swapaxes(0, 1)` or `c.swapaxes(0, 1)` "
        "meant?",
    ),
    (
        lambda: FN(P, x=XS.swapaxes(0, 1), c=CS.T, lengths=[5, 3]),
        "lengths: expected one integer for each of the 5 sequences, got an array of shape (2,); "
        "the batch is the first axis and time the second: "
        "is `x.swapaxes(0, 1)` and `c.swapaxes(0, 1)` meant?",
    ),
    (
        lambda: FN({**P, "W": P["W"].T}, x=X, c=C),
        "W: expected real[K, D] with D = 3, K = 4; got an array of shape (3, 4)",
    ),
    (lambda: FN({**P, "b": 0}, x=X, c=C), "b: expected real[K] with K = 4; got a single number"),
    (
        lambda: FN(P, x=[[1, 2, 3], [1, 2]], c=C),
        "x: expected real[T, D] with D = 3, got a list whose rows differ in length; "
        "pad them to one length and give `lengths`",
    ),
    (
        lambda: FN(P, x=X, c=C, T=7),
        "x: expected real[T, D] with D = 3, T = 7 (as given); got an array of shape (5, 3)",
    ),
    (lambda: FN(P, x=X, c=C, T=2.5), "T is a length: expected an integer, got a float"),
    (
        lambda: FN(P, x=np.ones((0, 3)), c=[]),
        "x has T = 0, but T must be at least 1: a sequence has at least one step",
    ),
]

VALUES: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: FN(P, x=X, c=C.astype(float)),
        "c: expected int<K>[T] with K = 4, got float64; integers are asked for, convert them with "
        "`.astype(int)`",
    ),
    (
        lambda: FN(P, x=X, c=[0, 1, 2, 4, 0]),
        "c[3] is 4, but c is int<K>[T] with K = 4: its values lie in 0..3",
    ),
    (
        lambda: FN(P, x=XS, c=[[0, 1, 2, 3, 0], [0, -1, 2, 4, 0]]),
        "c[1, 1] is -1, but c is int<K>[T] with K = 4: its values lie in 0..3",
    ),
    (
        lambda: FN(P, x=X + 1j, c=C),
        "x: expected real[T, D] with D = 3, got complex128; complex numbers have no place here",
    ),
    (
        lambda: FN(P, x="abc", c=C),
        "x: expected real[T, D] with D = 3, got a str, which is no number",
    ),
    (lambda: FN(P, x=None, c=C), "x: expected real[T, D] with D = 3, got None, which is no number"),
    (
        lambda: FN(P, x=np.ma.masked_less(X, 2), c=C),
        "x is a masked array, and a mask is not read: give its values, `.filled(0)`, and an input "
        "of the model's own that says which there are",
    ),
    (lambda: FN(P, x=BAD, c=C), "x[2, 1] is nan, which is not finite"),
    (
        lambda: FN({**P, "b": [0, 0, np.inf, 0]}, x=X, c=C),
        "b[2] is inf, which is not finite",
    ),
]

LENGTHS: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: FN(P, x=X, c=C, lengths=[5]),
        "`lengths` is for a padded batch, and these inputs have no batch axis",
    ),
    (
        lambda: FN(P, x=XS, c=CS, lengths=[5]),
        "lengths: expected one integer for each of the 2 sequences, got an array of shape (1,)",
    ),
    (
        lambda: FN(P, x=XS, c=CS, lengths=[5, 6]),
        "lengths[1] is 6, but must lie in 1..5, the padded length",
    ),
    (
        lambda: FN(P, x=XS, c=CS, lengths=[5, 0]),
        "lengths[1] is 0, but must lie in 1..5, the padded length",
    ),
    (
        lambda: FN(P, x=XS, c=CS, lengths=[5.0, 2.0]),
        "lengths: expected integers of shape (2,), got float64",
    ),
]

DERIVATIVES: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: FN.value_and_grad(P, x=X, c=C, wrt="c"),
        "wrt: c is int<K>, and derivatives are of real numbers",
    ),
    (lambda: FN.value_and_grad(P, x=X, c=C, wrt=["w"]), "wrt: m has no w; did you mean `W`?"),
    (
        lambda: FN.value_and_grad(P, x=X, c=C, loss="los"),
        "loss: m has no real scalar los; did you mean `loss`?",
    ),
    (
        lambda: FN.value_and_grad(P, x=X, c=C, loss="y"),
        "loss: m has no real scalar y; its scalars are loss",
    ),
    (
        lambda: FN.value_and_grad(P, x=X, c=C, reduce="max"),
        "reduce is one of mean, sum and none, not 'max'",
    ),
    (
        lambda: FN.value_and_grad(P, x=XS[:0], c=CS[:0]),
        'the mean over a batch of no sequences is undefined; `reduce="sum"` gives zeros',
    ),
    (
        lambda: FN.jvp(P, {"y": X}, x=X, c=C),
        "tangents: m has no input or parameter y",
    ),
    (
        lambda: FN.hvp(P, {"c": C}, x=X, c=C),
        "vectors: c is int<K>, and derivatives are of real numbers",
    ),
    (
        lambda: FN.jvp(P, {"W": P["b"]}, x=X, c=C),
        "the tangent of W: expected real[K, D] with D = 3, K = 4; got an array of shape (4,)",
    ),
    (
        lambda: FN.jvp(P, {"x": X[:3]}, x=X, c=C),
        "the tangent of x: expected real[T, D] with D = 3, T = 5 (as in x); "
        "got an array of shape (3, 3)",
    ),
]


@pytest.mark.parametrize(
    ("call", "message"), [*COMPILE, *NAMES, *SHAPES, *VALUES, *LENGTHS, *DERIVATIVES]
)
def test_a_wrong_call_is_refused_with_a_message(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(unfold.InputError) as caught:
        call()
    assert str(caught.value) == message


def test_a_model_without_a_loss_has_no_gradient() -> None:
    fn = unfold.compile("model f:\n    input x: real\n    y = 2 * x\n    output y\n")
    with pytest.raises(unfold.InputError) as caught:
        fn.value_and_grad({}, x=1.0)
    assert str(caught.value) == ('f has no `minimize` line: name what to differentiate, `loss="…"`')
    value, grads = fn.value_and_grad({}, x=1.0, loss="y", wrt="x")
    assert (value, grads["x"]) == (2.0, 2.0)


def test_a_length_that_no_array_fixes_is_asked_for() -> None:
    fn = unfold.compile(
        "model count:\n    n[0] = 0\n    n[t] = n[t-1] + 1\n    output n[t]\n", backend="numpy"
    )
    with pytest.raises(unfold.InputError) as caught:
        fn({})
    assert str(caught.value) == (
        "no input of count fixes the length T; give it as a keyword, `T=50`"
    )
    np.testing.assert_array_equal(fn({}, T=4).n, [1, 2, 3, 4])


def test_a_sequence_that_is_too_short_for_the_equations_is_refused() -> None:
    text = "model f:\n    input x[t]: real\n    y = x[4]\n    output y\n"
    fn = unfold.compile(text, backend="numpy")
    with pytest.raises(unfold.InputError) as caught:
        fn({}, x=np.ones(3))
    assert str(caught.value) == (
        "x has T = 3, but T must be at least 4: f speaks of positions up to 4"
    )
    assert fn({}, x=np.arange(4)).y == 3


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_one_step_is_a_sequence(backend: str) -> None:
    fn = unfold.compile(MODEL, D=3, K=4, backend=backend)
    out = fn(P, x=X[:1], c=C[:1])
    assert out.y.shape == (1, 4)
    np.testing.assert_allclose(out.y[0], 0.5 * P["W"] @ X[0])


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
@pytest.mark.parametrize("lengths", [None, []])
def test_a_batch_of_no_sequences_gives_nothing(backend: str, lengths: Any) -> None:
    fn = unfold.compile(MODEL, D=3, K=4, backend=backend)
    out = fn(P, x=XS[:0], c=CS[:0], lengths=lengths)
    assert out.y.shape == (0, 5, 4)
    assert out.loss.shape == (0,)
    loss, grads = fn.value_and_grad(P, x=XS[:0], c=CS[:0], reduce="sum", lengths=lengths)
    assert loss == 0
    np.testing.assert_array_equal(grads["W"], np.zeros((4, 3)))
    each, _ = fn.value_and_grad(P, x=XS[:0], c=CS[:0], reduce="none", lengths=lengths)
    assert each.shape == (0,)


def test_what_a_padded_batch_holds_beyond_its_ends_does_not_matter() -> None:
    x, c = XS.copy(), CS.copy()
    x[1, 3:], c[1, 3:] = np.nan, -1
    for backend in ("numpy", "llvm"):
        fn = unfold.compile(MODEL, D=3, K=4, backend=backend, check_finite=True)
        loss, grads = fn.value_and_grad(P, x=x, c=c, lengths=[5, 3])
        clean, expected = fn.value_and_grad(P, x=XS, c=CS, lengths=[5, 3])
        assert loss == clean
        np.testing.assert_array_equal(grads["W"], expected["W"])


@pytest.mark.parametrize("seed", [-1, 1.5, "a", None])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    fn = unfold.compile("""
model noisy:
    random e[t]: real ~ normal
    param a: real = 1
    loss = sum[t](a * e[t])
    minimize loss
""")
    for call in (
        lambda: fn.init(seed=seed),
        lambda: fn({"a": 1.0}, seed=seed, T=3),
        lambda: fn.value_and_grad({"a": 1.0}, seed=seed, T=3),
    ):
        with pytest.raises(unfold.InputError, match="a seed is a whole number from 0 on"):
            call()


def test_an_array_on_its_side_is_the_culprit() -> None:
    """Also where it would tell the others a length."""
    fn = unfold.compile(
        "model m(D):\n    input x[t]: real[D]\n    input y[t]: real\n    param w: real[D] = 1\n"
        "    z[t] = w @ x[t] + y[t]\n    output z[t]\n",
        D=2,
    )
    x, y = np.ones((5, 2)), np.ones(5)
    with pytest.raises(unfold.InputError, match=r"x: expected real\[T, D\] with D = 2; got"):
        fn(fn.init(0), x=x.T, y=y)
    with pytest.raises(unfold.InputError, match=r"x: .*; got an array of shape \(3, 2, 5\)"):
        fn(fn.init(0), x=np.ones((3, 2, 5)), y=np.ones((3, 5)))
