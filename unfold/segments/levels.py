"""In which order a sequence is swept: forward, backward, forward, …

A *sweep* computes some variables in one direction over all of time. The first sweep runs forward,
the second backward, and so on. A variable belongs to the first sweep in which everything that it
reads is known: what depends on its own past to one that runs forward, what depends on its own
future to one that runs backward, what needs the total of a sweep to a later one. The gradient of a
causal model takes two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..dependence import Span, span
from ..expr import names, reads
from ..poly import Poly
from ..program import Equation, Program
from .totals import Totals, refusal, time_axis

FORWARD, BACKWARD = 1, -1
#: So many sweeps at most; a chain of layers that run both ways needs two for each.
_MOST = 64


@dataclass(frozen=True)
class Near:
    """An equation reads ``name`` at the positions ``lo..hi``, counted from its own time."""

    name: str
    lo: int
    hi: int


@dataclass(frozen=True)
class Levels:
    """When each variable is computed.

    Attributes:
        sweep: the number of the sweep, from 1, of what has time, and of totals.
        after: the number of the last sweep (0: none) that another variable has to wait for.
        shift: for a total the distance from its own time to the step at which it is gathered.
    """

    sweep: dict[str, int]
    after: dict[str, int]
    shift: dict[str, int]

    @property
    def count(self) -> int:
        """How many sweeps there are."""
        return max(self.sweep.values(), default=0)


def direction(sweep: int) -> int:
    """Which way a sweep runs."""
    return FORWARD if sweep % 2 else BACKWARD


def near(totals: Totals, eq: Equation) -> list[Near]:
    """What an equation reads that has time, from its own time or that of its reduction."""
    program = totals.program
    here = own_time(totals, eq)
    found = []
    for read in reads(eq.rhs, domain=eq.domain):
        v = program.vars[read.ref.name]
        k = time_axis(program, v)
        if here is None or k is None or v.name in totals.whole:
            continue
        distance: Span = span(read.ref.index[k] - here, read.domain, program.given)
        assert distance.lo is not None
        assert distance.hi is not None
        found.append(Near(v.name, distance.lo, distance.hi))
    return found


def own_time(totals: Totals, eq: Equation) -> Poly | None:
    """The time of an equation: a position, or that of the reduction of a total."""
    if eq.name in totals.totals:
        return Poly.symbol(totals.totals[eq.name].index)
    k = time_axis(totals.program, totals.program.vars[eq.name])
    return None if k is None else eq.element[k]


def levels(totals: Totals) -> Levels:
    """Assign every variable to a sweep. Raises `InputError` with an equation that fits none.

    What has time is computed as early as possible; a total as late as it may be, if the later sweep
    computes what it reads in any case. So the loss of a model, and what only the loss reads, is
    left to the sweep that runs backward.
    """
    work = _Assigning(totals)
    work.run()
    work.defer()
    return work.found


class _Assigning:
    def __init__(self, totals: Totals) -> None:
        self.totals = totals
        self.program: Program = totals.program
        self.found = Levels({}, {}, {})
        self.near: dict[str, list[Near]] = {}
        self.fixed: dict[str, set[str]] = {}
        self.pieces: dict[str, list[Equation]] = {}
        for eq in self.program.equations:
            self.pieces.setdefault(eq.name, []).append(eq)
            computed = [n for n in near(totals, eq) if self._is_computed(n.name)]
            self.near.setdefault(eq.name, []).extend(computed)
            others = {n for n in names(eq.rhs) if self._is_computed(n)}
            self.fixed.setdefault(eq.name, set()).update(others - {n.name for n in computed})

    def _is_computed(self, name: str) -> bool:
        return self.program.vars[name].role == "variable"

    def run(self) -> None:
        import networkx as nx  # slow to import, and not needed by what comes from the cache

        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(self.pieces)
        for reader in self.pieces:
            graph.add_edges_from((n.name, reader) for n in self.near[reader])
            graph.add_edges_from((n, reader) for n in self.fixed[reader])
        parts = nx.condensation(graph)
        for number in nx.topological_sort(parts):
            self._assign(sorted(parts.nodes[number]["members"]))

    def _assign(self, members: list[str]) -> None:
        moving = [n for n in members if self._moves(n)]
        inside = set(members)
        waits = max(
            (self._after(n) for m in members for n in self.fixed[m] - inside), default=0
        )  # fmt: skip
        if not moving:
            known = (self.found.sweep[n.name] for m in members for n in self.near[m])
            for m in members:
                self.found.after[m] = max([waits, *known])
            return
        if len(moving) < len(members):
            raise self._refused(moving, "it depends on what only the whole sequence tells")
        around = [n for m in members for n in self.near[m] if n.name in inside]
        if any(n.lo < 0 for n in around) and any(n.hi > 0 for n in around):
            raise self._refused(moving, "it reads both its past and its future")
        first = max([waits + 1, *(self.found.sweep[n.name] for m in members
                                  for n in self.near[m] if n.name not in inside)])  # fmt: skip
        for sweep in range(first, first + 3):
            if self._fits(members, inside, sweep):
                break
        else:
            raise self._refused(moving, "it reads what is computed in the other direction")
        if sweep > _MOST:
            raise self._refused(moving, "it takes too many sweeps over the sequence")
        for m in members:
            self.found.sweep[m] = sweep
            if m in self.totals.totals:
                self.found.shift[m] = self._shift(m, sweep)

    def defer(self) -> None:
        """Leave totals to later sweeps that know what they read."""
        sweep, after = self.found.sweep, self.found.after
        latest = dict.fromkeys(self.pieces, self.found.count)
        changed = True
        while changed:
            changed = False
            for reader in self.pieces:
                end = sweep[reader] - 1 if reader in sweep else latest[reader]
                for name in self.fixed[reader]:
                    changed = changed or end < latest[name]
                    latest[name] = min(latest[name], end)
        known = [self._computed_in(k) for k in range(self.found.count + 1)]
        for name in self.totals.totals:
            read = {n.name for n in self.near[name]}
            own = sweep[name]
            sweep[name] = max([own, *(k for k in range(own, latest[name] + 1) if read <= known[k])])
            self.found.shift[name] = self._shift(name, sweep[name])

        def waits(name: str) -> int:
            return max((sweep[n] if n in sweep else after[n] for n in self.fixed[name]), default=0)

        changed = True
        while changed:
            new = {n: max([waits(n), *(sweep[d.name] for d in self.near[n])]) for n in after}
            changed = new != after
            after.update(new)

    def _computed_in(self, number: int) -> set[str]:
        """What a sweep computes for the sake of the variables that belong to it."""
        work = [n for n, k in self.found.sweep.items() if k == number
                and n not in self.totals.totals]  # fmt: skip
        found = set(work)
        while work:
            for n in self.near[work.pop()]:
                if n.name not in found:
                    found.add(n.name)
                    work.append(n.name)
        return found

    def _moves(self, name: str) -> bool:
        return (
            name in self.totals.totals
            or time_axis(self.program, self.program.vars[name]) is not None
        )

    def _after(self, name: str) -> int:
        return self.found.sweep[name] if self._moves(name) else self.found.after[name]

    def _fits(self, members: Iterable[str], inside: set[str], sweep: int) -> bool:
        """Whether a sweep knows all that the members read when it comes to them."""
        if all(m in self.totals.totals for m in members):
            return True
        way = direction(sweep)
        for n in (n for m in members for n in self.near[m]):
            ahead = n.hi > 0 if way == FORWARD else n.lo < 0
            if ahead and (n.name in inside or not self._kept(n.name, sweep)):
                return False
        return True

    def _kept(self, name: str, sweep: int) -> bool:
        """Whether a sweep finds the values of a variable ahead of it at every border."""
        return self.found.sweep[name] < sweep

    def _shift(self, name: str, sweep: int) -> int:
        """The step at which all that a total reads for one position has been computed."""
        reads = [n for n in self.near[name] if not self._kept(n.name, sweep)]
        if direction(sweep) == FORWARD:
            return max([0, *(n.hi for n in reads)])
        return min([0, *(n.lo for n in reads)])

    def _refused(self, names: list[str], why: str) -> Exception:
        eq = self.pieces[names[0]][-1]
        return refusal(self.program, eq, why)


__all__ = ["BACKWARD", "FORWARD", "Levels", "Near", "direction", "levels", "near", "own_time"]
