"""Values are looked up by their form, which is all but positions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import unfold
from unfold.expr import Expr, subs_positions, walk
from unfold.poly import Poly
from unfold.transform import adjoint
from unfold.transform.reuse import form

TEXT = """
model m(N):
    input x[t]: real
    param w: real = 0.5
    param v: real[N]
    h[0] = 0
    h[t] = tanh(w * h[t-1] + x[t]) + sum[i in 1..3](x[t] * i) * sum(v)
    loss = sum[t](exp(h[t]) * where(x[t] > 0, h[t-1], 2 * t))
    minimize loss
"""


@pytest.fixture(scope="module")
def expressions() -> list[Expr]:
    program = adjoint(unfold.loads(TEXT).program, None, None)
    return [node for eq in program.equations for node in walk(eq.rhs)]


@given(shift=st.integers(-3, 3), at=st.integers(0, 5))
def test_moved_expressions_keep_their_form(expressions: list[Expr], shift: int, at: int) -> None:
    moved = {"t": Poly.symbol("t") + shift}
    for e in expressions:
        assert form(subs_positions(e, moved)) == form(e)
        assert form(subs_positions(e, {"t": at})) == form(e)


def test_other_expressions_have_another_form(expressions: list[Expr]) -> None:
    texts: dict[int, set[str]] = {}
    for e in expressions:
        texts.setdefault(form(e), set()).add(type(e).__name__ + str(getattr(e, "op", "")))
    assert len(texts) > 20
    assert all(len(kinds) == 1 for kinds in texts.values())
