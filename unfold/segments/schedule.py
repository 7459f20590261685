"""What a cut program does when: which steps its segments have, what is kept, what is done again.

It says of a sequence of some length what `unfold.segments.run` will do with it, without doing it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from .levels import FORWARD, direction
from .parts import Cut
from .run import Steps, segments

#: A variable and a step.
At = tuple[str, int]


@dataclass(frozen=True)
class Schedule:
    """The steps of every segment; what is kept of which step; and what is computed how often."""

    segments: tuple[Steps, ...]
    kept: frozenset[At]
    computed: Mapping[At, int]

    @property
    def again(self) -> frozenset[At]:
        """What is computed more than once."""
        return frozenset(at for at, times in self.computed.items() if times > 1)


def schedule(made: Cut, steps: int, lengths: Mapping[str, int]) -> Schedule:
    """The schedule of a cut program in segments of ``steps`` steps, at some lengths."""
    first, last = made.first.evaluate(lengths), made.last.evaluate(lengths)
    parts = segments(first, last, made.steps(steps, lengths))
    kept: set[At] = set()
    computed: Counter[At] = Counter()
    for sweep in made.sweeps:
        order = parts if direction(sweep.number) == FORWARD else parts[::-1]
        own = [n for n in sweep.program.vars if n in made.program.vars
               and sweep.program.vars[n].role == "variable"]  # fmt: skip
        for number, part in enumerate(order):
            for halo in sweep.halos:
                if halo.name in sweep.kept and number:
                    edge = part.first if halo.before else part.last + halo.steps + 1
                    kept |= {(halo.variable, t) for t in range(edge - halo.steps, edge)}
            if number == len(order) - 1 and not sweep.returns:
                break
            computed.update((n, t) for n in own for t in range(part.first, part.last + 1))
    return Schedule(tuple(parts), frozenset(kept), computed)


__all__ = ["Schedule", "schedule"]
