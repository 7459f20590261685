"""Loops over the table of ops: whatever is forgotten in a record fails with the op's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from unfold.backends.numpy import evaluate
from unfold.expr import BOOL, REAL, Call, Expr, Ref, Type, lift, walk
from unfold.graph import NARY
from unfold.ops import OPS, Example, Op
from unfold.ops.record import broadcast_to
from unfold.poly import Poly

Array = NDArray[Any]
RECORDS: dict[str, Op] = OPS | NARY
CASES = [
    pytest.param(op, example, id=f"{name}-{k}")
    for name, op in RECORDS.items()
    for k, example in enumerate(op.examples)
]
SMOOTH = [
    pytest.param(op, example, id=f"{name}-{k}")
    for name, op in RECORDS.items()
    if op.partials or op.vjp is not None
    for k, example in enumerate(op.examples)
]


class Sample:
    """Operands of an op, drawn from where its example says, and the call that takes them."""

    def __init__(self, op: Op, example: Example, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.op = op
        self.attrs = dict(example.attrs)
        self.args: tuple[Expr, ...] = ()
        self.env: dict[Any, Array] = {}
        for k, (shape, where) in enumerate(zip(example.shapes, example.ranges, strict=True)):
            name = f"a{k}"
            sizes = tuple(Poly.const(n) for n in shape)
            if where == "bool":
                kind, value = BOOL, np.asarray(rng.integers(0, 2, shape) == 1)
            elif where[0] == "int":
                kind, value = Type("int", Poly.const(where[1])), rng.integers(0, where[1], shape)
            else:
                kind, value = REAL, rng.uniform(*where, shape)
            self.args += (Ref(name, (), sizes, kind),)
            self.env[name] = np.asarray(value)

    @property
    def call(self) -> Expr:
        shape, kind = self.op.infer(self.args, self.attrs)
        return Call(self.op.name, self.args, tuple(sorted(self.attrs.items())), shape, kind)

    @property
    def real(self) -> list[int]:
        """Which operands a derivative can be taken in."""
        return [k for k, a in enumerate(self.args) if a.is_real]

    def random(self, name: str, like: Expr, seed: int) -> Ref:
        """A placeholder with random values, of the shape of an expression."""
        shape = tuple(n.evaluate({}) for n in like.shape)
        self.env[name] = np.asarray(np.random.default_rng(seed).normal(size=shape))
        return Ref(name, (), like.shape, REAL)


def dot(a: Array, b: Array) -> float:
    return float(np.sum(np.asarray(a) * np.asarray(b)))


def differences(e: Expr, env: Mapping[Any, Array], at: str, direction: Array) -> Array:
    """The derivative of an expression along ``direction``, by fourth-order differences."""
    step = 1e-3

    def value(shift: float) -> Array:
        return np.asarray(evaluate(e, {**env, at: env[at] + shift * step * direction}), float)

    return (8 * (value(1) - value(-1)) - (value(2) - value(-2))) / (12 * step)


def has_kinks(op: Op, env: Mapping[Any, Array]) -> bool:
    """Whether the samples stand so near a step that differences would cross it."""
    stepped = {"floor", "ceil", "round", "mod", "floordiv"}
    if op.name not in stepped:
        return False
    ratio = env["a0"] / env["a1"] if op.arity == 2 else env["a0"]
    grids = (1.0, 0.5)
    return any(np.any(np.abs(ratio / n - np.round(ratio / n)) < 1e-2) for n in grids)


@pytest.mark.parametrize("name", RECORDS)
def test_every_op_has_a_meaning_a_formula_and_examples(name: str) -> None:
    op = RECORDS[name]
    assert op.name == name
    assert callable(op.numpy)
    assert op.latex
    assert op.examples, f"{name} has no examples, so that nothing of it is tested"
    for example in op.examples:
        assert len(example.shapes) == len(example.ranges), name
        if op.arity is not None:
            assert len(example.shapes) == op.arity, name
    if op.partials:
        assert op.vjp is None, f"{name}: partials or vjp, not both"
        assert len(op.partials) == op.arity, f"{name}: one partial for each operand"
        assert op.elementwise, f"{name}: partials are for element-wise ops"


@pytest.mark.parametrize(("op", "example"), CASES)
def test_the_shape_rule_foretells_what_numpy_returns(op: Op, example: Example) -> None:
    sample = Sample(op, example)
    call = sample.call
    attrs = {k: _number(v) for k, v in sample.attrs.items()}
    value = np.asarray(op.numpy(*(sample.env[f"a{k}"] for k in range(len(sample.args))), **attrs))
    assert value.shape == tuple(n.evaluate({}) for n in call.shape)
    kinds = {"real": "f", "int": "i", "bool": "b"}
    assert value.dtype.kind == kinds[call.type.kind], f"{op.name} returns {value.dtype}"


def _number(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_number(v) for v in value)
    return value.evaluate({}) if isinstance(value, Poly) else value


def cotangent(sample: Sample, g: Expr, operand: int) -> Expr | None:
    call = sample.call
    return sample.op.cotangents(g, call, sample.args, sample.attrs)[operand]


def tangent(sample: Sample, directions: dict[int, Expr]) -> Expr | None:
    call = sample.call
    given = tuple(directions.get(k) for k in range(len(sample.args)))
    return sample.op.tangent(given, call, sample.args, sample.attrs)


@pytest.mark.parametrize(("op", "example"), SMOOTH)
def test_the_reverse_rule_agrees_with_differences(op: Op, example: Example) -> None:
    for seed in range(3):
        sample = Sample(op, example, seed)
        if has_kinks(op, sample.env):
            continue
        call = sample.call
        g = sample.random("g", call, 10 + seed)
        for k in sample.real:
            e = cotangent(sample, g, k)
            direction = np.random.default_rng(seed).normal(size=sample.env[f"a{k}"].shape)
            slope = differences(call, sample.env, f"a{k}", direction)
            found = 0.0 if e is None else dot(evaluate(e, sample.env), direction)
            assert found == pytest.approx(dot(sample.env["g"], slope), rel=1e-7, abs=1e-7)
            if e is not None:
                assert e.shape == sample.args[k].shape


@pytest.mark.parametrize(("op", "example"), SMOOTH)
def test_the_forward_rule_agrees_with_differences(op: Op, example: Example) -> None:
    for seed in range(3):
        sample = Sample(op, example, seed)
        if has_kinks(op, sample.env):
            continue
        call = sample.call
        for k in sample.real:
            d = sample.random("d", sample.args[k], 20 + seed)
            e = tangent(sample, {k: d})
            slope = differences(call, sample.env, f"a{k}", sample.env["d"])
            found = np.zeros_like(slope) if e is None else evaluate(e, sample.env)
            np.testing.assert_allclose(found, slope, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(("op", "example"), SMOOTH)
def test_forward_and_reverse_rule_are_transposes(op: Op, example: Example) -> None:
    sample = Sample(op, example)
    g = sample.random("g", sample.call, 1)
    directions: dict[int, Expr] = {
        k: sample.random(f"d{k}", sample.args[k], 2 + k) for k in sample.real
    }
    forward = tangent(sample, directions)
    left = 0.0 if forward is None else dot(sample.env["g"], evaluate(forward, sample.env))
    right = 0.0
    for k in sample.real:
        e = cotangent(sample, g, k)
        right += 0.0 if e is None else dot(evaluate(e, sample.env), sample.env[f"d{k}"])
    assert left == pytest.approx(right, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("op", "example"), SMOOTH)
def test_the_derivative_can_be_differentiated_again(op: Op, example: Example) -> None:
    sample = Sample(op, example)
    assert not has_kinks(op, sample.env), "choose another seed"
    g = sample.random("g", sample.call, 1)
    for k in sample.real:
        first = cotangent(sample, g, k)
        if first is None:
            continue
        for j in sample.real:
            direction = np.random.default_rng(j).normal(size=sample.env[f"a{j}"].shape)
            slope = differences(first, sample.env, f"a{j}", direction)
            second = forward(first, f"a{j}", direction, sample.env)
            np.testing.assert_allclose(second, slope, rtol=1e-6, atol=1e-6)


def forward(e: Expr, at: str, direction: Array, env: Mapping[Any, Array]) -> Array:
    """The tangent of a whole expression by the forward rules of its ops."""
    sizes = tuple(Poly.const(n) for n in direction.shape)
    d = Ref("direction", (), sizes, REAL)
    known: dict[Expr, Expr | None] = {}
    for node in walk(e):
        if isinstance(node, Ref):
            known[node] = d if node.name == at else None
        elif isinstance(node, Call):
            given = tuple(known[a] for a in node.args)
            known[node] = None
            if any(x is not None for x in given):
                known[node] = RECORDS[node.op].tangent(given, node, node.args, dict(node.attrs))
        else:
            known[node] = None
    total = known[e]
    value = broadcast_to(lift(0.0), e.shape) if total is None else total
    return np.asarray(evaluate(value, {**env, "direction": direction}))
