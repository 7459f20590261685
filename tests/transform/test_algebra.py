"""Local algebra: every rule shortens, and keeps the value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unfold.backends.numpy.evaluate import evaluate
from unfold.domain import Domain
from unfold.expr import Call, Const, Expr, Position, Reduce, Ref, elementwise, walk
from unfold.ops import call
from unfold.ops.linear import matmul, outer, transpose
from unfold.ops.record import broadcast_to, compare, sum_over, where
from unfold.poly import Poly
from unfold.transform.algebra import simplify_expr

N, M, T = Poly.const(3), Poly.const(2), Poly.symbol("T")
x, y, g = (Ref(name, (), (N,)) for name in "xyg")
a, b = Ref("a"), Ref("b")
W = Ref("W", (), (M, N))
V = Ref("V", (Poly.symbol("t"),), (M, N))
i = Ref("i", (Poly.symbol("t"),), ())
ALL = Domain.range("t", 1, T)


RULES: dict[str, tuple[Expr, Expr]] = {
    "zero is neutral in a sum": (x + 0.0, x),
    "zero is neutral in a sum, repeated": (broadcast_to(Const(0.0), (N,)) + x, x),
    "one is neutral in a product": (1.0 * x, x),
    "zero annihilates": (x * 0.0, broadcast_to(Const(0.0), (N,))),
    "a quotient by one": (x / 1.0, x),
    "the first power": (x**1.0, x),
    "the power zero": (x**0.0, broadcast_to(Const(1.0), (N,))),
    "two minus signs": (elementwise("neg", -x), x),
    "adding a negative": (x + (-y), x - y),
    "a negative plus": ((-x) + y, y - x),
    "subtracting a negative": (x - (-y), x + y),
    "a negative factor": ((-x) * y, -(x * y)),
    "minus a difference": (-(x - y), y - x),
    "twice the same": (x + x, 2.0 * x),
    "nothing is left": (x - x, broadcast_to(Const(0.0), (N,))),
    "a common factor": (g * x - g * y, g * (x - y)),
    "a common factor on the other side": (x * g + y * g, g * (x + y)),
    "numbers fold": (Const(2.0) * (3.0 * x), 6.0 * x),
    "numbers go in front": (x * 2.0, 2.0 * x),
    "numbers move out of products": (x * (2.0 * y), 2.0 * (x * y)),
    "a reciprocal": (x * (1.0 / y), x / y),
    "repetition that broadcasting does": (broadcast_to(a, (N,)) * x, a * x),
    "transposing twice": (transpose(Call("transpose", (W,), (), (N, M))), W),
    "a negative vector in a product": (matmul(W, -x), -matmul(W, x)),
    "a zero vector in a product": (
        matmul(W, broadcast_to(Const(0.0), (N,))),
        broadcast_to(Const(0.0), (M,)),
    ),
    "a negative in an outer product": (outer(-x, y), -outer(x, y)),
    "a sum of products is an inner product": (sum_over(x * y, None), matmul(x, y)),
    "a number in a sum of components": (sum_over(a * x, None), a * sum_over(x, None)),
    "equal branches": (where(compare("gt", a, 0.0), x, x), x),
    "a number leaves a sum over time": (
        Reduce("sum", ("t",), ALL, 2.0 * i),
        2.0 * Reduce("sum", ("t",), ALL, i),
    ),
    "a sum over time is transposed once": (
        Reduce("sum", ("t",), ALL, transpose(V)),
        transpose(Reduce("sum", ("t",), ALL, V)),
    ),
    "a length leaves a sum over time": (
        Reduce("sum", ("t",), ALL, i / Position(T)),
        Reduce("sum", ("t",), ALL, i) / Position(T),
    ),
    "a sum of equal terms": (Reduce("sum", ("t",), ALL, a), a * Position(T)),
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_gives_the_shorter_form(name: str) -> None:
    before, after = RULES[name]
    assert simplify_expr(before) is after


def test_a_factor_that_differs_from_term_to_term_stays_in_the_sum() -> None:
    t = Position(Poly.symbol("t"))
    for body in (t * i, i / (1.0 + t), (1 - t) * i):
        e = Reduce("sum", ("t",), ALL, body)
        assert simplify_expr(e) is e
    e = Reduce("sum", ("t",), ALL, 2.0 * (t * i))
    assert simplify_expr(e) is 2.0 * Reduce("sum", ("t",), ALL, t * i)


def test_nothing_is_dropped_that_has_another_shape() -> None:
    wide = broadcast_to(Const(0.0), (M, N)) + x
    assert simplify_expr(wide).shape == (M, N)
    assert simplify_expr(broadcast_to(Const(1.0), (M, N)) * x).shape == (M, N)


leaves = st.sampled_from([x, y, g, a, b, Const(0.0), Const(1.0), Const(2.0), Const(-1.0)])


def _grow(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    pairs = st.tuples(inner, inner)
    return st.one_of(
        pairs.map(lambda p: p[0] + p[1]),
        pairs.map(lambda p: p[0] - p[1]),
        pairs.map(lambda p: p[0] * p[1]),
        inner.map(lambda e: -e),
        inner.map(lambda e: e / (1.5 + b * b)),
        inner.map(lambda e: e**2.0),
        inner.map(lambda e: broadcast_to(e, (N,))),
        pairs.map(lambda p: where(compare("gt", a, b), p[0], p[1])),
        inner.map(lambda e: call("tanh", e)),
    )


@settings(max_examples=300, deadline=None)
@given(st.recursive(leaves, _grow, max_leaves=12))
def test_the_value_shape_and_type_stay(e: Expr) -> None:
    rng = np.random.default_rng(0)
    env = {n: rng.normal(size=3) for n in "xyg"} | {"a": 0.3, "b": -0.8}
    short = simplify_expr(e)
    assert short.shape == e.shape
    assert short.type == e.type
    np.testing.assert_allclose(evaluate(short, env), evaluate(e, env), rtol=1e-12, atol=1e-12)
    # Rules may trade a node for another (x + x -> 2 * x), but never grow an expression.
    assert len(list(walk(short))) <= len(list(walk(e))) + 1
