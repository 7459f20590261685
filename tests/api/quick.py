"""A model whose calls native code does alone, and what its calls give."""

from __future__ import annotations

from typing import Any

import numpy as np

import unfold
from unfold.shortcut import Shortcut

TEXT = """
model m(D, H):
    input  x[t]: real[D]
    input  k[t]: int<3>
    param  W: real[H, D]  ~ glorot
    param  E: real[3, H]  ~ normal(0.5)
    param  g: real        = 0.7
    h[0] = 0
    h[t] = tanh(W @ x[t] + g * h[t-1] + E[k[t]])
    fit = mean[t](sum(h[t] ** 2))
    small = 0.1 * sum(W ** 2)
    top[t] = argmax(h[t])
    up[t] = h[t][0] > 0
    output h[t], top[t], up[t]
    minimize fit
    minimize small
"""
RANDOM = np.random.default_rng(0)
D, H, T = 3, 4, 5


def data(batch: int | None, steps: int = T, dtype: Any = np.float64) -> dict[str, Any]:
    head = () if batch is None else (batch,)
    chance = np.random.default_rng(steps)
    return {
        "x": chance.normal(size=(*head, steps, D)).astype(dtype),
        "k": chance.integers(0, 3, (*head, steps)),
    }


def moving(inputs: dict[str, Any], dtype: Any = np.float64) -> dict[str, Any]:
    """A direction in a matrix, in a number and in an input."""
    chance = np.random.default_rng(7)
    shapes: dict[str, tuple[int, ...]] = {"W": (H, D), "g": (), "x": inputs["x"].shape}
    return {n: np.asarray(chance.normal(size=shape), dtype) for n, shape in shapes.items()}


def compiled(**options: Any) -> unfold.Function:
    return unfold.compile(TEXT, D=D, H=H, **options)


def shortcut(fn: unfold.Function, reduce: str = "mean") -> Shortcut:
    return fn._gradients[None, None, reduce]


def same(a: Any, b: Any) -> None:
    """Equal to the bit, and of equal kinds."""
    assert type(a) is type(b)
    if isinstance(a, tuple):
        assert len(a) == len(b)
        for left, right in zip(a, b, strict=True):
            same(left, right)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for n in a:
            same(a[n], b[n])
    else:
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        np.testing.assert_array_equal(a, b)


def warmed() -> tuple[unfold.Function, unfold.Function]:
    """A function whose quick calls are ready, and one that never has any."""
    fn, slow = compiled(), compiled()
    for inputs in (data(None), data(2)):
        for _ in range(3):
            fn.value_and_grad(fn.init(1), **inputs)
    assert shortcut(fn).call(fn.init(1), data(2)) is not None
    return fn, slow


def outcome(fn: unfold.Function, params: Any, *args: Any, **inputs: Any) -> Any:
    """What a call returns or raises."""
    try:
        return fn.value_and_grad(params, *args, **inputs)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def compare(warm: tuple[unfold.Function, unfold.Function], *args: Any, **inputs: Any) -> None:
    fn, slow = warm
    slow._gradients.clear()
    got, want = outcome(fn, *args, **inputs), outcome(slow, *args, **inputs)
    if isinstance(want, str):
        assert got == want
    else:
        same(got, want)


class Sub(np.ndarray):
    """Not an array to be trusted."""


def odd_values() -> list[Any]:
    """Arguments for an array of shape (H, D), of all kinds."""
    W = RANDOM.normal(size=(H, D))
    unaligned = np.frombuffer(b"\0" + W.tobytes(), np.uint8)[1:].view(np.float64).reshape(H, D)
    read_only = W.copy()
    read_only.flags.writeable = False
    return [
        None, 3, 2.5, np.float64(1), "W", [], W.tolist(), W.astype(np.float32), W.astype(">f8"),
        np.asfortranarray(W), W[::-1], W[:, ::-1], W[:2], W.reshape(-1), W[None], W.view(Sub),
        np.ma.masked_array(W), W.astype(object), W.astype(complex), W.astype(int), W > 0,
        np.zeros((0, D)), np.zeros((H, 0)), np.float64, np.ndarray, W.tobytes(),
        memoryview(b"12345678"),
        unaligned, read_only, W, np.broadcast_to(1.0, (H, D)), W.astype(np.longdouble),
        W * np.nan, {}, object(), np.nan,
    ]  # fmt: skip
