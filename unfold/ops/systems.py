r"""The linear algebra of small square matrices: systems, inverses, determinants, factors.

Derivatives are those of Giles, "Collected matrix derivative results for forward and reverse mode
algorithmic differentiation", 2008, and for the factor of Murray, "Differentiation of the Cholesky
decomposition", 2016. With ``Phi`` (`half_lower`) for the lower triangle with half the diagonal:

============ ==================================== =============================================
``solve``    ``dy = A^-1 (db - dA y)``            ``b_bar = A^-T y_bar``, ``A_bar = -b_bar y'``
``inv``      ``dY = -Y dA Y``                     ``A_bar = -Y' Y_bar Y'``
``logdet``   ``dy = sum(A^-T * dA)``              ``A_bar = y_bar A^-T``
``cholesky`` ``dL = L Phi(L^-1 dA L^-T)``         ``A_bar = L^-T Phi(L' L_bar) L^-1``, symmetric
============ ==================================== =============================================

What has no value is NaN, in every component and on every backend: the solution of a system whose
matrix is singular (a pivot is exactly 0, after exchanges of rows), and the factor of a matrix that
is not positive definite. `logdet` is ``log |det A|``, and -inf where the determinant is 0.
`cholesky` is that of the symmetric part ``(A + A') / 2``, so that its gradient is symmetric.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..expr import REAL, Call, Expr, Type
from ..poly import Shape, ShapeError, show_shape
from .linear import matmul, outer, transpose
from .record import Args, Attrs, Example, Op, add_all, sum_over, times

Array = NDArray[Any]

# --- what they mean ---------------------------------------------------------------------------


def _or_nan(function: Callable[..., Array], shape: tuple[int, ...], *args: Array) -> Array:
    """What a function gives, and NaN everywhere where it finds no value."""
    nothing = np.full(shape, np.nan, dtype=np.result_type(np.float32, *args))
    if np.isnan(args[0]).any():
        return nothing
    try:
        return function(*args)
    except np.linalg.LinAlgError:
        return nothing


def _solve_numpy(a: Array, b: Array) -> Array:
    return _or_nan(np.linalg.solve, np.shape(b), a, b)


def _inv_numpy(a: Array) -> Array:
    return _or_nan(np.linalg.inv, np.shape(a), a)


def _logdet_numpy(a: Array) -> Array:
    return np.linalg.slogdet(a)[1]


def _cholesky_numpy(a: Array) -> Array:
    return _or_nan(np.linalg.cholesky, np.shape(a), (a + np.transpose(a)) / 2)


def _half_lower_numpy(a: Array) -> Array:
    return (np.tril(a) + np.tril(a, -1)) / 2


# --- shapes -----------------------------------------------------------------------------------


def _square(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    """The shape of a square matrix, which the first operand must be."""
    a = args[0]
    for position, x in enumerate(args):
        if x.type.kind == "bool":
            raise ShapeError("numbers are needed here, not a truth value", (position,))
    if len(a.shape) != 2:
        kind = "a scalar" if not a.shape else f"of the shape {show_shape(a.shape)}"
        raise ShapeError(f"a square matrix is needed here, and this is {kind}", (0,))
    if a.shape[0] != a.shape[1]:
        raise ShapeError(
            f"only a square matrix will do, and this has {a.shape[0]} rows and "
            f"{a.shape[1]} columns", (0,)
        )  # fmt: skip
    return a.shape, REAL


def _number(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    _square(args, attrs)
    return (), REAL


def _solve_shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    (n, _), _ = _square(args, attrs)
    b = args[1]
    if len(b.shape) not in (1, 2):
        raise ShapeError("the right side of a linear system is a vector or a matrix", (1,))
    if b.shape[0] != n:
        parts = "components" if len(b.shape) == 1 else "rows"
        raise ShapeError(
            f"there are {n} equations, and the right side has {b.shape[0]} {parts}", (0, 1)
        )
    return b.shape, REAL


# --- builders ---------------------------------------------------------------------------------


def solve(a: Expr, b: Expr) -> Expr:
    """The ``x`` of ``a x = b``; each column of ``b`` by itself."""
    return Call("solve", (a, b), (), b.shape)


def inv(a: Expr) -> Expr:
    return Call("inv", (a,), (), a.shape)


def half_lower(a: Expr) -> Expr:
    """The lower triangle, with half the diagonal."""
    return Call("half_lower", (a,), (), a.shape)


# --- derivatives ------------------------------------------------------------------------------


def _solve_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    w = solve(transpose(args[0]), g)
    return -(outer(w, y) if len(y.shape) == 1 else matmul(w, transpose(y))), w


def _solve_jvp(tangents: tuple[Expr | None, ...], y: Expr, args: Args, attrs: Attrs) -> Expr | None:
    da, db = tangents
    terms = [x for x in (db, None if da is None else -matmul(da, y)) if x is not None]
    change = add_all(terms)
    return None if change is None else solve(args[0], change)


def _inv_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    turned = transpose(y)
    return (-matmul(matmul(turned, g), turned),)


def _inv_jvp(tangents: tuple[Expr | None, ...], y: Expr, args: Args, attrs: Attrs) -> Expr | None:
    (d,) = tangents
    return None if d is None else -matmul(matmul(y, d), y)


def _logdet_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    return (times(g, transpose(inv(args[0]))),)


def _logdet_jvp(
    tangents: tuple[Expr | None, ...], y: Expr, args: Args, attrs: Attrs
) -> Expr | None:
    (d,) = tangents
    return None if d is None else sum_over(transpose(inv(args[0])) * d, None)


def _cholesky_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    turned = transpose(y)
    once = solve(turned, half_lower(matmul(turned, g)))
    both = solve(turned, transpose(once))
    return ((both + transpose(both)) / 2.0,)


def _cholesky_jvp(
    tangents: tuple[Expr | None, ...], y: Expr, args: Args, attrs: Attrs
) -> Expr | None:
    (d,) = tangents
    if d is None:
        return None
    once = solve(y, (d + transpose(d)) / 2.0)
    return matmul(y, half_lower(solve(y, transpose(once))))


# --- examples ---------------------------------------------------------------------------------

ANY = (-1.0, 1.0)
Bounds = tuple[tuple[float, ...], ...]


def _around(n: int, diagonal: tuple[float, float], off: tuple[float, float]) -> tuple[Bounds, ...]:
    """An interval for each entry of a matrix of n rows: one for the diagonal, one for the rest."""
    return tuple(
        tuple(tuple((diagonal if i == j else off)[k] for j in range(n)) for i in range(n))
        for k in (0, 1)
    )


#: Well away from singular ones; the second and third cannot do without exchanges of rows.
_GENERAL = (
    (1, (((0.5,),), ((2.0,),))),
    (2, _around(2, (0.0, 0.0), (1.0, 2.0))),
    (3, (((0.0, 2.0, -0.5), (0.0, -0.5, 2.0), (2.0, -0.5, 0.0)),
         ((0.0, 3.0, 0.5), (0.0, 0.5, 3.0), (3.0, 0.5, 0.0)))),
    (4, _around(4, (3.0, 5.0), (-1.0, 1.0))),
    (6, _around(6, (-8.0, -6.0), (-1.0, 1.0))),
)  # fmt: skip
_POSITIVE = tuple((n, _around(n, (2.0, 4.0), (-0.5, 0.5))) for n in (1, 2, 3, 5))
_SYSTEMS = tuple(
    Example(((n, n), right), (where, ANY))
    for n, where in _GENERAL
    for right in ((n,), (n, 2))
)  # fmt: skip
_MATRICES = tuple(Example(((n, n),), (where,)) for n, where in _GENERAL)

OPS: tuple[Op, ...] = (
    Op("solve", 2, _solve_numpy, r"{0}^{{-1}}\, {1}", _SYSTEMS, _solve_shape, vjp=_solve_vjp,
       jvp=_solve_jvp, elementwise=False, mixes=True, diverges=lambda args: True),
    Op("inv", 1, _inv_numpy, "{0}^{{-1}}", _MATRICES, _square, vjp=_inv_vjp, jvp=_inv_jvp,
       elementwise=False, mixes=True, diverges=lambda args: True),
    Op("logdet", 1, _logdet_numpy, r"\log\left|\det {0}\right|", _MATRICES, _number,
       vjp=_logdet_vjp, jvp=_logdet_jvp, elementwise=False, mixes=True,
       diverges=lambda args: True),
    Op("cholesky", 1, _cholesky_numpy, r"\operatorname{{chol}}\left({0}\right)",
       tuple(Example(((n, n),), (where,)) for n, where in _POSITIVE), _square,
       vjp=_cholesky_vjp, jvp=_cholesky_jvp, elementwise=False, mixes=True,
       diverges=lambda args: True),
    # The lower triangle with half the diagonal, its own transpose: in derivatives of `cholesky`.
    Op("half_lower", 1, _half_lower_numpy, r"\Phi\left({0}\right)",
       (Example(((1, 1),), (ANY,)), Example(((3, 3),), (ANY,))), _square,
       vjp=lambda g, y, args, attrs: (half_lower(g),), elementwise=False),
)  # fmt: skip

__all__ = ["OPS", "half_lower", "inv", "solve"]
