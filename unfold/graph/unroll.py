"""From a program and its lengths to the explicit DAG.

Elements are made on demand: the outputs ask for theirs, and each asks for what its equation reads.
Nothing recurses, so a chain may be as long as memory allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from ..expr import Guard, Reduce, Ref, walk
from ..program import Equation, Program, ProgramError, Var
from .affine import condition
from .graph import Graph, Result
from .implicit import ImplicitTemplate
from .node import EQUATION, IMPLICIT, Builder, Element, Index, Node, element_name
from .template import Template, zero

LEVELS = ("op", "equation")


def unfold(program: Program, lengths: Mapping[str, int], level: str = "op") -> Graph:
    """Unfold a program over given lengths.

    Args:
        program: any program; sizes may still be symbols (the graph can then be drawn, not run).
        lengths: a number for each of `extents`: the lengths, at least their minimum, and the sizes
            on which positions depend.
        level: "op" makes a node of every primitive operation, "equation" one of every element.

    The graph holds what the outputs and losses need; everything, if there are none. Raises
    ``ValueError`` for lengths that are missing or too small, and `ProgramError` for a read of an
    element that nothing defines or that depends on itself.
    """
    if level not in LEVELS:
        raise ValueError(f"the level is one of {', '.join(LEVELS)}, not {level!r}")
    program, known = placed(program, lengths)
    unrolling = _Unrolling(program, known, level)
    results = {name: output_ranges(program, known, name) for name in _wanted(program)}
    for name, ranges in results.items():
        for index in product(*ranges):
            unrolling.demand((name, index), required=False)
    table, elements = unrolling.builder.table, unrolling.elements
    outputs = {}
    for name, ranges in results.items():
        v = program.vars[name]
        unrolling.builder.owner((name, ()), "variable", None)
        cells = [
            elements[name, index]
            if (name, index) in elements
            else zero(unrolling.builder, v.shape, v.type)
            for index in product(*ranges)
        ]
        outputs[name] = Result(name, ranges, tuple(cells))
    return Graph(program, known, level, tuple(table), elements, outputs)


def extents(program: Program) -> tuple[str, ...]:
    """What has to be a number before a program can be unfolded: its lengths, and the sizes on which
    positions depend, such as N of `axis i: N` where the model's head says `model road(N)`."""
    used: set[str] = set()
    for v in program.vars.values():
        used |= {s for a in v.axes for s in a.lo.symbols | a.hi.symbols}
    for eq in program.equations:
        used |= eq.domain.symbols
        for e in walk(eq.rhs):
            if isinstance(e, Ref):
                used |= {s for p in e.index for s in p.symbols}
            elif isinstance(e, (Guard, Reduce)):
                used |= e.domain.symbols
    return (*program.lengths, *(n for n in program.sizes if n in used))


def placed(program: Program, given: Mapping[str, int]) -> tuple[Program, dict[str, int]]:
    """The program with its sizes on which positions depend fixed, and a number for each length.

    Raises ``ValueError`` for what is missing or too small.
    """
    known: dict[str, int] = {}
    for name in extents(program):
        if name not in given:
            what = "size" if name in program.sizes else "length"
            raise ValueError(f"{program.name}: the {what} {name} is not given")
        least = program.minimum.get(name, 1)
        if given[name] < least:
            raise ValueError(f"{program.name}: {name} = {given[name]} is less than {least}")
        known[name] = int(given[name])
    sizes = {n: known.pop(n) for n in program.sizes if n in known}
    return program.bind(sizes) if sizes else program, known


def _wanted(program: Program) -> list[str]:
    names = [out.name for out in program.outputs]
    names += [name for name in program.losses if name not in names]
    return names or [v.name for v in program.vars.values() if v.role == "variable"]


def output_ranges(program: Program, lengths: Mapping[str, int], name: str) -> tuple[range, ...]:
    """The positions along each axis that are returned of an output or loss."""
    bounds = [(axis.lo, axis.hi) for axis in program.vars[name].axes]
    for out in program.outputs:
        if out.name == name and out.ranges:
            bounds = list(out.ranges)
    return tuple(range(lo.evaluate(lengths), hi.evaluate(lengths) + 1) for lo, hi in bounds)


class _Piece:
    """One equation at known lengths."""

    def __init__(self, eq: Equation, lengths: Mapping[str, int], builder: Builder) -> None:
        self.equation = eq
        self.slots = {name: k for k, name in enumerate(eq.indices)}
        self.holds = condition(eq.domain.subs(lengths), self.slots)
        self._lengths = lengths
        self._builder = builder
        self._template: Template | None = None
        self._implicit: ImplicitTemplate | None = None

    @property
    def template(self) -> Template:
        if self._template is None:
            self._template = Template([self.equation.rhs], self.slots, self._lengths, self._builder)
        return self._template

    @property
    def implicit(self) -> ImplicitTemplate:
        if self._implicit is None:
            self._implicit = ImplicitTemplate(self.equation, self.slots, self._lengths)
        return self._implicit

    def reads(self, index: Index) -> list[Element]:
        """What has to be known before the element at ``index``."""
        if self.equation.solver is not None:
            return self.implicit.reads(index)
        return list(dict.fromkeys(self.template.reads(index)))


class _Unrolling:
    def __init__(self, program: Program, lengths: Mapping[str, int], level: str) -> None:
        self.program = program
        self.level = level
        self.builder = Builder()
        self.elements: dict[Element, int] = {}
        self.pieces: dict[str, list[_Piece]] = {}
        for eq in program.equations:
            piece = _Piece(eq, lengths, self.builder)
            self.pieces.setdefault(eq.name, []).append(piece)
        self.leaf_domains = {
            v.name: condition(v.domain.subs(lengths), {a.index: k for k, a in enumerate(v.axes)})
            for v in program.vars.values()
            if v.role != "variable"
        }

    def demand(self, wanted: Element, required: bool) -> None:
        """Make an element and all that it needs. An element that no piece defines is an error if
        it is ``required``; a box of outputs may have holes."""
        if not required and self.program.vars[wanted[0]].role == "variable":
            if self.piece(wanted) is None:
                return
        elements = self.elements
        opened: dict[Element, _Piece] = {}
        stack = [wanted]
        while stack:
            element = stack[-1]
            if element in elements:
                stack.pop()
                continue
            var, index = element
            v = self.program.vars[var]
            if v.role != "variable":
                elements[element] = self.leaf(v, index)
                stack.pop()
                continue
            piece = opened.get(element)
            if piece is None:
                found = self.piece(element)
                if found is None:
                    self.undefined(element, stack)
                assert found is not None
                opened[element] = piece = found
                missing = [e for e in piece.reads(index) if e not in elements]
                if missing:
                    for e in missing:
                        if e in opened:
                            self.cycle(e, [*(s for s in stack if s in opened), e])
                    stack.extend(reversed(missing))
                    continue
            elements[element] = self.make(v, index, piece)
            stack.pop()

    def piece(self, element: Element) -> _Piece | None:
        var, index = element
        for piece in self.pieces.get(var, ()):
            if piece.holds(index):
                return piece
        return None

    def leaf(self, v: Var, index: tuple[int, ...]) -> int:
        if not self.leaf_domains[v.name](index):
            self.undefined((v.name, index), [])
        role = "constant" if v.role == "const" else v.role
        attrs = (("value", v.default),) if v.role == "const" else ()
        return self.builder.add(
            Node(v.role, (), attrs, v.shape, v.type, role, v.name, index, 0, None)
        )

    def make(self, v: Var, index: tuple[int, ...], piece: _Piece) -> int:
        element = (v.name, index)
        role = "variable" if v.adjoint_of is None else "adjoint"
        if self.level == "equation":
            read = tuple(self.elements[e] for e in piece.reads(index))
            return self.builder.add(
                Node(EQUATION, read, (), v.shape, v.type, role, *element, 0, piece.equation)
            )
        if piece.equation.solver is not None:
            return self.solve(v, index, piece, role)
        self.builder.owner(element, role, piece.equation)
        value = piece.template.build(index, self.lookup)
        if value is None:
            value = zero(self.builder, v.shape, v.type)
        return self.builder.element(
            value, element, v.shape, v.type, role, piece.equation, again=True
        )

    def solve(self, v: Var, index: Index, piece: _Piece, role: str) -> int:
        """The node of an element that an implicit equation defines."""
        reads = piece.implicit.reads(index)
        read = tuple(self.elements[e] for e in reads)
        nodes = [self.builder.table[at] for at in read]
        attrs = piece.implicit.attrs(
            index, [(e, n.shape, n.type) for e, n in zip(reads, nodes, strict=True)]
        )
        return self.builder.add(
            Node(IMPLICIT, read, attrs, v.shape, v.type, role, v.name, index, 0, piece.equation)
        )

    def lookup(self, var: str, index: tuple[int, ...]) -> int:
        return self.elements[var, index]

    def undefined(self, element: Element, stack: list[Element]) -> None:
        reader = next((e for e in reversed(stack[:-1])), None)
        by = f", which {element_name(*reader)} needs" if reader else ""
        raise ProgramError(f"{self.program.name}: nothing defines {element_name(*element)}{by}")

    def cycle(self, element: Element, path: list[Element]) -> None:
        loop = path[path.index(element) :]
        raise ProgramError(
            f"{self.program.name}: {element_name(*element)} depends on itself: "
            + " <- ".join(element_name(*e) for e in loop)
        )
