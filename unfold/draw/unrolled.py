"""The unrolled picture: a column for each step of an explicit graph, a row for each equation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..graph import Graph, Node
from ..graph.node import LEAVES
from ..program import Equation
from ..show.program import equation_text
from .equations import index_of, of_equation, of_given
from .folding import models_of
from .labels import label
from .picture import Box, Heading, Line, Picture, Row
from .rolled import rolled

#: A length and a position on it.
Time = tuple[str, int]
#: In place of the indices of rows that are left out.
REST: tuple[str, ...] = ("…",)


def picture(graph: Graph, columns: int = 10, rows: int = 10) -> Picture:
    """Choose what to show of a graph.

    Args:
        graph: at level "equation" or "op".
        columns: the most steps of each length; the middle of more becomes one column.
        rows: the most rows of one variable with other axes than time; the middle of more becomes
            one row.

    Numbers are no boxes; they stand in the labels of the operations that use them.
    """
    return _Painter(graph, columns, rows).paint()


class _Painter:
    def __init__(self, graph: Graph, most: int, most_rows: int) -> None:
        self.graph = graph
        self.originals: dict[Equation | str, str] = {}
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
        self.hidden = self.hidden_rows(most_rows)
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

    def hidden_rows(self, most: int) -> dict[tuple[str, tuple[int | str, ...]], int]:
        """The rows in the middle of variables that have too many, and how many each has of those.

        Rows are told apart by the indices other than time; operations in the equation of an
        element are hidden with it.
        """
        found: dict[str, dict[tuple[int | str, ...], None]] = {}
        for node, row in zip(self.graph.table, self.rows, strict=True):
            if node.index:
                found.setdefault(row[0], {})[row[1]] = None
        hidden: dict[tuple[str, tuple[int | str, ...]], int] = {}
        for variable, indices in found.items():
            if len(indices) > most + 1:
                middle = sorted(indices)[most - most // 2 : len(indices) - most // 2]
                hidden |= {(variable, index): len(middle) for index in middle}
        return hidden

    def add_columns(self, clock: str, most: int) -> None:
        """Columns for the times of one length; the middle becomes one if there are too many."""
        times = sorted({t[1] for t in self.times if t and t[0] == clock})
        name = index_of(self.graph.program, clock)
        first, last = times, list[int]()
        # One column saved by leaving out two steps would be no gain in clarity.
        if len(times) > most + 1:
            first, last = times[: most - most // 2], times[len(times) - most // 2 :]
        for at in first:
            self.column_of[clock, at] = len(self.columns)
            self.columns.append(Heading(f"{name} = {at}", False, name, str(at)))
        if last:
            hidden = times[len(first) : len(times) - len(last)]
            self.column_of |= {(clock, at): len(self.columns) for at in hidden}
            self.columns.append(Heading(f"… {len(hidden)} steps …", True, name, "…"))
        for at in last:
            self.column_of[clock, at] = len(self.columns)
            self.columns.append(Heading(f"{name} = {at}", False, name, str(at)))

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
        program = self.graph.program
        return Picture(
            title, "unrolled", boxes, tuple(lines), tuple(self.columns), models_of(program),
            rolled(program),
        )  # fmt: skip

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
        heading = None if column is None else self.columns[column]
        row = self.rows[position]
        steps = heading is not None and heading.elided
        count = self.hidden.get(row[:2], 0)
        name, text, tip = node.name, label(self.graph, node), ""
        if count:
            # Operations inside equations are left out with them.
            row = (row[0], REST, 0)
            at = "" if heading is None else f"{heading.index}={heading.position}"
            name, text = f"{row[0]}[…]{at}", f"⋯ {count} more"
            tip = f"{count} rows of {row[0]} that are left out"
        if steps and heading is not None:
            place = list(row[1]) if row[1] else ""
            name, text = f"{row[0]}{place}/{row[2]} … {heading.index}", "⋯"
            tip = heading.label if not tip else f"{heading.label}\n{tip}"
        margin = column is None and self.at_margin(position, node)
        return Box(
            name, text, self.kind(position, node), row, column, margin,
            position in self.outputs and not tip, bool(tip), tip or self.tip(node),
            self.original(node), back=self.adjoint[position],
        )  # fmt: skip

    def original(self, node: Node) -> str:
        """The name of a node's equation in the rolled picture."""
        key = node.var if node.equation is None else node.equation
        if key not in self.originals:
            program = self.graph.program
            if node.equation is not None:
                self.originals[key] = of_equation(program, node.equation).name
            else:
                v = program.vars.get(node.var)
                self.originals[key] = node.var if v is None else of_given(program, v).name
        return self.originals[key]

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
