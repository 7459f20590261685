"""The value of a single expression: the shortest statement of what an expression means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from unfold.expr import NEUTRAL, Call, Const, Expr, Guard, Position, Reduce, Ref
from unfold.graph import NARY

from .values import constant, function, number, storage


def evaluate(
    e: Expr,
    env: Mapping[Any, Any],
    positions: Mapping[str, int] | None = None,
    dtype: str = "float64",
) -> Any:
    """Evaluate an expression.

    Args:
        e: without free sizes.
        env: the values of reads: ``env["W"]`` for a `Ref` without index, ``env["h", (3,)]`` with.
        positions: numbers for indices and lengths.

    Raises ``KeyError`` for a read, an index or a length that is not given.
    """
    with np.errstate(all="ignore"):
        return _value(e, env, dict(positions or {}), dtype, {})


def _value(
    e: Expr, env: Mapping[Any, Any], at: dict[str, int], dtype: str, memo: dict[Expr, Any]
) -> Any:
    if e not in memo:
        memo[e] = np.asarray(_compute(e, env, at, dtype, memo)).astype(storage(e.type, dtype))
    return memo[e]


def _compute(
    e: Expr, env: Mapping[Any, Any], at: dict[str, int], dtype: str, memo: dict[Expr, Any]
) -> Any:
    if isinstance(e, Const):
        return constant(e.value, e.shape, e.type, dtype)
    if isinstance(e, Position):
        return e.poly.evaluate(at)
    if isinstance(e, Ref):
        return env[e.name, tuple(p.evaluate(at) for p in e.index)] if e.index else env[e.name]
    if isinstance(e, Call):
        args = [_value(a, env, at, dtype, memo) for a in e.args]
        return function(e.op, dict(e.attrs))(*args)
    if isinstance(e, Guard):
        return _value(e.body, env, at, dtype, memo) if e.domain.contains(at) else _full(0.0, e)
    assert isinstance(e, Reduce)
    terms = []
    for point in e.domain.points(e.indices, at):
        inner = {**at, **dict(zip(e.indices, point, strict=True))}
        terms.append(_value(e.body, env, inner, dtype, {}))
    return NARY[f"reduce_{e.op}"].numpy(*terms) if terms else _full(NEUTRAL[e.op], e)


def _full(value: float, e: Expr) -> Any:
    return np.full(number(e.shape), value)
