"""Schedules: by what factor the rate of each step is changed.

A schedule is a function of the number of steps made so far, 0 at the first step, whose value the
optimiser's rate is multiplied by; any function of an integer serves, if it depends on nothing else.
Those here can be multiplied, and follow one another in a `Sequence`:

    warm = Linear(100, first=0.01)                # 0.01 to 1 in 100 steps
    Sequence([warm, Cosine(900)], [100])          # then down to 0 in 900 more
    Exponential(0.999) * Step(1000, factor=0.5)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Sequence as Several
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from ..errors import InputError

Schedule = Callable[[int], float]


class _Factor:
    """What the schedules here have in common: their product is a schedule."""

    def __call__(self, step: int) -> float:
        raise NotImplementedError

    def __mul__(self, other: Schedule) -> Product:
        return Product((self, other))

    def __post_init__(self) -> None:
        for f in fields(self):  # type: ignore[arg-type]
            value, name = getattr(self, f.name), f"{type(self).__name__}: {f.name}"
            if f.type == "int" and (not _is_number(value) or value != int(value) or value < 1):
                raise InputError(f"{name} is a positive number of steps, not {value!r}")
            if f.type == "float" and (not _is_number(value) or not 0 <= value < math.inf):
                raise InputError(f"{name} is a number from 0 on, not {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class Constant(_Factor):
    """Always the same factor."""

    factor: float = 1.0

    def __call__(self, step: int) -> float:
        return self.factor


@dataclass(frozen=True)
class Step(_Factor):
    """Multiplied by ``factor`` after every so many steps."""

    every: int
    factor: float = 0.1

    def __call__(self, step: int) -> float:
        return float(self.factor ** (step // self.every))


@dataclass(frozen=True)
class Exponential(_Factor):
    """Multiplied by ``factor`` after each step."""

    factor: float

    def __call__(self, step: int) -> float:
        return float(self.factor**step)


@dataclass(frozen=True)
class Cosine(_Factor):
    """Half a wave from 1 to ``final`` in so many steps, where it stays: Loshchilov and Hutter,
    "SGDR: stochastic gradient descent with warm restarts", 2017, equation 5, without restarts."""

    steps: int
    final: float = 0.0

    def __call__(self, step: int) -> float:
        done = min(step / self.steps, 1.0)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class Linear(_Factor):
    """A straight line from ``first`` to ``final`` in so many steps, where it stays: a warm-up."""

    steps: int
    first: float = 0.0
    final: float = 1.0

    def __call__(self, step: int) -> float:
        return self.first + (self.final - self.first) * min(step / self.steps, 1.0)


@dataclass(frozen=True)
class Product(_Factor):
    """The product of schedules."""

    schedules: tuple[Schedule, ...]

    def __call__(self, step: int) -> float:
        return math.prod(s(step) for s in self.schedules)


@dataclass(frozen=True)
class Sequence(_Factor):
    """One schedule after the other, each counting its steps from where it begins.

    Args:
        schedules: at least one.
        starts: the step at which each of them but the first begins, increasing.
    """

    schedules: Several[Schedule]
    starts: Several[int]

    def __post_init__(self) -> None:
        starts = [0, *self.starts]
        if len(starts) != len(self.schedules):
            raise InputError(
                f"Sequence: {len(self.schedules)} schedules change {len(self.schedules) - 1} times,"
                f" and {len(self.starts)} starts were given"
            )
        if any(b <= a for a, b in pairwise(starts)):
            raise InputError(f"Sequence: starts increase from 1 on, {list(self.starts)} do not")

    def __call__(self, step: int) -> float:
        k = sum(start <= step for start in self.starts)
        return self.schedules[k](step - (self.starts[k - 1] if k else 0))


__all__ = ["Constant", "Cosine", "Exponential", "Linear", "Product", "Schedule", "Sequence", "Step"]
