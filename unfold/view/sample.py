"""Sampling a token at a time and feeding it back, recorded.

Two kinds of models can do it: one with an integer input over time and logits (or probabilities)
over the same integers among its outputs, which is run by a `Stepper`; and one that draws its own
tokens (`random`), whose run is the sample.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..expr import Call
from ..program import Program
from ..transform.untie import time_axis
from ..vocabulary import checked, encoded
from .choose import Setting
from .record import Run

Array = NDArray[Any]

#: How many tokens are drawn.
TOKENS = 60


@dataclass(frozen=True)
class Sample:
    """Tokens, and what the model expected.

    Attributes:
        source: the name of the logits or probabilities; ``token``, of the integers.
        vocabulary: the text of each token; their numbers if there is none.
        prompt: how many of ``tokens`` were given and not drawn.
        tokens: numbers.
        probabilities: shape (len(tokens), K): from what each token was drawn. In rows of the
            prompt, what the model expected before it was given the token; the first row is NaN
            where it expected nothing.
    """

    source: str
    token: str
    vocabulary: tuple[str, ...]
    prompt: int
    tokens: tuple[int, ...]
    probabilities: Array


def sample(setting: Setting, run: Run, prompt: str | None = None) -> Sample | str:
    """A sample, or the reason why there is none.

    Raises `InputError` for a prompt that the model cannot take.
    """
    drawn = _own(setting, run)
    if drawn is not None:
        if prompt is not None:
            raise InputError(f"{setting.function.program.name} draws its own tokens: no prompt")
        return drawn
    found = _fed_back(setting, prompt)
    if isinstance(found, str) and prompt is not None:
        raise InputError(f"prompt: {found}")
    return found


def _fed_back(setting: Setting, prompt: str | None) -> Sample | str:
    fn = setting.function
    program = fn.program
    inputs = [v for v in program.inputs if v.type.kind == "int" and time_axis(v) is not None]
    if not inputs:
        return "No sampling: the model has no integer input over time."
    try:
        plan = fn.step_program()
    except InputError as error:
        return f"No sampling: {str(error).splitlines()[0]}."
    moving = [v for v in inputs if v.name in plan.moving]
    if not moving:
        return "No sampling: the outputs read no integer input over time."
    if len(plan.moving) > 1:
        others = ", ".join(n for n in plan.moving if n != moving[0].name)
        return f"No sampling: beside {moving[0].name} every step needs {others} as well."
    token = moving[0]
    count = token.type.bound.constant if token.type.bound is not None else None
    logits = [
        n for n in plan.outputs
        if program.vars[n].type.kind == "real"
        and [k.constant for k in program.vars[n].shape] == [count]
    ]  # fmt: skip
    if count is None or not logits:
        return f"No sampling: no output has a number for each value of {token.name}."
    name = logits[0]
    vocabulary = _vocabulary(setting, count)
    start = _tokens(prompt, setting, count)
    if not start:
        start = [int(np.ravel(setting.data[token.name])[0])]
    static = {n: setting.data[n] for n in plan.static}
    stepper = fn.stepper(setting.params, **static)
    generator = np.random.default_rng(setting.seed)
    tokens = list(start)
    rows = [np.full(count, np.nan)]
    ready = _is_softmax(fn.declared, name)
    while len(tokens) < len(start) + TOKENS:
        value: Array = np.asarray(stepper.step({token.name: tokens[len(rows) - 1]})[name], float)
        row = value if ready else _softmax(value)
        if not np.all(np.isfinite(row)):
            return f"No sampling: {name} is not finite after {len(rows)} tokens."
        rows.append(row)
        if len(rows) > len(tokens):
            tokens.append(int(generator.choice(count, p=row / row.sum())))
    return Sample(name, token.name, vocabulary, len(start), tuple(tokens), np.array(rows))


def _own(setting: Setting, run: Run) -> Sample | None:
    """The tokens that a model drew itself."""
    program = setting.function.program
    if not any(v.noise for v in program.inputs):
        return None
    for v in program.vars.values():
        if v.role != "variable" or v.type.kind != "int" or len(v.axes) != 1 or v.shape:
            continue
        count = v.type.bound.constant if v.type.bound is not None else None
        for p in program.vars.values():
            if p.role == "variable" and [k.constant for k in p.shape] == [count] and (
                len(p.axes) == 1 and {v.name, p.name} <= set(run.values)
            ):  # fmt: skip
                at, odds = run.values[v.name], run.values[p.name]
                rows = np.asarray(odds.array, float)
                if count is None or np.abs(rows.sum(axis=1) - 1).max(initial=0) > 1e-6:
                    continue
                lead = odds.first[0] - at.first[0]
                before = np.full((max(lead, 0), count), np.nan)
                tokens = tuple(int(k) for k in at.array[max(-lead, 0) :])
                rows = np.concatenate([before, rows])[: len(tokens)]
                words = _vocabulary(setting, count)
                return Sample(p.name, v.name, words, max(lead, 0), tokens, rows)
    return None


def _is_softmax(program: Program, name: str) -> bool:
    """Whether an output is probabilities already."""
    roots = [eq.rhs for eq in program.pieces(name)]
    return all(isinstance(e, Call) and e.op == "softmax" for e in roots)


def _softmax(a: Array) -> Array:
    odds = np.exp(a - a.max())
    return odds / odds.sum()


def _vocabulary(setting: Setting, count: int) -> tuple[str, ...]:
    """The text of every token; their numbers if nothing says it."""
    if setting.vocabulary is None:
        return tuple(map(str, range(count)))
    return checked(setting.vocabulary, count)


def _tokens(prompt: str | None, setting: Setting, count: int) -> list[int]:
    """A prompt as numbers; without a vocabulary it is numbers between blanks or commas."""
    if not prompt:
        return []
    if setting.vocabulary is not None:
        return [int(k) for k in encoded(prompt, setting.vocabulary)]
    words = re.findall(r"[^\s,]+", prompt)
    for word in words:
        if not word.isdecimal() or int(word) >= count:
            raise InputError(f"prompt: {word!r} is no token: the tokens are 0 to {count - 1}")
    return [int(word) for word in words]


__all__ = ["Sample", "sample"]
