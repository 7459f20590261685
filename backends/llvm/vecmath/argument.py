"""Reduction of an angle: ``x = n π/2 + r`` with ``|r| <= π/4``, r in two parts.

Up to a bound, π/2 in three parts is subtracted n times with fused multiplication (Cody and Waite
1980; the parts have all the digits that the worst cancellation in this range asks for). Larger
angles go through Payne and Hanek (1983): the bits of 2/π that matter for the exponent of x are
multiplied with its digits in integers. That is done lane by lane, in a branch that is entered
only if some lane is so large.
"""

from __future__ import annotations

import math

from ..body import BOOL, DOUBLE, INT, POINTER, Body, Type, Value, define
from .parts import Coefficients, magnitude, nearest_multiple

#: π/2 in three parts, each rounded to the format.
HALF_PI: Coefficients = {
    "float": (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    "double": (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
}
#: Where Payne and Hanek take over: n must stay exact in the multiplication by the first part.
LIMIT: Coefficients = {"float": (65536.0,), "double": (1048576.0,)}

_TABLE = "unfold.two_over_pi"
_WORDS = 21


def reduce(b: Body, x: Value) -> tuple[Value, Value, Value]:
    """(n mod 4 as an integer, r, what is to be added to r)."""
    first, second, third = HALF_PI[x.kind.element]
    n, k = nearest_multiple(b, x, math.pi / 2)
    exact = b.fma(n, -first, x)
    product = n * second
    lost = b.fma(n, second, -product)
    r = exact - product
    c = ((exact - r) - product) - lost - n * third
    large = magnitude(b, x).gt(LIMIT[x.kind.element][0])
    k, r, c = b.when(b.any(large), lambda: _reduce_large(b, x, large, k, r, c), (k, r, c))
    return k, r, c


def _reduce_large(
    b: Body, x: Value, large: Value, k: Value, r: Value, c: Value
) -> tuple[Value, Value, Value]:
    """The lanes that are ``large`` replaced by the result of `_payne_hanek`."""
    wide = x if x.kind.element == "double" else x.convert("fpext", "double")
    triple = Type("double", 4)
    define(b.module, "unfold.reduce_angle", triple, (DOUBLE,), _payne_hanek)

    def one(angle: Value) -> tuple[Value, Value, Value]:
        found = b.call("unfold.reduce_angle", triple, angle)
        n, high, low = (b.lane(found, i) for i in range(3))
        n = n.convert("fptosi", k.kind.element)
        if x.kind.element == "double":
            return n, high, low
        short = high.convert("fptrunc", "float")
        rest = (high - short.convert("fpext", "double")) + low
        return n, short, rest.convert("fptrunc", "float")

    lanes = x.kind.lanes
    if lanes == 1:
        return one(wide)

    def step(i: Value, values: list[Value]) -> list[Value]:
        def replace() -> list[Value]:
            fresh = one(b.lane(wide, i))
            return [b.with_lane(v, new, i) for v, new in zip(values, fresh, strict=True)]

        return b.when(b.lane(large, i), replace, values)

    k, r, c = b.loop(lanes, [k, r, c], step)
    return k, r, c


def _payne_hanek(b: Body) -> Value:
    """<n mod 4, r, rest, unused> of one double beyond 2^2; infinities and NaN give NaN."""
    x = b.args[0]
    bits = x.bits
    exponent = (bits >> 52) & 0x7FF
    digits = (bits & ((1 << 52) - 1)) | (1 << 52)
    # x = digits 2^(exponent - 1075). Bits of 2/π that weigh 4 or more after the multiplication
    # add whole turns; 192 bits from there on are enough. The table begins with 64 zero bits.
    start = exponent - (1075 + 2 - 64)
    word, shift = start >> 6, start & 63
    table = _table(b)
    words = [b.load(b.at(table, word + i, INT), INT) for i in range(4)]
    w0, w1, w2 = (b.intrinsic("fshl", words[i], words[i + 1], shift) for i in range(3))

    def wide(value: Value) -> Value:
        return value.convert("zext", "i128")

    def upper(value: Value) -> Value:
        return (value >> 64).convert("trunc", "i64")

    low = wide(digits) * wide(w2)
    middle = wide(digits) * wide(w1) + wide(upper(low))
    top = digits * w0 + upper(middle)
    # top holds n in its two upper bits, then the fraction; round n to the nearest.
    n = (top + (1 << 61)) >> 62
    whole = (wide(top) << 64) | wide(middle.convert("trunc", "i64"))
    fraction = (whole << 2) | wide(low.convert("trunc", "i64") >> 62)
    negative = fraction.lt(0)
    size = negative.select(-fraction, fraction)
    zeros = b.call("llvm.ctlz.i128", Type("i128"), size, b.const(BOOL, 1))
    size = size << zeros
    # Twice 53 digits of the fraction as floats, times π/2.
    high = (size >> 75).convert("trunc", "i64").convert("sitofp", "double")
    rest = ((size >> 22).convert("trunc", "i64") & ((1 << 53) - 1)).convert("sitofp", "double")
    unit = ((1023 - 53 - zeros.convert("trunc", "i64")) << 52).bits
    high, rest = high * unit, rest * (unit * 2.0**-53)
    first, second, _ = HALF_PI["double"]
    product = high * first
    lost = b.fma(high, first, -product) + (high * second + rest * first)
    total = product + lost
    lost = lost - (total - product)
    # The sign of the fraction, and of x.
    flip = (negative ^ x.lt(0.0)).select(-1.0, b.const(DOUBLE, 1.0))
    n = x.lt(0.0).select(-n, n) & 3
    broken = exponent.eq(0x7FF)
    total = broken.select(float("nan"), total * flip)
    result = b.vector(DOUBLE, [0.0] * 4)
    for lane, value in enumerate((n.convert("sitofp", "double"), total, lost * flip)):
        result = b.with_lane(result, value, lane)
    return result


def _table(b: Body) -> Value:
    """64 zero bits and then the bits of 2/π, as a constant of the module."""
    if _TABLE not in b.module.defined:
        b.module.defined.add(_TABLE)
        words = ", ".join(f"i64 {word}" for word in _two_over_pi())
        b.module.add(f"@{_TABLE} = internal constant [{_WORDS} x i64] [{words}]")
    return Value(b, POINTER, f"@{_TABLE}")


def _two_over_pi() -> list[int]:
    """By Machin's formula, π/4 = 4 arctan(1/5) - arctan(1/239), in whole numbers."""
    bits = 64 * (_WORDS - 1)
    one = 1 << (bits + 128)

    def arctan_of_inverse(n: int) -> int:
        power, total, k = one // n, 0, 1
        while power:
            total += (power // k) * (1 if k % 4 == 1 else -1)
            power //= n * n
            k += 2
        return total

    pi = 4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239))
    digits = ((2 * one) << bits) // pi
    return [(digits >> (bits - 64 * i)) & ((1 << 64) - 1) for i in range(_WORDS)]
