"""Functions of the language that are compositions of primitives.

They are expanded when a program is read, so that neither derivatives nor backends know of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..expr import Expr
from ..poly import Poly, ShapeError
from .record import compare, expand, fn, size_value, sum_over, where


def _count(a: Expr, axis: int | None) -> Expr:
    total = Poly.const(1)
    for n in a.shape if axis is None else (a.shape[axis],):
        total = total * n
    return size_value(total)


def mean(a: Expr, axis: int | None = None) -> Expr:
    """The mean of all components, or along one axis."""
    if not a.shape:
        raise ShapeError("a scalar has no components to reduce", (0,))
    return sum_over(a, axis) / _count(a, axis)


def var(a: Expr, axis: int | None = None) -> Expr:
    """The variance (divided by n, as layer normalisation wants it)."""
    centre = mean(a, axis)
    spread = centre if axis is None else expand(centre, axis, a.shape)
    return mean((a - spread) ** 2.0, axis)


def norm(a: Expr, axis: int | None = None) -> Expr:
    """The Euclidean norm."""
    if not a.shape:
        raise ShapeError("a scalar has no components to reduce", (0,))
    return fn("sqrt", sum_over(a * a, axis))


def silu(x: Expr) -> Expr:
    """x sigmoid(x) (Elfwing et al. 2018; Ramachandran et al. 2017: swish)."""
    return x * fn("sigmoid", x)


def gelu(x: Expr) -> Expr:
    """x Phi(x) with the normal distribution function Phi (Hendrycks and Gimpel 2016)."""
    return 0.5 * x * (1.0 + fn("erf", x / math.sqrt(2.0)))


def leaky_relu(x: Expr, slope: Expr | float = 0.01) -> Expr:
    """x for x > 0, else slope * x."""
    return where(compare("gt", x, 0.0), x, x * slope)


def elu(x: Expr) -> Expr:
    """x for x > 0, else exp(x) - 1 (Clevert et al. 2015)."""
    return where(compare("gt", x, 0.0), x, fn("expm1", fn("minimum", x, 0.0)))


def clip(x: Expr, lo: Expr | float, hi: Expr | float) -> Expr:
    """x kept between lo and hi."""
    return fn("maximum", lo, fn("minimum", x, hi))


def logit(p: Expr) -> Expr:
    """log(p / (1 - p))."""
    return fn("log", p) - fn("log1p", -p)


#: name -> (function, number of operands from..to, whether it takes ``axis``)
DEFINITIONS: dict[str, tuple[Callable[..., Expr], int, int, bool]] = {
    "mean": (mean, 1, 1, True),
    "var": (var, 1, 1, True),
    "norm": (norm, 1, 1, True),
    "silu": (silu, 1, 1, False),
    "gelu": (gelu, 1, 1, False),
    "leaky_relu": (leaky_relu, 1, 2, False),
    "elu": (elu, 1, 1, False),
    "clip": (clip, 3, 3, False),
    "logit": (logit, 1, 1, False),
}
