"""Arrays that a caller gives to be written to: ``fn(params, x=x, out={"h": h})``.

A backend that can writes results straight into them; any other has them copied. Before anything is
written all of them are checked: dtype and shape are those of the result, the memory is one piece,
and no part of it is read by the call or belongs to another result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .inputs import kind_of, listed, nearest

Array = NDArray[Any]


def known(out: Any, names: Iterable[str], what: str) -> dict[str, Any]:
    """``out`` as a dict, if it has no names but these. Raises `InputError`."""
    if not isinstance(out, Mapping):
        raise InputError(f"out: expected a dict from names to arrays, got {kind_of(out)}")
    there = list(names)
    for name in out:
        if name not in there:
            hint = nearest(str(name), there) or f"; there are {listed(there or ['none'])}"
            raise InputError(f"out: there is no {what} {name}{hint}")
    return dict(out)


def check(
    out: Mapping[str, Any],
    expected: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]],
    arrays: Mapping[str, Array],
) -> None:
    """Raise `InputError` unless results may be written to what was given for them.

    Args:
        expected: the shape and dtype of each result, by the names of ``out``.
        arrays: what the call reads.
    """
    for name, array in out.items():
        shape, dtype = expected[name]
        wanted = f"out[{name!r}]: expected an array of {dtype} of shape {shape}"
        if type(array) is not np.ndarray:
            raise InputError(f"{wanted}, got {kind_of(array)}")
        if array.dtype != dtype or not array.dtype.isnative or array.shape != shape:
            raise InputError(f"{wanted}, got one of {array.dtype} of shape {array.shape}")
        if not array.flags.c_contiguous or not array.flags.aligned:
            raise InputError(f"{wanted}, got one that is not C-contiguous and aligned")
        if not array.flags.writeable:
            raise InputError(f"{wanted}, got one that is read-only")
    listed_out = list(out.items())
    for k, (name, array) in enumerate(listed_out):
        for other, read in arrays.items():
            if np.may_share_memory(array, read):
                raise InputError(f"out[{name!r}] shares memory with {other}, which is read")
        for other, second in listed_out[:k]:
            if np.may_share_memory(array, second):
                raise InputError(f"out[{name!r}] shares memory with out[{other!r}]")


def place(
    out: Mapping[str, Any], results: Mapping[str, Array], arrays: Mapping[str, Array]
) -> dict[str, Array]:
    """The results, those of ``out`` in the arrays given for them. Raises `InputError`."""
    apart = {n: a for n, a in out.items() if results[n] is not a}
    if apart:
        shapes = {n: (results[n].shape, results[n].dtype) for n in apart}
        check(apart, shapes, arrays)
        for n, array in apart.items():
            np.copyto(array, results[n])
    return {n: out.get(n, a) for n, a in results.items()}


__all__ = ["check", "known", "place"]
