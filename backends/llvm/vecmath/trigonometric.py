"""sin, cos, tan: minimax polynomials on ``|r| <= π/4`` after the reduction of `argument`.

As in fdlibm (Ng, Sun Microsystems 1993) the second part of r enters through the derivative, and
``1 - r²/2`` is formed with the digits that its rounding loses.
"""

from __future__ import annotations

from ..body import Body, Value
from .argument import reduce
from .parts import Coefficients, format_of, polynomial

#: (sin(r) - r) / r³ in r²; below 2^-27.9 and 2^-57.9, relative to r.
SIN: Coefficients = {
    "float": (-0.16666655, 0.008332188, -0.00019518011),
    "double": (
        -0.16666666666666632, 0.008333333333322418, -0.0001984126982976719,
        2.7557313667464963e-06, -2.5050753083277958e-08, 1.5896448842929794e-10,
    ),
}  # fmt: skip

#: (cos(r) - 1 + r²/2) / r⁴ in r²; below 2^-33 and 2^-64.
COS: Coefficients = {
    "float": (0.041666646, -0.0013887301, 2.443067e-05),
    "double": (
        0.041666666666666595, -0.0013888888888873303, 2.4801587288947063e-05,
        -2.7557314191835464e-07, 2.087570071816051e-09, -1.1358444566097544e-11,
    ),
}  # fmt: skip


def _sin_parts(b: Body, r: Value, c: Value) -> tuple[Value, Value]:
    """sin(r + c) as r plus a small number."""
    z = r * r
    bend = b.madd(polynomial(b, z, SIN) * z, r, c)
    return r, b.madd(z * c, -0.5, bend)


def _cos_parts(b: Body, r: Value, c: Value) -> tuple[Value, Value]:
    """cos(r + c) as 1 - r²/2 plus a small number."""
    z = r * r
    half = z * 0.5
    w = 1.0 - half
    lost = (1.0 - w) - half
    # The square is rounded too: r² - z.
    lost = b.madd(b.fma(r, r, -z), -0.5, lost)
    return w, lost + b.madd(polynomial(b, z, COS), z * z, -(r * c))


def _quarter_turns(b: Body, k: Value, even: Value, odd: Value) -> Value:
    """``even`` or ``odd`` by the parity of k, negated where bit 1 of k is set."""
    chosen = (k & 1).eq(0).select(even, odd)
    f = format_of(even.kind)
    sign = (k & 2) << (f.stored + (f.bias + 1).bit_length() - 1)
    return (chosen.bits ^ sign).bits


def sin(b: Body, x: Value) -> Value:
    k, r, c = reduce(b, x)
    s, s_low = _sin_parts(b, r, c)
    w, w_low = _cos_parts(b, r, c)
    return x.eq(0.0).select(x, _quarter_turns(b, k, s + s_low, w + w_low))


def cos(b: Body, x: Value) -> Value:
    k, r, c = reduce(b, x)
    s, s_low = _sin_parts(b, r, c)
    w, w_low = _cos_parts(b, r, c)
    return _quarter_turns(b, k + 1, s + s_low, w + w_low)


def tan(b: Body, x: Value) -> Value:
    """sin / cos, or -cos / sin, both in two parts; the quotient is corrected by its remainder."""
    k, r, c = reduce(b, x)
    sine, cosine = (_renormalised(*p) for p in (_sin_parts(b, r, c), _cos_parts(b, r, c)))
    even = (k & 1).eq(0)
    top, top_low = even.select(sine[0], -cosine[0]), even.select(sine[1], -cosine[1])
    bottom, bottom_low = even.select(cosine[0], sine[0]), even.select(cosine[1], sine[1])
    inverse = 1.0 / bottom
    q = top * inverse
    remainder = b.fma(-q, bottom, top) + (top_low - q * bottom_low)
    return x.eq(0.0).select(x, b.madd(remainder, inverse, q))


def _renormalised(high: Value, low: Value) -> tuple[Value, Value]:
    total = high + low
    return total, low - (total - high)
