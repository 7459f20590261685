"""The textbook reverse sweep over the explicit DAG.

    before:  a graph at level "op"
    after:   the same nodes, and for each value that matters its adjoint, ``h_bar[3]`` for ``h[3]``
    requires: scalars to start from

(Griewank and Walther, *Evaluating Derivatives*, 2008, section 3.2.) Users are visited before their
operands; every node hands each operand a cotangent by its op's rule, and the adjoint of a node is
the sum of what its users handed to it. This is the second way to the derivative of a program; the
first one, `unfold.transform.adjoint`, works on equations and never sees a step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product

from ..derivative import ALL, NONE, SOME, cotangents, passes_selection
from ..expr import BOOL, REAL, Call, Const, Expr, Ref, fresh
from ..ops.record import broadcast_to, where
from ..poly import Shape
from ..program import Var
from .graph import Graph, Result
from .implicit import RECORDS, UNKNOWN, Backward
from .node import COPY, IMPLICIT, LEAVES, Builder, Index, Node
from .template import Template, total, zero


def adjoint(
    graph: Graph, wrt: Iterable[str] | None = None, of: Iterable[str] | None = None
) -> Graph:
    """Append the adjoints of ``wrt`` (default: all parameters) of the sum of ``of`` (all losses).

    The outputs are those of ``graph`` and then ``W_bar``, … for all elements of each variable in
    ``wrt``; what the scalars do not depend on is zero. Raises ``ValueError`` at level "equation",
    for a target that is no scalar and for a name that is no real variable.
    """
    if graph.level != "op":
        raise ValueError('only a graph at level "op" has derivatives; unfold the adjoint program')
    program = graph.program
    sources = [v.name for v in program.params] if wrt is None else list(wrt)
    targets = list(program.losses) if of is None else list(of)
    for name in (*sources, *targets):
        if name not in program.vars or program.vars[name].type.kind != "real":
            raise ValueError(f"{program.name} has no real variable {name}")
    for name in targets:
        if program.vars[name].axes or program.vars[name].shape:
            raise ValueError(f"{name} is not a scalar; a derivative starts from scalars")
        if (name, ()) not in graph.elements:
            raise ValueError(f"{name} is not in the graph, which holds what its outputs need")
    return _Sweep(graph, sources, targets).run()


class _Sweep:
    def __init__(self, graph: Graph, sources: list[str], targets: list[str]) -> None:
        self.graph = graph
        self.sources = sources
        self.targets = targets
        self.builder = Builder(graph.table)
        self.received: dict[int, list[int]] = {}
        #: Which components of cotangents may be 0 because of a selection that they do not show.
        self.unselected: dict[int, int] = {}
        self.wild = _wild(graph.table)
        self.rules: dict[object, _Rule] = {}
        self.bars: dict[str, str] = {}
        self.vars: dict[str, Var] = dict(graph.program.vars)
        self.implicit: dict[object, Backward] = {}
        self.solutions: dict[str, str] = {}

    def run(self) -> Graph:
        graph, builder = self.graph, self.builder
        elements = dict(graph.elements)
        active = self.active()
        one = builder.constant(1.0, (), REAL)
        for name in self.targets:
            if graph.elements[name, ()] in active:
                self.received[graph.elements[name, ()]] = [one]
        for position in range(len(graph.table) - 1, -1, -1):
            terms = self.received.pop(position, None)
            if terms is None:
                continue
            node = graph.table[position]
            element = (self.bar(node.var), node.index)
            builder.owner(element, "adjoint", node.equation)
            if node.is_element:
                value = total(builder, terms)
                assert value is not None
                g = elements[element] = builder.element(
                    value, element, node.shape, node.type, "adjoint", node.equation
                )
                shown = False
            else:
                g = self.merge(terms)
                shown = _side(builder.table, g) is not None
            found = [self.unselected.get(t, NONE) for t in terms]
            if not shown:
                found += [self.extent(t) for t in terms]
            self.note(g, max(found))
            self.hand_down(position, node, g, active)
        outputs = dict(graph.outputs)
        for name in self.sources:
            v, bar = graph.program.vars[name], self.bar(name)
            ranges = _shown(graph, v)
            builder.owner((bar, ()), "adjoint", None)
            cells = tuple(
                elements[bar, index] if (bar, index) in elements else zero(builder, v.shape, v.type)
                for index in product(*ranges)
            )
            outputs[bar] = Result(bar, ranges, cells)
        program = graph.program.with_(vars=self.vars)
        return Graph(program, graph.lengths, "op", tuple(builder.table), elements, outputs)

    def active(self) -> set[int]:
        """The real values that depend on some source."""
        wanted = set(self.sources)
        found: set[int] = set()
        for position, node in enumerate(self.graph.table):
            if node.type.kind != "real" or node.op == "detach":
                continue
            if (node.part == 0 and node.var in wanted) or any(o in found for o in node.operands):
                found.add(position)
        return found

    def bar(self, name: str) -> str:
        """The adjoint variable of a variable, declared when first asked for."""
        if name not in self.bars:
            bar = self.bars[name] = fresh(f"{name}_bar", self.vars)
            self.vars[bar] = replace(
                self.vars[name], name=bar, role="variable", init=None, adjoint_of=name
            )
        return self.bars[name]

    def merge(self, terms: list[int]) -> int:
        """The sum of what a node received; selections by one condition are added inside it."""
        table, builder = self.builder.table, self.builder
        chosen: dict[tuple[int, int], list[int]] = {}
        for term in terms:
            side = _side(table, term)
            if side is not None:
                chosen.setdefault((table[term].operands[0], side), []).append(term)
        rest = list(terms)
        for (condition, side), group in chosen.items():
            if len(group) > 1:
                inner = total(builder, [table[term].operands[side] for term in group])
                assert inner is not None
                node = table[group[0]]
                operands = [condition, node.operands[1], node.operands[2]]
                operands[side] = inner
                merged = builder.operation("where", tuple(operands), (), node.shape, node.type)
                rest = [term for term in rest if term not in group]
                rest.append(merged)
        result = total(builder, rest)
        assert result is not None
        return result

    def hand_down(self, position: int, node: Node, g: int, active: set[int]) -> None:
        """Give each operand its share of the cotangent ``g`` of a node."""
        if node.op in LEAVES:
            return
        if node.op == COPY:
            self.give(node.operands[0], g, self.unselected.get(g, NONE))
            return
        if node.op == IMPLICIT:
            self.through(position, node, g, active)
            return
        receivers = tuple(o in active for o in node.operands)
        rule = self.rule(position, node, g, receivers)
        made = rule.template.build_all(rule.environment(position, node, g), _no_reads)
        shares = iter(zip(made, rule.unselected, strict=True))
        for operand, receives in zip(node.operands, rule.receives, strict=True):
            if receives:
                share, unselected = next(shares)
                assert share is not None
                self.give(operand, share, unselected)

    def through(self, position: int, node: Node, g: int, active: set[int]) -> None:
        """Give the operands of an implicit element their shares: see `Backward`."""
        table, builder = self.builder.table, self.builder
        kinds = tuple((table[o].shape, table[o].type) for o in node.operands)
        unselected = self.unselected.get(g, NONE)
        wild = self.wild_reads(position, node) if unselected else frozenset()
        key = (IMPLICIT, node.attrs, kinds, unselected, wild)
        if key not in self.implicit:
            operands = [table[o] for o in node.operands]
            self.implicit[key] = Backward(node, operands, unselected, wild)
        rule = self.implicit[key]
        name = self.solution(node.var)
        owner = (name, node.index)
        solved = builder.add(
            Node(
                IMPLICIT, (g, position, *node.operands), rule.adjoint, node.shape, node.type,
                "adjoint", *owner, 0, node.equation,
            )
        )  # fmt: skip
        builder.owner(owner, "adjoint", node.equation)
        receives = tuple(
            o in active and share is not None
            for o, share in zip(node.operands, rule.shares, strict=True)
        )
        template = rule.template(receives, builder)
        made = iter(template.build_all([position, solved, *node.operands], _no_reads))
        for o, receiving in zip(node.operands, receives, strict=True):
            if receiving:
                share = next(made)
                assert share is not None
                self.give(o, share, unselected)

    def solution(self, name: str) -> str:
        """The variable that solves the adjoint equation of an implicit one."""
        if name not in self.solutions:
            found = self.solutions[name] = fresh(f"{name}_lambda", self.vars)
            self.vars[found] = replace(self.vars[name], name=found, generated=True)
        return self.solutions[name]

    def give(self, operand: int, share: int, unselected: int) -> None:
        self.received.setdefault(operand, []).append(share)
        self.note(share, unselected)

    def note(self, g: int, unselected: int) -> None:
        if unselected > self.unselected.get(g, NONE):
            self.unselected[g] = unselected

    def extent(self, g: int) -> int:
        """Which components a cotangent shows to be selected."""
        table = self.builder.table
        if _side(table, g) is None:
            return NONE
        return ALL if table[table[g].operands[0]].shape == () else SOME

    def wild_reads(self, position: int, node: Node) -> frozenset[str]:
        """The names that rules have for the operands and the value that may not be finite."""
        found = {f".{k}" for k, o in enumerate(node.operands) if o in self.wild}
        return frozenset(found | ({".y", UNKNOWN} if position in self.wild else set()))

    def selection(self, node: Node, g: int) -> _Selection | None:
        """What ``g`` selects, if that can stand outside the op's rule (see `_Rule`)."""
        table = self.builder.table
        side = _side(table, g)
        # An adjoint with a name of its own is read by name, as in the adjoint program.
        if side is None or node.op == "where" or table[g].part == 0:
            return None
        condition, inner = table[table[g].operands[0]], table[table[g].operands[side]]
        return _Selection(side, condition.shape, inner.shape)

    def rule(self, position: int, node: Node, g: int, receivers: tuple[bool, ...]) -> _Rule:
        table = self.builder.table
        selection = self.selection(node, g)
        unselected = self.unselected.get(g, NONE)
        wild = self.wild_reads(position, node) if unselected else frozenset()
        operands = [table[o] for o in node.operands]
        numbers = tuple(o if table[o].is_literal else None for o in node.operands)
        kinds = tuple((n.shape, n.type) for n in operands)
        how = (receivers, selection, unselected, wild)
        key = (node.op, node.attrs, node.shape, kinds, numbers, how)
        if key not in self.rules:
            self.rules[key] = _Rule(node, operands, *how, self.builder)
        return self.rules[key]


@dataclass(frozen=True)
class _Selection:
    """A cotangent of the form ``where(c, g, 0)`` (side 1) or ``where(c, 0, g)`` (side 2)."""

    side: int
    condition: Shape
    inner: Shape


class _Rule:
    """An op's cotangents, for operands of given shapes and types, as a template of nodes.

    The rule itself is `unfold.derivative.cotangents` on reads that stand for the nodes.
    """

    def __init__(
        self,
        node: Node,
        operands: list[Node],
        receivers: tuple[bool, ...],
        selection: _Selection | None,
        unselected: int,
        wild: frozenset[str],
        builder: Builder,
    ) -> None:
        self.builder = builder
        self.selection = selection
        y = Ref(".y", (), node.shape, node.type)
        args = _arguments(operands)
        given: dict[Ref, int] = {y: 0}
        given |= {a: k + 1 for k, a in enumerate(args) if isinstance(a, Ref)}
        last = len(args) + 1
        if selection is None:
            plain = Ref(".g", (), node.shape, node.type)
            given[plain] = last
            g: Expr = plain
        else:
            c = Ref(".c", (), selection.condition, BOOL)
            inner = Ref(".g", (), selection.inner, node.type)
            given |= {c: last, inner: last + 1}
            sides = (inner, 0.0) if selection.side == 1 else (0.0, inner)
            g = broadcast_to(where(c, *sides), node.shape)
        call = Call(node.op, args, node.attrs, node.shape, node.type)
        shares = cotangents(call, g, y, RECORDS, unselected, wild)
        #: Which operands receive something.
        self.receives = [r and e is not None for r, e in zip(receivers, shares, strict=True)]
        roots = [e for r, e in zip(receivers, shares, strict=True) if r and e is not None]
        #: For each that does: which components may be 0 by a selection that it does not show.
        op = RECORDS[node.op]
        self.unselected = [passes_selection(op, call, g, unselected, e) for e in roots]
        self.template = Template(roots, {}, {}, builder, given)

    def environment(self, position: int, node: Node, g: int) -> list[int]:
        """The nodes that the template's reads stand for."""
        if self.selection is None:
            return [position, *node.operands, g]
        condition, *branches = self.builder.table[g].operands
        return [position, *node.operands, condition, branches[self.selection.side - 1]]


def _arguments(operands: list[Node]) -> tuple[Expr, ...]:
    """Expressions that stand for the operands of a node: ``.0``, ``.1``…; numbers are numbers."""
    return tuple(
        Const(n.attr("value"), n.shape, n.type)
        if n.is_literal
        else Ref(f".{k}", (), n.shape, n.type)
        for k, n in enumerate(operands)
    )


def _wild(table: list[Node] | tuple[Node, ...]) -> set[int]:
    """The values that may be infinite or NaN although inputs and parameters are finite."""
    found: set[int] = set()
    if not any(n.op in RECORDS and RECORDS[n.op].selects for n in table):
        return found  # nobody will ask
    for position, node in enumerate(table):
        operands = [table[o] for o in node.operands]
        if node.type.kind == "bool":
            continue
        if any(o in found for o in node.operands) or (
            node.op in RECORDS and RECORDS[node.op].diverges(_arguments(operands))
        ):
            found.add(position)
        elif node.is_literal and node.shape == () and node.type.kind == "real":
            if not abs(node.attr("value")) < float("inf"):
                found.add(position)
    return found


def _shown(graph: Graph, v: Var) -> tuple[range, ...]:
    """The positions whose adjoints are returned: all of an input's or parameter's, ``1..T`` of a
    variable's (what is declared for its index, if it is defined there)."""
    ranges = []
    for axis in v.axes:
        lo, hi = axis.lo.evaluate(graph.lengths), axis.hi.evaluate(graph.lengths)
        if v.role == "variable" and axis.index in graph.program.indices:
            first, last = (p.evaluate(graph.lengths) for p in graph.program.indices[axis.index])
            if lo <= first and last <= hi:
                lo, hi = first, last
        ranges.append(range(lo, hi + 1))
    return tuple(ranges)


def _side(table: list[Node], at: int) -> int | None:
    """Which operand of ``where(c, g, 0)`` or ``where(c, 0, g)`` is ``g``; else ``None``."""
    node = table[at]
    if node.op != "where":
        return None
    for side in (1, 2):
        other = table[node.operands[3 - side]]
        if other.is_literal and other.shape == () and other.attr("value") == 0:
            return side
    return None


def _no_reads(var: str, index: Index) -> int:
    raise KeyError(var)
