"""What callers may give and what they get back."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import unfold

TEXT = """
model elman(D, H):
    input  x[t]: real[D]
    input  target[t]: real[H]
    param  W: real[H, D]  ~ glorot
    param  U: real[H, H]  ~ orthogonal
    param  b: real[H]     = 0

    h[0] = 0
    h[t] = tanh(W @ x[t] + U @ h[t-1] + b)
    loss = mean[t](sum((h[t] - target[t]) ** 2))

    output h[t]
    minimize loss
"""
SIZES = {"D": 3, "H": 4}
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(6, 3)), RANDOM.normal(size=(6, 4))
XS, YS = RANDOM.normal(size=(5, 6, 3)), RANDOM.normal(size=(5, 6, 4))
LENGTHS = [3, 6, 1, 2, 5]


class Subclass(np.ndarray):
    """An array of another class, as libraries hand them around."""


@pytest.fixture(params=["numpy", "llvm"])
def fn(request: pytest.FixtureRequest) -> unfold.Function:
    return unfold.compile(TEXT, backend=request.param, sizes=SIZES)


def states(params: dict[str, Any], x: Any) -> Any:
    h, rows = np.zeros(4), []
    for row in np.asarray(x, dtype=float):
        h = np.tanh(params["W"] @ row + params["U"] @ h + params["b"])
        rows.append(h)
    return np.array(rows)


def test_outputs_are_attributes_and_items(fn: unfold.Function) -> None:
    params = fn.init()
    out = fn(params, x=X, target=Y)
    np.testing.assert_allclose(out.h, states(params, X), rtol=1e-14)
    assert out["h"] is out.h
    assert list(out) == ["loss", "h"]
    assert isinstance(out.loss, np.float64)
    assert repr(out) == f"<Outputs loss: {out.loss:.6g}, h: 6x4 float64>"
    with pytest.raises(AttributeError, match="there is no output los; did you mean `loss`"):
        out.los  # noqa: B018
    with pytest.raises(KeyError, match="there is no output z; there are loss, h"):
        out["z"]


@pytest.mark.parametrize(
    "x",
    [
        X.tolist(),
        X.astype(np.float32),
        np.asfortranarray(X),
        np.repeat(X, 2, axis=1)[:, ::2],
        X.astype(">f8"),
        np.ones((6, 3), dtype=int),
        np.ones((6, 3), dtype=bool),
        X.view(Subclass),
    ],
    ids=["list", "float32", "Fortran", "strided", "big endian", "int", "bool", "subclass"],
)
def test_any_array_of_numbers_will_do(fn: unfold.Function, x: Any) -> None:
    params = fn.init()
    np.testing.assert_allclose(fn(params, x=x, target=Y).h, states(params, x), rtol=1e-6)


def test_inputs_may_come_in_a_dict(fn: unfold.Function) -> None:
    params = fn.init()
    out = fn(params, {"x": X, "target": Y})
    np.testing.assert_array_equal(out.h, fn(params, {"x": X}, target=Y).h)


def test_the_arguments_are_left_as_they_were(fn: unfold.Function) -> None:
    params, x = fn.init(), X.copy()
    before = {n: a.copy() for n, a in params.items()}
    fn.value_and_grad(params, x=x, target=Y)
    np.testing.assert_array_equal(x, X)
    for n in params:
        np.testing.assert_array_equal(params[n], before[n])


def test_a_batch_is_every_sequence_on_its_own(fn: unfold.Function) -> None:
    params = fn.init(1)
    single = [fn.value_and_grad(params, x=x, target=y) for x, y in zip(XS, YS, strict=True)]
    out = fn(params, x=XS, target=YS)
    assert out.h.shape == (5, 6, 4)
    np.testing.assert_allclose(out.loss, [loss for loss, _ in single], rtol=1e-13)
    for reduce, share in (("mean", 0.2), ("sum", 1.0), ("none", 1.0)):
        loss, grads = fn.value_and_grad(params, x=XS, target=YS, reduce=reduce)
        total = share * sum(value for value, _ in single)
        expected = out.loss if reduce == "none" else total
        np.testing.assert_allclose(loss, expected, rtol=1e-13)
        for n, g in grads.items():
            assert g.shape == params[n].shape
            np.testing.assert_allclose(g, share * sum(s[n] for _, s in single), atol=1e-13)


def test_gradients_of_inputs_and_states_are_those_of_the_mean(fn: unfold.Function) -> None:
    params = fn.init(1)
    _, grads = fn.value_and_grad(params, x=XS, target=YS, wrt=["x", "h"])
    assert grads["x"].shape == XS.shape
    assert grads["h"].shape == (5, 6, 4)
    _, one = fn.value_and_grad(params, x=XS[2], target=YS[2], wrt=["x", "h"])
    np.testing.assert_allclose(grads["x"][2], one["x"] / 5, atol=1e-14)
    np.testing.assert_allclose(grads["h"][2], one["h"] / 5, atol=1e-14)


def test_sequences_of_unequal_length_are_each_run_to_their_end(fn: unfold.Function) -> None:
    params = fn.init(1)
    out = fn(params, x=XS, target=YS, lengths=LENGTHS)
    loss, grads = fn.value_and_grad(params, x=XS, target=YS, lengths=LENGTHS, wrt=["W", "x"])
    singles = []
    for b, n in enumerate(LENGTHS):
        alone = fn(params, x=XS[b, :n], target=YS[b, :n])
        np.testing.assert_allclose(out.h[b, :n], alone.h, rtol=1e-13)
        np.testing.assert_array_equal(out.h[b, n:], np.broadcast_to(out.h[b, n - 1], (6 - n, 4)))
        np.testing.assert_allclose(out.loss[b], alone.loss, rtol=1e-13)
        one, g = fn.value_and_grad(params, x=XS[b, :n], target=YS[b, :n], wrt=["W", "x"])
        singles.append((one, g["W"]))
        np.testing.assert_allclose(grads["x"][b, :n], g["x"] / 5, atol=1e-14)
        assert not grads["x"][b, n:].any()
    np.testing.assert_allclose(loss, np.mean([one for one, _ in singles]), rtol=1e-13)
    np.testing.assert_allclose(grads["W"], np.mean([w for _, w in singles], axis=0), atol=1e-14)


def test_forward_mode_agrees_with_the_gradient(fn: unfold.Function) -> None:
    params = fn.init(2)
    v, dx = RANDOM.normal(size=(4, 3)), RANDOM.normal(size=(6, 3))
    _, grads = fn.value_and_grad(params, x=X, target=Y, wrt=["W", "x"])
    out, tangents = fn.jvp(params, {"W": v, "x": dx}, x=X, target=Y)
    np.testing.assert_allclose(out.loss, fn(params, x=X, target=Y).loss, rtol=1e-14)
    np.testing.assert_allclose(
        tangents.loss, np.sum(grads["W"] * v) + np.sum(grads["x"] * dx), rtol=1e-12
    )
    assert tangents.h.shape == (6, 4)


def test_hessian_products_are_the_derivative_of_the_gradient(fn: unfold.Function) -> None:
    params = fn.init(2)
    v = RANDOM.normal(size=(4, 3))
    for data in ({"x": X, "target": Y}, {"x": XS, "target": YS}):
        product = fn.hvp(params, {"W": v}, data)
        e = 1e-5
        up = fn.value_and_grad({**params, "W": params["W"] + e * v}, data)[1]
        down = fn.value_and_grad({**params, "W": params["W"] - e * v}, data)[1]
        for n in params:
            np.testing.assert_allclose(product[n], (up[n] - down[n]) / (2 * e), atol=1e-6)


def test_hessian_products_are_symmetric(fn: unfold.Function) -> None:
    params = fn.init(3)
    v, u = RANDOM.normal(size=(4, 3)), RANDOM.normal(size=(4, 4))
    hv = fn.hvp(params, {"W": v}, x=X, target=Y, wrt="U")["U"]
    hu = fn.hvp(params, {"U": u}, x=X, target=Y, wrt="W")["W"]
    np.testing.assert_allclose(np.sum(hv * u), np.sum(hu * v), rtol=1e-10)


def test_a_function_survives_pickling(fn: unfold.Function) -> None:
    params = fn.init()
    before = fn.value_and_grad(params, x=X, target=Y)
    again = pickle.loads(pickle.dumps(fn))
    after = again.value_and_grad(params, x=X, target=Y)
    assert repr(again) == repr(fn)
    assert before[0] == after[0]
    np.testing.assert_array_equal(before[1]["U"], after[1]["U"])


def test_threads_may_share_a_function(fn: unfold.Function) -> None:
    params = fn.init()

    def work(k: int) -> Any:
        n = 1 + k % 6
        return fn.value_and_grad(params, x=X[:n], target=Y[:n])

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(48)))
    for k, (loss, grads) in enumerate(results):
        expected, g = work(k)
        assert loss == expected
        np.testing.assert_array_equal(grads["W"], g["W"])


def test_constants_take_their_default_or_the_value_given() -> None:
    text = "model f(a = 2, b = 3):\n    input x: real\n    y = a * x + b\n    output y\n"
    assert unfold.compile(text)({}, x=1.0).y == 5.0
    assert unfold.compile(text, a=10)({}, x=1.0).y == 13.0


def test_the_main_model_is_the_last_unless_another_is_named() -> None:
    text = "\n".join(
        f"model {name}:\n    input x: real\n    y = {k} * x\n    output y\n"
        for k, name in enumerate(["a", "b"])
    )
    assert unfold.loads(text).name == "b"
    assert unfold.loads(text, model="a").name == "a"


def test_single_precision_results_are_single_precision() -> None:
    for backend in ("numpy", "llvm"):
        fn = unfold.compile(TEXT, backend=backend, dtype=np.float32, sizes=SIZES)
        params = fn.init()
        assert params["W"].dtype == np.float32
        loss, grads = fn.value_and_grad(params, x=XS, target=YS)
        assert grads["W"].dtype == np.float32
        assert np.asarray(loss).dtype == np.float32


def test_models_show_what_they_are() -> None:
    model = unfold.loads(TEXT)
    assert repr(model) == (
        "<Model elman(D, H): inputs x, target; params W, U, b; outputs h; minimizes loss>"
    )
    assert repr(unfold.compile(model, D=3, H=4, backend="numpy")) == (
        "<Function elman(D=3, H=4) numpy float64>"
    )
    assert str(model.adjoint(wrt="W")).endswith("output loss, h[t], gradient(W_bar, W)\n")
    assert model.sizes == ("D", "H")
    assert model.check() == ()


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_a_model_without_parameters_needs_no_dict_of_them(backend: str) -> None:
    fn = unfold.compile(
        "model sum:\n    input x[t]: real\n    s[0] = 0\n    s[t] = s[t-1] + x[t]\n"
        "    loss = s[T] ** 2\n    output s[t]\n    minimize loss\n",
        backend=backend,
    )
    x = np.arange(3.0)
    for _ in range(3):  # the third call takes the shortcut
        assert fn(x=x).loss == 9.0
        loss, grads = fn.value_and_grad(x=x, wrt="x")
        assert loss == 9.0
        np.testing.assert_array_equal(grads["x"], [6.0, 6.0, 6.0])
    assert fn.stepper().step(x=2.0).s == 2.0
