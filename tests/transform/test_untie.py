"""Untied parameters: the same values, and gradients that add up to those of the shared ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import unfold
from tests.strategies import arrays, programs
from tests.strategies_axes import texts
from unfold.backends import numpy as interpreter
from unfold.program import Output, Program
from unfold.show import to_rec
from unfold.transform import adjoint, untie

ELMAN = """
model elman(H):
    input  x[t]: real[H]
    param  U: real[H, H]
    param  h0, w: real[H]
    h[0] = h0
    h[t] = tanh(x[t] + U @ h[t-1])
    loss = sum[t](w @ h[t]) + sum(w ** 2)
    minimize loss
"""


def test_every_reading_at_a_time_has_its_own_copy() -> None:
    text = to_rec(untie(unfold.loads(ELMAN).program).program)
    lines = [line.strip() for line in text.splitlines()]
    assert "U_at_1[t] = U" in lines
    assert "h[t] = tanh(x[t] + U_at_1[t] @ h[t-1])" in lines
    # The boundary has a time too, a sum over time gives its terms one, the penalty has none.
    assert "h0_at_1[0] = h0" in lines
    assert "loss = sum[t](w_at_1[t] @ h[t]) + sum(w ** 2)" in lines


def test_copies_know_their_parameter_and_their_reader() -> None:
    untied = untie(unfold.loads(ELMAN).program)
    assert untied.copies == {"h0_at_1": "h0", "U_at_1": "U", "w_at_1": "w"}
    assert untied.readers == {"h0_at_1": "h", "U_at_1": "h", "w_at_1": "loss"}


def check_sums(program: Program, lengths: dict[str, int]) -> None:
    """The adjoints of a parameter's copies and the rest outside of time are its gradient."""
    data = arrays(program, lengths)
    params = [v.name for v in program.params if v.type.kind == "real"]
    plain = adjoint(program, params)
    names = {v.adjoint_of: n for n, v in plain.vars.items() if v.adjoint_of in params}
    wanted = interpreter.compile(plain)(data, lengths)
    untied = untie(program)
    whole = adjoint(untied.program, [*params, *untied.copies])
    bars = {v.adjoint_of: n for n, v in whole.vars.items() if v.adjoint_of}
    # With the parameters cut off their copies, what is left enters outside of time.
    cut = untied.program.with_(
        equations=tuple(e for e in untied.program.equations if e.name not in untied.copies),
        vars={
            n: v if n not in untied.copies else _given(v)
            for n, v in untied.program.vars.items()
        },
    )  # fmt: skip
    outside = adjoint(cut, params)
    known = {**data, **{c: _repeated(untied, c, data, lengths) for c in untied.copies}}
    rest = interpreter.compile(outside)(known, lengths)
    rests = {v.adjoint_of: n for n, v in outside.vars.items() if v.adjoint_of in params}
    every = tuple(
        Output(bars[n], tuple((a.lo, a.hi) for a in whole.vars[bars[n]].axes))
        for n in (*params, *untied.copies)
    )
    found = interpreter.compile(whole.with_(outputs=every))(data, lengths)
    for name in params:
        parts = [found[bars[c]].sum(axis=0) for c, p in untied.copies.items() if p == name]
        total = sum(parts, start=rest[rests[name]])
        scale = max(1.0, float(np.abs(wanted[names[name]]).max(initial=0)))
        np.testing.assert_allclose(found[bars[name]], wanted[names[name]], atol=1e-11 * scale)
        np.testing.assert_allclose(total, wanted[names[name]], rtol=0, atol=1e-11 * scale)


def _given(v: Any) -> Any:
    from dataclasses import replace

    return replace(v, role="input")


def _repeated(untied: Any, copy: str, data: Any, lengths: dict[str, int]) -> Any:
    axis = untied.program.vars[copy].axes[0]
    count = axis.hi.evaluate(lengths) - axis.lo.evaluate(lengths) + 1
    return np.repeat(np.asarray(data[untied.copies[copy]])[None], count, axis=0)


@settings(max_examples=30)
@given(program=programs(), steps=st.integers(3, 5))
def test_gradients_add_up_over_random_recurrences(program: Program, steps: int) -> None:
    check_sums(program, {"T": steps})


@settings(max_examples=20)
@given(text=texts(), at=st.fixed_dictionaries({"T": st.integers(1, 4), "S": st.integers(1, 4)}))
def test_gradients_add_up_over_random_tables(text: str, at: dict[str, int]) -> None:
    try:
        program = unfold.loads(text).program
    except unfold.RecError:
        # A sum whose guard holds nowhere is no program.
        assume(False)
    check_sums(program, at)
