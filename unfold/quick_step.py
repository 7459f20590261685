"""The shortest way through a step: native code that finds the state where the last step left it.

The record of a step names parameters, states and where the next states go once and for all, up to
which of a few arrays holds which of the last values. Every variable with ``n`` lags has ``n + 1``
arrays in a ring: a step reads all but the oldest and writes there. So a step passes nothing but its
own inputs, and copies no state.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiler import Derived
from .streaming import State

Array = NDArray[Any]


class Rings:
    """The last values of all states.

    Attributes:
        turn: how many steps were made, modulo the number of places that a ring has.
    """

    def __init__(self, states: Sequence[State], values: Mapping[str, tuple[Array, ...]]) -> None:
        self.states = states
        self.places = 1 + max((len(s.names) for s in states), default=1)
        self.turn = 0
        self._arrays: dict[str, list[Array]] = {}
        for s in states:
            first = values[s.variable][0]
            ring = [np.empty(first.shape, first.dtype) for _ in range(self.places)]
            for lag, value in enumerate(values[s.variable]):
                ring[-1 - lag][...] = value
            self._arrays[s.variable] = ring

    def now(self, turn: int) -> dict[str, Array]:
        """What a step at a turn reads and writes: arrays by the names in its program."""
        found = {}
        for s in self.states:
            ring = self._arrays[s.variable]
            found[s.newest] = ring[turn]
            for lag, name in enumerate(s.names):
                found[name] = ring[(turn - 1 - lag) % self.places]
        return found

    def values(self) -> dict[str, tuple[Array, ...]]:
        """The last values by variable, the most recent first."""
        found = {}
        for s in self.states:
            ring = self._arrays[s.variable]
            lags = range(len(s.names))
            found[s.variable] = tuple(ring[(self.turn - 1 - k) % self.places] for k in lags)
        return found

    def advance(self) -> None:
        """What was written is the most recent value now."""
        self.turn = (self.turn + 1) % self.places


def quick_step(
    step: Derived,
    moving: Sequence[str],
    shown: Sequence[str],
    fixed: Mapping[str, Array],
    rings: Rings,
    arrays: Mapping[str, Array],
    lengths: dict[str, int],
    batch: int | None,
) -> tuple[Any, Any, list[bytes]] | None:
    """A native step, or None where the backend has none.

    Args:
        moving: the inputs of a step; ``shown`` are the results it returns.
        fixed: what is the same at every step.
        arrays: inputs of a step that was checked, for their shapes.

    Returns:
        ``call(nothing, inputs)``, which returns a dict of results, or None having done nothing; the
        part of its record that names arrays; and what has to stand there at each turn.
    """
    kernel: Any = step.kernel
    if not hasattr(kernel, "quick"):
        return None
    specs, finite = step.signature.specs, step.signature.check_finite
    arguments = [
        (n, "input", specs[n].kind, specs[n].bound, finite and specs[n].kind == "real", n)
        for n in moving
    ]
    kept = tuple(s.newest for s in rings.states)
    quick = kernel.quick(arguments, shown={n: n for n in shown}, kept=kept)
    slot = None if quick is None else quick.learn(arrays, lengths, batch)
    if slot is None:
        return None
    images = []
    names = (*slot.entry.given, *slot.entry.names)
    for turn in range(rings.places):
        known = {**fixed, **rings.now(turn)}
        addresses = [id(known[n]) if n in known else 0 for n in names]
        images.append(struct.pack(f"{len(names)}q", *addresses))
    return quick.call, slot.objects_view(), images


__all__ = ["Rings", "quick_step"]
