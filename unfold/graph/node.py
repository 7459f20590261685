"""One node of the DAG, and the builder that merges equal ones."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..expr import Type
from ..poly import Poly, Shape, show_shape
from ..program import Equation

Attrs = tuple[tuple[str, Any], ...]
Index = tuple[int, ...]
Element = tuple[str, Index]

#: Leaves, and the ops that only a graph has: an element that just names another value, one at level
#: "equation", whose operands are all that its equation reads, and one that an implicit equation
#: defines (see `unfold.graph.implicit`).
LEAVES = ("input", "param", "const")
COPY, EQUATION, IMPLICIT = "copy", "equation", "implicit"


class Node(NamedTuple):
    """A value at one step: an element of a variable, or an operation inside its equation.

    Attributes:
        op: ``input``, ``param``, ``const``; a primitive of `unfold.ops`; ``reduce_sum``, … over any
            number of operands (`NARY`); ``copy``; ``implicit``; at level "equation" ``equation``.
        operands: positions of the operands in `Graph.table`, in order; all smaller than the node's
            own.
        attrs: the op's attributes; a constant's ``value``.
        shape, type: of the value; sizes are symbols while the program is not bound.
        role: ``input``, ``param``, ``constant``, ``variable`` or ``adjoint``.
        var, index: the variable and positions of the element that the node is part of.
        part: 0 for the element itself, else a running number inside it.
        equation: the equation that the node comes from, if it comes from one.
    """

    op: str
    operands: tuple[int, ...]
    attrs: Attrs
    shape: Shape
    type: Type
    role: str
    var: str
    index: Index  # type: ignore[assignment]  # hides tuple.index, which no one asks a node for
    part: int
    equation: Equation | None

    @property
    def is_element(self) -> bool:
        """Whether this is a variable's element (not an operation inside its equation)."""
        return self.part == 0 and self.role != "constant"

    @property
    def is_literal(self) -> bool:
        """Whether this is a number, not a named value."""
        return self.op == "const" and self.equation is None and self.role == "constant"

    @property
    def name(self) -> str:
        """``h[3]`` for an element, ``h[3]/2`` inside its equation, the number for a constant."""
        element = element_name(self.var, self.index)
        return f"{element}/{self.part}" if self.part else element

    @property
    def typed(self) -> str:
        """Type and shape as the language writes them: ``real[H]``."""
        return f"{self.type}{show_shape(self.shape)}"

    def attr(self, name: str) -> Any:
        """An attribute by name. Raises ``KeyError``."""
        return dict(self.attrs)[name]


def element_name(var: str, index: Index) -> str:
    """``W``, ``h[3]``, ``a[3,1]``."""
    return f"{var}[{','.join(map(str, index))}]" if index else var


def constant_name(value: Any, shape: Shape, kind: Type) -> str:
    """How a constant is called: ``1.0``, ``3``, ``0.0[4]``."""
    if not shape and kind.kind == "real" and not isinstance(value, Poly):
        return repr(float(value))
    return f"{value}{show_shape(shape)}"


class Builder:
    """A growing table of nodes, operands before users, in which equal operations are one node.

    Two operations are equal when op, attributes and operands are. No two elements are
    one node.
    """

    def __init__(self, table: tuple[Node, ...] = ()) -> None:
        self.table: list[Node] = list(table)
        self._labels: dict[tuple[str, Attrs], int] = {}
        self._known: dict[tuple[int, tuple[int, ...]], int] = {}
        self._parts: dict[Element, int] = {}
        # Whose part a new inner node becomes.
        self._owner: Element = ("", ())
        self._role = "variable"
        self._equation: Equation | None = None
        for position, node in enumerate(self.table):
            if node.part:
                owner = (node.var, node.index)
                self._parts[owner] = max(self._parts.get(owner, 0), node.part)
            if node.part:
                self._known.setdefault((self.label(node.op, node.attrs), node.operands), position)
            elif node.is_literal:
                self._known[self._constant_key(node.var, node.type)] = position

    def label(self, op: str, attrs: Attrs) -> int:
        """A number for op and attributes together; `inner` takes it so as to hash them once."""
        return self._labels.setdefault((op, attrs), len(self._labels))

    def owner(self, element: Element, role: str, equation: Equation | None) -> None:
        """Say which element the inner nodes made from here on belong to."""
        self._owner, self._role, self._equation = element, role, equation

    def add(self, node: Node) -> int:
        """Append a node as it is; returns its position."""
        self.table.append(node)
        return len(self.table) - 1

    def element(
        self,
        value: int,
        element: Element,
        shape: Shape,
        kind: Type,
        role: str,
        equation: Equation | None,
        again: bool = False,
    ) -> int:
        """Name a value: ``element`` is the node at ``value``, or a copy of it.

        The operation that was made last, for this very element, becomes the element. An operation
        that stands inside another equation as well is done ``again`` if that is asked for; any
        other value is copied.
        """
        node = self.table[value]
        var, index = element
        if value == len(self.table) - 1 and node.part and (node.var, node.index) == element:
            self._parts[element] -= 1
            # A later equal operation must not read the element: derivatives in it would differ.
            del self._known[self.label(node.op, node.attrs), node.operands]
            self.table[value] = node._replace(
                shape=shape, type=kind, role=role, part=0, equation=equation
            )
            return value
        if again and node.part:
            own = node._replace(var=var, index=index, part=0, role=role, equation=equation)
            return self.add(own._replace(shape=shape, type=kind))
        return self.add(Node(COPY, (value,), (), shape, kind, role, var, index, 0, equation))

    def inner(
        self, label: int, op: str, operands: tuple[int, ...], attrs: Attrs, shape: Shape, kind: Type
    ) -> int:
        """An operation inside an equation: the equal one that exists already, or a new one."""
        key = (label, operands)
        found = self._known.get(key)
        if found is None:
            owner = self._owner
            part = self._parts[owner] = self._parts.get(owner, 0) + 1
            var, index = owner
            node = Node(
                op, operands, attrs, shape, kind, self._role, var, index, part, self._equation
            )
            found = self._known[key] = self.add(node)
        return found

    def operation(
        self, op: str, operands: tuple[int, ...], attrs: Attrs, shape: Shape, kind: Type
    ) -> int:
        """`inner` without a label at hand."""
        return self.inner(self.label(op, attrs), op, operands, attrs, shape, kind)

    def constant(self, value: Any, shape: Shape, kind: Type) -> int:
        """A constant, one node however often it is used."""
        name = constant_name(value, shape, kind)
        key = self._constant_key(name, kind)
        found = self._known.get(key)
        if found is None:
            attrs = (("value", value),)
            node = Node("const", (), attrs, shape, kind, "constant", name, (), 0, None)
            found = self._known[key] = self.add(node)
        return found

    def _constant_key(self, name: str, kind: Type) -> tuple[int, tuple[int, ...]]:
        # Equal numbers of different types (1, 1.0, True) hash alike, and so do 0.0 and -0.0: name
        # and kind tell them apart.
        return self.label("const", (("name", name), ("kind", kind.kind))), ()
