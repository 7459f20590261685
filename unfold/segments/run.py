"""One call of a cut program: its sweeps, segment by segment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..poly import Poly
from ..program import Program
from .kernel import Backend, Series
from .levels import FORWARD, direction
from .parts import Halo, Sweep, Window

if TYPE_CHECKING:
    from .swept import Swept

Array = NDArray[Any]
#: How the parts of a total are put together.
COMBINE: dict[str, Callable[..., Array]] = {
    "sum": np.add, "max": np.maximum, "min": np.minimum, "logsumexp": np.logaddexp,
}  # fmt: skip


@dataclass(frozen=True)
class Steps:
    """Steps ``first..last`` of the sequence."""

    first: int
    last: int

    @property
    def count(self) -> int:
        return self.last - self.first + 1


def segments(first: int, last: int, steps: int) -> list[Steps]:
    """The range ``first..last`` in pieces of ``steps`` steps; the last one may be shorter."""
    starts = range(first, last + 1, steps)
    return [Steps(k, min(k + steps - 1, last)) for k in starts]


class Run:
    """One call."""

    def __init__(
        self, swept: Swept, arrays: dict[str, Array], lengths: dict[str, int], batch: int | None
    ) -> None:
        self.swept = swept
        self.made = swept.made
        self.arrays = dict(arrays)
        self.lengths = lengths
        self.batch = batch
        self.found: dict[str, Array] = {}
        first, last = self.made.first.evaluate(lengths), self.made.last.evaluate(lengths)
        self.segments = segments(first, last, swept.steps(lengths, batch))
        # What a sweep has left of a variable at every border.
        self.kept: dict[tuple[int, str], list[Array]] = {}

    def outputs(self) -> dict[str, Array]:
        for level, between in enumerate(self.swept.between):
            program = self.made.between[level]
            if between is not None and program is not None:
                self.note(self.call(between, program, self.arrays, self.lengths))
            if level + 1 in self.swept.sweeps:
                self.sweep(*self.swept.sweeps[level + 1])
        return {n: self.result(n) for n in self.swept.results}

    def result(self, name: str) -> Array:
        parts = [
            self.found[n] if n == name or n not in self.made.sums else self.result(n)
            for n in self.made.sums.get(name, (name,))
        ]
        total = parts[0].copy() if name in self.made.sums else parts[0]
        for part in parts[1:]:
            total += part  # in place: the sum of two arrays without axes is no array
        return total

    def call(
        self, run: Backend, program: Program, arrays: dict[str, Array], lengths: dict[str, int]
    ) -> dict[str, Array]:
        given = {v.name: arrays[v.name] for v in (*program.inputs, *program.params)}
        return run(given, {n: lengths[n] for n in program.lengths}, self.batch, None)

    def note(self, results: dict[str, Array]) -> None:
        """Keep values without time, as results and for the programs that follow."""
        self.found |= results
        for name, value in results.items():
            if name in self.swept.given:
                self.arrays[name] = self.handed(name, value)

    def handed(self, name: str, value: Array) -> Array:
        """A result as it is given to another program."""
        if self.batch is None or name not in self.made.shared:
            return value
        return value[0, ...] if self.batch else np.zeros(value.shape[1:], value.dtype)

    # --- one sweep ---

    def sweep(self, sweep: Sweep, kernel: Backend) -> None:
        """Every segment, in the order of the sweep."""
        changing = {h.name for h in sweep.halos} | {w.name for w in sweep.windows}
        with kernel.series({self.made.start, self.made.count, *changing}) as run:
            self.note(self.swept_over(sweep, run, changing))

    def swept_over(self, sweep: Sweep, run: Series, moving: set[str]) -> dict[str, Array]:
        """The totals. What differs from one segment to the next is entered into the arguments of
        the one before, and what has been added up or put in its place is written over."""
        program, way = sweep.program, direction(sweep.number)
        order = self.segments if way == FORWARD else self.segments[::-1]
        handed = [h for h in sweep.halos if h.edge is not None]
        recalled = [h for h in sweep.halos if h.edge is None]
        left: dict[str, list[Array]] = {h.name: [] for h in handed if h.name in sweep.kept}
        fixed = (v.name for v in (*program.inputs, *program.params) if v.name not in moving)
        given = {n: self.arrays[n] for n in fixed}
        given |= {h.name: self.swept.zeros(h.given, self.lengths, self.batch) for h in handed}
        windows = [(w.name, self.window(w)) for w in sweep.windows]
        lengths = {n: self.lengths.get(n, 0) for n in program.lengths}
        totals: dict[str, Array] = {}
        spare: dict[str, Array] = {}
        for number, segment in enumerate(order):
            at = number if way == FORWARD else len(order) - 1 - number
            for name, kept in left.items():
                kept.append(given[name])
            if number == len(order) - 1 and not sweep.returns:
                break
            for name, window in windows:
                given[name] = window(segment)
            for h in recalled:
                given[h.name] = self.recalled(h, at)
            lengths[self.made.start], lengths[self.made.count] = segment.first, segment.count
            if segment.count != order[number - 1].count:
                spare.clear()
            results = run(given, lengths, self.batch, spare)
            for h in handed:
                assert h.edge is not None
                given[h.name] = self.handed(h.variable, results[h.edge])
            for name, op in sweep.totals.items():
                if name in totals:
                    COMBINE[op](totals[name], results[name], out=totals[name])
                    spare[name] = results[name]
                else:
                    totals[name] = results[name]
            for name, (axis, lo, hi) in sweep.shown.items():
                self.place(name, results[name], axis, lo, hi, segment)
                spare[name] = results[name]
        for h in handed:
            if h.name in left:
                kept = left[h.name]
                self.kept[sweep.number, h.variable] = kept if way == FORWARD else kept[::-1]
        return totals

    def recalled(self, halo: Halo, at: int) -> Array:
        """What an earlier sweep has kept at a border."""
        value = self.kept[halo.source, halo.variable][at]
        axis = halo.axis + (self.batch is not None and halo.given.role == "input")
        extra = value.shape[axis] - halo.steps
        if not extra:
            return value
        part = slice(extra, None) if halo.before else slice(halo.steps)
        return np.ascontiguousarray(value[(slice(None),) * axis + (part,)])

    def window(self, w: Window) -> Callable[[Steps], Array]:
        """The part of a given sequence that a segment reads; zeros where there is none."""
        array = self.arrays[w.name]
        of_input = self.made.program.vars[w.name].role == "input"
        axis = w.axis + (self.batch is not None and of_input)
        before, start, size = (slice(None),) * axis, w.lo.evaluate(self.lengths), array.shape[axis]

        def part(segment: Steps) -> Array:
            lo, hi = segment.first - w.lag - start, segment.last + w.lead + 1 - start
            found = array[(*before, slice(max(lo, 0), max(min(hi, size), 0)))]
            if lo < 0 or hi > size:
                ahead = min(max(0, -lo), hi - lo)
                widths = [(0, 0)] * array.ndim
                widths[axis] = (ahead, hi - lo - ahead - found.shape[axis])
                found = np.pad(found, widths)
            return np.ascontiguousarray(found)

        return part

    def place(self, name: str, value: Array, axis: int, lo: Poly, hi: Poly, segment: Steps) -> None:
        """Put a segment's part of a result where it belongs."""
        first, last = lo.evaluate(self.lengths), hi.evaluate(self.lengths)
        of_param = self.swept.results[name].summed
        if name not in self.found:
            shape = self.swept.shape(name, self.lengths)
            if self.batch is not None and not of_param:
                shape = (self.batch, *shape)
            self.found[name] = np.zeros(shape, value.dtype)
        axis += self.batch is not None and not of_param
        start, end = max(first, segment.first), min(last, segment.last)
        if start > end:
            return
        before = (slice(None),) * axis
        source = value[(*before, slice(start - segment.first, end - segment.first + 1))]
        self.found[name][(*before, slice(start - first, end - first + 1))] = source


__all__ = ["Run", "Steps", "segments"]
