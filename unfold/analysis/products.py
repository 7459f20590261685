"""Long products of matrices, kept away from underflow and overflow.

    P_k = J_T J_{T-1} … J_{T-k+1}        k = 1, 2, …, T

A plain product loses every singular value that is smaller than 1e-16 of the largest one, and after
some hundred steps the largest as well. Here the transposed product is kept as `Q D U`: Q
orthogonal, D diagonal and in logarithms, U upper triangular with a unit diagonal, multiplied from
the left by one QR decomposition a step (Benettin et al., "Lyapunov characteristic exponents",
Meccanica 15, 1980; the graded form is that of Loh et al., "Stable numerical simulations of models
of interacting electrons", 1989). The singular values of `D U` are found to high *relative*
accuracy, the small ones too, by one-sided Jacobi rotations of its columns, which are graded (Demmel
and Veselić, "Jacobi's method is more accurate than QR", SIAM J. Matrix Anal. 13, 1992).
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: Logarithms of what underflows beside 1, however small it is.
LOWEST = -700.0
#: Columns whose lengths differ by less than this (a logarithm) need no rotations: an ordinary
#: singular value decomposition has an error of 1e-16 of the largest value.
MILD = np.log(1e-4)


def norms(jacobians: Array, rows: slice = slice(None), columns: slice = slice(None)) -> Array:
    """log ||P_k|| (spectral) of a block of P_k for k = 0..T; shape (T+1,).

    ``jacobians``: shape (T, n, n), that of step 1 first.
    """
    n = jacobians.shape[-1]
    product, scale = np.eye(n)[rows], 0.0
    found = [_log_norm(product[:, columns])]
    for jacobian in jacobians[::-1]:
        product = product @ jacobian
        size = np.abs(product).max(initial=0.0)
        if size > 0.0 and np.isfinite(size):
            product, scale = product / size, scale + np.log(size)
        found.append(_log_norm(product[:, columns]) + scale)
    return np.array(found)


def product(jacobians: Array) -> tuple[Array, float]:
    """The product of all as (matrix, log of what it is to be multiplied with)."""
    total, scale = np.eye(jacobians.shape[-1]), 0.0
    for jacobian in jacobians[::-1]:
        total = total @ jacobian
        size = np.abs(total).max(initial=0.0)
        if size > 0.0 and np.isfinite(size):
            total, scale = total / size, scale + np.log(size)
    return total, scale


def _log_norm(a: Array) -> float:
    if a.size == 0 or not np.isfinite(a).all():
        return float("nan")
    with np.errstate(divide="ignore"):
        return float(np.log(np.linalg.norm(a, 2)))


def singular_values(jacobians: Array, lags: Collection[int]) -> dict[int, Array]:
    """log of all singular values of P_k, largest first, for each k of ``lags``."""
    n = jacobians.shape[-1]
    found: dict[int, Array] = {0: np.zeros(n)} if 0 in lags else {}
    q, d, u = np.eye(n), np.zeros(n), np.eye(n)
    last = max(lags, default=0)
    for k, jacobian in enumerate(jacobians[::-1][:last], 1):
        # (P_k)' = J' (P_{k-1})' = J' Q D U.
        q, d, u = _extended(jacobian.T @ q, d, u)
        if k in lags:
            found[k] = _graded(d, u)
    return found


def _extended(a: Array, d: Array, u: Array) -> tuple[Array, Array, Array]:
    """``a D U`` as ``Q D U``; D holds logarithms, in falling order."""
    # The columns of a D are graded; QR with the large ones first keeps each column's own accuracy.
    order = np.argsort(-(d + _log(_lengths(a.T))), kind="stable")
    a, d, u = a[:, order], d[order], u[order]
    q, r = np.linalg.qr(a)
    diagonal = np.diag(r)
    alive = diagonal != 0
    new = np.where(alive, _log(np.abs(diagonal)) + d, -np.inf)
    # D^-1 R D: entry (i, j) is r_ij exp(d_j) / (r_ii exp(d_i)), and 1 on the diagonal.
    finite, floor = np.where(d > -np.inf, d, 4 * LOWEST), np.where(alive, new, np.inf)
    exponent = np.clip(finite[None, :] - floor[:, None], 2 * LOWEST, -LOWEST)
    with np.errstate(under="ignore"):
        left = r * np.exp(exponent)
    left[~alive] = 0.0
    return q, new, left @ u


def _log(x: Array) -> Array:
    with np.errstate(divide="ignore"):
        found: Array = np.log(x)
    return found


def _graded(d: Array, u: Array) -> Array:
    """log of the singular values of ``D U``, largest first."""
    if not len(d) or not np.isfinite(u).all():
        return np.full(len(d), np.nan)
    size = d + _log(np.abs(u).max(axis=1, initial=0.0))
    top = size.max()
    if top == -np.inf:
        return np.full(len(d), -np.inf)
    with np.errstate(under="ignore"):
        columns = (u.T * np.exp(np.maximum(d - top, 2 * LOWEST))).copy()
        columns[:, d - top < LOWEST] = 0.0
        mild = size.min() - top > MILD
        values = (
            np.linalg.svd(columns, compute_uv=False) if mild else _lengths(_orthogonal(columns).T)
        )
    return np.sort(_log(values) + top)[::-1]


def _orthogonal(a: Array, sweeps: int = 30) -> Array:
    """``a V`` with orthogonal columns, V orthogonal; by rounds of rotations of disjoint pairs."""
    a = a[:, np.argsort(-_lengths(a.T), kind="stable")]
    # One QR and a transposition make columns that are nearly orthogonal already (Drmač, 1997).
    a = np.ascontiguousarray(np.linalg.qr(a)[1])
    n = a.shape[1]
    if n < 2:
        return a
    a = a.copy()  # rows of `a` are the columns of R': contiguous
    players = np.arange(n + n % 2)
    for _ in range(sweeps):
        largest = 0.0
        for _ in range(len(players) - 1):
            i, j = players[: len(players) // 2], players[len(players) // 2 :][::-1]
            if n % 2:
                here = (i < n) & (j < n)
                i, j = i[here], j[here]
            largest = max(largest, _rotate(a, i, j))
            players = np.concatenate([players[:1], players[-1:], players[1:-1]])
        if largest < 8 * np.finfo(float).eps * np.sqrt(n):
            break
    return a.T


def _lengths(rows: Array) -> Array:
    """The norms of rows, also where squares would underflow."""
    size = np.abs(rows).max(axis=1, initial=0.0)
    unit = rows / np.where(size > 0, size, 1.0)[:, None]
    found: Array = np.sqrt(np.einsum("kn,kn->k", unit, unit)) * size
    return found


def _rotate(a: Array, i: NDArray[np.intp], j: NDArray[np.intp]) -> float:
    """Rotate rows i and j of ``a`` until they are orthogonal; the largest cosine there was."""
    x, y = a[i], a[j]
    with np.errstate(under="ignore", divide="ignore", invalid="ignore", over="ignore"):
        nx, ny = _lengths(x), _lengths(y)
        cosine = np.einsum("kn,kn->k", x / nx[:, None], y / ny[:, None])
        active = (nx > 0) & (ny > 0) & (np.abs(cosine) > 1e-15)
        # tan of the angle that diagonalises the 2 x 2 Gram matrix (Golub and Van Loan, 8.5).
        zeta = (ny / nx - nx / ny) / (2 * cosine)
        t = np.sign(zeta) / (np.abs(zeta) + np.sqrt(1 + zeta * zeta))
        t = np.where(zeta == 0, 1.0, t)
        t = np.where(active & np.isfinite(t), t, 0.0)
        c = 1 / np.sqrt(1 + t * t)
        s = c * t
        a[i], a[j] = c[:, None] * x - s[:, None] * y, s[:, None] * x + c[:, None] * y
    return float(np.abs(cosine[active]).max(initial=0.0))
