"""Named tuples whose classes take next to no time to make.

``typing.NamedTuple`` writes the methods of a class as text and compiles that, and every annotation
too. Where a process finds its code in the cache, that was a quarter of the time from
`unfold.compile` to the end of the first call.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import NamedTuple as Named
else:

    class Named(tuple):
        """Base of named tuples: for a type checker ``typing.NamedTuple``."""

        __slots__ = ()
        _fields: tuple[str, ...] = ()
        _field_defaults: Mapping[str, Any] = {}

        def __init_subclass__(cls) -> None:
            cls._fields = tuple(cls.__annotations__)
            cls._field_defaults = {n: vars(cls)[n] for n in cls._fields if n in vars(cls)}
            for k, name in enumerate(cls._fields):
                setattr(cls, name, property(itemgetter(k)))

        def __new__(cls, *values: Any, **named: Any) -> Named:
            """A value for every field without a default, by position or by name, none twice.
            Raises ``TypeError``."""
            given = len(values)
            if not named and given == len(cls._fields):
                return tuple.__new__(cls, values)
            if given < len(cls._fields):
                left = {**cls._field_defaults, **named}
                values += tuple(left[n] for n in cls._fields[given:] if n in left)
                named = {n: v for n, v in named.items() if n not in cls._fields[given:]}
            if named or len(values) != len(cls._fields):
                raise TypeError(f"{cls.__name__} has the fields {', '.join(cls._fields)}")
            return tuple.__new__(cls, values)

        def _replace(self, **named: Any) -> Named:
            return type(self)(**{**self._asdict(), **named})

        def _asdict(self) -> dict[str, Any]:
            return dict(zip(self._fields, self, strict=True))

        def __reduce__(self) -> tuple[Any, ...]:
            # Read again without a call of the method above.
            return tuple.__new__, (type(self), tuple(self))

        def __repr__(self) -> str:
            parts = (f"{name}={value!r}" for name, value in self._asdict().items())
            return f"{type(self).__name__}({', '.join(parts)})"


__all__ = ["Named"]
