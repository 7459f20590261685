"""Reductions inside of reductions: what is the same at all points is computed once."""

from __future__ import annotations

import numpy as np
import pytest

import unfold
from unfold.backends.llvm import choose
from unfold.backends.llvm.emitter import steady
from unfold.domain import Domain
from unfold.expr import Reduce, walk

MEMORY = """
model memory(D):
    axis   n: N
    input  x[t]: real[D]
    param  pattern[n]: real[D]
    solve z[t] from x[t] by picard(tol = 1e-12):
        z[t] = x[t] + sum[n](softmax[n](pattern[n] @ z[t]) * pattern[n]) / 4
    loss = sum[t](sum(z[t] ** 2))
    output z[t]
    minimize loss
"""


@pytest.mark.parametrize("unrolled", [10**9, -1], ids=["lanes", "tiles"])
@pytest.mark.parametrize(("count", "batch"), [(1, None), (2, 3), (7, None), (5, 9)])
def test_attention_inside_of_an_equation_agrees_with_the_interpreter(
    count: int, batch: int | None, unrolled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "UNROLLED", unrolled)
    rng = np.random.default_rng(count)
    head = () if batch is None else (batch,)
    params = {"pattern": rng.normal(size=(count, 3)) / 2}
    x = rng.normal(size=(*head, 4, 3)) / 2
    found = [
        unfold.compile(MEMORY, D=3, backend=b).value_and_grad(params, x=x)
        for b in ("llvm", "numpy")
    ]
    (value, grads), (wanted, slopes) = found
    np.testing.assert_allclose(value, wanted, rtol=1e-10)
    np.testing.assert_allclose(grads["pattern"], slopes["pattern"], rtol=1e-8)


def test_the_adjoint_of_attention_inside_of_an_equation_has_no_number_for_each_pair() -> None:
    program = unfold.loads(MEMORY).adjoint().program
    own = [v for v in program.vars.values() if v.generated]
    assert any(len(v.axes) == 2 for v in own)
    assert all(len(v.axes) <= 2 for v in own)


def test_what_is_the_same_at_all_points_is_found() -> None:
    program = unfold.loads(MEMORY).program
    (eq,) = (e for e in program.equations if e.name == "z")
    outer = next(e for e in walk(eq.rhs) if isinstance(e, Reduce) and e.op == "sum")
    inner = [e for e in walk(outer.body) if isinstance(e, Reduce)]
    assert [e.op for e in inner] == ["logsumexp"]
    assert list(steady(outer, program.given)) == inner
    # Without N >= 1 the sum may have no term at all, which needs nothing before.
    assert list(steady(outer, Domain())) == []
