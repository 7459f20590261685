"""The explicit DAG of an unfolded program."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..program import Program
from .node import Element, Index, Node

if TYPE_CHECKING:
    import networkx as nx

    from .cuts import Cuts


@dataclass(frozen=True)
class Result:
    """An output: the elements of ``ranges`` (one for each axis), row by row, as positions of
    nodes in `Graph.table`."""

    name: str
    ranges: tuple[range, ...]
    cells: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Graph:
    """A directed acyclic graph of values: what a program computes at given lengths.

    Attributes:
        program: what was unfolded.
        lengths: a number for each length.
        level: "op" (a node is an operation) or "equation" (a node is an element of a variable).
        table: the nodes, operands before users.
        elements: positions in ``table`` of the variables' elements: ``elements["h", (3,)]``.
        outputs: the outputs and losses by name.
    """

    program: Program
    lengths: Mapping[str, int]
    level: str
    table: tuple[Node, ...]
    elements: Mapping[Element, int]
    outputs: Mapping[str, Result]

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        at = ", ".join(f"{k}={v}" for k, v in self.lengths.items())
        return f"<{self.level} graph of {self.program.name} at {at}: {len(self)} nodes>"

    @cached_property
    def nodes(self) -> Mapping[str, Node]:
        """All nodes by name: ``h[3]``, ``W``, ``h[3]/2`` inside the equation of ``h[3]``."""
        return {node.name: node for node in self.table}

    @cached_property
    def networkx(self) -> nx.DiGraph:
        """The graph for networkx.

        Nodes are names, edges point from operand to user and carry ``slots``, the positions the
        operand has among the user's operands (``x * x`` is one edge with slots ``(0, 1)``). Node
        attributes: ``name``, ``var``, ``index``, ``op``, ``type`` (such as ``real[H]``), ``role``
        (input, param, constant, variable, adjoint), ``output`` (whether an output or loss holds
        it) and ``equation``. An edge is ``cut`` where no derivative passes (see `cuts`).
        """
        import networkx as nx

        graph = nx.DiGraph(name=self.program.name, level=self.level, **self.lengths)
        names = [node.name for node in self.table]
        shown = {cell for result in self.outputs.values() for cell in result.cells}
        for position, (name, node) in enumerate(zip(names, self.table, strict=True)):
            graph.add_node(
                name,
                name=name,
                var=node.var,
                index=node.index,
                op=node.op,
                type=node.typed,
                role=node.role,
                output=position in shown,
                equation=node.equation,
            )
            slots: dict[int, tuple[int, ...]] = {}
            for slot, operand in enumerate(node.operands):
                slots[operand] = (*slots.get(operand, ()), slot)
            for operand, at in slots.items():
                edge = (names[operand], name)
                graph.add_edge(*edge, slots=at, cut=edge in self.cuts.cut)
        return graph

    def order(self) -> list[str]:
        """The names in an order in which operands stand before their users."""
        return [node.name for node in self.table]

    def position(self, name: str) -> int:
        """Where a node stands in `table`. Raises ``KeyError`` for an unknown name."""
        return self._positions[name]

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {node.name: k for k, node in enumerate(self.table)}

    def ancestors(self, *names: str) -> set[str]:
        """The names of everything that the named nodes depend on, themselves not included."""
        return {self.table[k].name for k in self._below(names)} - set(names)

    def _below(self, names: Iterable[str]) -> set[int]:
        work = [self._positions[name] for name in names]
        found = set(work)
        while work:
            for operand in self.table[work.pop()].operands:
                if operand not in found:
                    found.add(operand)
                    work.append(operand)
        return found

    def subgraph(self, *names: str) -> Graph:
        """The named nodes and all that they depend on; outputs that are complete in it stay."""
        kept = sorted(self._below(names))
        new = {old: k for k, old in enumerate(kept)}
        return Graph(
            self.program,
            self.lengths,
            self.level,
            tuple(
                self.table[old]._replace(operands=tuple(new[o] for o in self.table[old].operands))
                for old in kept
            ),
            {element: new[k] for element, k in self.elements.items() if k in new},
            {
                name: Result(name, r.ranges, tuple(new[c] for c in r.cells))
                for name, r in self.outputs.items()
                if all(c in new for c in r.cells)
            },
        )

    def time(self, node: Node) -> tuple[str, int] | None:
        """When an element is: the length its first run-time axis runs over, and its position.

        ``("T", 3)`` for ``h[3]`` and for an attention weight ``a[3,1]``; ``None`` for what has no
        time (parameters, losses, layers) and inside equations.
        """
        v = self.program.vars.get(node.var)
        if v is None or not node.is_element:
            return None
        for axis, at in zip(v.axes, node.index, strict=False):
            clock = (axis.hi - axis.lo).symbols & set(self.lengths)
            if clock:
                return min(clock), at
        return None

    def path_length(self, start: str, end: str) -> int:
        """How many steps through time the shortest path from one node to another takes.

        A path passes elements of the graph; each time that it comes to an element at another time
        than the last one it passed, that is one step. It is ``t`` from ``h[0]`` to ``h[t]`` along a
        recurrence, and 1 from any state to any other that attends to it (the "maximum path
        length" of Vaswani et al. 2017). For the number of edges ask networkx:
        ``networkx.shortest_path_length(graph.networkx, start, end)``.

        Raises ``KeyError`` for an unknown name and ``ValueError`` if there is no path.
        """
        first, goal = self._positions[start], self._positions[end]
        users = self._users
        times = [self.time(node) for node in self.table]
        # Breadth first over (node, time last passed), steps of length 0 to the front.
        state = (first, times[first])
        best = {state: 0}
        work = deque([state])
        while work:
            state = work.popleft()
            at, last = state
            steps = best[state]
            if at == goal:
                return steps
            for user in users[at]:
                if user > goal:
                    continue
                here = times[user]
                cost = steps + (here is not None and last is not None and here != last)
                arrived = (user, last if here is None else here)
                if cost < best.get(arrived, cost + 1):
                    best[arrived] = cost
                    (work.append if cost > steps else work.appendleft)(arrived)
        raise ValueError(f"there is no path from {start} to {end}")

    @cached_property
    def _users(self) -> Sequence[Sequence[int]]:
        users: list[list[int]] = [[] for _ in self.table]
        for position, node in enumerate(self.table):
            for operand in dict.fromkeys(node.operands):
                users[operand].append(position)
        return users

    def adjoint(self, wrt: Iterable[str] | None = None, of: Iterable[str] | None = None) -> Graph:
        """The graph of the derivatives by the reverse sweep over this one (level "op" only).

        ``wrt``: names of inputs, parameters or other variables (default: all parameters); ``of``:
        names of scalars (default: all losses). See `unfold.graph.sweep`.
        """
        from .sweep import adjoint

        return adjoint(self, wrt, of)

    @cached_property
    def cuts(self) -> Cuts:
        """The edges where values pass and derivatives do not: of `detach`, of a truncation."""
        from .cuts import cuts

        return cuts(self)

    def draw(self, path: str | Path, **options: Any) -> Path:
        """Draw to svg, pdf, png or dot, by the suffix; see `unfold.draw.draw`.

        Args:
            options: ``columns=`` and ``rows=`` limit what is shown of long sequences and wide
                tables; ``fold="enc"`` shows a sub-model as one box a step, ``fold="all"`` every
                one; ``highlight="W"`` lights all uses of a parameter; ``checkpoint=4`` shows what
                ``compile(checkpoint=4)`` keeps and what it computes once more.

        Raises ``ValueError`` for another suffix or a name that is not there, and
        `unfold.draw.DrawingError` if there is no Graphviz.
        """
        from ..draw import draw

        return draw(self, path, **options)

    def _repr_svg_(self) -> str | None:
        from ..draw import svg

        return svg(self)


__all__ = ["Graph", "Index", "Result"]
