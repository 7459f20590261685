"""A short name for a value: equal values have equal digests, in every process.

Python's own hashes differ from process to process, and the bytes of `pickle` depend on which equal
parts are one object. Here a value is written out in one way: numbers and texts, tuples, lists,
dicts in their order, and dataclasses with all their fields.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Any

from .intern import Value, field_names

_SCALARS = (type(None), bool, int, float, complex, str, bytes)


def digest(*parts: Any) -> str:
    """64 hexadecimal digits (SHA-256) that stand for some values.

    Raises:
        TypeError: something that is none of the above.
        RecursionError: a value that is nested too deeply.
    """
    hashed = hashlib.sha256()
    written: list[str] = []
    _write(parts, written.append, {})
    hashed.update("\n".join(written).encode("utf-8", "surrogatepass"))
    return hashed.hexdigest()


def _write(value: Any, out: Callable[[str], None], numbers: dict[Any, int]) -> None:
    kind = type(value)
    if kind in _SCALARS:
        # The length keeps a text from passing for what is written around it.
        text = repr(value)
        out(f"{kind.__name__} {len(text)} {text}")
    elif kind in (tuple, list):
        out(f"{kind.__name__} {len(value)}")
        for item in value:
            _write(item, out, numbers)
    elif isinstance(value, tuple):  # a named one
        out(f"{kind.__module__}.{kind.__qualname__}")
        _write(tuple(value), out, numbers)
    elif isinstance(value, Value):
        # A shared part is written once: its number stands for it from then on.
        number = numbers.get(value)
        if number is None:
            _record(value, out, numbers)
            numbers[value] = len(numbers)
        else:
            out(f"again {number}")
    elif is_dataclass(value) and not isinstance(value, type):
        _record(value, out, numbers)
    elif isinstance(value, Mapping):
        out(f"dict {len(value)}")
        for key, item in value.items():
            _write(key, out, numbers)
            _write(item, out, numbers)
    else:
        raise TypeError(f"{kind.__name__} has no digest")


def _record(value: Any, out: Callable[[str], None], numbers: dict[Any, int]) -> None:
    kind: Any = type(value)
    out(f"{kind.__module__}.{kind.__qualname__}")
    for name in field_names(kind):
        _write(getattr(value, name), out, numbers)
