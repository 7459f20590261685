"""`eye(n)` and `diag(v)`, spelled with the ops that there are.

>>> str(eye(3))                                                       # doctest: +SKIP
reshape(reshape(broadcast(onehot(0, 4), [3, 4]), [12])[0:9], [3, 3])
"""

from __future__ import annotations

from ..expr import INT, Const, Expr
from ..ops import call
from ..poly import Poly


def eye(n: Poly) -> Expr:
    """The identity of n rows: rows of n + 1 components that begin with a one, end to end."""
    first = call("onehot", Const(0, (), INT), size=n + 1)
    rows = call("broadcast", first, shape=(n, n + 1))
    flat = call("reshape", rows, shape=(n * (n + 1),))
    square = call("slice", flat, axis=0, lo=Poly(), hi=n * n)
    return call("reshape", square, shape=(n, n))


def diag(v: Expr) -> Expr:
    """The diagonal matrix of a vector. The vector multiplies columns, of which each has a one."""
    return eye(v.shape[0]) * v
