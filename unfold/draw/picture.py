"""What a drawing shows: boxes in rows and columns, and lines between them.

Nothing here knows about coordinates. A box stands in a *column* (a step of time), at the *margin*
(parameters, what is computed from them alone, and their gradients) or *free* in a row of its own
(a scalar such as the loss).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..graph import Graph, Node
from ..graph.node import LEAVES
from ..program import Equation
from ..show.program import equation_text
from .labels import label

#: What stands on one line: the variable, its indices other than time, the part of its equation.
Row = tuple[str, tuple[int, ...], int]


#: A length and a position on it.
Time = tuple[str, int]


@dataclass(frozen=True)
class Box:
    """A node of the drawing.

    Attributes:
        name: unique; that of the graph's node, or of the row for one that stands for many.
        label: what is written in it.
        kind: ``input``, ``param``, ``variable``, ``loss`` or ``adjoint``.
        row: see `Row`.
        column: the number of its column, or ``None`` at the margin and for free boxes.
        margin: whether it stands at the margin.
        output: whether the program returns it.
        elided: whether it stands for the steps that are left out.
        tooltip: its name, type and equation.
    """

    name: str
    label: str
    kind: str
    row: Row
    column: int | None
    margin: bool
    output: bool
    elided: bool
    tooltip: str


@dataclass(frozen=True)
class Line:
    """A dependence, from operand to user.

    ``kind`` is ``flow`` in the forward graph, ``shared`` from a parameter to one of its uses,
    ``adjoint`` between adjoints, ``gather`` into a parameter's gradient, and ``recall`` where an
    adjoint reads a value of the forward graph. ``cut`` is a line by which a value passes and no
    derivative, and ``absent`` stands in an adjoint where that derivative would have come.
    """

    start: str
    end: str
    kind: str


@dataclass(frozen=True)
class Heading:
    """What stands over a column: a time, or how many steps are left out."""

    label: str
    elided: bool


@dataclass(frozen=True)
class Picture:
    """Everything that is shown, rows and boxes in the order of the graph."""

    title: str
    boxes: Mapping[str, Box]
    lines: tuple[Line, ...]
    columns: tuple[Heading, ...]


def picture(graph: Graph, columns: int) -> Picture:
    """Choose what to show of a graph: at most ``columns`` steps of each length.

    Numbers are no boxes; they stand in the labels of the operations that use them.
    """
    return _Painter(graph, columns).paint()


class _Painter:
    def __init__(self, graph: Graph, most: int) -> None:
        self.graph = graph
        self.texts: dict[Equation, str] = {}
        # The lengths over which something is computed.
        self.running = {
            time[0]
            for node in graph.table
            if node.operands and node.role != "adjoint" and (time := graph.time(node))
        }
        self.times: list[Time | None] = []
        for node in graph.table:
            self.times.append(self.time(node))
        self.rows = self.all_rows()
        self.columns: list[Heading] = []
        self.column_of: dict[tuple[str, int], int] = {}
        for clock in self.clocks():
            self.add_columns(clock, most)
        self.adjoint: list[bool] = []
        self.moves: list[bool] = []
        for node, time in zip(graph.table, self.times, strict=True):
            self.adjoint.append(
                node.role == "adjoint" or any(self.adjoint[o] for o in node.operands)
            )
            self.moves.append(
                time is not None or node.op == "input" or any(self.moves[o] for o in node.operands)
            )
        self.still = {
            node.var
            for k, node in enumerate(graph.table)
            if self.times[k] is None and (not self.moves[k] or (node.op == "input" and node.index))
        }
        self.outputs = {c for r in graph.outputs.values() for c in r.cells}

    def time(self, node: Node) -> Time | None:
        """When a node is. One inside an equation is where its element is; inside the equation of
        something without a time, such as a loss, where all that it reads is."""
        own = self.own_time(node)
        if own is None and node.part:
            found = {self.times[o] for o in node.operands} - {None}
            return found.pop() if len(found) == 1 else None
        return own

    def own_time(self, node: Node) -> Time | None:
        """The time of the element that a node is part of; what stands at the margin has none."""
        time = self.graph.time(node._replace(part=0))
        v = self.graph.program.vars.get(node.var)
        if time is None or v is None or self.is_beside(v.adjoint_of or v.name, time[0]):
            return None
        return time

    def is_beside(self, name: str, clock: str) -> bool:
        """Whether a variable is no part of what happens in time: a parameter, or data over a length
        over which nothing is computed, such as one of two strings that are compared."""
        v = self.graph.program.vars.get(name)
        if v is None or v.role == "variable":
            return False
        return v.role != "input" or clock not in self.running

    def clocks(self) -> list[str]:
        """The lengths that time runs over, those that feed others first."""
        feeds = {t[0]: 0 for t in self.times if t}
        for node, time in zip(self.graph.table, self.times, strict=True):
            for read in (self.times[o] for o in node.operands if node.role != "adjoint"):
                if time and read and read[0] != time[0]:
                    feeds[read[0]] += 1
                    feeds[time[0]] -= 1
        return sorted(feeds, key=lambda clock: -feeds[clock])

    def all_rows(self) -> list[Row]:
        """The row of every node. Operations inside equations share a row if they do the same with
        what stands in the same rows, the same number of steps away."""
        numbers: dict[Any, int] = {}
        taken: set[tuple[Row, Time | None]] = set()
        rows: list[Row] = []
        for node, time in zip(self.graph.table, self.times, strict=True):
            rest = self.other_indices(node)
            row: Row = (node.var, rest, 0)
            if node.part:
                read = tuple((rows[o], _lag(self.times[o], time)) for o in node.operands)
                key: Any = (node.op, node.attrs, read)
                row = (node.var, rest, numbers.setdefault(key, len(numbers) + 1))
                # Two that cannot be told apart still need a place each.
                while (row, time) in taken:
                    key = (key, "again")
                    row = (node.var, rest, numbers.setdefault(key, len(numbers) + 1))
            taken.add((row, time))
            rows.append(row)
        return rows

    def other_indices(self, node: Node) -> tuple[int, ...]:
        """A node's positions but for its time."""
        time = self.own_time(node)
        v = self.graph.program.vars.get(node.var)
        if time is None or v is None:
            return node.index
        for k, axis in enumerate(v.axes):
            if time[0] in (axis.hi - axis.lo).symbols:
                return node.index[:k] + node.index[k + 1 :]
        return node.index

    def add_columns(self, clock: str, most: int) -> None:
        """Columns for the times of one length; the middle becomes one if there are too many."""
        times = sorted({t[1] for t in self.times if t and t[0] == clock})
        name = self.index_of(clock)
        first, last = times, list[int]()
        # One column saved by leaving out two steps would be no gain in clarity.
        if len(times) > most + 1:
            first, last = times[: most - most // 2], times[len(times) - most // 2 :]
        for at in first:
            self.column_of[clock, at] = len(self.columns)
            self.columns.append(Heading(f"{name} = {at}", False))
        if last:
            hidden = times[len(first) : len(times) - len(last)]
            self.column_of |= {(clock, at): len(self.columns) for at in hidden}
            self.columns.append(Heading(f"… {len(hidden)} steps …", True))
        for at in last:
            self.column_of[clock, at] = len(self.columns)
            self.columns.append(Heading(f"{name} = {at}", False))

    def index_of(self, clock: str) -> str:
        """The usual index of a length: ``t`` for ``T``."""
        for name, (_, hi) in self.graph.program.indices.items():
            if clock in hi.symbols:
                return name
        return clock

    def paint(self) -> Picture:
        boxes: dict[str, Box] = {}
        place: list[str | None] = []
        for position, node in enumerate(self.graph.table):
            if node.is_literal and position not in self.outputs:
                place.append(None)
                continue
            box = self.box(position, node)
            boxes.setdefault(box.name, box)
            place.append(box.name)
        lines: dict[Line, None] = {}
        for operand, position in self.edges():
            start, end = place[operand], place[position]
            if start is None or end is None or start == end:
                continue
            if not self.within_hidden(operand, position):
                kind = self.kind_of_line(operand, position, boxes[start], boxes[end])
                lines[Line(start, end, kind)] = None
        for operand, position in self.absent():
            start, end = place[operand], place[position]
            if start is not None and end is not None and start != end:
                if not self.within_hidden(operand, position):
                    lines[Line(start, end, "absent")] = None
        at = ", ".join(f"{k} = {v}" for k, v in self.graph.lengths.items())
        title = f"{self.graph.program.name}, {at}" if at else self.graph.program.name
        return Picture(title, boxes, tuple(lines), tuple(self.columns))

    def edges(self) -> Iterator[tuple[int, int]]:
        """From operands to users; not where a branch that is not taken would have read."""
        table, dead = self.graph.table, self.graph.cuts.dead
        for position, node in enumerate(table):
            for operand in node.operands:
                if (table[operand].name, node.name) not in dead:
                    yield operand, position

    def absent(self) -> Iterator[tuple[int, int]]:
        """Between the adjoints of two elements, where the graph between the elements is cut."""
        vars_ = self.graph.program.vars
        of = {v.adjoint_of: v.name for v in vars_.values() if v.adjoint_of is not None}
        for start, end in sorted(self.graph.cuts.cut):
            read, reader = self.graph.nodes[start], self.graph.nodes[end]
            pair = [(of.get(n.var, ""), n.index) for n in (reader, read)]
            if all(element in self.graph.elements for element in pair):
                yield self.graph.elements[pair[0]], self.graph.elements[pair[1]]

    def box(self, position: int, node: Node) -> Box:
        time = self.times[position]
        column = None if time is None else self.column_of[time]
        elided = column is not None and self.columns[column].elided
        row = self.rows[position]
        name = f"{row[0]}{list(row[1]) if row[1] else ''}/{row[2]} …" if elided else node.name
        return Box(
            name,
            "⋯" if elided else label(self.graph, node),
            self.kind(position, node),
            row,
            column,
            column is None and self.at_margin(position, node),
            position in self.outputs and not elided,
            elided,
            f"{self.columns[column].label}" if elided and column is not None else self.tip(node),
        )

    def at_margin(self, position: int, node: Node) -> bool:
        """Whether a node without a time is beside the rows: a parameter, or its gradient."""
        v = self.graph.program.vars.get(node.var)
        if v is not None and v.adjoint_of is not None and node.is_element:
            return v.adjoint_of in self.still
        if node.op in LEAVES:
            return node.op != "input" or bool(node.index)
        return not self.moves[position]

    def kind(self, position: int, node: Node) -> str:
        """What a box shows of a node's role."""
        if node.op in ("input", "param"):
            return node.op
        if self.adjoint[position]:
            return "adjoint"
        if node.op == "const":
            return "param"
        scalar = node.part == 0 and not node.index and not node.shape
        # The losses of an adjoint program are outputs like others: known by being scalar.
        if node.var in self.graph.program.losses or (scalar and position in self.outputs):
            return "loss" if node.part == 0 else "variable"
        return "variable"

    def within_hidden(self, operand: int, user: int) -> bool:
        """Whether a line leads from one step to another, both of them left out."""
        a, b = self.times[operand], self.times[user]
        if a is None or b is None or a == b:
            return False
        return self.column_of[a] == self.column_of[b]

    def kind_of_line(self, operand: int, user: int, start: Box, end: Box) -> str:
        """See `Line`."""
        names = tuple(self.graph.table[k].name for k in (operand, user))
        if names in self.graph.cuts.cut and not self.adjoint[user]:
            return "cut"
        if self.adjoint[user]:
            if not self.adjoint[operand]:
                return "recall"
            return "gather" if end.margin else "adjoint"
        return "shared" if start.margin and start.kind != "input" else "flow"

    def tip(self, node: Node) -> str:
        """Name and type, and the equation as text."""
        head = f"{node.name}: {node.typed}"
        if node.equation is None:
            return head
        if node.equation not in self.texts:
            self.texts[node.equation] = equation_text(self.graph.program, node.equation)
        text = self.texts[node.equation]
        return f"{head}\n{text}" if node.is_element else f"{head} = {node.op}(…)\n{text}"


def _lag(read: Time | None, reader: Time | None) -> object:
    """How far away in time something is read; on another clock, where."""
    if read is None or reader is None or read[0] != reader[0]:
        return read
    return read[1] - reader[1]
