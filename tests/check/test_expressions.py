"""What the text of a right-hand side means: one sentence of the language each."""

from __future__ import annotations

import math

import pytest

from tests.check.reading import rhs
from unfold.check.spelling import BRACKETS, CALLS, INFIX, POSTFIX, PREFIX, STATEMENTS
from unfold.domain import Domain
from unfold.expr import INT, REAL, Call, Const, Expr, Guard, Position, Reduce, Ref, Type
from unfold.ops import OPS, call
from unfold.poly import Poly, Shape

t, s, T, H, D, K = (Poly.symbol(n) for n in ("t", "s", "T", "H", "D", "K"))
ONE = Poly.const(1)


def ref(name: str, *index: Poly | int, shape: Shape = (), kind: Type = REAL) -> Ref:
    return Ref(name, tuple(Poly.of(i) for i in index), shape, kind)


x, p, a = ref("x", t, shape=(D,)), ref("p", t), ref("a")
n, b = ref("n", t, kind=Type("int", K)), ref("b", t, kind=Type("bool"))
W, U, E = ref("W", shape=(H, D)), ref("U", shape=(H, H)), ref("E", shape=(K, H))
v, w = ref("v", shape=(H,)), ref("w", shape=(H,))


def integer(value: int) -> Const:
    return Const(value, (), INT)


READ = {
    "p[t] + a": p + a,
    "-p[t] ** 2": -(p**2.0),
    "p[t] - a - a": (p - a) - a,
    "a ** 2 ** 3": a ** call("pow", Const(2.0), Const(3.0)),
    "W @ x[t]": call("matmul", W, x),
    "v @ w": call("matmul", v, w),
    "W' @ v": call("matmul", call("transpose", W), v),
    "v * 2": v * 2.0,
    "7 // 2 * a": call("floordiv", Const(7.0), Const(2.0)) * a,
    "outer(v, w)": call("outer", v, w),
    "[v; w]": call("concat", v, w, axis=0),
    "concat(W, U, axis = 1)": call("concat", W, U, axis=1),
    "[a, p[t], 2]": call("stack", a, p, Const(2.0)),
    "[1, 2]": Const((1.0, 2.0), (Poly.const(2),)),
    "v[0]": call("take", v, integer(0), axis=0),
    "v[-1]": call("take", v, Position(H - 1), axis=0),
    "x[t][0]": call("take", x, integer(0), axis=0),
    "x[t, 0]": call("take", x, integer(0), axis=0),
    "W[:, 1]": call("take", W, integer(1), axis=1),
    "W[1, :]": call("take", W, integer(1), axis=0),
    "v[0:2]": call("slice", v, axis=0, lo=Poly(), hi=Poly.const(2)),
    "v[2:]": call("slice", v, axis=0, lo=Poly.const(2), hi=H),
    "v[:-1]": call("slice", v, axis=0, lo=Poly(), hi=H - 1),
    "v[:]": v,
    "W[:, 0:2]": call("slice", W, axis=1, lo=Poly(), hi=Poly.const(2)),
    # Each pair of brackets picks from what stands before it.
    "W[0:2, 1]": call(
        "take", call("slice", W, axis=0, lo=Poly(), hi=Poly.const(2)), integer(1), axis=1
    ),
    "W[0:2][1]": call(
        "take", call("slice", W, axis=0, lo=Poly(), hi=Poly.const(2)), integer(1), axis=0
    ),
    "(W[:, 0:2])[:, 1]": call(
        "take", call("slice", W, axis=1, lo=Poly(), hi=Poly.const(2)), integer(1), axis=1
    ),
    "W[:, 0][1]": call("take", call("take", W, integer(0), axis=1), integer(1), axis=0),
    "x[t][0:2][1]": call(
        "take", call("slice", x, axis=0, lo=Poly(), hi=Poly.const(2)), integer(1), axis=0
    ),
    "(v + w)[0]": call("take", v + w, integer(0), axis=0),
    "E[n[t]]": call("take", E, n, axis=0),
    "sum(v)": call("sum", v, axis=None),
    "sum(W, axis = 0)": call("sum", W, axis=0),
    "sum(W, axis = -1)": call("sum", W, axis=1),
    "max(v)": call("max", v, axis=None),
    "max(v, w)": call("maximum", v, w),
    "min(a, p[t], 2)": call("minimum", call("minimum", a, p), Const(2.0)),
    "argmax(v)": call("argmax", v, axis=None),
    "softmax(v)": call("softmax", v, axis=0),
    "softmax(W, axis = 1)": call("softmax", W, axis=1),
    "cross_entropy(E @ v, n[t])": call("cross_entropy", call("matmul", E, v), n),
    "onehot(n[t], K)": call("onehot", n, size=K),
    "onehot(2, 3)": call("onehot", integer(2), size=Poly.const(3)),
    "scatter(a, n[t], K)": call("scatter", a, n, size=K, axis=0),
    "pad(v, 1, 2)": call("pad", v, before=ONE, after=Poly.const(2), axis=0),
    "reshape(W, [H*D])": call("reshape", W, shape=(H * D,)),
    "broadcast(a, [H, D])": call("broadcast", a, shape=(H, D)),
    "col(v)": call("reshape", v, shape=(H, ONE)),
    "row(v)": call("reshape", v, shape=(ONE, H)),
    "real(n[t])": call("real", n),
    "detach(v)": call("detach", v),
    "p[t] > 0": call("gt", p, Const(0.0)),
    "0 < p[t] <= 1": call("and", call("lt", Const(0.0), p), call("le", p, Const(1.0))),
    "b[t] and not b[t]": call("and", b, call("not", b)),
    "p[t] if b[t] else a": call("where", b, p, a),
    "where(p[t] > 0, 1, 0)": call("where", call("gt", p, Const(0.0)), Const(1.0), Const(0.0)),
    "inf": Const(math.inf),
    "-inf": Const(-math.inf),
    "2 * pi": call("mul", Const(2.0), Const(math.pi)),
    "true": Const(True, (), Type("bool")),
    "p[T]": ref("p", T),
    "p[T+1-t]": ref("p", T + 1 - t),
    "p[4]": ref("p", 4),
    "t / T": call("div", Position(t), Position(T)),
    "T - t + 1": Position(T - t + 1),
    "2 * t": Position(t * 2),
    "H * D": Position(H * D),
    "H * T": call("mul", Position(H), Position(T)),
    "mod(t, 2)": call("mod", Position(t), integer(2)),
    "t * 2.0": call("mul", Position(t), Const(2.0)),
    "n[t] + 1": call("add", n, integer(1)),
    "int(3)": integer(3),
    "n[t] + a": call("add", n, a),
    "alpha * a": call("mul", ref("alpha"), a),
    "dot(v, w)": call("matmul", v, w),
}


@pytest.mark.parametrize("text", READ)
def test_an_expression_is_read_as(text: str) -> None:
    assert rhs(text) is READ[text]


STEPS = Domain.range("t", 1, T)
PAST = Domain.of((s - 1, t - s))
GUARDED: dict[str, Expr] = {
    "a if t < T else 0": Guard(Domain.of((T - t - 1,)), a),
    "p[t+1] if t < T else 0": Guard(Domain.of((T - t - 1,)), ref("p", t + 1)),
    "a if t == 4 else 0": Guard(Domain.point("t", 4), a),
    "0 if t < T else a": Guard(Domain.of((t - T,)), a),
    "a if t < T else p[t]": call(
        "add", Guard(Domain.of((T - t - 1,)), a), Guard(Domain.of((t - T,)), p)
    ),
    "where(t > 1, p[t-1], 0)": Guard(Domain.of((t - 2,)), ref("p", t - 1)),
    "p[t-1] if t > 1 and b[t] else 0": Guard(
        Domain.of((t - 2,)), call("where", b, ref("p", t - 1), Const(0.0))
    ),
    "n[t-1] if t > 1 else 0": Guard(
        Domain.of((t - 2,)), ref("n", t - 1, kind=Type("int", K))
    ),
    "b[t-1] if t > 1 else false": Guard(
        Domain.of((t - 2,)), ref("b", t - 1, kind=Type("bool"))
    ),
    "sum[s <= t](p[s])": Reduce("sum", ("s",), PAST, ref("p", s)),
    "sum[s in 1..t](p[s])": Reduce("sum", ("s",), PAST, ref("p", s)),
    "sum[s](p[s])": Reduce("sum", ("s",), Domain.range("s", 1, T), ref("p", s)),
    "max[s < t](p[s])": Reduce("max", ("s",), Domain.of((s - 1, t - s - 1)), ref("p", s)),
    "logsumexp[s <= t](p[s])": Reduce("logsumexp", ("s",), PAST, ref("p", s)),
    "mean[s <= t](p[s])": call(
        "div", Reduce("sum", ("s",), PAST, ref("p", s)), Position(t)
    ),
    "sum[s <= t, b[s]](p[s])": Reduce(
        "sum", ("s",), PAST,
        call("where", ref("b", s, kind=Type("bool")), ref("p", s), Const(0.0)),
    ),
    "max[s <= t, b[s]](p[s])": Reduce(
        "max", ("s",), PAST,
        call("where", ref("b", s, kind=Type("bool")), ref("p", s), Const(-math.inf)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", GUARDED)
def test_what_the_indices_decide_becomes_a_guard_or_a_domain(text: str) -> None:
    assert rhs(text) is GUARDED[text]


def test_a_running_index_never_has_the_name_of_an_outer_one() -> None:
    e = rhs("p[t] - mean[t](p[t])")
    (total,) = [node for node in _all(e) if isinstance(node, Reduce)]
    assert total.indices == ("s",)


def test_a_running_index_is_renamed_where_no_other_of_its_range_is_free() -> None:
    e = rhs("sum[s](p[s] - sum[s](p[s]) * sum[t](p[t]))")
    outer, inner = [
        i for node in reversed(_all(e)) if isinstance(node, Reduce) for i in node.indices
    ]
    assert outer == "s"
    assert inner not in ("s", "t")


def test_softmax_over_an_index_is_a_weight_among_its_fellows() -> None:
    e = rhs("softmax[s <= t](p[s] * p[t])", "y[t, s]")
    assert isinstance(e, Guard)  # outside of s <= t the weight is zero
    assert isinstance(e.body, Call)
    assert e.body.op == "exp_diff"
    score, total = e.body.args
    assert score is call("mul", ref("p", s), p)
    assert isinstance(total, Reduce)
    assert total.op == "logsumexp"


def test_a_softmax_needs_no_guard_where_its_condition_holds_anyway() -> None:
    e = rhs("softmax[s <= t](p[s] * p[t])", "y[t, s]").__class__
    assert e is Guard
    from tests.check.reading import AROUND
    from unfold.check import elaborate

    text = f"{AROUND}    y[t, s] = softmax[s <= t](p[s] * p[t]) for s <= t\n"
    (equation,) = elaborate(text + "    z[t] = y[t, t]\n    output z[t]\n").pieces("y")
    assert isinstance(equation.rhs, Call)


def test_every_op_has_exactly_one_spelling() -> None:
    spelt = [*INFIX, *PREFIX, *POSTFIX, *CALLS, *BRACKETS, *STATEMENTS]
    assert len(spelt) == len(set(spelt))
    assert set(OPS) <= set(spelt)


def _all(e: Expr) -> list[Expr]:
    from unfold.expr import walk

    return list(walk(e))
