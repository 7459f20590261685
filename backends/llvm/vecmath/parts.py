"""What the functions share: formats, polynomials, powers of two, clamps."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..body import Body, Operand, Type, Value
from ..jit import host


@dataclass(frozen=True)
class Format:
    """A binary floating-point format: digits with the hidden one, and the exponent's offset."""

    digits: int
    bias: int

    @property
    def stored(self) -> int:
        """Digits that are stored, which is the shift of the exponent field."""
        return self.digits - 1

    @property
    def smallest_normal(self) -> float:
        return math.ldexp(1.0, 1 - self.bias)

    @property
    def magic(self) -> float:
        """Adding this to a small number leaves its nearest integer in the low bits."""
        return 1.5 * 2.0**self.stored

    @property
    def magic_bits(self) -> int:
        """The bits of `magic` as an integer."""
        return ((self.bias + self.stored) << self.stored) | (1 << (self.stored - 1))


FORMATS = {"float": Format(24, 127), "double": Format(53, 1023)}

#: Coefficients by the element type they are made for.
Coefficients = dict[str, tuple[float, ...]]


def format_of(kind: Type) -> Format:
    return FORMATS[kind.element]


def polynomial(b: Body, x: Value, coefficients: Coefficients) -> Value:
    """``c0 + c1 x + c2 x² + …`` by Estrin's scheme.

    Its chain of dependent operations is as long as the logarithm of the degree; Horner's is as
    long as the degree, and every function here is called where one result waits for the last.
    """
    terms: list[Operand] = list(coefficients[x.kind.element])
    power = x
    while len(terms) > 1:
        paired: list[Operand] = []
        for low, high in zip(terms[::2], terms[1::2], strict=False):
            factor = high if isinstance(high, Value) else b.const(x.kind, high)
            paired.append(b.madd(factor, power, low))
        if len(terms) % 2:
            paired.append(terms[-1])
        terms = paired
        if len(terms) > 1:
            power = power * power
    return b.like(x, terms[0])


def at_most(x: Value, bound: float) -> Value:
    """min(x, bound); NaN stays NaN because a comparison with it is false."""
    return x.gt(bound).select(bound, x)


def at_least(x: Value, bound: float) -> Value:
    """max(x, bound); NaN stays NaN."""
    return x.lt(bound).select(bound, x)


def magnitude(b: Body, x: Value) -> Value:
    return b.intrinsic("fabs", x)


def with_sign(b: Body, x: Value, sign: Value) -> Value:
    """The magnitude of ``x`` with the sign of ``sign``."""
    return b.intrinsic("copysign", x, sign)


def power_of_two(b: Body, k: Value) -> Value:
    """2^k for integers k in the range of normal numbers."""
    f = format_of(k.kind.bits)
    return ((k + f.bias) << f.stored).bits


def scale(b: Body, x: Value, k: Value) -> Value:
    """``x * 2^k`` with one rounding, also where 2^k or the result is no normal number."""
    if (b.module.target or host()).scales:
        return b.call(f"llvm.ldexp.{x.kind.suffix}.{k.kind.suffix}", x.kind, x, k)
    half = k.sar(1)
    return x * power_of_two(b, half) * power_of_two(b, k - half)


def shift(x: Value, k: Value) -> Value:
    """``x * 2^k`` where x and the result are normal numbers: k is added to the exponent.

    Only as many of the low bits of k count as an exponent has.
    """
    return (x.bits + (k << FORMATS[x.kind.element].stored)).bits


def integer_to_float(b: Body, k: Value) -> Value:
    """A small integer as a float of its size, on machines without the 64-bit conversion too."""
    f = format_of(k.kind.bits)
    return (k + f.magic_bits).bits - f.magic


def nearest_multiple(b: Body, x: Value, unit: float) -> tuple[Value, Value]:
    """The integer n nearest to ``x / unit``, not large, as a float and as an integer."""
    n, bits = nearest_bits(b, x, unit)
    return n, bits - format_of(x.kind).magic_bits


def nearest_bits(b: Body, x: Value, unit: float) -> tuple[Value, Value]:
    """The same, but of the integer only the low bits count: enough for `shift`."""
    magic = format_of(x.kind).magic
    shifted = b.madd(x, 1.0 / unit, magic)
    return shifted - magic, shifted.bits
