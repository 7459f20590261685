"""What types, constants and ops are in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfold.expr import Type
from unfold.graph import NARY
from unfold.ops import OPS
from unfold.poly import Poly, Shape

Array = NDArray[Any]


def number(value: Any) -> Any:
    """An attribute with sizes as integers."""
    if isinstance(value, Poly):
        return value.evaluate({})
    if isinstance(value, tuple):
        return tuple(number(v) for v in value)
    return value


def storage(kind: Type, dtype: str) -> Any:
    """The NumPy type of a value."""
    return {"real": np.dtype(dtype), "int": np.dtype(np.int64), "bool": np.dtype(np.bool_)}[
        kind.kind
    ]


def constant(value: Any, shape: Shape, kind: Type, dtype: str) -> Array:
    """The array of a constant."""
    array = np.asarray(number(value), dtype=storage(kind, dtype))
    return np.broadcast_to(array, number(shape))


def function(op: str, attrs: Mapping[str, Any]) -> Callable[..., Array]:
    """The NumPy meaning of an op with its attributes filled in."""
    record = OPS[op] if op in OPS else NARY[op]
    given = {name: number(value) for name, value in attrs.items()}
    return partial(record.numpy, **given) if given else record.numpy


__all__ = ["Array", "constant", "function", "number", "storage"]
