"""exp and what is made of it: expm1, sigmoid, tanh, sinh, cosh.

Reduction as Cody and Waite (1980): ``x = k ln 2 + r`` with ``|r| <= ln(2)/2`` and ln 2 in two
parts, the first with so few digits that its product with k is exact; then a minimax polynomial
(Remez, coefficients rounded one after the other) for ``(exp(r) - 1 - r) / r²``.
"""

from __future__ import annotations

import math

from ..body import Body, Value
from .parts import (
    Coefficients,
    at_least,
    at_most,
    format_of,
    magnitude,
    nearest_bits,
    nearest_multiple,
    polynomial,
    power_of_two,
    scale,
    shift,
    with_sign,
)

LN2: Coefficients = {
    "float": (0.693359375, -2.12194440e-4),
    "double": (6.93147180369123816490e-01, 1.90821492927058770002e-10),
}

#: (exp(r) - 1 - r) / r²; relative to r the error is below 2^-25.9 and 2^-61.4.
EXP: Coefficients = {
    "float": (0.5, 0.16666533, 0.04166634, 0.008367801, 0.0013953261),
    "double": (
        0.5, 0.16666666666666677, 0.041666666666666706, 0.0083333333333211,
        0.001388888888885843, 0.0001984126988804341, 2.480158738469996e-05,
        2.7557241823151945e-06, 2.755721732579666e-07, 2.5110001127746467e-08,
        2.093349951631807e-09,
    ),
}  # fmt: skip

#: exp(2 r) itself, of the same digits.
SQUARED_EXP: Coefficients = {
    kind: tuple(math.ldexp(c, n) for n, c in enumerate((1.0, 1.0, *rest)))
    for kind, rest in EXP.items()
}

#: (tanh(x) - x) / x³ in x² for |x| < 0.55; below 2^-29.8 and 2^-60.5.
TANH: Coefficients = {
    "float": (-0.3333332, 0.13332637, -0.053856865, 0.021088464, -0.0062960126),
    "double": (
        -0.333333333333333, 0.13333333333326833, -0.05396825396400057, 0.021869488394615822,
        -0.008863232761049894, 0.0035920937193702203, -0.0014555539040327686,
        0.0005884900147841886, -0.00023349645251100732, 8.347892231010815e-05,
        -1.9593367830636565e-05,
    ),
}  # fmt: skip

#: (sinh(x) - x) / x³ in x² for |x| < 1; below 2^-31.5 and 2^-60.5.
SINH: Coefficients = {
    "float": (0.16666667, 0.008333311, 0.00019842635, 2.7839253e-06),
    "double": (
        0.16666666666666669, 0.008333333333333139, 0.00019841269841354382,
        2.755731919650723e-06, 2.5052115472038817e-08, 1.605792129570353e-10,
        7.737526662290964e-13,
    ),
}  # fmt: skip

#: Beyond the first exp is 0, beyond the second it is infinite; k stays in reach of `scale`.
EXP_RANGE: Coefficients = {"float": (-104.0, 89.0), "double": (-746.0, 710.0)}
#: From here on down exp is no normal number.
EXP_TINY: Coefficients = {"float": (-87.0,), "double": (-708.0,)}
#: Beyond these expm1 is -1, or infinite.
EXPM1_RANGE: Coefficients = {"float": (-18.0, 89.0), "double": (-38.0, 710.0)}
#: Beyond this sinh and cosh are infinite.
COSH_END: Coefficients = {"float": (90.0,), "double": (711.0,)}
#: Beyond this tanh is 1.
TANH_END: Coefficients = {"float": (10.0,), "double": (20.0,)}


def _reduce(b: Body, x: Value) -> tuple[Value, Value, Value]:
    """(k, r, c) with ``x = k ln 2 + r + c``, c what rounding r has cost."""
    high, low = LN2[x.kind.element]
    n, k = nearest_multiple(b, x, math.log(2.0))
    exact = b.madd(n, -high, x)
    tail = n * -low
    r = exact + tail
    return k, r, tail - (r - exact)


def exp_bounded(b: Body, x: Value) -> tuple[Value, Value]:
    """(k, p) with ``exp(x) = 2^k p`` for x in the range of `EXP_RANGE`."""
    k, r, _ = _reduce(b, x)
    return k, b.madd(r * r, polynomial(b, r, EXP), r) + 1.0


def exp(b: Body, x: Value) -> Value:
    low, high = EXP_RANGE[x.kind.element]
    k, p = exp_bounded(b, at_least(at_most(x, high), low))
    return scale(b, p, k)


def expm1(b: Body, x: Value) -> Value:
    """``2^k (exp(r) - 1) + (2^k - 1)``, halved until the end so that 2^k does not overflow."""
    low, high = EXPM1_RANGE[x.kind.element]
    k, r, c = _reduce(b, at_least(at_most(x, high), low))
    e = r + b.madd(r * r, polynomial(b, r, EXP), c)
    half = power_of_two(b, k - 1)
    total = b.madd(e, half, half - 0.5) * 2.0
    # Where 2^k is large, 2^k - 1 is rounded: harmless. -0 would have become +0.
    return with_sign(b, total, x)


def small_exp(b: Body, a: Value) -> Value:
    """exp(-a) for a >= 0."""
    k, p = exp_bounded(b, at_least(-a, EXP_RANGE[a.kind.element][0]))
    return scale(b, p, k)


def sigmoid(b: Body, x: Value) -> Value:
    """``1 / (1 + e)`` or ``e / (1 + e)`` with e = exp(-|x|), which does not overflow.

    The rounding of 1 + e is put right after the division, as if 1 / (1 + e) were 1 for that: it
    nearly is where the quotient is small, and half a unit does not count where it is not.
    """
    high, low = LN2[x.kind.element]
    a = at_least(-magnitude(b, x), EXP_RANGE[x.kind.element][0])
    n, bits = nearest_bits(b, a, math.log(2.0))
    r = b.madd(n, -low, b.madd(n, -high, a))
    p = b.madd(r * r, polynomial(b, r, EXP), r) + 1.0
    # Gates are rarely so far closed that e is no normal number.
    e, *_ = b.when(
        b.any(a.lt(EXP_TINY[x.kind.element][0])),
        lambda: [scale(b, p, bits - format_of(x.kind).magic_bits)],
        [shift(p, bits)],
    )
    total = e + 1.0
    lost = e - (total - 1.0)
    q = x.lt(0.0).select(e, 1.0) / total
    return b.madd(-q, lost, q)


def tanh(b: Body, x: Value) -> Value:
    """A polynomial below 0.55, ``1 - 2 / (exp(2 |x|) + 1)`` above.

    What exp lacks counts less than half there, and less the larger it is: ln 2 is one number.
    """
    a = magnitude(b, x)
    bounded = at_most(a, TANH_END[x.kind.element][0])
    half = 0.5 * math.log(2.0)
    n, bits = nearest_bits(b, bounded, half)
    r = b.madd(n, -half, bounded)
    far = 1.0 - 2.0 / (shift(polynomial(b, r, SQUARED_EXP), bits) + 1.0)
    z = a * a
    near = b.madd(a * z, polynomial(b, z, TANH), a)
    return with_sign(b, a.ge(0.55).select(far, near), x)


def _half_exp(b: Body, a: Value) -> Value:
    """exp(a) / 2 for a >= 0."""
    k, p = exp_bounded(b, at_most(a, COSH_END[a.kind.element][0]))
    return scale(b, p, k - 1)


def cosh(b: Body, x: Value) -> Value:
    half = _half_exp(b, magnitude(b, x))
    return half + 0.25 / half


def sinh(b: Body, x: Value) -> Value:
    """A polynomial below 1, where the difference of exponentials would cancel."""
    a = magnitude(b, x)
    half = _half_exp(b, a)
    z = a * a
    near = b.madd(a * z, polynomial(b, z, SINH), a)
    return with_sign(b, a.lt(1.0).select(near, half - 0.25 / half), x)
