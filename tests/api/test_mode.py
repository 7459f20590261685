"""Gradients in forward mode: the same names, shapes and reductions as in reverse mode."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unfold
from unfold import forward

MODEL = """
model m(H):
    input x[t]: real[2]
    input start: real[H]
    random e[t]: real[H] ~ normal(0, 0.1)
    param W: real[H, H] ~ normal(0.4)
    param V: real[H, 2] ~ glorot
    param decay: real = 0.7
    h[0] = start
    h[t] = decay * h[t-1] + tanh(W @ h[t-1] + V @ x[t] + e[t])
    loss = mean[t](sum(h[t] ** 2))
    last = sum(h[T])
    output h[t]
    minimize loss
    minimize last
"""
PARAMS = ("W", "V", "decay")


def both(backend: str, **options: Any) -> tuple[unfold.Function, unfold.Function]:
    return tuple(  # type: ignore[return-value]
        unfold.compile(MODEL, H=3, backend=backend, mode=mode, **options)
        for mode in ("forward", "reverse")
    )


def data(batch: int | None = None, steps: int = 5) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    head = () if batch is None else (batch,)
    return {"x": rng.normal(size=(*head, steps, 2)), "start": rng.normal(size=(*head, 3))}


def same(a: tuple[Any, dict[str, Any]], b: tuple[Any, dict[str, Any]]) -> None:
    np.testing.assert_allclose(a[0], b[0], rtol=1e-12)
    assert np.shape(a[0]) == np.shape(b[0])
    assert list(a[1]) == list(b[1])
    for name, g in b[1].items():
        assert a[1][name].shape == g.shape, name
        assert a[1][name].dtype == g.dtype, name
        np.testing.assert_allclose(a[1][name], g, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
@pytest.mark.parametrize("batch", [None, 1, 4])
def test_forward_gradients_are_those_of_reverse_mode(
    backend: str, batch: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "SIDE_BY_SIDE", 7)  # several runs, the last one shorter
    one, two = both(backend)
    params = one.init(1)
    for wrt in (None, "decay", ["x"], ["start", "V"], ["decay", "x", "W"]):
        for loss in (None, "last"):
            given = {"wrt": wrt, "loss": loss, "seed": 3, **data(batch)}
            same(one.value_and_grad(params, **given), two.value_and_grad(params, **given))
    for reduce in ("sum", "none"):
        given = {"wrt": ["decay", "x"], "reduce": reduce, "first": 2, **data(batch)}
        same(one.value_and_grad(params, **given), two.value_and_grad(params, **given))


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_forward_gradients_of_sequences_of_unequal_length(backend: str) -> None:
    one, two = both(backend)
    params = one.init(1)
    given = {"lengths": [5, 1, 3], "wrt": ["decay", "V", "x"], **data(3)}
    for reduce in ("mean", "none"):
        found = one.value_and_grad(params, reduce=reduce, **given)
        same(found, two.value_and_grad(params, reduce=reduce, **given))
        assert not found[1]["x"][1, 1:].any()


@pytest.mark.parametrize("options", [{"dtype": "float32"}, {"truncate": unfold.Window(2)}])
def test_forward_mode_keeps_to_the_other_options(options: dict[str, Any]) -> None:
    one, two = both("llvm", **options)
    params = one.init(1)
    found = one.value_and_grad(params, wrt=["decay", "V"], **data(2))
    wanted = two.value_and_grad(params, wrt=["decay", "V"], **data(2))
    rtol = 1e-4 if "dtype" in options else 1e-10
    for name, g in wanted[1].items():
        assert found[1][name].dtype == g.dtype
        np.testing.assert_allclose(found[1][name], g, rtol=rtol, atol=rtol)


def test_auto_takes_forward_mode_for_one_number_only() -> None:
    auto, always = (
        unfold.compile(MODEL, H=3, backend="numpy", mode=m) for m in ("auto", "forward")
    )
    for wrt, chosen in (("decay", True), ("W", False), ("start", False), ("x", False),
                        ("h", False)):  # fmt: skip
        assert forward.is_chosen(auto.compiler, (wrt,)) is chosen
    assert forward.is_chosen(always.compiler, PARAMS)
    assert unfold.compile(MODEL, H=3).options.mode == "auto"


def test_forward_mode_gives_no_costates() -> None:
    fn = unfold.compile(MODEL, H=3, backend="numpy", mode="forward")
    with pytest.raises(unfold.InputError, match=r"h is a state, .* the costate, needs mode"):
        fn.value_and_grad(fn.init(), wrt=["W", "h"], **data())
    with pytest.raises(unfold.InputError, match="h is a state"):
        fn.jacobian("loss", "h[1]", fn.init(), **data())
    other = unfold.compile(MODEL, H=3, backend="numpy")
    assert other.value_and_grad(fn.init(), wrt=["h"], **data())[1]["h"].shape == (5, 3)


def test_the_mode_of_the_compilation_is_the_default_of_jacobians() -> None:
    one, two = both("numpy")
    params = one.init()
    columns = one.jacobian("h[T]", "W", params, **data())
    rows = two.jacobian("h[T]", "W", params, **data())
    np.testing.assert_allclose(columns, rows, rtol=1e-10)
    derived = {key[0] for key in one.compiler._derived}
    assert "columns" in derived
    assert "jacobian" not in derived
    assert "columns" not in {key[0] for key in two.compiler._derived}


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_a_model_of_scalars_alone(backend: str) -> None:
    source = """
model m():
    input x[t]: real
    param a: real = 0.9
    s[0] = 1
    s[t] = a * s[t-1] + sin(s[t-1]) * x[t]
    loss = s[T] ** 2
    minimize loss
"""
    one, two = (unfold.compile(source, backend=backend, mode=m) for m in ("auto", "reverse"))
    for x in (np.linspace(0, 1, 6), np.ones((3, 2))):
        for wrt in ("a", "x", ["x", "a"]):
            found = one.value_and_grad({"a": 0.9}, x=x, wrt=wrt)
            same(found, two.value_and_grad({"a": 0.9}, x=x, wrt=wrt))


def test_an_empty_batch_has_zeros() -> None:
    fn = unfold.compile(MODEL, H=3, backend="numpy")
    value, grads = fn.value_and_grad(fn.init(), wrt="decay", reduce="sum", **data(0))
    assert value == 0
    assert grads["decay"] == 0


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(unfold.InputError, match="mode is one of"):
        unfold.compile(MODEL, H=3, mode="sideways")
