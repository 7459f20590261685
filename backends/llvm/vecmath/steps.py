"""What is exact: rounding to integers, remainders, the larger of two, signs.

All as NumPy has them. Integers are accepted by `absolute`, `sign`, `mod`, `floordiv`, `maximum`
and `minimum`; a division by the integer 0 gives 0, as in NumPy, and does not trap.
"""

from __future__ import annotations

from ..body import Body, Value
from .parts import magnitude, with_sign


def absolute(b: Body, x: Value) -> Value:
    return magnitude(b, x) if x.kind.is_float else x.lt(0).select(-x, x)


def sign(b: Body, x: Value) -> Value:
    """-1, 0 or 1; NaN for NaN."""
    if not x.kind.is_float:
        return x.gt(0).select(1, x.lt(0).select(-1, b.const(x.kind, 0)))
    nothing = x.is_nan().select(x, 0.0)
    return x.gt(0.0).select(1.0, x.lt(0.0).select(-1.0, nothing))


def maximum(b: Body, x: Value, y: Value) -> Value:
    """The larger; NaN if one of them is."""
    if not x.kind.is_float:
        return x.gt(y).select(x, y)
    if _is_number(y):
        x, y = y, x
    larger = x.gt(y).select(x, y)
    return larger if _is_number(x) else x.is_nan().select(x, larger)


def minimum(b: Body, x: Value, y: Value) -> Value:
    """The smaller; NaN if one of them is."""
    if not x.kind.is_float:
        return x.lt(y).select(x, y)
    if _is_number(y):
        x, y = y, x
    smaller = x.lt(y).select(x, y)
    return smaller if _is_number(x) else x.is_nan().select(x, smaller)


def _is_number(x: Value) -> bool:
    """Whether it is a constant and not NaN. Beside one, a single comparison keeps a NaN."""
    constant = not x.name.startswith("%") and "0x" in x.name
    return constant and "0x7FF8" not in x.name and "0xFFF8" not in x.name


def mod(b: Body, x: Value, y: Value) -> Value:
    """``x - floor(x / y) y`` without rounding, with the sign of y (Python's ``%``)."""
    return (_float_divmod if x.kind.is_float else _int_divmod)(b, x, y)[1]


def floordiv(b: Body, x: Value, y: Value) -> Value:
    """Python's ``//``."""
    return (_float_divmod if x.kind.is_float else _int_divmod)(b, x, y)[0]


def _int_divmod(b: Body, x: Value, y: Value) -> tuple[Value, Value]:
    # Division by 0 and of the smallest integer by -1 would trap.
    special = y.eq(0) | y.eq(-1)
    divisor = special.select(1, y)
    q, r = x / divisor, x.srem(divisor)
    down = r.ne(0) & (r ^ divisor).lt(0)
    q = down.select(q - 1, q)
    r = down.select(r + divisor, r)
    q = y.eq(0).select(0, y.eq(-1).select(0 - x, q))
    return q, special.select(0, r)


def _float_divmod(b: Body, x: Value, y: Value) -> tuple[Value, Value]:
    """NumPy's: the remainder is exact, the quotient rounded to an integer near (x - r) / y."""
    r = _remainder(b, x, y)
    nonzero = r.ne(0.0)
    down = nonzero & (r.lt(0.0) ^ y.lt(0.0))
    q = (x - r) / y
    q = down.select(q - 1.0, q)
    whole = b.intrinsic("floor", q)
    whole = (q - whole).gt(0.5).select(whole + 1.0, whole)
    whole = q.eq(0.0).select(with_sign(b, q, x / y), whole)
    r = nonzero.select(down.select(r + y, r), with_sign(b, r, y))
    return y.eq(0.0).select(x / y, whole), r


def _remainder(b: Body, x: Value, y: Value) -> Value:
    """x - trunc(x / y) y, exact, with the sign of x.

    With the quotient q of a and d rounded to a float, ``a - q d`` is a float (a remainder of a
    division is), found by one fused multiplication. One round takes away as many digits as a
    float has; nearly always the first is the last.
    """
    a, d = magnitude(b, x), magnitude(b, y)
    largest = {"float": 2.0**127, "double": 2.0**1023}[x.kind.element]
    total = _rounds(b, a, d, largest)
    total = total.lt(0.0).select(total + d, total)
    total = d.eq(float("inf")).select(a, total)
    bad = a.eq(float("inf")) | d.eq(0.0) | x.is_nan() | y.is_nan()
    return with_sign(b, bad.select(float("nan"), total), x)


def _rounds(b: Body, a: Value, d: Value, largest: float) -> Value:
    """A number between -d and d that differs from a by a multiple of d."""

    def step(values: list[Value]) -> tuple[Value, list[Value]]:
        (value,) = values
        # Where the quotient overflows, take away multiples of a multiple of d first (of another,
        # larger one where that quotient overflows as well: subnormal d).
        unit, size = d, magnitude(b, value)
        for factor in (largest, largest / 2.0**20):
            unit = (size / unit).gt(largest).select(unit * factor, unit)
        q = b.intrinsic("trunc", value / unit)
        following = b.fma(-q, unit, value)
        # Not for NaN: such lanes (a divisor 0, an infinity) do not ask for another round.
        return b.any(magnitude(b, following).ge(d) & d.gt(0.0)), [following]

    return b.repeat([a], step)[0]
