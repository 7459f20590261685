"""Results written to the caller's arrays: the same numbers; refusals name the culprit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unfold
from tests.api.test_calls import LENGTHS, SIZES, TEXT, XS, YS, X, Y


@pytest.fixture(params=["numpy", "llvm", "threads", "forward"])
def fn(request: pytest.FixtureRequest) -> unfold.Function:
    if request.param == "threads":
        return unfold.compile(TEXT, sizes=SIZES, threads=2)
    if request.param == "forward":
        return unfold.compile(TEXT, sizes=SIZES, mode="forward")
    return unfold.compile(TEXT, backend=request.param, sizes=SIZES)


@pytest.mark.parametrize("reduce", ["mean", "sum", "none"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["equal", "ragged"])
def test_gradients_are_written_where_they_are_wanted(
    fn: unfold.Function, lengths: Any, reduce: str
) -> None:
    params = fn.init(1)
    wrt = ["W", "U", "b", "x"]
    want = fn.value_and_grad(params, x=XS, target=YS, wrt=wrt, lengths=lengths, reduce=reduce)
    out = {"U": np.full((4, 4), np.nan), "x": np.full(XS.shape, np.nan)}
    for _ in range(3):
        value, grads = fn.value_and_grad(
            params, x=XS, target=YS, wrt=wrt, lengths=lengths, reduce=reduce, out=out
        )
        np.testing.assert_array_equal(value, want[0])
        assert list(grads) == wrt
        assert grads["U"] is out["U"]
        assert grads["x"] is out["x"]
        for n in wrt:
            np.testing.assert_array_equal(grads[n], want[1][n])


def test_outputs_are_written_where_they_are_wanted(fn: unfold.Function) -> None:
    params = fn.init(1)
    want = fn(params, x=X, target=Y)
    out = {"h": np.empty((6, 4)), "loss": np.empty(())}
    got = fn(params, {"x": X, "target": Y}, out=out)
    assert got["h"] is out["h"]
    np.testing.assert_array_equal(got.h, want.h)
    assert got.loss == out["loss"] == want.loss


def _read_only(shape: tuple[int, ...]) -> Any:
    a = np.zeros(shape)
    a.flags.writeable = False
    return a


EXPECTED = "out['W']: expected an array of float64 of shape (4, 3), "
WRONG: list[tuple[Callable[[Any, Any], Any], str]] = [
    (lambda p, x: [1], "out: expected a dict from names to arrays, got a list"),
    (lambda p, x: {"w": 1}, "out: there is no gradient of w; did you mean `W`?"),
    (
        lambda p, x: {"x": 1},
        "out: there is no gradient of x; there are W, U and b",
    ),
    (
        lambda p, x: {"W": 1.0},
        EXPECTED + "got a float",
    ),
    (
        lambda p, x: {"W": np.zeros((3, 4))},
        EXPECTED + "got one of float64 of shape (3, 4)",
    ),
    (
        lambda p, x: {"W": np.zeros((4, 3), np.float32)},
        EXPECTED + "got one of float32 of shape (4, 3)",
    ),
    (
        lambda p, x: {"W": np.zeros((3, 4)).T},
        EXPECTED + "got one that is not C-contiguous and aligned",
    ),
    (
        lambda p, x: {"W": _read_only((4, 3))},
        EXPECTED + "got one that is read-only",
    ),
    (lambda p, x: {"W": p["W"]}, "out['W'] shares memory with W, which is read"),
    (
        lambda p, x: {"W": x.reshape(-1)[:12].reshape(4, 3)},
        "out['W'] shares memory with x, which is read",
    ),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_what_cannot_be_written_to_is_refused(
    fn: unfold.Function, make: Callable[[Any, Any], Any], message: str
) -> None:
    params, x = fn.init(1), XS.copy()
    good = np.full((4, 4), 7.0)
    out = make(params, x)
    if isinstance(out, dict):
        out["U"] = good
    before = {n: a.copy() for n, a in params.items()}
    with pytest.raises(unfold.InputError) as error:
        fn.value_and_grad(params, x=x, target=YS, out=out)
    assert str(error.value) == message
    assert (good == 7).all()
    np.testing.assert_array_equal(x, XS)
    for n, a in before.items():
        np.testing.assert_array_equal(params[n], a)


def test_two_results_have_two_places(fn: unfold.Function) -> None:
    both = np.zeros(20)
    out = {"W": both[:12].reshape(4, 3), "U": both[4:].reshape(4, 4)}
    with pytest.raises(unfold.InputError, match=r"out\['U'\] shares memory with out\['W'\]"):
        fn.value_and_grad(fn.init(1), x=X, target=Y, out=out)
    assert not both.any()
