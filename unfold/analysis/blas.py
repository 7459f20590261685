"""Linear algebra of small matrices on one thread.

A decomposition of a 128 x 128 matrix takes a millisecond; divided between threads that other work
keeps waiting it takes a hundred.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar, cast

from threadpoolctl import threadpool_limits

F = TypeVar("F", bound=Callable[..., object])


def on_one_thread(function: F) -> F:
    """The function, during which BLAS and LAPACK use one thread."""

    @wraps(function)
    def limited(*args: object, **options: object) -> object:
        with threadpool_limits(1, user_api="blas"):
            return function(*args, **options)

    return cast(F, limited)
