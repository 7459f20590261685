"""Implicit equations in the graph: one node ``implicit`` for each element.

Its operands are what the equation reads besides its unknown. What has to be solved stands in its
attributes, as expressions in which ``.z`` is the unknown and ``.0``, ``.1``… are the operands:

    map       the right-hand side at this element: guards decided, reductions written out
    patience  how slow plain steps may be (see `unfold.implicit.patience`)
    solver    the `unfold.program.Solver`
    start     where the search begins, or ``None`` for zero

The reverse sweep goes through such a node by the implicit function theorem (`Backward`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ..derivative import NONE, add_cotangents, cotangents, passes_selection
from ..expr import Call, Const, Expr, Ref, Type, rewrite, walk
from ..implicit import parts, patience, unknown
from ..ops import OPS, Op
from ..poly import Shape
from ..program import Equation, Solver
from .nary import NARY
from .node import Attrs, Builder, Element, Index, Node
from .template import Template

#: Every op that the expressions of a node may have.
RECORDS: Mapping[str, Op] = OPS | NARY

UNKNOWN = ".z"


def operand(k: int, shape: Shape, kind: Type) -> Ref:
    """How a node's expressions read its operand ``k``."""
    return Ref(f".{k}", (), shape, kind)


class ImplicitTemplate:
    """The attributes of an implicit equation's nodes, made at any point of its domain."""

    def __init__(self, eq: Equation, slots: Mapping[str, int], lengths: Mapping[str, int]) -> None:
        self.equation = eq
        self.builder = Builder()
        roots = [e for e in parts(eq.rhs) if e is not None]
        self.template = Template(roots, slots, lengths, self.builder)
        self.own = Template([Ref(eq.name, eq.element, eq.rhs.shape)], slots, lengths, self.builder)
        assert eq.solver is not None
        self.patience = patience(eq.solver, parts(eq.rhs)[0], unknown(eq))
        self.expressions: dict[int, Expr] = {}
        self.known: dict[Ref, int] = {}

    def reads(self, index: Index) -> list[Element]:
        """The elements that are read besides the unknown, in order, each once."""
        (own,) = self.own.reads(index)
        return [e for e in dict.fromkeys(self.template.reads(index)) if e != own]

    def attrs(self, index: Index, operands: Sequence[tuple[Element, Shape, Type]]) -> Attrs:
        """The attributes of the node at a point; its operands come in the order of `reads`."""
        (own,) = self.own.reads(index)
        rhs = self.equation.rhs
        refs = {own: Ref(UNKNOWN, (), rhs.shape, rhs.type)}
        refs |= {e: operand(k, shape, kind) for k, (e, shape, kind) in enumerate(operands)}
        roots = self.template.build_all(index, lambda var, at: self.leaf(refs[var, at]))
        found = [None if at is None else self.expression(at) for at in roots]
        zero = Const(0.0, rhs.shape, rhs.type)
        start = None if len(found) < 2 else found[1] or zero
        return (("map", found[0] or zero), ("patience", self.patience),
                ("solver", self.equation.solver), ("start", start))  # fmt: skip

    def leaf(self, ref: Ref) -> int:
        """A node that stands for a read."""
        if ref not in self.known:
            node = Node("input", (), (), ref.shape, ref.type, "input", ref.name, (), 0, None)
            self.known[ref] = self.builder.add(node)
        return self.known[ref]

    def expression(self, at: int) -> Expr:
        """A node of the template, with all below it, as an expression."""
        table, made = self.builder.table, self.expressions
        stack = [at]
        while stack:
            top = stack[-1]
            missing = [o for o in table[top].operands if o not in made]
            if missing:
                stack.extend(missing)
                continue
            made[stack.pop()] = _expression(table[top], made)
        return made[at]


def _expression(node: Node, made: Mapping[int, Expr]) -> Expr:
    if node.op == "input":
        return Ref(node.var, (), node.shape, node.type)
    if node.op == "const":
        return Const(node.attr("value"), node.shape, node.type)
    args = tuple(made[o] for o in node.operands)
    return Call(node.op, args, node.attrs, node.shape, node.type)


class Backward:
    """The derivative of a node ``z = F(z, …)`` that receives the cotangent ``g``.

    With ``l = g + (dF/dz)' l`` an operand ``p`` receives ``(dF/dp)' l`` (the implicit function
    theorem). ``adjoint`` are the attributes of a node for ``l``, whose operands are ``g``, ``z``
    and the operands of the node; ``shares`` are the cotangents of the operands as expressions in
    ``.l``, ``.z`` and the node's own operands, ``None`` where there is none.
    """

    def __init__(
        self,
        node: Node,
        operands: Sequence[Node],
        unselected: int = NONE,
        wild: Collection[str] = (),
    ) -> None:
        """``unselected`` and ``wild`` are as in `unfold.derivative.cotangents`."""
        solver: Solver = node.attr("solver")
        z = Ref(UNKNOWN, (), node.shape, node.type)
        self.seed = Ref(".l", (), node.shape, node.type)
        self.value = z
        self.operands = tuple(operand(k, n.shape, n.type) for k, n in enumerate(operands))
        received = _sweep(node.attr("map"), self.seed, z, unselected, wild)
        self.shares = tuple(received.get(p) for p in self.operands)
        g = operand(0, node.shape, node.type)
        back = received.get(z)
        moved: dict[Expr, Expr] = {self.seed: z, z: operand(1, z.shape, z.type)}
        moved |= {p: operand(k + 2, p.shape, p.type) for k, p in enumerate(self.operands)}
        step = None if back is None else rewrite(back, lambda e: moved.get(e, e))
        rhs = g if step is None else g + step
        self.adjoint: Attrs = (("map", rhs), ("patience", patience(solver, rhs, z)),
                               ("solver", solver), ("start", None))  # fmt: skip
        self._templates: dict[tuple[bool, ...], Template] = {}

    def template(self, receives: tuple[bool, ...], builder: Builder) -> Template:
        """Makes the shares of the operands that receive one; the nodes of ``z``, ``l`` and of the
        operands are handed to it in this order."""
        if receives not in self._templates:
            given = {self.value: 0, self.seed: 1}
            given |= {p: k + 2 for k, p in enumerate(self.operands)}
            roots = [s for s, r in zip(self.shares, receives, strict=True) if r and s is not None]
            self._templates[receives] = Template(roots, {}, {}, builder, given)
        return self._templates[receives]


def _sweep(
    root: Expr, seed: Expr, value: Expr, unselected: int, wild: Collection[str]
) -> dict[Expr, Expr]:
    """What every node below ``root`` receives when the root receives ``seed``; ``value`` stands
    for the root in derivative rules."""
    received = {root: seed}
    passed = {root: unselected}
    for node in reversed(list(walk(root))):
        g = received.get(node)
        if g is None or not isinstance(node, Call) or node.op == "detach":
            continue
        here = value if node is root else node
        shares = cotangents(node, g, here, RECORDS, passed[node], wild)
        for a, c in zip(node.args, shares, strict=True):
            if c is not None and a.is_real:
                after = passes_selection(RECORDS[node.op], node, g, passed[node], c)
                if a in received:
                    c, after = add_cotangents(received[a], passed[a], c, after)
                received[a], passed[a] = c, after
    return received


__all__ = ["RECORDS", "UNKNOWN", "Backward", "ImplicitTemplate", "operand"]
