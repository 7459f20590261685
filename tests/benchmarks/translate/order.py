"""The order of computation: the schedule's, with loops that may be one loop put together.

Four chained sums over time are four loops of a schedule and one `lax.scan` of a programmer, whose
compile time is that of one. Equations between two loops that only look back join them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import networkx as nx

from unfold.dependence import Dependence, dependences
from unfold.expr import names, subs_positions
from unfold.poly import Poly
from unfold.program import Equation, Program
from unfold.schedule import Node, Scan, Step, schedule

from .pieces import Untranslated


@dataclass(frozen=True)
class Loop:
    """A scan of equations that all have the index ``index``, in order; loops may be inside."""

    index: str
    direction: int
    body: tuple[Equation | Loop, ...]

    @property
    def equations(self) -> tuple[Equation, ...]:
        """All equations in it, also those of inner loops."""
        return tuple(eq for b in self.body for eq in (b.equations if isinstance(b, Loop) else (b,)))


Ordered = tuple["Equation | Loop", ...]


def needed(program: Program) -> Program:
    """The program without what no loss depends on, and without outputs."""
    live = set(program.losses)
    while True:
        more = {n for eq in program.equations if eq.name in live for n in names(eq.rhs)} - live
        if not more:
            break
        live |= more
    equations = tuple(eq for eq in program.equations if eq.name in live)
    return program.with_(equations=equations, outputs=())


def ordered(program: Program, merge: bool = True) -> Ordered:
    """Equations and loops such that everything comes after what it needs."""
    work = _Merger(program, dependences(program))
    groups: list[Node] = []
    for node in schedule(program).nodes:
        groups = (work.merged(groups, node) if merge else None) or [*groups, node]
    return tuple(_built(program, n, {}) for n in groups)


def _built(program: Program, node: Node, loops: Mapping[int, Mapping[str, str]]) -> Equation | Loop:
    """A node with the loops' own names for those indices of a piece that are loops around it."""
    if isinstance(node, Step):
        return _renamed(program.equations[node.piece], loops.get(node.piece, {}))
    inner = dict(loops)
    for n, time in node.times.items():
        index = time.as_symbol
        if index is None:
            raise Untranslated(f"{program.equations[n].name} is computed at {time}")
        inner[n] = {**inner.get(n, {}), index: node.index}
    body = tuple(_built(program, b, inner) for b in node.body)
    return Loop(node.index, node.direction, body)


def _renamed(eq: Equation, loops: Mapping[str, str]) -> Equation:
    changed = {old: new for old, new in loops.items() if old != new}
    if not changed:
        return eq
    if set(changed.values()) & set(eq.indices):
        raise Untranslated(f"{eq.name} has an index of the name of a loop that is another one")
    indices = tuple(changed.get(i, i) for i in eq.indices)
    rhs = subs_positions(eq.rhs, changed)
    return Equation(eq.name, indices, eq.domain.subs(changed), rhs, eq.span, eq.solver)


def _pieces(node: Node) -> Iterator[int]:
    if isinstance(node, Step):
        yield node.piece
    else:
        for b in node.body:
            yield from _pieces(b)


class _Merger:
    """Puts a node of a schedule into a loop before it."""

    def __init__(self, program: Program, edges: tuple[Dependence, ...]) -> None:
        self.program, self.edges = program, edges
        self.graph = nx.DiGraph((e.source, e.reader) for e in edges)

    def merged(self, groups: list[Node], node: Node) -> list[Node] | None:
        """All nodes with the new one in the last loop that can take it; ``None`` if none can."""
        if not self.flat(node):
            return None
        for k in range(len(groups) - 1, -1, -1):
            loop = groups[k]
            if not self.flat(loop) or self.frame(loop) != self.frame(node):
                continue
            after = groups[k + 1 :]
            users = [n for n in after if self.uses(n, loop)]
            between = [n for n in users if self.uses(node, n)]
            parts = [*between, node]
            if all(self.joins(loop, p, parts) for p in parts):
                first = [n for n in after if n not in users]
                rest = [n for n in users if n not in between]
                return [*groups[:k], *first, self.together(loop, parts), *rest]
        return None

    def flat(self, node: Node) -> bool:
        return isinstance(node, Scan) and all(isinstance(b, Step) for b in node.body)

    def frame(self, node: Node) -> tuple[object, ...] | None:
        """What two loops must have in common: the direction, and the range of all pieces."""
        assert isinstance(node, Scan)
        ranges = {self.range(n, time) for n, time in node.times.items()}
        return (node.direction, *ranges) if len(ranges) == 1 and None not in ranges else None

    def range(self, piece: int, time: Poly) -> tuple[Poly, Poly] | None:
        """The first and the last step of a piece in a loop."""
        index = time.as_symbol
        if index is None:
            return None
        eq = self.program.equations[piece]
        domain = eq.domain.project_out([i for i in eq.indices if i != index])
        low, high = domain.simplified(self.program.given).bounds(index)
        return (low[0], high[0]) if len(low) == len(high) == 1 else None

    def uses(self, node: Node, other: Node) -> bool:
        """Whether a node depends on another one, perhaps by way of others."""
        return any(
            n in self.graph and m in self.graph and nx.has_path(self.graph, m, n)
            for n in _pieces(node)
            for m in _pieces(other)
        )

    def joins(self, loop: Node, part: Node, parts: list[Node]) -> bool:
        """Whether a part may be done inside of the loop: it reads nothing of the loop and of the
        other parts but at the same step and at steps before."""
        assert isinstance(loop, Scan)
        times = self.times(loop, parts)
        if any(times.get(n) is None for n in _pieces(part)):
            return False
        for e in self.edges:
            if e.reader in set(_pieces(part)) and e.source in times:
                here, there = times[e.reader], times[e.source]
                assert here is not None
                assert there is not None
                source = self.program.equations[e.source]
                at = there.subs(dict(zip(source.indices, e.read.ref.index, strict=True)))
                gap = (here - at).constant
                if gap is None or gap * loop.direction < 0:
                    return False
        return True

    def times(self, loop: Scan, parts: list[Node]) -> dict[int, Poly | None]:
        """The time of each piece; a step on its own gets that of an index with the loop's range."""
        found: dict[int, Poly | None] = dict(loop.times)
        (_, frame) = self.frame(loop) or (0, None)
        for p in parts:
            if isinstance(p, Scan):
                found |= p.times
                continue
            eq = self.program.equations[p.piece]
            fits = [i for i in eq.indices if self.range(p.piece, Poly.symbol(i)) == frame]
            found[p.piece] = Poly.symbol(fits[0]) if len(fits) == 1 else None
        return found

    def together(self, loop: Node, parts: list[Node]) -> Scan:
        assert isinstance(loop, Scan)
        body = [*loop.body]
        for p in parts:
            body += p.body if isinstance(p, Scan) else [p]
        times = {n: t for n, t in self.times(loop, parts).items() if t is not None}
        return Scan(loop.index, loop.direction, times, tuple(body))
