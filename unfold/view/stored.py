"""What the forward pass has to keep for the way back, tick by tick, from the bill."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from ..cost.bill import numbers, read_back
from ..function import Function
from ..transform import adjoint

WIDTHS = {"real": 8, "int": 8, "bool": 1}


@dataclass(frozen=True)
class Stored:
    """Bytes that wait for the way back.

    Attributes:
        variables: the bytes of each variable that equations of the adjoint read.
        forward: bytes stored after each tick of the way forward; the last is the sum of
            ``variables``, which `Function.cost` calls ``stored``.
        backward: bytes still needed after each tick of the way back.
        native: what a call of native code allocates for a gradient in all (`Function.memory`).
    """

    variables: dict[str, int]
    forward: tuple[int, ...]
    backward: tuple[int, ...]
    native: int


def stored(
    fn: Function,
    lengths: Mapping[str, int],
    ticks: Callable[[str, tuple[int, ...]], int],
    last: int,
) -> Stored:
    """The bill of a gradient over time; ``ticks(name, index)`` says when an element is there, or
    would be, ``last`` is the last tick."""
    program = adjoint(fn.program.with_(outputs=()))
    variables = {}
    grown = [0] * (last + 1)
    for name in read_back(program):
        v = program.vars[name]
        total = numbers(v, lengths) * WIDTHS[v.type.kind]
        variables[name] = total
        ranges = [range(a.lo.evaluate(lengths), a.hi.evaluate(lengths) + 1) for a in v.axes]
        places = list(product(*ranges))
        for index in places:
            grown[min(ticks(name, index), last)] += total // len(places)
    forward, sum_ = [], 0
    for more in grown:
        sum_ += more
        forward.append(sum_)
    # On the way back, tick k is done with what tick last - k stored.
    backward = [sum_ - done for done in _sums(list(reversed(grown)))]
    named: dict[str, Any] = {**lengths}
    return Stored(variables, tuple(forward), tuple(backward), fn.memory(**named).total)


def _sums(values: list[int]) -> list[int]:
    found, total = [], 0
    for v in values:
        total += v
        found.append(total)
    return found


__all__ = ["Stored", "stored"]
