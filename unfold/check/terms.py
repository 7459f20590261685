"""Pieces of a tree that the compiler writes itself, all at one place of the text."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import lcm

from ..schemes import Row
from ..syntax import tree as t
from ..syntax.span import Span

Items = tuple[t.Expr | t.Slice, ...]


class Terms:
    """Writes expressions and equations with the positions ``items`` and the span of a place."""

    def __init__(self, items: Items, span: Span) -> None:
        self.items = items
        self.span = span

    def at(self, span: Span) -> Terms:
        """The same, at another place of the text."""
        return Terms(self.items, span)

    def number(self, value: float) -> t.Expr:
        return t.Number(value, span=self.span)

    def read(self, name: str, *more: t.Expr) -> t.Name | t.Subscript:
        """An element of a variable at the positions, with ``more`` positions behind them."""
        head = t.Name(name, span=self.span)
        items = (*self.items, *more)
        return t.Subscript(head, items, span=self.span) if items else head

    def define(self, name: str, value: t.Expr, *more: t.Expr) -> t.Equation:
        return t.Equation((self.read(name, *more),), value, span=self.span)

    def binary(self, operator: str, left: t.Expr, right: t.Expr) -> t.Expr:
        return t.Binary(operator, left, right, span=self.span)  # type: ignore[arg-type]

    def times(self, *factors: t.Expr) -> t.Expr:
        product = factors[0]
        for factor in factors[1:]:
            product = self.binary("*", product, factor)
        return product

    def call(self, function: str, *arguments: t.Expr) -> t.Expr:
        return t.Call(t.Name(function, span=self.span), arguments, span=self.span)

    def compare(self, left: t.Expr, operator: str, right: t.Expr) -> t.Expr:
        return t.Comparison((operator,), (left, right), span=self.span)  # type: ignore[arg-type]

    def largest(self, *values: t.Expr) -> t.Expr:
        found = values[0]
        for value in values[1:]:
            found = self.call("max", found, value)
        return found

    def combination(self, weights: Row, slopes: Sequence[t.Expr]) -> t.Expr | None:
        """A weighted sum over its common denominator: ``(k1 + 2 * k2) / 6``; ``None`` for 0."""
        whole = lcm(*(w.denominator for w in weights)) if weights else 1
        total: t.Expr | None = None
        for weight, slope in zip(weights, slopes, strict=False):
            count = int(weight * Fraction(whole))
            if not count:
                continue
            if total is None:
                total = slope if count == 1 else self.times(self.number(count), slope)
                continue
            term = slope if abs(count) == 1 else self.times(self.number(abs(count)), slope)
            total = self.binary("+" if count > 0 else "-", total, term)
        if total is None or whole == 1:
            return total
        return self.binary("/", total, self.number(whole))

    def moved(self, start: t.Expr, step: t.Expr, slope: t.Expr | None) -> t.Expr:
        """``start + step * slope``"""
        return start if slope is None else self.binary("+", start, self.times(step, slope))


__all__ = ["Items", "Terms"]
