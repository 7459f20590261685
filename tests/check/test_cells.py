"""Every cell of the library stands inside another model, on both backends, with its gradient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import unfold

ROOT = Path(__file__).parent.parent.parent
CELLS = sorted(p.stem for p in (ROOT / "unfold" / "cells").glob("*.rec"))

CHAINS = ("elman", "gru", "gru_original", "indrnn", "leaky", "lstm", "lstm_peephole", "min_gru",
          "minimal_gru", "residual", "slstm")  # fmt: skip
#: cell -> its use, and the vector per step that is read of it
USES = {name: (f"c = {name}(x, 3)", "c.h[t]") for name in CHAINS} | {
    "additive_attention": ("c = additive_attention(x, m, 3)", "c.z[t]"),
    "attention": ("c = attention(x, m, 2, 3)", "c.y[t]"),
    "delta_net": ("c = delta_net(x, 2, 3)", "c.y[t]"),
    "deq": ("c = deq(x, 3)", "c.z[t]"),
    "jordan": ("c = jordan(x, 3, 2)", "c.y[t]"),
    "lambda_return": ("r[t] = x[t][0]\n    V[t] = x[t][1]\n    c = lambda_return(r, V)",
                      "[c.G[t]]"),
    "lru": ("c = lru(x, 3)", "c.y[t]"),
    "mamba": ("c = mamba(x, 3)", "c.y[t]"),
    "neural_ode": ("c = neural_ode(x, dt, 3)", "c.h[t]"),
    "ntm": ("c = ntm(x, 3, 2)", "[c.h[t]; c.r[t]]"),
    "self_attention": ("c = self_attention(x, 2, 3)", "c.y[t]"),
    "transformer": ("c = transformer(x, 2, 3, 5)", "c.h[t]"),
}  # fmt: skip


def inside(name: str) -> str:
    """A model that uses a cell, and learns what it reads."""
    use, read = USES[name]
    extra = ""
    if "(x, m," in use:
        extra = "    axis   q: Q\n    input  m[q]: real[3]\n"
    if "dt" in use:
        extra = "    input  dt[t]: real\n"
    return f"""
from cells use {name}

model m(D):
    input  x[t]: real[D]
{extra}    param  A: real[D, D]  ~ glorot
    y[t] = tanh(A @ x[t])
    {use.replace("(x", "(y").replace("x[t]", "y[t]")}
    loss = mean[t](sum(sin({read})))
    minimize loss
"""


def test_every_cell_of_the_library_is_tested_here() -> None:
    assert sorted(USES) == CELLS


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_inside_a_model_has_the_right_gradient_on_both_backends(name: str) -> None:
    result = unfold.grad_check(unfold.loads(inside(name)), D=4, T=3, entries=2)
    assert result.ok, str(result)
    learnt = {row.name for row in result.rows}
    # A cell that learns something learns it here, under its own name.
    cell = unfold.load(ROOT / "unfold" / "cells" / f"{name}.rec")
    assert {f"c.{p.name}" for p in cell.program.params} <= learnt


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_says_what_it_is_from_where_and_what_its_variables_are(name: str) -> None:
    text = (ROOT / "unfold" / "cells" / f"{name}.rec").read_text(encoding="utf-8")
    head = text[: text.index("\nmodel ")]
    assert any(f"{year}" in head for year in range(1986, 2026))
    model = unfold.loads(text)
    assert model.name == name
    for v in (*model.program.inputs, *(model.program.vars[o.name] for o in model.program.outputs)):
        assert f"#   {v.name}" in head or f", {v.name}" in head, v.name
    assert not model.check()


@pytest.mark.parametrize("name", CELLS)
def test_the_page_on_the_language_lists_every_cell(name: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (row,) = (line for line in readme.splitlines() if "| `from cells use" in line)
    assert f"{name}" in row.replace(",", " ").split()


def test_a_decoder_attends_with_its_state_of_the_step_before() -> None:
    text = """
from cells use gru, additive_attention

model translate(D, H, K):
    axis   s: S
    input  x[s]: real[D]
    input  y[t]: real[D]
    input  c[t]: int<K>
    param  W: real[K, H]  ~ glorot
    enc = gru(x, H)
    att = additive_attention(before, enc.h, H)
    before[t] = dec.h[t-1]
    dec = gru(seen, H)
    seen[t] = [y[t]; att.z[t]]
    loss = mean[t](cross_entropy(W @ dec.h[t], c[t]))
    output att.a[t,s]
    minimize loss
"""
    result = unfold.grad_check(unfold.loads(text), D=2, H=3, K=3, T=4, S=3, entries=2)
    assert result.ok, str(result)


def test_the_number_of_slots_of_a_turing_machine_comes_with_its_memory() -> None:
    fn = unfold.compile(inside("ntm"), D=3)
    with pytest.raises(unfold.InputError, match=r'as a keyword, `\*\*{"c.N": 3}`'):
        fn.init(seed=0)
    params = fn.init(seed=0, **{"c.N": 5})
    x = np.random.default_rng(0).normal(size=(6, 3))
    assert params["c.start"].shape == (5, 2)
    losses = [fn({**params, "c.start": np.zeros((n, 2)) + 0.1}, x=x).loss for n in (2, 5, 9)]
    assert np.isfinite(losses).all()
