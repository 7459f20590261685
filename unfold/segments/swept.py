"""A cut program as a kernel: sweeps over segments, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from math import ceil, sqrt
from operator import sub
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..plan.build import results_of
from ..program import Program, Var
from .kernel import Backend
from .levels import BACKWARD, direction
from .parts import Cut
from .run import Run
from .totals import TIME

Array = NDArray[Any]

#: The states of a segment take at least so many bytes. What a segment costs beside its steps (a
#: call, gradients added up) is a few hundredths of the time then; and on the way back its states
#: are still near, in a cache that has room for them. Segments of 1 to 2 MiB took the least time for
#: networks of 64 units, those of 8 MiB up to an eighth more.
PORTION = 2**21
#: A segment has at least so many rows (steps of each sequence): adding up the gradients of large
#: weights takes as long as some steps of one sequence do.
ROWS = 256


class Swept:
    """Runs a cut program; a kernel like those of the backends.

    Args:
        made: the program, cut.
        compile: makes a kernel of a program that it gives a name.
        steps: how many steps a segment has; ``None`` balances its states with those at all borders.
        dtype: of reals.
    """

    def __init__(
        self,
        made: Cut,
        compile: Callable[[Program, str], Backend],  # noqa: A002 - what it does
        steps: int | None,
        dtype: str,
    ) -> None:
        self.made = made
        self._steps = steps
        self.dtype = dtype
        self.results = {r.name: r for r in results_of(made.program)}
        self.between = [
            None if p is None else compile(p, f"after {k}") for k, p in enumerate(made.between)
        ]
        self.sweeps = {s.number: (s, compile(s.program, f"sweep {s.number}")) for s in made.sweeps}
        #: What some of the programs are given.
        self.given = frozenset(
            v.name
            for p in (*made.between, *(s.program for s in made.sweeps))
            if p is not None
            for v in (*p.inputs, *p.params)
        )

    def __call__(
        self,
        arrays: dict[str, Array],
        lengths: dict[str, int],
        batch: int | None = None,
        ragged: NDArray[np.int64] | None = None,
    ) -> dict[str, Array]:
        """Compute the outputs; arguments and results are those of a backend's kernel."""
        if ragged is None:
            return Run(self, arrays, lengths, batch).outputs()
        return self._ragged(arrays, lengths, ragged)

    def steps(self, lengths: Mapping[str, int], batch: int | None) -> int:
        """How many steps a segment has."""
        first, last = self.made.first.evaluate(lengths), self.made.last.evaluate(lengths)
        count, wanted = last - first + 1, self._steps
        if wanted is None:
            # ``count / n`` borders and ``n`` steps are least together where they are as large.
            border = self.border(lengths, batch)
            sizes = (sum(self.segment(lengths, batch, n).values()) for n in (count, 2 * count))
            step = max(-sub(*sizes) / count, 1.0)
            least = max(PORTION / step, ROWS / (batch or 1))
            wanted = ceil(max(sqrt(count * border / step), least))
        return self.made.steps(wanted, lengths)

    def workspace(
        self, lengths: dict[str, int], batch: int | None, ragged: bool = False
    ) -> dict[str, int]:
        """The bytes of each storage that a call needs beside its arguments and results.

        Those of a segment and of the last one, if that is shorter, and ``borders`` for the states
        at all borders. Sequences of unequal lengths are counted as if all had the greatest.
        """
        steps = self.steps(lengths, batch)
        first, last = self.made.first.evaluate(lengths), self.made.last.evaluate(lengths)
        whole, rest = divmod(last - first + 1, steps)
        # A sweep forward that has no result ends before the last segment.
        to_the_end = [
            n for n, (s, _) in self.sweeps.items() if s.returns or direction(n) == BACKWARD
        ]
        several = whole + (rest > 0) > 1
        found = self.segment(lengths, batch, steps, None if several else to_the_end)
        if rest:
            for name, size in self.segment(lengths, batch, rest, to_the_end).items():
                found[name] += size
        found["borders"] = self.border(lengths, batch) * -((first - last - 1) // steps)
        return found

    def together(self, batch: int | None) -> int:
        """How many sequences of one length have storages at once: the borders are of all."""
        return 1 if batch is None else batch

    def segment(
        self,
        lengths: Mapping[str, int],
        batch: int | None,
        steps: int,
        sweeps: Collection[int] | None = None,
    ) -> dict[str, int]:
        """The bytes of each storage of all sweeps (or some, by number) over one segment."""
        found: dict[str, int] = {}
        own = {**lengths, self.made.start: self.made.first.evaluate(lengths)}
        own[self.made.count] = steps
        for number, (sweep, kernel) in self.sweeps.items():
            if sweeps is not None and number not in sweeps:
                continue
            # Every sweep's kernel keeps its storages between its calls.
            needed = {n: own[n] for n in sweep.program.lengths}
            for name, size in kernel.workspace(needed, batch).items():
                found[name] = found.get(name, 0) + size
        return found

    def border(self, lengths: Mapping[str, int], batch: int | None) -> int:
        """The bytes that are kept at one border."""
        return sum(
            self.zeros(h.given, lengths, batch).nbytes
            for sweep, _ in self.sweeps.values()
            for h in sweep.halos
            if h.name in sweep.kept
        )

    def zeros(self, v: Var, lengths: Mapping[str, int], batch: int | None) -> Array:
        """What stands before the first segment: nothing reads it."""
        own = {**lengths, self.made.start: 0, self.made.count: 1}
        shape = tuple((a.hi - a.lo + 1).evaluate(own) for a in v.axes)
        shape += tuple(n.evaluate({}) for n in v.shape)
        if batch is not None and v.role == "input":
            shape = (batch, *shape)
        kinds = {"int": "int64", "bool": "bool"}
        return np.zeros(shape, kinds.get(v.type.kind, self.dtype))

    def _ragged(
        self, arrays: dict[str, Array], lengths: dict[str, int], ragged: NDArray[np.int64]
    ) -> dict[str, Array]:
        """Sequences of one length are a batch of their own."""
        program = self.made.program
        inputs = [v.name for v in program.inputs if v.name in arrays]
        results: dict[str, Array] = {}
        for own in np.unique(ragged):
            rows = np.flatnonzero(ragged == own)
            known = {**lengths, TIME: int(own)}
            part = dict(arrays)
            for name in inputs:
                part[name] = np.ascontiguousarray(
                    arrays[name][rows][self._own_part(name, known, leading=1)]
                )
            found = Run(self, part, known, len(rows)).outputs()
            for name, value in found.items():
                self._place(results, name, value, rows, lengths, len(ragged))
        return results

    def _own_part(self, name: str, lengths: Mapping[str, int], leading: int) -> tuple[slice, ...]:
        """The part of an array that a sequence of some length has."""
        axes = self.made.program.vars[name].axes
        ends = ((a.hi - a.lo + 1).evaluate(lengths) for a in axes)
        return (slice(None),) * leading + tuple(slice(max(n, 0)) for n in ends)

    def _place(
        self,
        results: dict[str, Array],
        name: str,
        value: Array,
        rows: NDArray[np.intp],
        lengths: Mapping[str, int],
        batch: int,
    ) -> None:
        """Put the result of some sequences among those of all."""
        if self.results[name].summed:
            if name in results:
                results[name] += value  # in place: the sum of two arrays without axes is no array
            else:
                results[name] = value
            return
        shape = (batch, *self.shape(name, lengths))
        if name not in results:
            results[name] = np.zeros(shape, value.dtype)
        if value.shape[1:] == shape[1:]:
            results[name][rows] = value
            return
        widths = [(0, n - m) for n, m in zip(shape[1:], value.shape[1:], strict=True)]
        if not self.results[name].adjoint and value.size:
            padded = np.pad(value, [(0, 0), *widths], mode="edge")
        else:
            padded = np.pad(value, [(0, 0), *widths])
        results[name][rows] = padded

    def shape(self, name: str, lengths: Mapping[str, int]) -> tuple[int, ...]:
        """The shape of a result for one sequence."""
        ranges = self.results[name].ranges
        extents = tuple(max((hi - lo + 1).evaluate(lengths), 0) for lo, hi in ranges)
        return extents + tuple(n.evaluate({}) for n in self.made.program.vars[name].shape)


__all__ = ["Swept"]
