"""From plan nodes to operations on tiles."""

from __future__ import annotations

from collections.abc import Sequence

from unfold.expr import Ref
from unfold.plan import Loop, Node, Statement

from . import implicit
from .expressions import Expressions
from .nodes import Branch, Op, Repeat, Stretch, View
from .sums import add_rows, sum_rows


class Selector(Expressions):
    """Selects the operations of one plan."""

    def nodes(self, nodes: Sequence[Node]) -> tuple[Op, ...]:
        """The operations of some plan nodes."""
        with self.collected() as ops:
            for node in nodes:
                if isinstance(node, Loop):
                    self.loop(node)
                else:
                    self.statement(node)
        return tuple(ops)

    def loop(self, node: Loop) -> None:
        before = set(self.temporaries)
        body = self.nodes(node.body)
        inner = node.body[0]
        if node.parallel and len(node.body) == 1 and isinstance(inner, Statement):
            lows, highs = node.ranges[0]
            rows = self.rows(body, node.index, before)
            if not inner.guard.constraints and rows is not None:
                self.ops.append(Stretch(node.index, lows, highs, tuple(rows)))
                return
        self.ops.append(Repeat(node.index, node.ranges, node.direction, body))

    def statement(self, s: Statement) -> None:
        target = self.element(self.plan.buffers[s.target], s.position)
        if s.guard.constraints:
            with self.collected() as ops:
                self.assign(target, s)
            self.ops.append(Branch(s.guard, tuple(ops), ()))
        else:
            self.assign(target, s)

    def assign(self, target: View, s: Statement) -> None:
        if s.solver is not None:
            implicit.select(self, target, s)
        elif s.target in self.summed and isinstance(s.rhs, Ref) and s.rhs.name in self.summed:
            self.into(target, s.rhs)
        elif s.target in self.summed:
            (add_rows if s.adds else sum_rows)(self, target, s.rhs)
        elif s.adds:
            self.into(target, Ref(s.target, s.position, s.rhs.shape, s.rhs.type) + s.rhs)
        else:
            self.into(target, s.rhs)
