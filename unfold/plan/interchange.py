"""A sum over a few places leaves a loop over time: each of its terms is a loop of its own.

before:  all t in 1..T: v[t] = relu(sum[0 <= k <= 3](A[k] @ u[t-2*k] if t > 2*k))
after:   all t in 1..T: v_sum[t] = 0
         all k in 0..3:
             all t in 2*k+1..T: v_sum[t] += A[k] @ u[t-2*k]      one product for all of time
         all t in 1..T: v[t] = relu(v_sum[t])

requires: a plan whose loops are cut (`split`). Only sums of matrix products move: for less, a way
to memory and back costs more than it brings. Loop interchange and distribution: Allen and Kennedy,
"Optimizing Compilers for Modern Architectures", 2001, sections 5.2 and 2.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..domain import Domain
from ..expr import Call, Expr, Guard, Reduce, Ref, fresh, kinds, with_operands
from ..ops.record import add_all
from ..poly import Poly
from ..program import Var
from ..transform.common import zero
from .hoist import terms
from .nodes import Loop, Node, Plan, Statement


def interchange(plan: Plan) -> Plan:
    """The plan with sums of matrix products over constant ranges around maps over time."""
    work = _Maker(plan)
    shared, body = (tuple(work.nodes(nodes)) for nodes in (plan.shared, plan.body))
    program = plan.program.with_(vars=work.vars)
    return replace(plan, program=program, buffers=work.buffers, shared=shared, body=body)


class _Maker:
    def __init__(self, plan: Plan) -> None:
        self.given = plan.program.given
        self.vars = dict(plan.program.vars)
        self.buffers = dict(plan.buffers)

    def nodes(self, nodes: Sequence[Node]) -> Iterator[Node]:
        for node in nodes:
            if not isinstance(node, Loop):
                yield node
                continue
            s = node.body[0]
            if not node.parallel or isinstance(s, Loop) or len(node.body) > 1:
                yield replace(node, body=tuple(self.nodes(node.body)))
            elif s.guard.constraints or s.solver or node.domain.constant_range(node.index):
                yield node
            else:
                yield from self.map(node, s)

    def map(self, loop: Loop, s: Statement) -> Iterator[Node]:
        """A loop over time with one statement: the sums that it is made of go behind it."""
        before: list[Node] = []
        behind: list[Node] = []
        rest: list[Expr] = []
        for term in terms(s.rhs):
            added = self.added(term, s.target, loop, s)
            if added is None:
                rest.append(self.opened(term, loop, s, before))
            else:
                behind.append(added)
        yield from before
        yield replace(loop, body=(replace(s, rhs=add_all(rest) or zero(s.rhs)),))
        yield from behind

    def opened(self, e: Expr, loop: Loop, s: Statement, before: list[Node]) -> Expr:
        """``e`` with its sums read from variables, which ``before`` computes."""
        if "matmul" not in kinds(e) or not isinstance(e, (Call, Reduce)):
            return e
        if isinstance(e, Call):
            return with_operands(e, tuple(self.opened(a, loop, s, before) for a in e.operands))
        name = fresh(f"{s.target}_sum", self.vars)
        added = self.added(e, name, loop, s)
        if added is None:
            return e
        axes = self.vars[s.target].axes
        self.vars[name] = Var(name, "variable", axes, e.shape, e.type, generated=True)
        shape = tuple(n.evaluate({}) for n in e.shape)
        self.buffers[name] = replace(self.buffers[s.target], name=name, shape=shape, type=e.type)
        first = replace(s, target=name, rhs=zero(e))
        before += [replace(loop, body=(first,)), added]
        return Ref(name, s.position, e.shape, e.type)

    def added(self, e: Expr, target: str, loop: Loop, s: Statement) -> Node | None:
        """Loops that add the terms of a sum to ``target``; ``None`` for what is no such sum."""
        if not isinstance(e, Reduce) or e.op != "sum" or "matmul" not in kinds(e):
            return None
        domain, body = e.domain & loop.domain, e.body
        while isinstance(body, Guard):
            domain, body = domain & body.domain, body.body
        ranges = [domain.constant_range(i) for i in e.indices]
        # What remains is said of the loop's own index, or holds anyway.
        few = Domain()
        for index, found in zip(e.indices, ranges, strict=True):
            if found is None:
                return None
            few = few & Domain.range(index, Poly.const(found.start), Poly.const(found.stop - 1))
        own = Domain.of(p for p in domain.constraints if p.coefficient(loop.index))
        if not domain.subset(few) or not (few & own).subset(domain, self.given):
            return None
        try:
            bounds = own.bounds(loop.index)
        except ValueError:  # every second step, say
            return None
        add = Statement(target, s.position, Domain(), body, adds=True)
        nest: Node = Loop(loop.index, (bounds,), 1, True, (add,))
        for index in reversed(e.indices):
            nest = Loop(index, (few.bounds(index),), 1, False, (nest,))
        return nest


__all__ = ["interchange"]
