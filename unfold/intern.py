"""Values of which equal ones are one object, so that comparing and hashing is by identity.

What is asked of such a value can be kept in a table under the value itself, at the price of a
pointer; see the algebra of `unfold.poly` and `unfold.domain`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import fields
from functools import cache, lru_cache
from typing import Any, TypeVar
from weakref import WeakValueDictionary

F = TypeVar("F", bound=Callable[..., Any])

_TABLE: WeakValueDictionary[tuple[Any, ...], Any] = WeakValueDictionary()
_LOCK = threading.Lock()  # two threads must not both be the first to make a value


class Interned(type):
    """The type of a frozen dataclass (with ``eq=False``): constructing a value that already exists
    returns the existing one."""

    _key: Callable[..., tuple[Any, ...]]

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        names = field_names(cls)
        if kwargs or len(args) < len(names):
            whole = super().__call__(*args, **kwargs)
            args = tuple(getattr(whole, name) for name in names)
        key = (cls, *cls._key(*args))
        existing = _TABLE.get(key)
        if existing is None:
            # As a dataclass does it, which takes three times as long for a frozen one.
            node: Any = cls.__new__(cls)  # type: ignore[call-overload]
            vars(node).update(zip(names, args, strict=True))
            node.__post_init__()
            with _LOCK:
                existing = _TABLE.get(key)
                if existing is None:
                    _TABLE[key] = existing = node
        return existing


@cache
def field_names(cls: Any) -> tuple[str, ...]:
    """The names of a dataclass's fields, in order."""
    return tuple(f.name for f in fields(cls))


class Value(metaclass=Interned):
    """Base of interned dataclasses."""

    def __post_init__(self) -> None:
        """What else a new value knows of itself."""

    @staticmethod
    def _key(*fields: Any) -> tuple[Any, ...]:
        """What makes two values of one class equal."""
        return fields

    def __reduce__(self) -> tuple[Any, ...]:  # unpickling must intern as well
        return type(self), tuple(getattr(self, name) for name in field_names(type(self)))


def remembered(function: F) -> F:
    """The function of interned values with its latest results kept."""
    return lru_cache(maxsize=2**16)(function)  # type: ignore[return-value]
