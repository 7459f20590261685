"""What a program is cut into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..poly import Poly
from ..program import Program, Var


@dataclass(frozen=True)
class Halo:
    """What a segment is given of a variable outside of itself.

    Attributes:
        variable: whose values they are.
        given: the input that holds them.
        axis: which axis of it is time.
        before: whether they lie before the segment, or behind it.
        steps: how many positions.
        edge: the output with which a segment hands them over to the next one, in the direction of
            the sweep; ``None`` if an earlier sweep has kept them.
        source: the sweep that has kept them, otherwise the sweep itself.
    """

    variable: str
    given: Var
    axis: int
    before: bool
    steps: int
    edge: str | None
    source: int

    @property
    def name(self) -> str:
        """The name of the input."""
        return self.given.name


@dataclass(frozen=True)
class Window:
    """A given sequence of which a segment sees its own steps, ``lag`` before, ``lead`` behind."""

    name: str
    axis: int
    lo: Poly
    lag: int
    lead: int


@dataclass(frozen=True)
class Sweep:
    """One sweep over time.

    Attributes:
        number: from 1; odd ones run forward.
        program: for one segment.
        halos, windows: what it is given of computed and of given sequences.
        fixed: what it is given whole: parameters, inputs, variables without time.
        totals: its outputs that are combined, with their ops.
        shown: its outputs that are parts of the results, with their time axes and ranges.
        kept: the halos whose values later sweeps need at every border.
    """

    number: int
    program: Program
    halos: tuple[Halo, ...]
    windows: tuple[Window, ...]
    fixed: tuple[str, ...]
    totals: dict[str, str]
    shown: dict[str, tuple[int, Poly, Poly]]
    kept: tuple[str, ...]

    @property
    def returns(self) -> bool:
        """Whether anything is asked of the last segment but its edge, which nobody takes."""
        return bool(self.totals or self.shown)


@dataclass(frozen=True)
class Cut:
    """A program as sweeps over segments.

    Attributes:
        program: the program that was cut.
        between: for each sweep, and at last, what is computed without time before it.
        sweeps: in their order.
        first, last: the range of positions that is swept.
        start, count: the names of the lengths that say where a segment begins and its steps.
        shared: names of what depends on parameters alone.
        sums: results that are the sums of others.
        least: the fewest steps that a segment may have, unless it is the last one.
    """

    program: Program
    between: tuple[Program | None, ...]
    sweeps: tuple[Sweep, ...]
    first: Poly
    last: Poly
    start: str
    count: str
    shared: frozenset[str]
    sums: dict[str, tuple[str, ...]]
    least: int

    def steps(self, wanted: int, lengths: Mapping[str, int]) -> int:
        """How many steps a segment has, if so many are wanted."""
        count = self.last.evaluate(lengths) - self.first.evaluate(lengths) + 1
        return max(1, min(max(wanted, self.least), count))


__all__ = ["Cut", "Halo", "Sweep", "Window"]
