"""Where values pass and derivatives do not: the reads that `detach` cuts, and reads of nothing.

A truncation writes ``where(crosses, detach(h[t-1]), h[t-1])``, and whether step t crosses a border
is known once the graph is there. So conditions on positions are worked out, the branch that is not
taken is dead, and a read is *cut* if every way from it that is not dead passes a `detach`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..expr import Call, Expr, walk
from ..ops import OPS
from ..poly import Poly
from .node import LEAVES, Node

if TYPE_CHECKING:
    from .graph import Graph

#: From an operand to its user, by name.
Edge = tuple[str, str]


@dataclass(frozen=True)
class Cuts:
    """What is special about some edges of a graph.

    Attributes:
        cut: a value passes here, and no derivative.
        dead: nothing passes here: the operand is in a branch that is not taken at this step.
    """

    cut: frozenset[Edge] = frozenset()
    dead: frozenset[Edge] = frozenset()


def cuts(graph: Graph) -> Cuts:
    """The edges of a graph, at either level, where derivatives or values do not pass."""
    if not any(_may_be_cut(eq.rhs) for eq in graph.program.equations):
        return Cuts()
    if graph.level == "op":
        return _of_operations(graph)
    from .unroll import unfold

    operations = unfold(graph.program, graph.lengths, "op")
    return _of_elements(graph, operations)


def _may_be_cut(rhs: Expr) -> bool:
    return any(isinstance(e, Call) and e.op in ("detach", "where") for e in walk(rhs))


def _of_operations(graph: Graph) -> Cuts:
    ways = _Ways(graph)
    cut, dead = set(), set()
    used: set[int] = set()
    # From users to operands: what only dead branches need is dead as well.
    for at, node in reversed(list(enumerate(graph.table))):
        live = ways.live(at) if at in used or node.is_element else ()
        used.update(live)
        for operand in node.operands:
            edge = (graph.table[operand].name, node.name)
            if operand not in live:
                dead.add(edge)
            elif node.op == "detach":
                cut.add(edge)
    return Cuts(frozenset(cut), frozenset(dead))


def _of_elements(graph: Graph, operations: Graph) -> Cuts:
    ways = _Ways(operations)
    cut, dead = set(), set()
    for node in graph.table:
        if not node.operands or node.equation is None or node.equation.solver is not None:
            continue
        if not _may_be_cut(node.equation.rhs):
            continue
        found: dict[str, bool] = {}
        for name, passes in ways.reads(operations.position(node.name)):
            found[name] = found.get(name, False) or passes
        for operand in node.operands:
            name = graph.table[operand].name
            if name not in found:
                dead.add((name, node.name))
            elif not found[name]:
                cut.add((name, node.name))
    return Cuts(frozenset(cut), frozenset(dead))


class _Ways:
    """Which operands of a graph of operations are read, where conditions are known."""

    def __init__(self, graph: Graph) -> None:
        self.table = graph.table
        self.known: dict[int, Any] = {}
        for at, node in enumerate(self.table):
            value = self.worked_out(node)
            if value is not None:
                self.known[at] = value

    def worked_out(self, node: Node) -> Any:
        """The value of an integer or condition that positions alone decide, else ``None``."""
        if node.type.kind == "real" or node.shape:
            return None
        if node.op == "const":
            value = node.attr("value") if node.attrs else None
            return None if isinstance(value, Poly) and value.symbols else _plain(value)
        values = [self.known.get(o) for o in node.operands]
        if node.op in LEAVES or not values or any(v is None for v in values):
            return None
        op = OPS.get(node.op)
        return None if op is None else op.numpy(*values, **dict(node.attrs))

    def live(self, at: int) -> tuple[int, ...]:
        """The operands that are read: but one branch of a choice that is decided."""
        node = self.table[at]
        if node.op == "where" and node.operands[0] in self.known:
            taken = 1 if self.known[node.operands[0]] else 2
            return (node.operands[0], node.operands[taken])
        return node.operands

    def reads(self, element: int) -> Iterator[tuple[str, bool]]:
        """The elements that an element's equation reads, and whether a derivative passes."""
        seen: set[tuple[int, bool]] = set()
        work = [(element, True)]
        while work:
            at, passes = work.pop()
            passes = passes and self.table[at].op != "detach"
            for operand in self.live(at):
                if self.table[operand].is_element:
                    yield self.table[operand].name, passes
                elif (operand, passes) not in seen:
                    seen.add((operand, passes))
                    work.append((operand, passes))


def _plain(value: Any) -> Any:
    return int(value.evaluate({})) if isinstance(value, Poly) else value
