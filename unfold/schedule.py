"""In which order a program's equations can be computed: loops, found by their dependences.

Strongly connected components of the dependence graph, in topological order, are computed one after
the other. A component without a cycle is a map: all its points are independent. Otherwise one index
becomes a loop, forward or backward, chosen so that nothing is read from a later step; what is read
from strictly earlier steps is then settled, and the rest is ordered inside the loop in the same
way (Allen and Kennedy, *Automatic translation of FORTRAN programs to vector form*, TOPLAS 9, 1987,
generalised from constant distances to affine positions).

The pieces of a component take part in its loop at a *time* each: usually their own index (``t``);
a piece that looks one step ahead of the others may be delayed by a constant, a reflected one has
``T + 1 - t``, and one without a suitable index has a constant time. Where no index will do alone, a
sum of two is tried, ``i + j`` or ``i + 2 * j``: a table is then computed diagonal by diagonal, all
elements of one in any order (Lamport, *The parallel execution of DO loops*, CACM 17, 1974).

>>> print(schedule(program))                                          # doctest: +SKIP
for h: t = 0
scan t forward:
    h[t]
for y: all t
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from .causality import CausalityError, explain
from .dependence import Dependence, dependences, span
from .domain import Domain
from .poly import Poly
from .program import Equation, Program


@dataclass(frozen=True)
class Step:
    """One piece; its remaining indices ``parallel`` may be taken in any order."""

    piece: int
    parallel: tuple[str, ...]


@dataclass(frozen=True)
class Scan:
    """A loop over ``index``, upward (``direction`` 1) or downward (-1), in which ``body`` is done.

    ``times`` gives for each piece inside the value of the loop index at which a point is computed,
    affine in the piece's indices.
    """

    index: str
    direction: int
    times: Mapping[int, Poly]
    body: tuple[Node, ...]


Node: TypeAlias = Step | Scan

#: An edge waiting for its turn: its number, the piece without a time, and times for that.
_Wish = tuple[int, int, list[Poly]]

#: What a second index may count in a time: ``i + j``, ``i - j``, ``i + 2 * j``, …
SKEWS = (1, -1, 2, -2, 3, -3)


@dataclass(frozen=True)
class Schedule:
    """The loops of a program, in an order in which they can run."""

    program: Program
    nodes: tuple[Node, ...]

    def __str__(self) -> str:
        return "\n".join(_lines(self.program, self.nodes, ""))


def schedule(program: Program) -> Schedule:
    """Order the equations of a program.

    Raises `CausalityError` where an element would need itself, or where no loop order is found.
    """
    of = _Equations(program.equations, program.given, program.lengths, program)
    return Schedule(program, _ordered(of))


@dataclass(frozen=True)
class _Equations:
    """What an order depends on, and a program that has it."""

    equations: tuple[Equation, ...]
    given: Domain
    lengths: tuple[str, ...]
    program: Program = field(compare=False)


@lru_cache(maxsize=8)  # several stages ask for the order of what none of them has changed
def _ordered(of: _Equations) -> tuple[Node, ...]:
    edges = dependences(of.program)
    indices = {n: eq.indices for n, eq in enumerate(of.equations)}
    return _Order(of.program).nodes(indices, edges)


@dataclass(frozen=True)
class _Loop:
    """A legal loop for a component: the shifted times and the edges that it does not settle."""

    direction: int
    times: dict[int, Poly]
    used: dict[int, str | None]
    rest: tuple[Dependence, ...]


@dataclass(frozen=True)
class _Order:
    program: Program

    def nodes(
        self, indices: Mapping[int, tuple[str, ...]], edges: Sequence[Dependence]
    ) -> tuple[Node, ...]:
        """Order some pieces, of whose indices only those given are not loops around them yet."""
        import networkx as nx

        graph = nx.DiGraph()
        graph.add_nodes_from(indices)
        graph.add_edges_from((e.source, e.reader) for e in edges)
        parts = nx.condensation(graph)
        members = {c: sorted(parts.nodes[c]["members"]) for c in parts}
        result: list[Node] = []
        for c in nx.lexicographical_topological_sort(parts, key=lambda c: members[c][0]):
            inside = members[c]
            own = [e for e in edges if e.source in inside and e.reader in inside]
            if own:
                result.append(self.scan({n: indices[n] for n in inside}, own))
            else:
                result.append(Step(inside[0], indices[inside[0]]))
        return tuple(result)

    def scan(self, indices: Mapping[int, tuple[str, ...]], edges: Sequence[Dependence]) -> Scan:
        """A loop for one component; tries the legal ones that settle most edges first."""
        inner: CausalityError | None = None
        for loop in self.ranked(indices, edges):
            left = {n: tuple(i for i in own if i != loop.used[n]) for n, own in indices.items()}
            try:
                body = self.nodes(left, loop.rest)
            except CausalityError as error:
                inner = inner or error
                continue
            return Scan(self.name(loop, indices), loop.direction, loop.times, body)
        raise inner or CausalityError(*explain(self.program, edges))

    def ranked(
        self, indices: Mapping[int, tuple[str, ...]], edges: Sequence[Dependence]
    ) -> Iterator[_Loop]:
        """The legal loops, the best first. Those whose times begin where others have been already,
        which are hardly ever new ones, and those over two indices at once come after all others.
        """
        again: list[dict[int, Poly]] = []
        for roots, put_off in (
            (self.roots(indices), again),
            (iter(again), None),
            (self.skewed(indices), None),
        ):
            found = self.loops(roots, indices, edges, put_off)
            yield from sorted(found, key=lambda loop: len(loop.rest))

    def name(self, loop: _Loop, indices: Mapping[int, tuple[str, ...]]) -> str:
        """A piece's own index where its time is just that, else any name that is free here."""
        for n, time in loop.times.items():
            if loop.used[n] is not None and time == Poly.symbol(str(loop.used[n])):
                return str(loop.used[n])
        return next(str(loop.used[n]) for n in indices if loop.used[n] is not None)

    def loops(
        self,
        roots: Iterator[dict[int, Poly]],
        indices: Mapping[int, tuple[str, ...]],
        edges: Sequence[Dependence],
        put_off: list[dict[int, Poly]] | None,
    ) -> Iterator[_Loop]:
        """The legal loops, up to the first that settles every edge: there is no better one."""
        seen: set[tuple[Poly, ...]] = set()
        for times in self.alignments(roots, indices, edges, put_off):
            key = tuple(times[n] for n in indices)
            if key in seen:
                continue
            seen.add(key)
            for direction in (1, -1):
                loop = self.legal(times, direction, indices, edges)
                if loop is not None and len(loop.rest) < len(edges):
                    yield loop
                    if not loop.rest:
                        return

    def legal(
        self,
        times: Mapping[int, Poly],
        direction: int,
        indices: Mapping[int, tuple[str, ...]],
        edges: Sequence[Dependence],
    ) -> _Loop | None:
        """Delay pieces by constants so that no edge points to a later step, if that can be."""
        gaps = [self.gap(e, times) * direction for e in edges]
        least: list[int] = []
        for e, gap in zip(edges, gaps, strict=True):
            lo = span(gap, e.domain, self.program.given).lo
            if lo is None:
                return None
            least.append(lo)
        delay = _delays(list(times), edges, least)
        if delay is None:
            return None
        rest = tuple(
            Dependence(e.source, e.reader, e.read, e.domain & _zero(gap + slack))
            for e, gap, lo in zip(edges, gaps, least, strict=True)
            if lo + (slack := delay[e.reader] - delay[e.source]) < 1
        )
        shifted = {n: time + direction * delay[n] for n, time in times.items()}
        used = {n: _replaced(time, indices[n]) for n, time in times.items()}
        return _Loop(direction, shifted, used, rest)

    def gap(self, edge: Dependence, times: Mapping[int, Poly]) -> Poly:
        """The reader's time minus the time of what it reads."""
        return times[edge.reader] - self.read_time(edge, times)

    def read_time(self, edge: Dependence, times: Mapping[int, Poly]) -> Poly:
        source = self.program.equations[edge.source]
        return times[edge.source].subs(dict(zip(source.indices, edge.read.ref.index, strict=True)))

    def alignments(
        self,
        roots: Iterator[dict[int, Poly]],
        indices: Mapping[int, tuple[str, ...]],
        edges: Sequence[Dependence],
        put_off: list[dict[int, Poly]] | None,
    ) -> Iterator[dict[int, Poly]]:
        """Ways to give every piece of a component a time, before constant delays.

        One piece starts with an index of its own; the others follow along the edges, so that as
        many distances as possible become constant. Where they came to the same time for a piece
        before, it is ``put_off``, if there is such a list.
        """
        wishes = _Wishes(self, indices, edges)
        known: set[tuple[int, Poly]] = set()
        for root in roots:
            if put_off is not None and known.issuperset(root.items()):
                put_off.append(root)
                continue
            # More than one choice is rare (reads under reductions only): 64 will do.
            for times in itertools.islice(wishes.extend(root), 64):
                known.update(times.items())
                yield times

    def roots(self, indices: Mapping[int, tuple[str, ...]]) -> Iterator[dict[int, Poly]]:
        """Times to begin with: each index of each piece."""
        for n in sorted(indices, key=lambda n: (len(indices[n]), n)):
            for index in indices[n]:
                yield {n: Poly.symbol(index)}

    def skewed(self, indices: Mapping[int, tuple[str, ...]]) -> Iterator[dict[int, Poly]]:
        """Times to begin with that count two indices, of the piece that has fewest."""
        for n in sorted((n for n in indices if len(indices[n]) > 1), key=lambda n: len(indices[n])):
            for factor in SKEWS:
                for i, j in itertools.permutations(indices[n], 2):
                    yield {n: Poly.symbol(i) + Poly.symbol(j) * factor}
            return

    def of_source(
        self, e: Dependence, times: Mapping[int, Poly], free: tuple[str, ...]
    ) -> tuple[bool, list[Poly]]:
        """Times for a piece that is read by one whose time is known; whether they are certain."""
        source = self.program.equations[e.source]
        inner = set(self.program.equations[e.reader].indices) | set(e.read.bound)
        found: list[Poly] = []
        for name, position in zip(source.indices, e.read.ref.index, strict=True):
            if name not in free:
                continue
            i = Poly.symbol(name)
            for candidate, gap in (
                (i, times[e.reader] - position),
                (-i, times[e.reader] + position),
            ):
                if not gap.symbols & inner:
                    found.append(candidate + gap - gap.offset)
        if len(times[e.reader].symbols & inner) > 1:
            # On two indices at once: the same ones of the source.
            at = dict(zip(source.indices, e.read.ref.index, strict=True))
            for one, two in itertools.permutations([n for n in at if n in free], 2):
                for factor in SKEWS:
                    gap = times[e.reader] - at[one] - at[two] * factor
                    if not gap.symbols & inner:
                        time = Poly.symbol(one) + Poly.symbol(two) * factor
                        found.append(time + gap - gap.offset)
        if found:
            return True, found[:1]
        return False, [Poly.symbol(i) for i in free] or self.ends(e, times[e.reader])

    def of_reader(
        self, e: Dependence, times: Mapping[int, Poly], free: tuple[str, ...]
    ) -> tuple[bool, list[Poly]]:
        """Times for a piece that reads one whose time is known; whether they are certain."""
        when = self.read_time(e, times)
        own = when.symbols & set(self.program.equations[e.reader].indices)
        if not when.symbols & set(e.read.bound):
            if own and own <= set(free) and _replaced(when, free) is not None:
                return True, [when - when.offset]
            if not own and not free:
                return True, [when]
        return False, [Poly.symbol(i) for i in free] or self.ends(e, when)

    def ends(self, e: Dependence, value: Poly) -> list[Poly]:
        """Constant times for a piece without indices: the ends of what the other side runs over."""
        symbol = "@value"
        here = e.domain & self.program.given & Domain.point(symbol, value)
        outer = {*self.program.lengths, symbol}
        lows, highs = here.project_out(here.symbols - outer).bounds(symbol)
        return [*highs, *lows]


class _Wishes:
    """What the edges of a component say of their ends' times.

    That depends on the time of an edge's known end alone: it is asked once for each such time, and
    then waits in a heap for its turn, the first edge first.
    """

    def __init__(
        self,
        order: _Order,
        indices: Mapping[int, tuple[str, ...]],
        edges: Sequence[Dependence],
    ) -> None:
        self.order, self.indices, self.edges = order, indices, edges
        self.touching: dict[int, list[int]] = {n: [] for n in indices}
        for k, e in enumerate(edges):
            self.touching[e.source].append(k)
            self.touching[e.reader].append(k)
        self.asked: dict[tuple[int, Poly], list[tuple[bool, _Wish]]] = {}

    def extend(self, root: Mapping[int, Poly]) -> Iterator[dict[int, Poly]]:
        """All ways on from some times: the certain edges first, else one that leaves a choice."""
        sure: list[_Wish] = []
        weak: list[_Wish] = []
        for n, time in root.items():
            self.reach(n, time, sure, weak)
        yield from self.grow({**root}, sure, weak)

    def grow(
        self, times: dict[int, Poly], sure: list[_Wish], weak: list[_Wish]
    ) -> Iterator[dict[int, Poly]]:
        while len(times) < len(self.indices):
            waiting = sure or weak
            if not waiting:
                return
            _, target, choices = heapq.heappop(waiting)
            if target in times:
                continue
            *others, last = choices
            for time in others:  # the last one goes on here, those before it in copies
                here, ways = {**times, target: time}, ([*sure], [*weak])
                self.reach(target, time, *ways)
                yield from self.grow(here, *ways)
            times[target] = last
            self.reach(target, last, sure, weak)
        yield times

    def reach(self, n: int, time: Poly, sure: list[_Wish], weak: list[_Wish]) -> None:
        """Put in the heaps what the edges of a piece say now that it has a time."""
        if (n, time) not in self.asked:
            self.asked[n, time] = list(self.ask(n, time))
        for certain, wish in self.asked[n, time]:
            heapq.heappush(sure if certain else weak, wish)

    def ask(self, n: int, time: Poly) -> Iterator[tuple[bool, _Wish]]:
        for k in self.touching[n]:
            e = self.edges[k]
            target, find = (
                (e.source, self.order.of_source)
                if e.reader == n
                else (e.reader, self.order.of_reader)
            )
            if target != n:
                certain, choices = find(e, {n: time}, self.indices[target])
                if choices:
                    yield certain, (k, target, choices)


def _replaced(time: Poly, free: Sequence[str]) -> str | None:
    """The index that a loop over ``time`` takes the place of: one that counts once in it."""
    return next((i for i in free if abs(time.coefficient(i)) == 1), None)


def _zero(value: Poly) -> Domain:
    return Domain.of((value, -value))


def _delays(
    pieces: Sequence[int], edges: Sequence[Dependence], least: Sequence[int]
) -> dict[int, int] | None:
    """Constants d with ``least + d[reader] - d[source] >= 0`` on every edge, or ``None``.

    All zero if that will do; else the shortest paths of Bellman and Ford (a cycle of negative
    weight means that there are none).
    """
    delay = dict.fromkeys(pieces, 0)
    for _ in range(len(pieces) + 1):
        changed = False
        for e, lo in zip(edges, least, strict=True):
            need = delay[e.source] - lo
            if delay[e.reader] < need:
                delay[e.reader] = need
                changed = True
        if not changed:
            return delay
    return None


def _lines(program: Program, nodes: Sequence[Node], indent: str) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Scan):
            way = "forward" if node.direction > 0 else "backward"
            yield f"{indent}scan {node.index} {way}:"
            yield from _lines(program, node.body, indent + "    ")
        else:
            eq = program.equations[node.piece]
            index = f"[{', '.join(eq.indices)}]" if eq.indices else ""
            over = f", all {', '.join(node.parallel)}" if node.parallel else ""
            yield f"{indent}{eq.name}{index} where {eq.domain}{over}"


__all__ = ["CausalityError", "Scan", "Schedule", "Step", "schedule"]
