"""One call of a cut program: its sweeps, segment by segment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..poly import Poly
from ..program import Program
from .kernel import Kernel
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
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total if len(parts) > 1 or name not in self.made.sums else total.copy()

    def call(
        self, run: Kernel, program: Program, arrays: dict[str, Array], lengths: dict[str, int]
    ) -> dict[str, Array]:
        given = {v.name: arrays[v.name] for v in (*program.inputs, *program.params)}
        return run(given, {n: lengths[n] for n in program.lengths}, self.batch, None)

    def note(self, results: dict[str, Array]) -> None:
        """Keep values without time, as results and for the programs that follow."""
        self.found |= results
        for name, value in results.items():
            self.arrays[name] = self.handed(name, value)

    def handed(self, name: str, value: Array) -> Array:
        """A result as it is given to another program."""
        if self.batch is None or name not in self.made.shared:
            return value
        return value[0, ...] if self.batch else np.zeros(value.shape[1:], value.dtype)

    # --- one sweep ---

    def sweep(self, sweep: Sweep, run: Kernel) -> None:
        lengths = dict(self.lengths)
        way = direction(sweep.number)
        order = self.segments if way == FORWARD else self.segments[::-1]
        carried = {
            h.name: self.swept.zeros(h.given, self.lengths, self.batch)
            for h in sweep.halos
            if h.edge is not None
        }
        totals: dict[str, Array] = {}
        for number, segment in enumerate(order):
            at = number if way == FORWARD else len(order) - 1 - number
            lengths[self.made.start], lengths[self.made.count] = segment.first, segment.count
            arrays = dict(self.arrays)
            arrays |= {w.name: self.window(w, segment) for w in sweep.windows}
            arrays |= carried
            for h in sweep.halos:
                if h.edge is None:
                    arrays[h.name] = self.recalled(h, at)
                elif h.name in sweep.kept:
                    self.kept.setdefault((sweep.number, h.variable), []).append(carried[h.name])
            if number == len(order) - 1 and not sweep.returns:
                break
            results = self.call(run, sweep.program, arrays, lengths)
            for h in sweep.halos:
                if h.edge is not None:
                    carried[h.name] = self.handed(h.variable, results[h.edge])
            for name, op in sweep.totals.items():
                if name in totals:
                    COMBINE[op](totals[name], results[name], out=totals[name])
                else:
                    totals[name] = results[name]
            for name, (axis, lo, hi) in sweep.shown.items():
                self.place(name, results[name], axis, lo, hi, segment)
        for h in sweep.halos:
            if h.name in sweep.kept and way != FORWARD:
                self.kept[sweep.number, h.variable].reverse()
        self.note(totals)

    def recalled(self, halo: Halo, at: int) -> Array:
        """What an earlier sweep has kept at a border."""
        value = self.kept[halo.source, halo.variable][at]
        axis = halo.axis + (self.batch is not None and halo.given.role == "input")
        extra = value.shape[axis] - halo.steps
        if not extra:
            return value
        part = slice(extra, None) if halo.before else slice(halo.steps)
        return np.ascontiguousarray(value[(slice(None),) * axis + (part,)])

    def window(self, w: Window, segment: Steps) -> Array:
        """The part of a given sequence that a segment reads; zeros where there is none."""
        array = self.arrays[w.name]
        of_input = self.made.program.vars[w.name].role == "input"
        axis = w.axis + (self.batch is not None and of_input)
        lo = segment.first - w.lag - w.lo.evaluate(self.lengths)
        hi = segment.last + w.lead + 1 - w.lo.evaluate(self.lengths)
        size = array.shape[axis]
        before, behind = max(0, -lo), max(0, hi - max(size, 0))
        part = array[(slice(None),) * axis + (slice(max(lo, 0), max(min(hi, size), 0)),)]
        if before or behind:
            length = hi - lo
            before, behind = min(before, length), min(behind, length)
            widths = [(0, 0)] * array.ndim
            widths[axis] = (before, length - before - part.shape[axis])
            part = np.pad(part, widths)
        return np.ascontiguousarray(part)

    def place(self, name: str, value: Array, axis: int, lo: Poly, hi: Poly, segment: Steps) -> None:
        """Put a segment's part of a result where it belongs."""
        first, last = lo.evaluate(self.lengths), hi.evaluate(self.lengths)
        of_param = self.swept.results[name].of_param
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
