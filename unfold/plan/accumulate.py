"""Sums over all of time become loops that add up, which may then join other loops.

before:  loss = sum[1 <= t <= T](h[t] ** 2) / 2
after:   loss_sum = 0
         all t in 1..T: loss_sum += h[t] ** 2
         loss = loss_sum / 2

requires: a plan. Sums inside of loops, of guards and of other reductions stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..domain import Domain
from ..expr import Call, Expr, Reduce, Ref, fresh, with_operands
from ..program import Var
from ..transform.common import zero
from .nodes import Buffer, Loop, Node, Plan, Statement


def accumulate(plan: Plan) -> Plan:
    """The plan with a loop for every sum that a statement outside of loops takes over one index."""
    work = _Maker(plan)
    shared = tuple(work.nodes(plan.shared, True))
    body = tuple(work.nodes(plan.body, False))
    program = plan.program.with_(vars=work.vars)
    return replace(plan, program=program, buffers=work.buffers, shared=shared, body=body)


class _Maker:
    def __init__(self, plan: Plan) -> None:
        self.vars = dict(plan.program.vars)
        self.buffers = dict(plan.buffers)

    def nodes(self, nodes: Sequence[Node], shared: bool) -> Iterator[Node]:
        for node in nodes:
            if isinstance(node, Statement) and not node.guard.constraints and node.solver is None:
                before: list[Node] = []
                rhs = self.opened(node.rhs, node.target, shared, before)
                yield from before
                yield replace(node, rhs=rhs)
            else:
                yield node

    def opened(self, e: Expr, target: str, shared: bool, before: list[Node]) -> Expr:
        """``e`` with its sums read from variables, which ``before`` computes."""
        if isinstance(e, Reduce):
            limits = _limits(e)
            return e if limits is None else self.variable(e, limits, target, shared, before)
        if not isinstance(e, Call):
            return e
        return with_operands(e, tuple(self.opened(c, target, shared, before) for c in e.operands))

    def variable(
        self, e: Reduce, limits: Domain, target: str, shared: bool, before: list[Node]
    ) -> Ref:
        name = fresh(f"{target}_sum", self.vars)
        self.vars[name] = Var(name, "variable", (), e.shape, e.type, generated=True)
        shape = tuple(n.evaluate({}) for n in e.shape)
        self.buffers[name] = Buffer(name, "work", (), shape, e.type, shared)
        (index,) = e.indices
        add = Statement(name, (), Domain(), e.body, adds=True)
        before.append(Statement(name, (), Domain(), zero(e)))
        before.append(Loop(index, (limits.bounds(index),), 1, True, (add,)))
        return Ref(name, (), e.shape, e.type)


def _limits(e: Reduce) -> Domain | None:
    """The domain of a sum over one index, if it is just a range."""
    if e.op != "sum" or len(e.indices) != 1:
        return None
    (index,) = e.indices
    signs = sorted(p.coefficient(index) for p in e.domain.constraints)
    return e.domain if signs == [-1, 1] else None
