"""atan, asin, acos: one minimax polynomial each and the identities that lead to its range."""

from __future__ import annotations

from ..body import Body, Value
from .parts import Coefficients, format_of, magnitude, polynomial, with_sign

#: (atan(x) - x) / x³ in x² for |x| <= 1; below 2^-28.5 and 2^-57.2, relative to x.
ATAN: Coefficients = {
    "float": (
        -0.33333302, 0.19998638, -0.14265354, 0.10958521, -0.08422881, 0.058300134, -0.031525746,
        0.011103963, -0.0018364146,
    ),
    "double": (
        -0.33333333333333093, 0.19999999999955442, -0.1428571428280479, 0.11111111013773567,
        -0.09090907121988889, 0.07692281223821223, -0.06666415339416373, 0.058805948237510744,
        -0.05253816727061587, 0.04723334961332243, -0.04221836323966248, 0.03669612824400327,
        -0.029989980404196592, 0.022090913378268042, -0.014000739305111753, 0.00726766580270563,
        -0.0029216860595155125, 0.0008443600072555478, -0.00015499781357490694,
        1.351060698889139e-05,
    ),
}  # fmt: skip

#: (asin(x) - x) / x³ in x² for |x| <= 1/2; below 2^-27.5 and 2^-55.7, relative to x.
ASIN: Coefficients = {
    "float": (0.16666755, 0.0749519, 0.045484055, 0.024111135, 0.042283867),
    "double": (
        0.16666666666665347, 0.07500000000351982, 0.04464285681578929, 0.030381959659059238,
        0.022371745439079507, 0.017359896145821594, 0.01388333441691194, 0.01218175811482258,
        0.006473452881633911, 0.01967814042052504, -0.016460421114319217, 0.03207478807109406,
    ),
}  # fmt: skip

#: π/2 in two parts.
HALF_PI: Coefficients = {
    "float": (1.5707963705062866, -4.371138828673793e-08),
    "double": (1.5707963267948966, 6.123233995736766e-17),
}


def atan(b: Body, x: Value) -> Value:
    """``atan(x) = π/2 - atan(1/x)`` beyond 1."""
    a = magnitude(b, x)
    high, low = HALF_PI[x.kind.element]
    beyond = a.gt(1.0)
    t = beyond.select(1.0 / a, a)
    z = t * t
    bend = t * z * polynomial(b, z, ATAN)
    far = high - (t + (bend - low))
    return with_sign(b, beyond.select(far, t + bend), x)


def _upper(b: Body, a: Value) -> tuple[Value, Value]:
    """asin(s) for s = √((1 - a)/2), a in [1/2, 1], as s plus a small number (fdlibm's way).

    The root is squared exactly after half its digits are cut off, which gives its error.
    """
    z = (1.0 - a) * 0.5
    s = b.intrinsic("sqrt", z)
    half_the_digits = -(1 << ((format_of(a.kind).digits + 1) // 2))
    short = (s.bits & half_the_digits).bits
    divisor = s + short
    rest = divisor.gt(0.0).select((z - short * short) / divisor, 0.0)
    return short, b.madd(s * z, polynomial(b, z, ASIN), rest)


def asin(b: Body, x: Value) -> Value:
    """``asin(a) = π/2 - 2 asin(√((1 - a)/2))`` beyond 1/2; NaN outside of [-1, 1]."""
    a = magnitude(b, x)
    high, low = HALF_PI[x.kind.element]
    z = a * a
    near = b.madd(a * z, polynomial(b, z, ASIN), a)
    s, bend = _upper(b, a)
    far = high - (s * 2.0 + (bend * 2.0 - low))
    return with_sign(b, a.gt(0.5).select(far, near), x)


def acos(b: Body, x: Value) -> Value:
    """π/2 - asin(x) inside, 2 asin(√((1 - x)/2)) near 1, π minus that near -1."""
    a = magnitude(b, x)
    high, low = HALF_PI[x.kind.element]
    z = x * x
    near = high - (x - (low - x * z * polynomial(b, z, ASIN)))
    s, bend = _upper(b, a)
    up = (s + bend) * 2.0
    down = 2.0 * (high - (s + (bend - low)))
    far = x.gt(0.0).select(up, down)
    return a.gt(0.5).select(far, near)
