"""The rolled picture: the reduced dependence graph, a box for each equation, however long time is.

It looks like one column of the unrolled picture. What defines a single step (``h[0]``) stands in a
column beside it, and lines say how far away in time they read: ``t-1``, ``1..t``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ..dependence import dependences, distinct, span
from ..domain import Domain
from ..expr import Call, Expr, Ref, reads
from ..poly import Poly, show_shape
from ..program import Equation, Program, Var
from ..show.domains import range_of
from ..show.program import equation_text
from .equations import Place, index_of, of_equation, of_given, text, time_axis
from .folding import models_of
from .picture import Box, Heading, Line, Picture


def rolled(program: Program) -> Picture:
    """The picture of a program's equations and how they depend on each other.

    It shows what outputs and losses need, or everything if there are none.
    """
    return _Painter(program).paint()


@dataclass
class _Unit:
    """What becomes a box."""

    place: Place
    v: Var
    pieces: list[Equation] = field(default_factory=list)
    operands: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True)
class _Read:
    start: str
    end: str
    label: str
    turn: int
    now: bool
    cut: bool


class _Painter:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.units: dict[str, _Unit] = {}
        self.name_of: list[str] = []
        for eq in program.equations:
            place = of_equation(program, eq)
            unit = self.units.setdefault(place.name, _Unit(place, program.vars[eq.name]))
            unit.pieces.append(eq)
            self.name_of.append(place.name)
        self.reads = list(dict.fromkeys(self.all_reads()))
        for read in self.reads:
            self.units[read.end].operands[read.start] = None
        self.running = {
            unit.place.column[0]
            for unit in self.units.values()
            if unit.operands and unit.v.adjoint_of is None and unit.place.column
        }
        self.needed = self.all_needed()
        self.adjoint = self.reached({n for n, u in self.units.items() if u.v.adjoint_of})
        self.moves = self.reached(
            {n for n, u in self.units.items() if self.column(n) or u.v.role == "input"}
        )
        self.order = {name: k for k, name in enumerate(program.vars)}
        self.outputs = {o.name for o in program.outputs} | set(program.losses)

    # --- what reads what ---

    def all_reads(self) -> Iterator[_Read]:
        program = self.program
        through = [_passing(distinct(eq.rhs, eq.indices)) for eq in program.equations]
        edges = dependences(program)
        for edge in edges:
            eq = program.equations[edge.reader]
            start, end = self.name_of[edge.source], self.name_of[edge.reader]
            how = self.reach(eq, edge.read.ref, edge.domain)
            yield from self.passing(start, end, how, edge.read.ref, through[edge.reader])
        for number, eq in enumerate(program.equations):
            for read in reads(distinct(eq.rhs, eq.indices)):
                v = program.vars[read.ref.name]
                if v.role == "variable":
                    continue
                place = of_given(program, v)
                self.units.setdefault(place.name, _Unit(place, v))
                how = self.reach(eq, read.ref, eq.domain & read.domain)
                yield from self.passing(
                    place.name, self.name_of[number], how, read.ref, through[number]
                )

    def passing(
        self, start: str, end: str, how: tuple[str, int, bool], ref: Ref,
        through: tuple[set[Ref], set[Ref]],
    ) -> Iterator[_Read]:  # fmt: skip
        """A read, once where derivatives pass and once where they do not."""
        for cut, found in enumerate(through):
            if ref in found:
                yield _Read(start, end, *how, bool(cut))

    def reach(self, eq: Equation, ref: Ref, domain: Domain) -> tuple[str, int, bool]:
        """What is read, beside the reader's own step: see `Line`."""
        time = time_axis(self.program.vars[ref.name], self.program.lengths)
        if time is None:
            return "", 0, True
        k, clock = time
        position = ref.index[k]
        beside = self.steps_beside(eq, ref, k)
        own = time_axis(self.program.vars[eq.name], self.program.lengths)
        turn, now = 0, True
        if own is not None and own[1] == clock:
            here = eq.element[own[0]]
            distance = (here - position).constant
            if distance == 0:
                return beside, 0, True
            if distance is not None:
                usual = self.program.vars[eq.name].axes[own[0]].index
                label = text(Poly.symbol(usual) - distance)
                label = f"{label},{beside}" if beside else label
                return label, 1 if distance > 0 else -1, False
            far = span(here - position, domain, self.program.given)
            turn = -1 if far.hi is not None and far.hi <= 0 else 1
            now = not ((far.lo or 0) > 0 or (far.hi is not None and far.hi < 0))
        return self.range_text(eq, position, domain), turn, now

    def steps_beside(self, eq: Equation, ref: Ref, clock: int) -> str:
        """How far away a read is along axes other than time: ``n-1``; nothing if it is not."""
        reader, source = self.program.vars[eq.name], self.program.vars[ref.name]
        here = {axis.index: p for axis, p in zip(reader.axes, eq.element, strict=True)}
        found = []
        for k, (axis, position) in enumerate(zip(source.axes, ref.index, strict=True)):
            distance = (here.get(axis.index, position) - position).constant
            if k != clock and distance:
                found.append(text(Poly.symbol(axis.index) - distance))
        return ",".join(found)

    def range_text(self, eq: Equation, position: Poly, domain: Domain) -> str:
        """The positions that are read: one, or a first and a last one."""
        v = self.program.vars[eq.name]
        usual = {
            i: Poly.symbol(axis.index) for i, axis in zip(eq.indices, v.axes, strict=True)
        }  # fmt: skip
        free = position.symbols - set(eq.indices) - set(self.program.lengths)
        if len(free) != 1 or position != Poly.symbol(symbol := next(iter(free))):
            return text(position.subs(usual))
        found = range_of(symbol, domain.simplified(self.program.given), self.program.given)
        if found is None:
            return symbol
        lo, hi = (text(p.subs(usual)) for p in found)
        return lo if lo == hi else f"{lo}..{hi}"

    def all_needed(self) -> set[str]:
        """The units that outputs and losses depend on."""
        wanted = {o.name for o in self.program.outputs} | set(self.program.losses)
        work = [n for n, u in self.units.items() if not wanted or u.v.name in wanted]
        found = set(work)
        while work:
            for operand in self.units[work.pop()].operands:
                if operand not in found:
                    found.add(operand)
                    work.append(operand)
        return found

    def reached(self, found: set[str]) -> set[str]:
        """The units that depend on some."""
        grown = True
        while grown:
            more = {n for n, u in self.units.items() if found & u.operands.keys()} - found
            found, grown = found | more, bool(more)
        return found

    # --- where it stands ---

    def column(self, name: str) -> tuple[str, Poly | None] | None:
        """Clock and position; ``None`` for what is beside time (see `unrolled`)."""
        unit = self.units[name]
        of = self.program.vars.get(unit.v.adjoint_of or "", unit.v)
        if unit.place.column is None:
            return None
        clock = unit.place.column[0]
        beside = of.role != "variable" and (of.role != "input" or clock not in self.running)
        return None if beside else unit.place.column

    def headings(self) -> dict[tuple[str, Poly | None], Heading]:
        columns = dict.fromkeys(c for n in self.units if n in self.needed and (c := self.column(n)))
        feeds = {clock: 0 for clock, _ in columns}
        for read in self.reads:
            if read.end in self.adjoint or not {read.start, read.end} <= self.needed:
                continue
            a, b = self.column(read.start), self.column(read.end)
            if a and b and a[0] != b[0]:
                feeds[a[0]] += 1
                feeds[b[0]] -= 1
        found: dict[tuple[str, Poly | None], Heading] = {}
        for clock in sorted(feeds, key=lambda clock: -feeds[clock]):
            index = index_of(self.program, clock)
            own = [at for c, at in columns if c == clock]
            pinned = sorted(
                (at for at in own if at is not None),
                key=lambda at: (clock in at.symbols, at.offset, text(at)),
            )
            for at in pinned:
                if clock not in at.symbols:
                    found[clock, at] = _pinned(index, at)
            if None in own:
                found[clock, None] = Heading(index, False, index, index)
            for at in pinned:
                if clock in at.symbols:
                    found[clock, at] = _pinned(index, at)
        return found

    def at_margin(self, name: str) -> bool:
        v = self.units[name].v
        if v.adjoint_of:
            return v.adjoint_of in self.still
        if v.role != "variable":
            return v.role != "input" or bool(v.axes)
        return name not in self.moves

    @property
    def still(self) -> set[str]:
        """The variables that are no part of what happens in time."""
        return {
            u.v.name
            for n, u in self.units.items()
            if self.column(n) is None
            and (n not in self.moves or (u.v.role == "input" and u.v.axes))
        }

    def kind(self, name: str) -> str:
        v = self.units[name].v
        if v.role in ("input", "param"):
            return v.role
        if v.role == "const":
            return "param"
        if v.adjoint_of or name in self.adjoint:
            return "adjoint"
        scalar = not v.axes and not v.shape and v.name in self.outputs
        return "loss" if v.name in self.program.losses or scalar else "variable"

    def paint(self) -> Picture:
        headings = self.headings()
        numbers = {column: k for k, column in enumerate(headings)}
        boxes = {}
        for name, unit in self.units.items():
            if name not in self.needed:
                continue
            column = self.column(name)
            boxes[name] = Box(
                name, name, self.kind(name), unit.place.row,
                None if column is None else numbers[column],
                column is None and self.at_margin(name),
                self.is_output(unit), False, self.tip(unit), name,
                back=name in self.adjoint,
            )  # fmt: skip
        boxes = dict(sorted(boxes.items(), key=lambda item: self.rank(item[1].row[0])))
        models = models_of(self.program)
        return Picture(
            self.program.name, "rolled", boxes, tuple(self.lines(boxes)), tuple(headings.values()),
            models,
        )  # fmt: skip

    def is_output(self, unit: _Unit) -> bool:
        """Whether an element that the unit defines is among the results."""
        if unit.v.name not in self.outputs:
            return False
        asked = [o.ranges for o in self.program.outputs if o.name == unit.v.name and o.ranges]
        for eq in unit.pieces if asked else ():
            ends = zip(eq.indices, asked[0], strict=True)
            inside = [p for i, (lo, hi) in ends for p in (Poly.symbol(i) - lo, hi - Poly.symbol(i))]
            if not (eq.domain & Domain.of(inside)).is_empty(self.program.given):
                return True
        return not asked

    def rank(self, variable: str) -> tuple[int, int]:
        """Order of declaration; what a transformation has put before a variable (``h_pre``) stands
        where that does, so that an adjoint has its model's order."""
        known = self.order
        if self.program.vars[variable].generated:
            own = (n for n in known if not self.program.vars[n].generated)
            stems = [n for n in own if variable.startswith(f"{n}_")]
            if stems:
                return known[max(stems, key=len)], 0
        return known[variable], 1

    def lines(self, boxes: dict[str, Box]) -> list[Line]:
        found: dict[tuple[str, str, str, int], Line] = {}
        for read in self.reads:
            if not {read.start, read.end} <= self.needed:
                continue
            kind = self.kind_of_line(read, boxes[read.start], boxes[read.end])
            key = (read.start, read.end, kind, read.turn)
            before = found.get(key)
            if before is None:
                found[key] = Line(read.start, read.end, kind, read.label, read.turn, read.now)
            else:
                labels = dict.fromkeys(filter(None, [*before.label.split(", "), read.label]))
                found[key] = replace(
                    before, label=", ".join(labels), now=before.now or read.now
                )  # fmt: skip
        return list(found.values())

    def kind_of_line(self, read: _Read, start: Box, end: Box) -> str:
        if read.end in self.adjoint:
            if read.start not in self.adjoint:
                return "recall"
            return "gather" if end.margin else "adjoint"
        if read.cut:
            return "cut"
        return "shared" if start.margin and start.kind != "input" else "flow"

    def tip(self, unit: _Unit) -> str:
        shown = [equation_text(self.program, eq) for eq in unit.pieces]
        return "\n".join([f"{unit.place.name}: {unit.v.type}{show_shape(unit.v.shape)}", *shown])


def _pinned(index: str, at: Poly) -> Heading:
    return Heading(f"{index} = {text(at)}", False, index, text(at))


def _passing(e: Expr) -> tuple[set[Ref], set[Ref]]:
    """The reads by which derivatives pass, and those inside `detach`."""
    found: tuple[set[Ref], set[Ref]] = (set(), set())
    seen: set[tuple[Expr, bool]] = set()
    work = [(e, False)]
    while work:
        node, cut = work.pop()
        if (node, cut) in seen:
            continue
        seen.add((node, cut))
        if isinstance(node, Ref):
            found[cut].add(node)
        cut = cut or (isinstance(node, Call) and node.op == "detach")
        work += [(c, cut) for c in node.operands]
    return found


__all__ = ["rolled"]
