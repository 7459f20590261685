"""Integer polynomials in named symbols.

One small algebra serves everything that is counted in a program: the sizes of a shape (``H``,
``4*H``, ``heads*d``), positions on an axis (``t-1``, ``T+1-t``) and the bounds of a domain.
Positions and bounds are *affine* (no product of symbols); sizes need not be.

>>> t, T = Poly.symbol("t"), Poly.symbol("T")
>>> print(T + 1 - t)
T - t + 1
>>> print((t - 1).subs({"t": T}))
T - 1
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias, Union

from .intern import Value, remembered

Monomial: TypeAlias = "tuple[str, ...]"
PolyLike: TypeAlias = Union["Poly", int, str]


@dataclass(frozen=True, eq=False)
class Poly(Value):
    """A polynomial with integer coefficients; ``terms`` maps sorted monomials to them.

    The empty monomial ``()`` is the constant. Zero coefficients are never kept and the order of
    the terms is canonical, so that equal polynomials are one object.
    """

    terms: tuple[tuple[Monomial, int], ...] = ()

    @staticmethod
    def const(value: int) -> Poly:
        """The constant ``value``."""
        return _constant(int(value))

    @staticmethod
    def symbol(name: str) -> Poly:
        """The polynomial that is one symbol."""
        return _symbol(name)

    @staticmethod
    def of(value: PolyLike) -> Poly:
        """An integer, the name of a symbol, or a polynomial, as a polynomial."""
        if isinstance(value, Poly):
            return value
        return _symbol(value) if isinstance(value, str) else _constant(int(value))

    @staticmethod
    def _from(items: Iterable[tuple[Monomial, int]]) -> Poly:
        total: dict[Monomial, int] = {}
        for mono, coef in items:
            total[mono] = total.get(mono, 0) + coef
        return Poly(tuple(sorted((m, c) for m, c in total.items() if c)))

    def __add__(self, other: PolyLike) -> Poly:
        return _sum(self, other if isinstance(other, Poly) else Poly.of(other))

    __radd__ = __add__

    def __neg__(self) -> Poly:
        return _negative(self)

    def __sub__(self, other: PolyLike) -> Poly:
        return _sum(self, _negative(other if isinstance(other, Poly) else Poly.of(other)))

    def __rsub__(self, other: PolyLike) -> Poly:
        return Poly.of(other) - self

    def __mul__(self, other: PolyLike) -> Poly:
        return _product(self, Poly.of(other))

    __rmul__ = __mul__

    def divided(self, divisor: int) -> Poly | None:
        """The quotient if every coefficient divides, else ``None``."""
        if divisor == 0 or any(c % divisor for _, c in self.terms):
            return None
        return Poly(tuple((m, c // divisor) for m, c in self.terms))

    @cached_property
    def constant(self) -> int | None:
        """The value of a polynomial without symbols, else ``None``."""
        if not self.terms:
            return 0
        if len(self.terms) == 1 and self.terms[0][0] == ():
            return self.terms[0][1]
        return None

    @property
    def offset(self) -> int:
        """The constant term."""
        return self.coefficient(())

    @cached_property
    def symbols(self) -> frozenset[str]:
        """The names of all symbols."""
        return frozenset(s for mono, _ in self.terms for s in mono)

    @cached_property
    def is_affine(self) -> bool:
        """Whether no term multiplies two symbols."""
        return all(len(mono) <= 1 for mono, _ in self.terms)

    @cached_property
    def as_symbol(self) -> str | None:
        """The name, if the polynomial is just one symbol."""
        if len(self.terms) == 1 and self.terms[0][1] == 1 and len(self.terms[0][0]) == 1:
            return self.terms[0][0][0]
        return None

    def coefficient(self, mono: Monomial | str) -> int:
        """The coefficient of a monomial (a symbol's name for a linear one)."""
        return self._coefficients.get((mono,) if isinstance(mono, str) else mono, 0)

    @cached_property
    def _coefficients(self) -> dict[Monomial, int]:
        return dict(self.terms)

    def subs(self, values: Mapping[str, PolyLike]) -> Poly:
        """Replace symbols by polynomials (simultaneously)."""
        used = tuple((s, Poly.of(values[s])) for s in self.symbols if s in values)
        return _substituted(self, used) if used else self

    def evaluate(self, values: Mapping[str, int]) -> int:
        """The number for given symbols. Raises ``KeyError`` naming one that is missing."""
        total = 0
        for mono, coef in self.terms:
            for s in mono:
                coef *= values[s]
            total += coef
        return total

    def __str__(self) -> str:
        if not self.terms:
            return "0"
        # Positive terms first, symbols before the constant: `T - t + 1`.
        ordered = sorted(self.terms, key=lambda mc: (mc[0] == (), mc[1] < 0, mc[0]))
        text = ""
        for mono, coef in ordered:
            body = "*".join(mono)
            size = abs(coef)
            factor = body if body and size == 1 else (f"{size}*{body}" if body else str(size))
            if not text:
                text = f"-{factor}" if coef < 0 else factor
            else:
                text += f" - {factor}" if coef < 0 else f" + {factor}"
        return text

    def compact(self) -> str:
        """As ``str`` without blanks, the form used inside index brackets: ``t-1``."""
        return str(self).replace(" ", "")


@remembered
def _constant(value: int) -> Poly:
    return Poly((((), value),)) if value else Poly()


@remembered
def _symbol(name: str) -> Poly:
    return Poly((((name,), 1),))


@remembered
def _sum(p: Poly, q: Poly) -> Poly:
    return Poly._from((*p.terms, *q.terms))


@remembered
def _negative(p: Poly) -> Poly:
    return Poly(tuple((m, -c) for m, c in p.terms))


@remembered
def _product(p: Poly, q: Poly) -> Poly:
    return Poly._from((tuple(sorted(m + n)), c * d) for m, c in p.terms for n, d in q.terms)


@remembered
def _substituted(p: Poly, values: tuple[tuple[str, Poly], ...]) -> Poly:
    at = dict(values)
    total = Poly()
    for mono, coef in p.terms:
        product = Poly.const(coef)
        for s in mono:
            product = product * at.get(s, Poly.symbol(s))
        total = total + product
    return total


ONE = Poly.const(1)
Shape: TypeAlias = "tuple[Poly, ...]"


class ShapeError(Exception):
    """Operand shapes or types that do not fit; the message speaks of the operands by position.

    ``arguments`` are the positions of the operands to blame.
    """

    def __init__(self, message: str, arguments: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.arguments = arguments


def show_shape(shape: Shape) -> str:
    """``[H, D]``; a scalar is the empty string."""
    return "[" + ", ".join(str(n) for n in shape) + "]" if shape else ""


def broadcast(*shapes: Shape) -> Shape:
    """The common shape of element-wise operands, by NumPy's rule over trailing axes.

    A size fits an equal size or 1. Raises `ShapeError` where sizes differ.
    """
    rank = max((len(s) for s in shapes), default=0)
    result: list[Poly] = []
    for axis in range(rank):
        size = ONE
        for position, shape in enumerate(shapes):
            at = axis - (rank - len(shape))
            if at < 0 or shape[at] == ONE:
                continue
            if size == ONE:
                size = shape[at]
            elif size != shape[at]:
                raise ShapeError(
                    f"sizes {size} and {shape[at]} do not fit element by element", (position,)
                )
        result.append(size)
    return tuple(result)
