"""Which equation pieces read which, and how far apart: the reduced dependence graph.

A node is a piece (its number in `Program.equations`); an edge is one read that reaches one piece,
with the domain on which it does. The graph is finite whatever the lengths are, and everything that
is decided about order is decided on it (Karp, Miller and Winograd, *The organization of
computations for uniform recurrence equations*, J. ACM 14, 1967).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .domain import Domain
from .expr import (
    Expr,
    Read,
    Reduce,
    fresh,
    kinds,
    reads,
    subs_positions,
    walk,
    with_operands,
)
from .intern import remembered
from .poly import Poly
from .program import Program

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True)
class Dependence:
    """Piece ``reader`` reads an element that piece ``source`` defines.

    ``domain`` holds the reader's domain, the reductions and guards around the read, and the
    condition that the element read lies in the source's domain; its symbols are the reader's
    indices, the bound indices and lengths.
    """

    source: int
    reader: int
    read: Read
    domain: Domain


@dataclass(frozen=True)
class Span:
    """The values ``lo..hi`` that a distance takes, for any lengths; ``None`` is unbounded."""

    lo: int | None
    hi: int | None

    @property
    def exact(self) -> int | None:
        """The value, if there is only one."""
        return self.lo if self.lo == self.hi else None

    def __str__(self) -> str:
        if self.exact is not None:
            return str(self.exact)
        if self.lo is None and self.hi is None:
            return "any"
        if self.hi is None:
            return f">= {self.lo}"
        return f"<= {self.hi}" if self.lo is None else f"{self.lo}..{self.hi}"


def dependences(program: Program) -> tuple[Dependence, ...]:
    """All edges of the reduced dependence graph, in order of the readers."""
    given = program.given
    pieces: dict[str, list[int]] = {}
    for number, eq in enumerate(program.equations):
        pieces.setdefault(eq.name, []).append(number)
    found: list[Dependence] = []
    for reader, eq in enumerate(program.equations):
        seen: set[tuple[tuple[Poly, ...], Domain, int]] = set()
        for read in reads(distinct(eq.rhs, eq.indices)):
            if eq.solver and read.ref.name == eq.name and read.ref.index == eq.element:
                continue  # the unknown of an implicit equation is no dependence
            for source in pieces.get(read.ref.name, ()):
                piece = program.equations[source]
                element = dict(zip(piece.indices, read.ref.index, strict=True))
                domain = eq.domain & read.domain & piece.domain.subs(element)
                key = (read.ref.index, domain, source)
                if key not in seen and not domain.is_empty(given):
                    seen.add(key)
                    found.append(Dependence(source, reader, read, domain))
    return tuple(found)


def distinct(e: Expr, indices: Iterable[str]) -> Expr:
    """The same expression where no reduction binds one of ``indices`` or an enclosing index."""
    return _distinct(e, frozenset(indices)) if "Reduce" in kinds(e) else e


@remembered
def _distinct(e: Expr, indices: frozenset[str]) -> Expr:
    bound = [i for n in walk(e) if isinstance(n, Reduce) for i in n.indices]
    if len(set(bound)) == len(bound) and not indices & set(bound):
        return e
    memo: dict[tuple[Expr, frozenset[str]], Expr] = {}

    def go(node: Expr, taken: frozenset[str]) -> Expr:
        key = (node, taken)
        if key not in memo:
            if isinstance(node, Reduce):
                names: dict[str, str] = {}
                used = taken | node.domain.symbols
                for i in node.indices:
                    names[i] = fresh(i, used) if i in taken else i
                    used |= {names[i]}
                values = {k: Poly.symbol(v) for k, v in names.items() if k != v}
                body = go(subs_positions(node.body, values), taken | set(names.values()))
                renamed = tuple(names[i] for i in node.indices)
                memo[key] = Reduce(node.op, renamed, node.domain.subs(values), body)
            else:
                memo[key] = with_operands(node, tuple(go(c, taken) for c in node.operands))
        return memo[key]

    return go(e, indices)


@remembered
def span(value: Poly, domain: Domain, given: Domain) -> Span:
    """The bounds of an affine ``value`` over all points of ``domain`` and all lengths."""
    if value.constant is not None:
        return Span(value.constant, value.constant)
    symbol = "@value"
    here = domain & given & Domain.point(symbol, value)
    shadow = here.project_out(here.symbols - {symbol})
    lows, highs = [], []
    for p in shadow.constraints:
        coef = p.coefficient(symbol)
        if coef > 0:
            lows.append(-(p.offset // coef))
        elif coef < 0:
            highs.append(p.offset // -coef)
    return Span(max(lows, default=None), min(highs, default=None))


def distances(edge: Dependence, program: Program) -> dict[str, Span]:
    """How far behind the reader lies what it reads: for each index that both pieces run over."""
    reader, source = program.equations[edge.reader], program.equations[edge.source]
    found = {}
    for name, position in zip(source.indices, edge.read.ref.index, strict=True):
        if name in reader.indices:
            found[name] = span(Poly.symbol(name) - position, edge.domain, program.given)
    return found


def dependence_graph(program: Program) -> nx.MultiDiGraph:
    """The reduced dependence graph: nodes are piece numbers with the attribute ``equation``.

    Edges run from the piece that is read to its reader; their attribute ``distances`` maps index
    names to the `Span` of reader minus read position, ``dependence`` is the edge itself.
    """
    import networkx as nx

    graph = nx.MultiDiGraph()
    for number, eq in enumerate(program.equations):
        graph.add_node(number, equation=eq)
    for edge in dependences(program):
        labels = distances(edge, program)
        graph.add_edge(edge.source, edge.reader, distances=labels, dependence=edge)
    return graph


__all__ = ["Dependence", "Span", "dependence_graph", "dependences", "distances",
           "distinct", "span"]  # fmt: skip
