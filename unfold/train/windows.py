"""What one update of the parameters is made of: batches of sequences, or, with carried state, of
windows of them in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..function import Function
from ..inputs import listed
from ..program import TIME, Program
from ..streaming import time_axis
from .carry import Carried, carried
from .data import Batch, Sequences, batches, padded, steps_of, window

Array = NDArray[Any]
State = dict[str, Array]


@dataclass(frozen=True)
class Update:
    """The data of one update: a batch, how much it counts in the mean loss of an epoch, and what
    its sequences were."""

    batch: Batch
    weight: float
    rows: list[int]
    start: int = 0


class Feed(Protocol):
    """The updates of each epoch, as a function of the seed and the epoch alone."""

    #: What is trained; what an epoch is told of the states that are carried.
    function: Function
    state: State
    #: The outputs that `finish` wants.
    keep: tuple[str, ...]

    def count(self, epoch: int) -> int:
        """How many updates an epoch has."""

    def updates(self, epoch: int, position: int) -> Iterator[Update]:
        """The updates of an epoch from a position on."""

    def finish(self, outputs: Mapping[str, Array]) -> None:
        """To be called after each update, with the outputs of its step."""


class Batches:
    """Batches of whole sequences."""

    def __init__(self, fn: Function, data: Sequences, size: int, seed: int) -> None:
        self.function = fn
        self.state: State = {}
        self.keep: tuple[str, ...] = ()
        self._data, self._size, self._seed = data, size, seed

    def count(self, epoch: int) -> int:
        return len(batches(self._data, self._size, self._seed, epoch))

    def updates(self, epoch: int, position: int) -> Iterator[Update]:
        for rows in batches(self._data, self._size, self._seed, epoch)[position:]:
            yield Update(self._data.batch(rows), float(len(rows)), rows)

    def finish(self, outputs: Mapping[str, Array]) -> None:
        """Nothing is carried."""


class Windows:
    """Windows of sequences, each from the state that the one before ended in."""

    def __init__(self, fn: Function, data: Sequences, size: int, seed: int, steps: int) -> None:
        found = carried(fn.program)
        # The states of one window are few: all are kept.
        self.function = Function(found.program, {}, {}, replace(fn.options, checkpoint=None))
        self.state: State = {}
        self.keep: tuple[str, ...] = tuple(s.after for s in found.states)
        self._carried = found
        _long_enough(fn.program, data, found.overlap)
        self._data = streams(data, size, steps, found.overlap) if len(data) == 1 else data
        assert self._data.steps is not None
        # The steps of each sequence that count: behind them are those that only others read.
        self._own = self._data.steps - found.overlap
        self._size, self._seed, self._steps = size, seed, steps
        self._cuts = _cuts(fn.program, found)

    def _groups(self, epoch: int) -> list[tuple[list[int], int]]:
        """The rows of each group of sequences, and how many windows the longest has."""
        groups = batches(self._data, self._size, self._seed, epoch)
        return [(g, -(-int(self._own[g].max()) // self._steps)) for g in groups]

    def count(self, epoch: int) -> int:
        return sum(windows for _, windows in self._groups(epoch))

    def updates(self, epoch: int, position: int) -> Iterator[Update]:
        for rows, windows in self._groups(epoch):
            for w in range(windows):
                if position:
                    position -= 1
                    continue
                yield self._update(rows, w * self._steps)

    def _update(self, group: list[int], start: int) -> Update:
        own = self._own
        rows = [i for i in group if own[i] > start]
        if start == 0:
            self.state = self._zeros(len(rows))
        else:
            before = [i for i in group if own[i] > start - self._steps]
            keep = [k for k, i in enumerate(before) if own[i] > start]
            if len(keep) < len(before):
                self.state = {n: a[keep] for n, a in self.state.items()}
        counted = np.minimum(own[rows] - start, self._steps)
        lengths = counted + self._carried.overlap
        inputs = {
            n: padded([self._part(n, i, start, int(k)) for i, k in zip(rows, lengths, strict=True)])
            for n in self._data.arrays
        }
        inputs |= self.state
        inputs[self._carried.done] = np.full(len(rows), start, np.int64)
        ragged = None if (lengths == lengths[0]).all() else lengths
        return Update(Batch(inputs, ragged), float(counted.sum()), rows, start)

    def _part(self, name: str, row: int, start: int, steps: int) -> Array:
        """The elements of an input that a window reads, with zeros for those before the first."""
        array, cut = self._data.arrays[name][row], self._cuts.get(name)
        if cut is None:
            return array
        lo, hi = start + cut.first - cut.begins, start + steps + cut.beyond - cut.begins + 1
        index = [slice(None)] * array.ndim
        index[cut.axis] = slice(max(lo, 0), hi)
        part = array[tuple(index)]
        if lo < 0:
            shape = list(array.shape)
            shape[cut.axis] = -lo
            part = np.concatenate([np.zeros(shape, array.dtype), part], axis=cut.axis)
        return part

    def _zeros(self, count: int) -> State:
        kinds = {"int": "int64", "bool": "bool"}
        found = {}
        for s in self._carried.states:
            v = self._carried.program.vars[s.before]
            sizes = [(a.hi - a.lo + 1).constant for a in v.axes] + [n.constant for n in v.shape]
            if None in sizes:
                raise InputError(
                    f"{self.function.program.name} cannot be trained with carried state: "
                    f"{s.variable} has an axis whose length the data tell"
                )
            dtype = kinds.get(v.type.kind, self.function.options.dtype)
            found[s.before] = np.zeros((count, *(n or 0 for n in sizes)), dtype)
        return found

    def finish(self, outputs: Mapping[str, Array]) -> None:
        self.state = {s.before: outputs[s.after] for s in self._carried.states}


@dataclass(frozen=True)
class _Cut:
    """Which elements of an input belong to a window: positions ``first`` to ``T + beyond`` along
    ``axis``, of an array that begins with position ``begins``."""

    axis: int
    first: int
    begins: int
    beyond: int


def _cuts(program: Program, found: Carried) -> dict[str, _Cut]:
    cuts = {}
    for name, first in found.first.items():
        v = program.vars[name]
        k = time_axis(v)
        assert k is not None
        begins, beyond = v.axes[k].lo.constant, (v.axes[k].hi - TIME).constant
        if begins is None or beyond is None or len(_timed(v)) > 1:
            raise InputError(
                f"{program.name} cannot be trained with carried state: {name} is no sequence with "
                "one element for each step"
            )
        cuts[name] = _Cut(k, first, begins, beyond)
    return cuts


def _timed(v: Any) -> list[Any]:
    return [a for a in v.axes if TIME in (a.lo.symbols | a.hi.symbols)]


def _long_enough(program: Program, data: Sequences, overlap: int) -> None:
    """Raise `InputError` for sequences without a step that counts."""
    if data.steps is None:
        return
    for k in np.flatnonzero(data.steps <= overlap)[:1]:
        raise InputError(
            f"data: sequence {k} has {steps_of(data.steps[k])}, and none of them counts in "
            f"{listed(program.losses)}, which ends at T-{overlap}: leave it out"
        )


def streams(data: Sequences, size: int, steps: int, overlap: int = 0) -> Sequences:
    """One long sequence cut into ``size`` of equal length, or into fewer of a window at least;
    steps that are left over at the end are not used. ``overlap`` steps at the end of one are those
    that the next begins with."""
    if data.steps is None:
        return data
    total = int(data.steps[0]) - overlap
    count = max(1, min(size, total // steps))
    own = total // count
    parts = [window(data, 0, k * own, own + overlap) for k in range(count)]
    return Sequences(
        {n: [p.arrays[n][0] for p in parts] for n in data.arrays},
        np.full(count, own + overlap),
        data.dims,
        data.other * count,
    )


__all__ = ["Batches", "Feed", "Update", "Windows", "streams"]
