"""Texts as data: every character a number, and the next one the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..inputs import listed
from ..program import Program, Var
from ..streaming import time_axis

#: What the input is called that holds the next token, where a model has two inputs of tokens.
TARGET = "target"


@dataclass(frozen=True)
class Text:
    """A text as the data of a model.

    Attributes:
        data: the inputs, one long stream.
        vocabulary: the text of each token, by its number.
        sizes: the model's size that is the number of tokens, if it is a size.
    """

    data: dict[str, Any]
    vocabulary: list[str]
    sizes: dict[str, float]


def text_data(
    program: Program,
    text: str,
    vocabulary: Sequence[str] | None = None,
    sizes: Mapping[str, float] | None = None,
) -> Text:
    """A text as the data of a model over characters.

    The model has an input ``x[t]: int<K>``, whatever its name, and perhaps another one that is what
    comes next: that called ``target``, or else the second. K is the number of different characters,
    unless ``sizes`` has a larger one.

    Args:
        vocabulary: the characters by their numbers, ``"abc"`` say; default: those of the text, in
            the order of their code points.

    Raises:
        InputError: a model with other inputs, a text that is too short, a character that is not in
            the vocabulary.
    """
    inputs = [v for v in program.inputs if not v.noise]
    tokens = [v for v in inputs if v.type.kind == "int" and v.type.bound is not None]
    tokens = [v for v in tokens if len(v.axes) == 1 and time_axis(v) == 0 and not v.shape]
    others = [v.name for v in inputs if v not in tokens]
    if others or not 1 <= len(tokens) <= 2:
        raise InputError(
            "a text is data for a model whose inputs are a sequence of tokens, `x[t]: int<K>`, "
            f"and its target; {program.name} has the inputs {_shown(inputs)}"
        )
    known = sorted(set(text)) if vocabulary is None else list(vocabulary)
    number = {c: k for k, c in enumerate(known)}
    for k, c in enumerate(text):
        if c not in number:
            raise InputError(
                f"the character {c!r}, number {k + 1} of the text, is not in the vocabulary"
            )
    codes = np.fromiter((number[c] for c in text), np.int64, len(text))
    if len(codes) < 2:
        raise InputError("the text is shorter than two characters")
    found = dict(sizes or {})
    for v in tokens:
        _fix(program, v, len(known), found)
    if len(tokens) == 1:
        return Text({tokens[0].name: codes}, known, found)
    tokens.sort(key=lambda v: v.name == TARGET)
    return Text({tokens[0].name: codes[:-1], tokens[1].name: codes[1:]}, known, found)


def _fix(program: Program, v: Var, count: int, sizes: dict[str, float]) -> None:
    """Hold the number of tokens against the bound of an input, whose size it may decide."""
    bound = v.type.bound
    assert bound is not None
    name = bound.as_symbol
    if name in program.sizes and name not in sizes:
        sizes[name] = count
    value = bound.subs({n: int(k) for n, k in sizes.items() if n in program.sizes}).constant
    if value is not None and value < count:
        raise InputError(
            f"the text has {count} different characters, and {v.name} is {v.type} with "
            f"{bound} = {value}"
        )


def _shown(inputs: Sequence[Var]) -> str:
    return listed([str(v).removeprefix("input ") for v in inputs]) if inputs else "none"


__all__ = ["Text", "text_data"]
