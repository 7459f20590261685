"""What native code knows of CPython and NumPy: where the fields of an array stand, and functions.

Nothing of it is taken for granted: every place is looked for in an array whose shape is known, and
where something is not found there are no quick calls.
"""

from __future__ import annotations

import ctypes
import importlib
import platform
import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .block import data_offset

#: What native code calls, in the order of its table; then NumPy's, then objects.
FUNCTIONS = (
    "PyDict_GetItemWithError", "PyDict_Size", "PyDict_Copy", "PyDict_SetItem", "PyTuple_New",
    "PyTuple_SetItem", "PyFloat_AsDouble", "PyLong_AsLongLong", "PyErr_Clear", "Py_IncRef",
    "Py_DecRef", "PyEval_SaveThread", "PyEval_RestoreThread",
)  # fmt: skip
#: Their numbers in NumPy's table of functions, which is the same in every version since 1.7.
ARRAY_FUNCTIONS = {"PyArray_NewFromDescr": 94, "PyArray_Scalar": 60}
OBJECTS = {"none": None, "dict": dict, "float": float, "int": int, "float64": np.float64,
           "ndarray": np.ndarray}  # fmt: skip

#: The flag of types whose objects the collector of garbage counts.
_COLLECTED = 1 << 14
_ARRAY_TYPE = 2
_FITTING = 0x1 | 0x100  # C-contiguous, aligned


@dataclass(frozen=True)
class Interface:
    """Offsets in bytes within an array, and the addresses of `FUNCTIONS`, …, in order.

    ``head`` is that of the data, ``kind`` and ``references`` those of the type of any object and of
    the number of references to it.
    """

    references: int
    kind: int
    head: int
    rank: int
    extents: int
    descr: int
    flags: int
    addresses: tuple[int, ...]


@lru_cache(maxsize=1)
def interface() -> Interface | None:
    """The interface of this process, or ``None`` where something of it is not as it is known."""
    if platform.python_implementation() != "CPython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return None
    try:
        head = data_offset()
        addresses = _addresses()
    except (AttributeError, ImportError, RuntimeError, ValueError):
        return None
    word = 8
    references, kind, rank, extents, descr, flags = (
        head + word * k for k in (-2, -1, 1, 2, 5, 6)
    )  # fmt: skip
    places = Interface(references, kind, head, rank, extents, descr, flags, addresses)
    return places if ctypes.sizeof(ctypes.c_void_p) == word and _fits(places) else None


def _fits(places: Interface) -> bool:
    """Whether arrays of several kinds look as they should."""
    if np.ndarray.__basicsize__ < places.flags + 4:
        return False
    if np.ndarray.__flags__ & _COLLECTED:
        return False  # making one could run a collection of garbage, and that anything
    unaligned = np.frombuffer(bytes(17), np.uint8)[1:].view(np.float64)
    tried: list[NDArray[Any]] = [
        np.empty((2, 3)), np.empty(5, np.float32), np.empty((), np.int64),
        np.empty((4, 6), bool).T, unaligned,
    ]  # fmt: skip
    return all(_fits_one(places, a) for a in tried)


def _fits_one(p: Interface, a: NDArray[Any]) -> bool:
    at = id(a)
    rank = ctypes.c_int32.from_address(at + p.rank).value
    if ctypes.c_void_p.from_address(at + p.kind).value != id(np.ndarray) or rank != a.ndim:
        return False
    if ctypes.c_void_p.from_address(at + p.head).value != a.ctypes.data:
        return False
    counted = ctypes.c_uint32.from_address(at + p.references)
    before = counted.value
    more = [a, a, a]
    if counted.value != before + len(more):
        return False
    if ctypes.c_void_p.from_address(at + p.descr).value != id(a.dtype):
        return False
    start = ctypes.c_void_p.from_address(at + p.extents).value
    shape = tuple((ctypes.c_int64 * rank).from_address(start)) if start and rank else ()
    flags = ctypes.c_int32.from_address(at + p.flags).value & _FITTING
    fitting = (a.flags.c_contiguous and 0x1) | (a.flags.aligned and 0x100)
    return shape == a.shape and flags == fitting


def _addresses() -> tuple[int, ...]:
    found = [_address(getattr(ctypes.pythonapi, n)) for n in FUNCTIONS]
    module = "numpy._core.multiarray" if np.__version__ >= "2" else "numpy.core.multiarray"
    capsule = importlib.import_module(module)._ARRAY_API
    get = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    table = get(capsule, None)
    count = max(ARRAY_FUNCTIONS.values()) + 1
    entries = (ctypes.c_void_p * count).from_address(table)
    if entries[_ARRAY_TYPE] != id(np.ndarray):
        raise RuntimeError("NumPy's table of functions is another one")
    found += [entries[k] or 0 for k in ARRAY_FUNCTIONS.values()]
    found += [id(o) for o in OBJECTS.values()]
    if not all(found):
        raise RuntimeError("a function is missing")
    return tuple(found)


def _address(function: object) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]


@lru_cache(maxsize=1)
def numbers() -> dict[str, int]:
    """The number of each entry of `Interface.addresses`."""
    return {n: k for k, n in enumerate((*FUNCTIONS, *ARRAY_FUNCTIONS, *OBJECTS))}


__all__ = ["Interface", "interface", "numbers"]
