"""What is known before anything is computed: sizes, extents of axes, numbers.

A *size* is an integer polynomial in the sizes of the model's head (`4*H`), also those of a
sub-model (`enc.H`). The *extent* of an axis may speak of lengths as well (`T`, `0..S-1`).
"""

from __future__ import annotations

import math
from typing import Any

from ..poly import Poly
from ..syntax import tree as t
from .report import Failed, nearest
from .scope import Scope
from .spelling import CONSTANTS


class Unsolved(Exception):
    """The size of a sub-model that is not known yet."""


def size(scope: Scope, node: t.Expr) -> Poly:
    """A compile-time integer. Raises `Failed`, or `Unsolved` for the sizes of sub-models."""
    poly = _poly(scope, node, lengths=False)
    value = poly.constant
    if value is not None and value < 0:
        raise scope.report.error("E0307", "a size cannot be negative", (node.span, f"is {value}"))
    return poly


def extent(scope: Scope, node: t.Expr) -> Poly:
    """An end of an axis; a name that nothing else defines becomes a length."""
    return _poly(scope, node, lengths=True)


def _poly(scope: Scope, node: t.Expr, lengths: bool, lets: tuple[str, ...] = ()) -> Poly:
    if isinstance(node, t.Number):
        if isinstance(node.value, int):
            return Poly.const(node.value)
        raise scope.report.error(
            "E0307", "a size is a whole number", (node.span, "expected an integer")
        )
    if isinstance(node, t.Name):
        return _name(scope, node, lengths, lets)
    if isinstance(node, t.Unary) and node.operator in "+-":
        value = _poly(scope, node.operand, lengths, lets)
        return -value if node.operator == "-" else value
    if isinstance(node, t.Binary) and node.operator in ("+", "-", "*", "//", "/"):
        left = _poly(scope, node.left, lengths, lets)
        right = _poly(scope, node.right, lengths, lets)
        if node.operator == "+":
            return left + right
        if node.operator == "-":
            return left - right
        if node.operator == "*":
            return left * right
        divisor = right.constant
        quotient = left.divided(divisor) if divisor else None
        if quotient is not None:
            return quotient
        raise scope.report.error(
            "E0307",
            f"`{left}` does not divide by `{right}` for every value of its sizes",
            (node.span, "a size must be a whole number"),
            helps=[f"let the model's head name the quotient, `N` say, and write `{right}*N` for "
                   f"`{left}`"],
        )  # fmt: skip
    raise scope.report.error(
        "E0307",
        "a size is made of whole numbers and the sizes in the model's head",
        (node.span, "not a size"),
    )


def _name(scope: Scope, node: t.Name, lengths: bool, lets: tuple[str, ...]) -> Poly:
    name = node.text
    if name in scope.sizes:
        scope.used.add(name)
        return Poly.symbol(name)
    if name in scope.lets and not scope.lets[name].name.indices:
        if name in lets:
            raise Failed  # defined by itself, which is reported where all such circles are
        scope.used.add(name)
        return _poly(scope, scope.lets[name].value, lengths, (*lets, name))
    owner, _, member = name.rpartition(".")
    if owner in scope.instances and member in scope.instances[owner].program.sizes:
        solved = scope.instances[owner].symbols.get(member)
        if solved is None:
            raise Unsolved
        return solved
    if name in scope.lost:
        raise Failed
    if lengths and name not in scope.definitions and name not in scope.indices:
        scope.lengths.setdefault(name, node.span)
        return Poly.symbol(name)
    if name in scope.lengths or name in scope.indices:
        what = "a length" if name in scope.lengths else "an index"
        raise scope.report.error(
            "E0307",
            f"`{name}` is {what}, and a size must be known when the model is compiled",
            (node.span, "not a size"),
            helps=[f"what there is one of for each position is indexed instead: `x[t]: real`, "
                   f"not `x: real[{name}]`"],
        )  # fmt: skip
    if name in scope.constants:
        value = number(scope, scope.constants[name].value)
        scope.used.add(name)
        if isinstance(value, int):
            return Poly.const(value)
    near = nearest(name, scope.sizes)
    helps = [f"did you mean `{near}`?"] if near else []
    if not near and name[:1].islower():
        helps = ["sizes have upper-case names, and stand in the model's head"]
    elif not near and name.isidentifier():
        formals = ", ".join([*scope.sizes, name])
        helps = [
            f"sizes are listed in the model's head: `model {scope.model.name.text}({formals}):`"
        ]
    raise scope.report.error(
        "E0201", f"there is no size `{name}`", (node.span, "unknown"), helps=helps
    )


def number(scope: Scope, node: t.Expr) -> Any:
    """The number (or nested tuple of numbers) that a constant expression is.

    Integers stay integers. Raises `Failed`.
    """
    value = literal(scope, node)
    if value is None:
        raise scope.report.error(
            "E0212",
            "a number is needed here, known before the model runs",
            (node.span, "not a constant"),
        )
    return value


def literal(scope: Scope, node: t.Expr) -> Any:
    """As `number`; ``None`` if the expression is not constant."""
    if isinstance(node, t.Number):
        return node.value
    if isinstance(node, t.Name):
        if node.text in CONSTANTS:
            return CONSTANTS[node.text]
        if node.text in scope.constants:
            scope.used.add(node.text)
            return literal(scope, scope.constants[node.text].value)
        return None
    if isinstance(node, t.Stack):
        items = tuple(literal(scope, item) for item in node.items)
        return None if None in items else items
    if isinstance(node, t.Unary) and node.operator in "+-":
        value = literal(scope, node.operand)
        if value is None or isinstance(value, tuple):
            return None
        return -value if node.operator == "-" else value
    if isinstance(node, t.Binary):
        left, right = literal(scope, node.left), literal(scope, node.right)
        if left is None or right is None or isinstance(left, tuple) or isinstance(right, tuple):
            return None
        try:
            return _folded(node.operator, left, right)
        except (ZeroDivisionError, OverflowError):
            return None
    if isinstance(node, t.Call) and node.function.text in ("sqrt", "exp", "log"):
        values = [literal(scope, a) for a in node.arguments]
        if len(values) == 1 and isinstance(values[0], (int, float)):
            try:
                return float(getattr(math, node.function.text)(values[0]))
            except ValueError:
                return None
    return None


def _folded(operator: str, left: float, right: float) -> float | None:
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    if operator == "/":
        return left / right
    if operator == "//":
        return left // right
    return left**right if operator == "**" else None
