"""x^y, with the special cases of C99 (IEEE 754 `pow`).

The logarithm is formed with about 68 digits (double-double arithmetic with fused multiplication;
Dekker 1971), since y multiplies its relative error. Floats are raised as doubles, where the
plain logarithm is exact enough.
"""

from __future__ import annotations

import math

from ..body import Body, Value
from .exponential import EXP, EXP_RANGE, LN2, exp_bounded
from .logarithm import log_sum, normalised, split
from .parts import (
    Coefficients,
    at_least,
    at_most,
    integer_to_float,
    magnitude,
    nearest_multiple,
    polynomial,
    scale,
)

Pair = tuple[Value, Value]

#: (2 artanh(s)/s - 2 - 2 s²/3) / s⁴ in s² for |s| < 0.1719; times s⁴ below 2^-65.
ARTANH_TAIL: Coefficients = {
    "double": (
        0.4000000000000232, 0.28571428570067176, 0.22222222525843605, 0.1818178383475265,
        0.15386782558938406, 0.13256213674360434, 0.13202087431247483,
    ),
}  # fmt: skip
#: 2/3 in two parts, and what ln 2 leaves after the two parts of LN2.
TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)
LN2_REST = 1.1612227229362532e-26


def power(b: Body, x: Value, y: Value) -> Value:
    if x.kind.element == "float":
        wide = (v.convert("fpext", "double") for v in (x, y))
        return _power(b, *wide, exact=False).convert("fptrunc", "float")
    return _power(b, x, y, exact=True)


def _power(b: Body, x: Value, y: Value, *, exact: bool) -> Value:
    """x^y in double; ``exact`` to the last digit or to about 40 digits."""
    a = magnitude(b, x)
    low, high = EXP_RANGE["double"]
    if exact:
        product, rest = _times(b, _log_pair(b, a), y)
        # Beyond the range the sum is clamped and the rest would be NaN or noise.
        inside = magnitude(b, product).lt(1000.0)
        size = _exp_pair(b, at_least(at_most(product, high), low), inside.select(rest, 0.0))
    else:
        scaled, up = normalised(b, a)
        k, m = split(b, scaled)
        logarithm = log_sum(b, k - up, m - 1.0)
        k, p = exp_bounded(b, at_least(at_most(logarithm * y, high), low))
        size = scale(b, p, k)
    return _special(b, x, y, a, size)


def _special(b: Body, x: Value, y: Value, a: Value, size: Value) -> Value:
    """The right answer where logarithms have none, given |x|^y elsewhere."""
    infinity = float("inf")
    size_y = magnitude(b, y)
    # |x| = 0 or infinite: 0 or infinity by the sign of y.
    grows = a.gt(1.0) ^ y.lt(0.0)
    extreme = grows.select(infinity, b.const(x.kind, 0.0))
    size = (a.eq(0.0) | a.eq(infinity) | (size_y.eq(infinity))).select(extreme, size)
    size = (a.eq(1.0) & size_y.eq(infinity)).select(1.0, size)
    # A negative base: defined for integers y, negative for odd ones.
    whole = b.intrinsic("floor", y).eq(y)
    halved = y * 0.5
    odd = whole & b.intrinsic("floor", halved).ne(halved) & size_y.lt(infinity)
    negative = x.bits.lt(0)
    size = (negative & odd).select(-size, size)
    undefined = x.lt(0.0) & (a.lt(infinity)) & (whole ^ b.const(whole.kind, 1))
    size = undefined.select(float("nan"), size)
    size = (x.is_nan() | y.is_nan()).select(float("nan"), size)
    return (x.eq(1.0) | y.eq(0.0)).select(1.0, size)


def _log_pair(b: Body, a: Value) -> Pair:
    """log(a) in two parts for positive a."""
    scaled, up = normalised(b, a)
    k, m = split(b, scaled)
    f = m - 1.0
    # s = f / (2 + f) in two parts; 2 + f is rounded once, and its error is known.
    bottom = f + 2.0
    bottom_rest = f - (bottom - 2.0)
    inverse = 1.0 / bottom
    s = f * inverse
    s_rest = (b.fma(-s, bottom, f) - s * bottom_rest) * inverse
    z = s * s
    z_rest = b.fma(s, s, -z) + s * s_rest * 2.0
    # 2/3 + z (2/5 + …), then times s³, plus 2 s.
    tail = z * polynomial(b, z, ARTANH_TAIL)
    c = tail + TWO_THIRDS[0]
    c_rest = (tail - (c - TWO_THIRDS[0])) + TWO_THIRDS[1]
    cube = _product(b, (s, s_rest), (z, z_rest))
    bend = _product(b, cube, (c, c_rest))
    inner = _sum((s * 2.0, s_rest * 2.0), bend)
    high, low = LN2["double"]
    n = integer_to_float(b, k - up)
    step = n * low
    step_rest = b.madd(n, LN2_REST, b.fma(n, low, -step))
    return _sum(
        _sum((n * high, b.const(a.kind, 0.0)), (step, step_rest), ordered=False),
        inner,
        ordered=False,
    )


def _product(b: Body, u: Pair, v: Pair) -> Pair:
    """The product of two pairs."""
    high = u[0] * v[0]
    return high, b.fma(u[0], v[0], -high) + (u[0] * v[1] + u[1] * v[0])


def _times(b: Body, u: Pair, y: Value) -> Pair:
    high = u[0] * y
    return high, b.madd(u[1], y, b.fma(u[0], y, -high))


def _sum(u: Pair, v: Pair, *, ordered: bool = True) -> Pair:
    """The sum of two pairs; ``ordered``: the first is known to be the larger."""
    high = u[0] + v[0]
    if ordered:
        rest = v[0] - (high - u[0])
    else:
        part = high - u[0]
        rest = (u[0] - (high - part)) + (v[0] - part)
    rest = rest + (u[1] + v[1])
    total = high + rest
    return total, rest - (total - high)


def _exp_pair(b: Body, x: Value, rest: Value) -> Value:
    """exp(x + rest) for x in the range of `EXP_RANGE`."""
    high, low = LN2["double"]
    n, k = nearest_multiple(b, x, math.log(2.0))
    exact = b.madd(n, -high, x)
    tail = b.madd(n, -low, rest)
    r = exact + tail
    c = tail - (r - exact)
    # 1 + r keeps the digits that its rounding loses.
    whole = r + 1.0
    lost = (r - (whole - 1.0)) + c
    return scale(b, whole + b.madd(r * r, polynomial(b, r, EXP), lost), k)
