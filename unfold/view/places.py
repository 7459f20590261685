"""Which boxes the page has and which lines join them: rows of variables, columns of steps.

A row is a variable, for one of more axes a row for each of its other positions. Columns are the
steps of each length over which something is computed. The box of row ``r`` in column ``c`` is one
element; rolled up, all columns lie on each other. Variables that the compiler made (the stages of a
flow, named parts of expressions) have no row: lines pass through them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..draw.rolled import rolled
from ..draw.rows import row_order
from ..graph import Graph, Node
from ..program import Program, Var
from .timeline import Timeline

#: More rows of one variable than this become the first, one for the rest, and the last.
ROWS = 8


@dataclass(frozen=True)
class Row:
    """A row of boxes.

    Attributes:
        var: the variable, and ``rest`` its positions on its axes other than time; ``None`` for a
            row that stands for those left out, ``hidden`` of them.
        kind: ``input``, ``variable``, ``loss`` or ``adjoint``.
        clock: the length of its columns, ``None`` for one box without a time.
        ticks: when each step is computed, for every position that exists.
    """

    var: str
    rest: tuple[int, ...] | None
    kind: str
    clock: str | None
    hidden: int = 0
    ticks: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Lines:
    """Reads of one row by another at one distance in time.

    ``shift`` is the reader's position minus that of what it reads, ``None`` between different
    lengths or where one has no time; then ``pairs`` holds the positions (0 for none). ``spans`` are
    the ranges ``lo, hi`` of the reader's positions.
    """

    source: int
    reader: int
    shift: int | None
    spans: tuple[tuple[int, int], ...] = ()
    pairs: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Places:
    """Rows from below upwards, what stands at the margin, and the lines.

    Attributes:
        clocks: the lengths of the columns, in order, with the name of their index and first and
            last position.
        margin: parameters, and data and values without a place in time.
        uses: for each row and each name of the margin the positions (0 without time) at which it
            is read.
    """

    rows: tuple[Row, ...]
    lines: tuple[Lines, ...]
    clocks: tuple[tuple[str, str, int, int], ...]
    margin: tuple[str, ...]
    uses: Mapping[str, Mapping[int, tuple[int, ...]]]


def base(name: str) -> str:
    """The variable that an adjoint's name speaks of: ``h`` for ``h_pre_bar_1``."""
    name = re.sub(r"_bar(_\d+)?$", "", name)
    return re.sub(r"(_pre|_lambda)(_\d+)*$", "", name)


def shown(program: Program) -> list[str]:
    """The variables that have rows: the user's, and their adjoints that are in time."""
    names: list[str] = []
    for v in program.vars.values():
        owner = v.name.rpartition(".")[0]
        inside = False
        while owner:
            inside = inside or owner in program.vars
            owner = owner.rpartition(".")[0]
        if v.role == "variable" and v.adjoint_of is None and not v.generated and not inside:
            names.append(v.name)
    own = set(names) | {v.name for v in program.inputs}
    for v in program.vars.values():
        if v.role == "variable" and v.name not in own and is_adjoint(v) and v.axes:
            # Of adjoints inside equations only those that have one row.
            if v.adjoint_of in own or (base(v.name) in own and len(v.axes) == 1):
                names.append(v.name)
    return names


def is_adjoint(v: Var) -> bool:
    """Whether a variable belongs to the way back."""
    return v.adjoint_of is not None or (v.generated and "_bar" in v.name)


def reading_order(program: Program) -> list[str]:
    """The variables from below upwards, as `unfold.draw` places them."""
    return list(dict.fromkeys(row[0] for row in row_order(rolled(program))))


def places(graph: Graph, times: Timeline) -> Places:
    """The rows, lines and margin of a graph at level "equation"."""
    return _Places(graph, times).made()


class _Places:
    def __init__(self, graph: Graph, times: Timeline) -> None:
        self.graph = graph
        self.times = times
        program = graph.program
        self.names = set(shown(program))
        self.running = {
            clock for node in graph.table if node.operands and (clock := self.clock(node))
        }
        self.numbers: dict[tuple[str, tuple[int, ...] | None], int] = {}
        self.rows: list[Row] = []

    def clock(self, node: Node) -> str | None:
        time = self.graph.time(node)
        return time[0] if time else None

    def is_row(self, node: Node) -> bool:
        if node.op == "input":
            return self.clock(node) in self.running
        return node.var in self.names and bool(node.operands or node.op == "equation")

    def is_margin(self, node: Node) -> bool:
        return node.op == "param" or (node.op == "input" and not self.is_row(node))

    def made(self) -> Places:
        graph = self.graph
        self.make_rows()
        sources: list[frozenset[tuple[int, int]]] = []
        margins: list[frozenset[str]] = []
        where: list[tuple[int, int] | None] = []
        found: dict[tuple[int, int], set[tuple[int, int]]] = {}
        uses: dict[str, dict[int, set[int]]] = {}
        for node in graph.table:
            read: set[tuple[int, int]] = set()
            taken: set[str] = set()
            for o in dict.fromkeys(node.operands):
                read |= sources[o]
                taken |= margins[o]
            spot = self.spot(node)
            where.append(spot)
            if spot is not None:
                for row, at in read:
                    if row != spot[0] or at != spot[1]:
                        found.setdefault((row, spot[0]), set()).add((at, spot[1]))
                for name in taken:
                    uses.setdefault(name, {}).setdefault(spot[0], set()).add(spot[1])
                read, taken = {spot}, set()
            elif self.is_margin(node):
                taken = {node.var}
            sources.append(frozenset(read))
            margins.append(frozenset(taken))
        lines = [part for pair, at in sorted(found.items()) for part in self.joined(pair, at)]
        return Places(
            tuple(self.rows), tuple(lines), self.clocks(),
            tuple(dict.fromkeys(n.var for n in graph.table if self.is_margin(n))),
            {n: {r: tuple(sorted(at)) for r, at in by.items()} for n, by in uses.items()},
        )  # fmt: skip

    def make_rows(self) -> None:
        graph = self.graph
        order = {n: k for k, n in enumerate(reading_order(graph.program))}
        rests: dict[str, dict[tuple[int, ...], None]] = {}
        sample: dict[str, Node] = {}
        for node in graph.table:
            if self.is_row(node) and node.is_element:
                rests.setdefault(node.var, {})[self.rest(node)] = None
                sample.setdefault(node.var, node)
        for var in sorted(rests, key=lambda n: order.get(n, len(order))):
            found = sorted(rests[var])
            kept = found if len(found) <= ROWS else [*found[:4], *found[-2:]]
            clock, kind = self.clock(sample[var]), self.kind(sample[var])
            for k, rest in enumerate(kept):
                if len(kept) < len(found) and k == 4:
                    self.numbers[var, None] = len(self.rows)
                    self.rows.append(Row(var, None, kind, clock, len(found) - len(kept)))
                self.numbers[var, rest] = len(self.rows)
                self.rows.append(Row(var, rest, kind, clock))
        for at, node in enumerate(graph.table):
            spot = self.spot(node)
            if spot is not None:
                tick = self.times.backward.get(at, self.times.forward.get(at, 0))
                ticks = self.rows[spot[0]].ticks
                ticks[spot[1]] = max(ticks.get(spot[1], 0), tick)

    def kind(self, node: Node) -> str:
        v = self.graph.program.vars[node.var]
        if node.op == "input":
            return "input"
        if is_adjoint(v):
            return "adjoint"
        return "variable" if node.index or node.shape else "loss"

    def rest(self, node: Node) -> tuple[int, ...]:
        """The positions on the axes other than time."""
        time = self.graph.time(node)
        if time is None:
            return node.index
        axes = self.graph.program.vars[node.var].axes
        k = next(k for k, a in enumerate(axes) if time[0] in (a.hi - a.lo).symbols)
        return node.index[:k] + node.index[k + 1 :]

    def spot(self, node: Node) -> tuple[int, int] | None:
        """The row and the position in time of a node that has a box."""
        if not node.is_element or not self.is_row(node):
            return None
        rest = self.rest(node)
        row = self.numbers.get((node.var, rest), self.numbers.get((node.var, None)))
        time = self.graph.time(node)
        return None if row is None else (row, time[1] if time else 0)

    def joined(self, pair: tuple[int, int], at: set[tuple[int, int]]) -> list[Lines]:
        """Reads of one row by another, as spans of equal distance."""
        source, reader = pair
        clock = self.rows[source].clock
        if clock is None or clock != self.rows[reader].clock:
            return [Lines(source, reader, None, pairs=tuple(sorted(at)))]
        shifts: dict[int, list[int]] = {}
        for s, r in at:
            shifts.setdefault(r - s, []).append(r)
        return [
            Lines(source, reader, shift, tuple(_spans(sorted(rs))))
            for shift, rs in sorted(shifts.items())
        ]

    def clocks(self) -> tuple[tuple[str, str, int, int], ...]:
        """Lengths in the order in which things are computed over them."""
        ticks: dict[str, int] = {}
        ends: dict[str, tuple[int, int]] = {}
        for row in self.rows:
            if row.clock is None or not row.ticks:
                continue
            lo, hi = ends.get(row.clock, (min(row.ticks), max(row.ticks)))
            ends[row.clock] = min(lo, *row.ticks), max(hi, *row.ticks)
            if row.kind == "variable":
                first = min(row.ticks.values())
                ticks[row.clock] = min(ticks.get(row.clock, first), first)
        names: dict[str, str] = {}
        for name, (_, end) in self.graph.program.indices.items():
            for symbol in end.symbols:
                names.setdefault(symbol, name)
        return tuple(
            (c, names.get(c, c), *ends[c]) for c in sorted(ends, key=lambda c: ticks.get(c, 0))
        )


def _spans(positions: list[int]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for at in positions:
        if spans and at == spans[-1][1] + 1:
            spans[-1] = spans[-1][0], at
        elif not spans or at != spans[-1][1]:
            spans.append((at, at))
    return spans


__all__ = ["Lines", "Places", "Row", "base", "is_adjoint", "places", "shown"]
