"""Modules of PyTorch, by what PyTorch computed with them (tests/data/torch): the same numbers here,
and the same state dictionaries back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold

TORCH = Path(__file__).parent.parent / "data" / "torch"
STATES = unfold.load_params(TORCH / "modules.safetensors")
CELLS = {"rnn": "elman", "lstm": "lstm", "gru": "gru"}
TEXTS = {
    "one": "c = CELL(x, H)\n    y[t] = c.h[t]",
    "plain": "c = CELL(x, H)\n    y[t] = c.h[t]",
    "stacked": "s[0] = x\n    s[l] = CELL(s[l-1], H) for l in 1..3\n    y[t] = s.3.h[t]",
    "both": "f = CELL(x, H)\n    b = reverse CELL(x, H)\n    y[t] = [f.h[t]; b.h[t]]",
    "deep": """b1 = reverse CELL(x, H)
    f1 = CELL(x, H)
    m[t] = [f1.h[t]; b1.h[t]]
    f2 = CELL(m, H)
    b2 = reverse CELL(m, H)
    y[t] = [f2.h[t]; b2.h[t]]""",
}
FORMS = [(kind, form) for kind in CELLS for form in TEXTS]


def text(kind: str, form: str) -> str:
    body = TEXTS[form].replace("CELL", CELLS[kind])
    return (
        f"from cells use {CELLS[kind]}\nmodel m(D, H):\n    input x[t]: real[D]\n    {body}\n"
        "    output y[t]\n"
    )


def state_of(kind: str, form: str, dtype: Any = np.float64) -> dict[str, Any]:
    head = f"{kind}.{form}."
    return {n: a.astype(dtype) for n, a in STATES.items() if n.startswith(head)}


@pytest.mark.parametrize(("kind", "form"), FORMS)
def test_our_cells_compute_what_pytorch_computed(kind: str, form: str) -> None:
    with np.load(TORCH / "outputs.npz") as file:
        for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-6)):
            fn = unfold.compile(text(kind, form), D=3, H=4, dtype=dtype)
            state = state_of(kind, form, dtype)
            params = unfold.from_torch(state, fn, prefix=f"{kind}.{form}.")
            assert set(params) == set(fn.params)
            assert {a.dtype for a in params.values()} == {np.dtype(dtype)}
            y = fn(params, x=file["x"].astype(dtype)).y
            np.testing.assert_allclose(y, file[f"{kind}.{form}/{dtype}"], rtol=0, atol=tolerance)


@pytest.mark.parametrize(("kind", "form"), FORMS)
def test_there_and_back(kind: str, form: str) -> None:
    model = unfold.loads(text(kind, form))
    state, prefix = state_of(kind, form), f"{kind}.{form}."
    params = unfold.from_torch(state, model, prefix=prefix)
    back = unfold.to_torch(params, model, prefix=prefix, bias=form != "plain")
    assert {n: a.shape for n, a in back.items()} == {n: a.shape for n, a in state.items()}
    for name, array in back.items():
        if "weight" in name:
            np.testing.assert_array_equal(array, state[name])
        elif "bias_ih" in name:
            other = name.replace("_ih_", "_hh_")
            sums = array + back[other], state[name] + state[other]
            np.testing.assert_allclose(*sums, rtol=1e-15)
    again = unfold.from_torch(back, model, prefix=prefix)
    for name, array in params.items():
        np.testing.assert_array_equal(again[name], array)


def test_ours_of_random_parameters_come_back_exactly() -> None:
    for kind in CELLS:
        fn = unfold.compile(text(kind, "stacked"), D=3, H=4)
        random = np.random.default_rng(0)
        params = {n: random.normal(size=a.shape) for n, a in fn.init().items()}
        state = unfold.to_torch(params, fn)
        again = unfold.from_torch(state, fn)
        for name, array in params.items():
            np.testing.assert_array_equal(again[name], array)


TWO = """
from cells use gru, lstm, leaky
model m(D, H):
    input x[t]: real[D]
    param V: real[H]
    low = leaky(x, H)
    enc = lstm(low.h, H)
    one = gru(enc.h, H)
    two = gru(one.h, H)
    y[t] = V @ two.h[t]
    output y[t]
"""


def test_a_part_of_a_model_and_an_order_of_its_own() -> None:
    model = unfold.loads(TWO)
    state = {**state_of("gru", "one"), "gru.one.weight_ih_l0": np.ones((12, 4))}
    head: dict[str, Any] = {"prefix": "gru.one."}
    found = unfold.from_torch(state, model, into="two", **head)
    assert all(n.startswith("two.") for n in found)
    params = {**unfold.compile(model, D=4, H=4).init(), **found}
    assert set(unfold.to_torch(params, model, into="two")) == {n.split(".", 2)[2] for n in state}
    swapped = unfold.to_torch(params, model, cells={"l1": "one", "l0": "two"})
    np.testing.assert_array_equal(swapped["weight_hh_l0"][:4], params["two.Ur"])
    with pytest.raises(unfold.InputError, match=r"several kinds .*enc \(lstm\), one \(gru\)"):
        unfold.from_torch(state, model, **head)
    with pytest.raises(unfold.InputError, match=r"has no cell elman, lstm or gru .* below low"):
        unfold.from_torch(state, model, into="low", **head)
    with pytest.raises(unfold.InputError, match="has no cell 'dec'; its cells are enc"):
        unfold.from_torch(state, model, cells={"l0": "dec"}, **head)


def test_what_does_not_fit_is_said() -> None:
    gru, lstm = unfold.loads(text("gru", "one")), unfold.loads(text("lstm", "one"))
    plain = {n.removeprefix("gru.one."): a for n, a in state_of("gru", "one").items()}
    wrong: list[tuple[dict[str, Any], Any, str]] = [
        ({}, gru, "the state has no weight_ih_l0"),
        (state_of("gru", "one"), gru, "has no weight_ih_l0; with prefix='gru.one.' there is"),
        (
            plain,
            lstm,
            "weight_ih_l0 has 12 rows, as in nn.GRU; nn.LSTM of 4 units, our lstm, has 1",
        ),
        ({**plain, "weight_hr_l0": np.ones((2, 4))}, gru, "projections (proj_size)"),
        ({n: a for n, a in plain.items() if n != "weight_hh_l0"}, gru, "lacks weight_hh_l0"),
        ({n: a for n, a in plain.items() if n != "bias_hh_l0"}, gru, "lacks bias_hh_l0"),
        ({**plain, "bias_hh_l0": np.arange(12)}, gru, "expected an array of reals, got one of int"),
        ({**plain, "bias_hh_l0": object()}, gru, "expected an array of reals, got one of object"),
        (
            plain,
            unfold.compile(text("gru", "one"), D=5, H=4),
            "c.Wr: expected real[H, D] with D = ",
        ),
        (
            plain,
            unfold.loads(text("gru", "both")),
            "layers l0, but the gru cells of m are l0: f., l",
        ),
        (plain, unfold.loads("model m:\n    y = 1\n    output y\n"), "m has no cell elman, lstm"),
    ]
    for state, model, why in wrong:
        with pytest.raises(unfold.InputError) as error:
            unfold.from_torch(state, model)
        assert why in str(error.value)
    params = unfold.from_torch(plain, gru)
    with pytest.raises(unfold.InputError, match=r"bias_ih_l0 would not be zero"):
        unfold.to_torch(params, gru, bias=False)
    del params["c.Wr"]
    with pytest.raises(unfold.InputError, match=r"the parameters lack c\.Wr"):
        unfold.to_torch(params, gru)
