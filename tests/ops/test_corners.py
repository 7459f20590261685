"""Values and derivatives where a function has a corner, an end or an infinity."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unfold
from unfold.backends.numpy import evaluate
from unfold.expr import REAL, Const, Expr, Ref
from unfold.ops import DEFINITIONS, OPS, call
from unfold.poly import Poly


def vector(name: str, n: int) -> Ref:
    return Ref(name, (), (Poly.const(n),) if n else (), REAL)


def slopes(e: Expr, env: dict[str, Any]) -> list[float]:
    """The cotangents that the operands of a call receive for a cotangent of one."""
    op = OPS[e.op]  # type: ignore[attr-defined]
    g = Const(1.0)
    shares = op.cotangents(g, e, e.args, dict(e.attrs))  # type: ignore[attr-defined]
    return [np.asarray(evaluate(s, env)).tolist() for s in shares if s is not None]


def test_corners_have_the_documented_slope() -> None:
    x, y = vector("x", 0), vector("y", 0)
    assert slopes(call("relu", x), {"x": 0.0}) == [0.0]
    assert slopes(call("abs", x), {"x": 0.0}) == [0.0]
    for op in ("maximum", "minimum"):
        assert slopes(call(op, x, y), {"x": 2.0, "y": 2.0}) == [0.5, 0.5]
    for op in ("floor", "ceil", "round", "sign"):
        assert slopes(call(op, x), {"x": 0.3}) == [0.0]


def test_equal_extremes_share_equally() -> None:
    v = vector("v", 4)
    for op, values in (("max", [3.0, 1.0, 3.0, 3.0]), ("min", [-3.0, 1.0, -3.0, -3.0])):
        (share,) = slopes(call(op, v, axis=None), {"v": np.array(values)})
        assert share == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3])


def test_the_branch_not_taken_receives_nothing() -> None:
    c = call("gt", vector("x", 0), Const(0.0))
    e = call("where", c, vector("a", 0), vector("b", 0))
    assert slopes(e, {"x": -1.0, "a": math.nan, "b": 2.0}) == [0.0, 1.0]


@pytest.mark.parametrize(
    ("op", "x", "value"),
    [
        ("sigmoid", 1000.0, 1.0),
        ("sigmoid", -1000.0, 0.0),
        ("softplus", 1000.0, 1000.0),
        ("softplus", -1000.0, 0.0),
        ("tanh", 1000.0, 1.0),
        ("log", 0.0, -math.inf),
        ("exp", -math.inf, 0.0),
        ("expm1", 1e-20, 1e-20),
        ("log1p", 1e-20, 1e-20),
    ],
)
def test_functions_keep_their_limits(op: str, x: float, value: float) -> None:
    assert float(evaluate(call(op, vector("x", 0)), {"x": x})) == value


def test_impossible_events_have_log_probability_minus_infinity() -> None:
    v = vector("v", 3)
    never = np.full(3, -math.inf)
    assert float(evaluate(call("logsumexp", v, axis=None), {"v": never})) == -math.inf
    assert evaluate(call("softmax", v, axis=0), {"v": never}).tolist() == [0.0, 0.0, 0.0]
    one = np.array([-math.inf, 0.0, -math.inf])
    assert float(evaluate(call("logsumexp", v, axis=None), {"v": one})) == 0.0
    (share,) = slopes(call("logsumexp", v, axis=None), {"v": never})
    assert share == [0.0, 0.0, 0.0]


def test_a_weight_is_zero_where_its_log_probability_is_minus_infinity() -> None:
    e = call("exp_diff", vector("a", 0), vector("b", 0))
    for b in (0.0, -math.inf, math.inf, math.nan):
        assert float(evaluate(e, {"a": -math.inf, "b": b})) == 0.0


def test_extreme_logits_give_a_finite_cross_entropy() -> None:
    from unfold.expr import Type

    label = Ref("y", (), (), Type("int", Poly.const(3)))
    e = call("cross_entropy", vector("v", 3), label)
    env = {"v": np.array([1000.0, 0.0, -1000.0]), "y": 2}
    assert float(evaluate(e, env)) == 2000.0
    assert slopes(e, env) == [[1.0, 0.0, -1.0]]


@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_definition_is_made_of_ops_and_has_a_value(name: str) -> None:
    function, _, most, with_axis = DEFINITIONS[name]
    env = {"a": np.array([[0.3, 0.6, 0.8], [0.1, 0.7, 0.2]]), "b": 0.25, "c": 0.5}
    a = Ref("a", (), (Poly.const(2), Poly.const(3)), REAL)
    all_args: tuple[Expr, ...] = (a, vector("b", 0), vector("c", 0))
    args = all_args[:most]
    value = np.asarray(evaluate(function(*args), env))
    assert np.isfinite(value).all()
    meanings: dict[str, Callable[..., Any]] = {
        "mean": np.mean,
        "var": np.var,
        "norm": np.linalg.norm,
        "silu": lambda x: x / (1 + np.exp(-x)),
        "gelu": lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
        "leaky_relu": lambda x, s: np.where(x > 0, x, s * x),
        "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
        "clip": np.clip,
        "logit": lambda p: np.log(p / (1 - p)),
    }
    expected = meanings[name]
    operands = [env["a"], env["b"], env["c"]][:most]
    np.testing.assert_allclose(value, expected(*operands), rtol=1e-13)
    if with_axis:
        for axis in (0, 1):
            value = evaluate(function(a, axis), env)
            along = expected(env["a"], axis=axis)
            np.testing.assert_allclose(value, along, rtol=1e-13)


@pytest.mark.parametrize(
    ("x", "n", "wanted"),
    [
        (0.0, 2.0, [0.0, 0.0]),
        (0.0, 1.0, [1.0, 0.0]),
        (0.0, 0.5, [math.inf, 0.0]),
        (0.0, 0.0, [0.0, -math.inf]),
        (-2.0, 3.0, [12.0, math.nan]),
        (-2.0, -1.0, [-0.25, math.nan]),
        (-2.0, 0.0, [0.0, math.nan]),
        (2.0, 3.0, [12.0, 8 * math.log(2)]),
    ],
)
def test_powers_at_zero_and_of_negative_numbers(x: float, n: float, wanted: list[float]) -> None:
    with np.errstate(all="ignore"):
        found = slopes(call("pow", vector("x", 0), vector("n", 0)), {"x": x, "n": n})
        assert found == pytest.approx(wanted, rel=1e-15, nan_ok=True)
        fixed = slopes(call("pow", vector("x", 0), Const(n)), {"x": x})
        assert fixed[0] == pytest.approx(wanted[0], rel=1e-15)


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
@pytest.mark.parametrize(
    ("equation", "x", "wanted"),
    [
        ("y = x[0] ** 2 + x[1] ** 3", [0.0, -2.0], [0.0, 12.0]),
        ("y = x[0] ** x[1]", [0.0, 2.0], [0.0, 0.0]),
        ("y = x[0] ** 0 + x[1] ** (-1)", [0.0, -2.0], [0.0, -0.25]),
        ("y = max(x)", [2.0, 2.0], [0.5, 0.5]),
        ("y = max(x[0], x[1])", [2.0, 2.0], [0.5, 0.5]),
        ("y = abs(x[0]) + relu(x[1])", [0.0, 0.0], [0.0, 0.0]),
        ("y = logsumexp([x[0], -inf]) + x[1]", [0.3, 0.0], [1.0, 1.0]),
        ("y = exp(logsumexp([x[0] - inf, -inf])) + x[1]", [1.0, 0.0], [0.0, 1.0]),
        ("y = sum(softmax([x[0], -inf, x[1]]) * [1, 5, 2])", [0.0, 0.0], [-0.25, 0.25]),
        ("y = mod(x[0], 2) + mod(7, x[1])", [4.0, 2.0], [1.0, -3.0]),
        ("y = floor(x[0]) + sign(x[1])", [1.0, 0.0], [0.0, 0.0]),
        ("y = where(norm(x) > 0, norm(x), 0)", [0.0, 0.0], [0.0, 0.0]),
        ("y = norm(x)", [3.0, 4.0], [0.6, 0.8]),
    ],
)
def test_corners_of_compiled_models(
    equation: str, x: list[float], wanted: list[float], backend: str
) -> None:
    source = f"model m():\n    input x: real[2]\n    {equation}\n    minimize y\n"
    fn = unfold.compile(source, backend=backend)
    with np.errstate(all="ignore"):
        _, grads = fn.value_and_grad({}, x=np.array(x), wrt="x")
        _, tangents = fn.jvp({}, {"x": np.array([1.0, 0.5])}, x=np.array(x))
    np.testing.assert_allclose(grads["x"], wanted, rtol=1e-12)
    assert float(tangents["y"]) == pytest.approx(wanted[0] + 0.5 * wanted[1], rel=1e-12)
