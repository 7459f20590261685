"""Values that are unpickled when they are first asked for."""

from __future__ import annotations

import pickle
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")


class Later(Generic[T]):
    """A value that stays packed in its pickle until somebody wants it.

    Reading what was compiled before is quick if what nobody asks for is not built.
    """

    def __init__(self, value: T) -> None:
        self._value: T | None = value
        self._packed: bytes | None = None

    @property
    def value(self) -> T:
        """The value; safe in several threads."""
        packed = self._packed
        if packed is not None:
            self._value = pickle.loads(packed)  # the bytes are those of the pickle they came with
            self._packed = None
        return cast("T", self._value)

    def __reduce__(self) -> tuple[Any, ...]:
        packed = self._packed
        return _packed, (pickle.dumps(self._value, protocol=5) if packed is None else packed,)


def _packed(data: bytes) -> Later[Any]:
    made: Later[Any] = Later(None)
    made._packed = data
    return made


__all__ = ["Later"]
