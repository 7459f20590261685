"""Texts and tokens: a vocabulary is a list of strings, token number to text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

_SHOWN = 8


def checked(vocabulary: Sequence[str], tokens: int) -> tuple[str, ...]:
    """The vocabulary of a model of so many tokens. Raises `InputError`."""
    words = tuple(vocabulary)
    if not all(isinstance(w, str) for w in words):
        raise InputError("vocabulary: expected a list of strings, token number to text")
    if len(words) != tokens:
        raise InputError(f"vocabulary: it has {len(words)} entries, and the model {tokens} tokens")
    return words


def encoded(text: str, vocabulary: Sequence[str]) -> NDArray[np.int64]:
    """The tokens of a text; where several entries fit, the longest one.

    Raises `InputError` with all characters at which no entry begins.
    """
    number = {w: k for k, w in reversed(list(enumerate(vocabulary))) if w}
    lengths = sorted({len(w) for w in number}, reverse=True)
    found: list[int] = []
    unknown: dict[str, int] = {}
    at = 0
    while at < len(text):
        token = next((number[w] for n in lengths if (w := text[at : at + n]) in number), None)
        if token is None:
            unknown.setdefault(text[at], at)
            at += 1
            continue
        found.append(token)
        at += len(vocabulary[token])
    if unknown:
        listed = [f"{c!r} (at {k})" for c, k in list(unknown.items())[:_SHOWN]]
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise InputError(f"prompt: not in the vocabulary: {', '.join(listed)}{more}")
    return np.array(found, np.int64)


def decoded(tokens: Iterable[Any], vocabulary: Sequence[str]) -> str:
    """The text of tokens."""
    return "".join(vocabulary[int(k)] for k in tokens)


__all__ = ["checked", "decoded", "encoded"]
