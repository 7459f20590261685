"""log, log1p, softplus.

``x = 2^k (1 + f)`` with 1 + f between √½ and √2; with ``s = f / (2 + f)`` the series of
``log(1 + f) = 2 artanh(s)`` is short, and written as in fdlibm (Ng, Sun Microsystems 1993) so that
the leading terms f - f²/2 carry no rounding error of s.
"""

from __future__ import annotations

from ..body import Body, Value
from .exponential import LN2, small_exp
from .parts import (
    Coefficients,
    at_least,
    format_of,
    integer_to_float,
    magnitude,
    polynomial,
    power_of_two,
    with_sign,
)

#: (2 artanh(s) / s - 2) / s² in s² for |s| < 0.1719; relative to 2 s below 2^-29 and 2^-58.4.
ARTANH: Coefficients = {
    "float": (0.66666776, 0.39977524, 0.29873458),
    "double": (
        0.6666666666666736, 0.39999999999400215, 0.28571428745966965, 0.2222219817726729,
        0.18183586148773545, 0.1531346365445908, 0.14802089579908403,
    ),
}  # fmt: skip

#: The bits of √½, less those of 1: what an exponent must be rounded by.
_SQRT_HALF = {"float": 0x3F3504F3, "double": 0x3FE6A09E667F3BCD}


def split(b: Body, x: Value) -> tuple[Value, Value]:
    """(k, m) with ``x = 2^k m``, m between √½ and √2, for positive normal x."""
    f = format_of(x.kind)
    lowest = _SQRT_HALF[x.kind.element]
    shifted = x.bits - lowest
    k = shifted.sar(f.stored)
    return k, (x.bits - (k << f.stored)).bits


def normalised(b: Body, x: Value) -> tuple[Value, Value]:
    """(x', correction of k): subnormal numbers scaled up into the normal ones."""
    f = format_of(x.kind)
    tiny = x.lt(f.smallest_normal)
    up = tiny.select(b.const(x.kind.bits, f.digits), b.const(x.kind.bits, 0))
    return tiny.select(x * 2.0**f.digits, x), up


def log_sum(b: Body, k: Value, f: Value) -> Value:
    """``k ln 2 + log(1 + f)``, k an integer, 1 + f between √½ and √2."""
    high, low = LN2[f.kind.element]
    s = f / (f + 2.0)
    z = s * s
    half = f * f * 0.5
    inner = s * b.madd(z, polynomial(b, z, ARTANH), half)
    n = integer_to_float(b, k)
    return b.madd(n, high, f - (half - b.madd(n, low, inner)))


def log(b: Body, x: Value) -> Value:
    scaled, up = normalised(b, x)
    k, m = split(b, scaled)
    found = log_sum(b, k - up, m - 1.0)
    found = x.gt(0.0).select(found, x.eq(0.0).select(-float("inf"), b.const(x.kind, float("nan"))))
    # An infinity, and NaN, are their own logarithms.
    return x.lt(float("inf")).select(found, x)


def log1p(b: Body, x: Value) -> Value:
    """As `log` of u = 1 + x, but ``f = 2^-k x + (2^-k - 1)`` is rounded once."""
    found = _log1p_normal(b, x)
    low = x.eq(-1.0).select(-float("inf"), b.const(x.kind, float("nan")))
    found = x.gt(-1.0).select(found, low)
    found = x.lt(float("inf")).select(found, x)
    # log1p(-0) is -0.
    return with_sign(b, found, x)


def _log1p_normal(b: Body, x: Value) -> Value:
    """log1p for x > -1, finite."""
    u = x + 1.0
    k, m = split(b, u)
    # Beyond 2^digits the 1 is lost anyway, and 2^-k may leave the normal numbers.
    large = k.gt(format_of(x.kind).digits)
    down = power_of_two(b, large.select(0, -k))
    return log_sum(b, k, large.select(m - 1.0, b.madd(x, down, down - 1.0)))


def softplus(b: Body, x: Value) -> Value:
    """``log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))``."""
    return at_least(x, 0.0) + _log1p_normal(b, small_exp(b, magnitude(b, x)))
