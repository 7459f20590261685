"""Small linear systems with every entry a value of its own: elimination without a loop.

Rows are exchanged by choices, so that matrices side by side in the lanes of a register may need
different exchanges. (Golub and Van Loan, *Matrix Computations*, 2013, algorithms 3.4.1 and 4.2.1.)
"""

from __future__ import annotations

from .values import Value

Matrix = list[list[Value]]
_NAN = float("nan")


def solution(a: Matrix, right: Matrix) -> Matrix:
    """The ``x`` of ``a x = right``, NaN if a pivot is 0 in every component (of those lanes)."""
    n = len(a)
    rows = [[*p, *q] for p, q in zip(a, right, strict=True)]
    for k in range(n):
        _pivot(rows, k)
        # A pivot that is NaN spreads to whatever is left, and from there backward to all.
        rows[k][k] = rows[k][k].eq(0.0).select(_NAN, rows[k][k])
        _eliminate(rows, k)
    found: Matrix = []
    for k in reversed(range(n)):
        x = rows[k][n:]
        for j, later in zip(range(n - 1, k, -1), found, strict=True):
            x = [_less(v, rows[k][j], w) for v, w in zip(x, later, strict=True)]
        found.append([v / rows[k][k] for v in x])
    return found[::-1]


def pivots(a: Matrix) -> list[Value]:
    """The pivots of elimination, whose product is the determinant but for the sign."""
    rows = [list(row) for row in a]
    for k in range(len(a)):
        _pivot(rows, k)
        kept = rows[k][k]
        # Below a pivot that is 0 all are.
        rows[k][k] = kept.eq(0.0).select(1.0, kept)
        _eliminate(rows, k)
        rows[k][k] = kept
    return [rows[k][k] for k in range(len(a))]


def cholesky(a: Matrix) -> Matrix:
    """The lower factor of the symmetric part; NaN throughout if that is not positive definite."""
    n, body = len(a), a[0][0].body
    zero = body.const(a[0][0].kind, 0.0)
    lower = [[zero] * n for _ in range(n)]
    fits: Value | None = None
    for j in range(n):
        for i in range(j, n):
            v = a[i][j] if i == j else (a[i][j] + a[j][i]) * 0.5
            for k in range(j):
                v = _less(v, lower[i][k], lower[j][k])
            if i == j:
                good = v.gt(0.0)
                fits = good if fits is None else fits & good
                lower[j][j] = body.intrinsic("sqrt", v)
            else:
                lower[i][j] = v / lower[j][j]
    assert fits is not None
    return [[fits.select(v, _NAN) for v in row] for row in lower]


def _pivot(rows: Matrix, k: int) -> None:
    """Bring the largest entry of column ``k``, from row ``k`` on, to row ``k``."""
    for i in range(k + 1, len(rows)):
        body = rows[i][k].body
        wins = body.intrinsic("fabs", rows[i][k]).gt(body.intrinsic("fabs", rows[k][k]))
        pairs = list(zip(rows[k], rows[i], strict=True))
        # What stands before column k is not read again.
        rows[k] = [p if j < k else wins.select(q, p) for j, (p, q) in enumerate(pairs)]
        rows[i] = [q if j < k else wins.select(p, q) for j, (p, q) in enumerate(pairs)]


def _eliminate(rows: Matrix, k: int) -> None:
    """Take multiples of row ``k`` from those below; column ``k`` itself is left as it is."""
    for i in range(k + 1, len(rows)):
        factor = rows[i][k] / rows[k][k]
        for j in range(k + 1, len(rows[k])):
            rows[i][j] = _less(rows[i][j], factor, rows[k][j])


def _less(total: Value, x: Value, y: Value) -> Value:
    return total.body.madd(-x, y, total)


__all__ = ["Matrix", "cholesky", "pivots", "solution"]
