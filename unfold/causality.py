"""Why no order exists: the cycle of reads that proves it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .dependence import Dependence, Span, span
from .domain import Domain
from .expr import Read
from .poly import Poly
from .program import Equation, Program


@dataclass(frozen=True)
class Link:
    """One read of a causality cycle.

    Attributes:
        equation: the equation that reads.
        read: what it reads, with the reductions and guards around it.
        source: the equation that defines the element read.
        distances: for each index that both equations run over, how many steps back the element
            lies (0: the same step, negative: ahead); a `Span` where it varies.
    """

    equation: Equation
    read: Read
    source: Equation
    distances: dict[str, Span]

    def __str__(self) -> str:
        index = "[" + ", ".join(p.compact() for p in self.read.ref.index) + "]"
        far = ", ".join(f"{k}: {v}" for k, v in self.distances.items())
        return (
            f"{self.equation.name} reads {self.read.ref.name}{index if index != '[]' else ''}"
            + (f" (steps back {far})" if far else "")
        )


class CausalityError(Exception):
    """Equations that cannot be put into an order.

    Attributes:
        kind: ``"instant"`` when the elements of one step need each other: going round the cycle
            leads back to the same step. ``"mixed"`` when some reads look back and others ahead, so
            that no direction serves them all.
        cycle: the reads, each link's ``source`` being the next link's ``equation`` and the last
            one's the first one's. For ``"mixed"`` two cycles may follow each other.
    """

    def __init__(self, kind: str, cycle: tuple[Link, ...]) -> None:
        self.kind = kind
        self.cycle = cycle
        super().__init__(kind, cycle)

    def __str__(self) -> str:
        why = (
            "elements of one step need each other"
            if self.kind == "instant"
            else "some reads look back and others ahead"
        )
        return f"no order exists, {why}: " + "; ".join(str(link) for link in self.cycle)


def explain(program: Program, edges: Sequence[Dependence]) -> tuple[str, tuple[Link, ...]]:
    """The kind and the cycle of a `CausalityError` for a component that has no legal loop."""
    links = [(e, _link(program, e)) for e in edges]
    instant = [(e, link) for e, link in links if not _same_step(e, program).is_empty(program.given)]
    shortest = min(_cycles(instant), key=len, default=None)
    if shortest is not None:
        return "instant", tuple(shortest)
    cycles = sorted(_cycles(links), key=len)
    closed = next((c for c in cycles if _sums(c) and not any(_sums(c).values())), None)
    if closed is not None:
        return "instant", tuple(closed)
    return "mixed", tuple(_opposed(cycles) or cycles[0])


def _opposed(cycles: Sequence[list[Link]]) -> list[Link]:
    """Two cycles that lead opposite ways along the same index, one after the other."""
    sums = [_sums(c) for c in cycles]
    for name in dict.fromkeys(name for total in sums for name in total):
        back = next(
            (c for c, total in zip(cycles, sums, strict=True) if total.get(name, 0) > 0), []
        )
        ahead = next(
            (c for c, total in zip(cycles, sums, strict=True) if total.get(name, 0) < 0), []
        )
        if back and ahead:
            return [*back, *ahead]
    return []


def _link(program: Program, e: Dependence) -> Link:
    equation, source = program.equations[e.reader], program.equations[e.source]
    found = {}
    for name, position in zip(source.indices, e.read.ref.index, strict=True):
        if name in equation.indices:
            found[name] = span(Poly.symbol(name) - position, e.domain, program.given)
    return Link(equation, e.read, source, found)


def _same_step(e: Dependence, program: Program) -> Domain:
    """Where reader and element read have the same position on every index that both have."""
    domain = e.domain
    equation, source = program.equations[e.reader], program.equations[e.source]
    for name, position in zip(source.indices, e.read.ref.index, strict=True):
        if name in equation.indices:
            gap = Poly.symbol(name) - position
            domain = domain & Domain.of((gap, -gap))
    return domain


def _cycles(links: Sequence[tuple[Dependence, Link]]) -> Iterator[list[Link]]:
    """For each read a shortest cycle through it, from the reader along what is read."""
    import networkx as nx

    graph = nx.DiGraph()
    for e, link in links:
        if not graph.has_edge(e.reader, e.source):
            graph.add_edge(e.reader, e.source, link=link)
    for e, link in links:
        if nx.has_path(graph, e.source, e.reader):
            ring = nx.shortest_path(graph, e.source, e.reader)
            yield [link, *(graph.edges[a, b]["link"] for a, b in itertools.pairwise(ring))]


def _sums(cycle: list[Link]) -> dict[str, int]:
    """Total steps back around the cycle for the indices that all links have at exact distances."""
    total: dict[str, int] = {}
    for name in cycle[0].distances:
        exact = [link.distances[name].exact for link in cycle if name in link.distances]
        if len(exact) == len(cycle) and None not in exact:
            total[name] = sum(d for d in exact if d is not None)
    return total
