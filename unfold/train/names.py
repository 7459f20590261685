"""Numbers for parameters by patterns of their names: ``{"W*": 0.01, "*.b": 0}``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from ..errors import InputError
from ..inputs import kind_of, listed


def by_name(given: Any, names: Iterable[str], what: str) -> dict[str, float]:
    """The number of each name: one for all, or that of the first pattern that fits, else 0.

    Raises `InputError` for a pattern that fits no name, and what is no number from 0 on.
    """
    there = list(names)
    if not isinstance(given, Mapping):
        return dict.fromkeys(there, _number(given, what))
    for pattern in given:
        if not any(fnmatchcase(n, str(pattern)) for n in there):
            raise InputError(
                f"{what}: no parameter that is trained is called {pattern}; there are "
                f"{listed(there)}"
            )
    found = {}
    for n in there:
        fitting = [p for p in given if fnmatchcase(n, p)]
        found[n] = _number(given[fitting[0]], f"{what}[{fitting[0]!r}]") if fitting else 0.0
    return found


def _number(value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{what} is a number from 0 on, not {kind_of(value)}") from None
    if not 0 <= number < math.inf:
        raise InputError(f"{what} is a number from 0 on, not {value!r}")
    return number


__all__ = ["by_name"]
