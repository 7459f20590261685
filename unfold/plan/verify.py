"""The rules that every plan obeys; checked after it is made where it is shown and in the tests."""

from __future__ import annotations

from collections.abc import Sequence

from ..domain import Domain
from ..expr import reads
from ..poly import Poly
from .nodes import Buffer, Node, Plan, Statement
from .text import domain as show_domain


class PlanError(Exception):
    """A plan that breaks its own rules: a defect of the planner, not of a user's text."""


def verify(plan: Plan) -> Plan:
    """Check a plan and return it.

    Every statement assigns to a work buffer, inside of it, a value of its shape and kind; every
    read is of a buffer, inside of it, and of something that a statement before it (or in a loop
    around both) assigns; what is done once reads only what is shared. Raises `PlanError`.
    """
    _Verifier(plan).run()
    return plan


class _Verifier:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.given = plan.program.given
        self.assigned: set[str] = set()

    def run(self) -> None:
        self.nodes(self.plan.shared, Domain(), True)
        self.nodes(self.plan.body, Domain(), False)
        for r in self.plan.results:
            b = self.plan.buffers.get(r.name)
            if b is None or (b.kind == "work" and b.name not in self.assigned):
                raise PlanError(f"the result {r.name} is never computed")

    def nodes(self, nodes: Sequence[Node], context: Domain, shared: bool) -> None:
        for node in nodes:
            if isinstance(node, Statement):
                self.statement(node, context, shared)
                self.assigned.add(node.target)
                continue
            if not node.parallel:
                # In a scan, what a later statement assigns is read one iteration on.
                self.assigned |= {s.target for s in _statements(node.body)}
            self.nodes(node.body, context & node.domain, shared)

    def statement(self, s: Statement, context: Domain, shared: bool) -> None:
        target = self.plan.buffers.get(s.target)
        if target is None or target.kind != "work":
            raise PlanError(f"{s.target} is assigned but is no work buffer")
        if tuple(n.evaluate({}) for n in s.rhs.shape) != target.shape:
            raise PlanError(f"{s.target} is assigned a value of another shape")
        if s.rhs.type.kind != target.type.kind:
            raise PlanError(f"{s.target} is assigned a value of another type")
        here = context & s.guard
        self.inside(target, s.position, here, f"{s.target} is assigned")
        for read in reads(s.rhs):
            b = self.plan.buffers.get(read.ref.name)
            if b is None:
                raise PlanError(f"{s.target} reads {read.ref.name}, which is no buffer")
            if shared and not b.shared:
                raise PlanError(f"{s.target} is done once but reads {b.name} of each sequence")
            if b.kind == "work" and b.name not in self.assigned | {s.target}:
                raise PlanError(f"{s.target} reads {b.name} before it is computed")
            self.inside(b, read.ref.index, here & read.domain, f"{s.target} reads {b.name}")

    def inside(self, b: Buffer, position: Sequence[Poly], where: Domain, what: str) -> None:
        if len(position) != len(b.axes):
            raise PlanError(f"{what} with {len(position)} positions for {len(b.axes)} axes")
        for p, (lo, hi) in zip(position, b.axes, strict=True):
            for side in (p - lo, hi - p):
                if not where.implies(side, self.given):
                    raise PlanError(
                        f"{what} at {p}, outside {lo}..{hi}, where {show_domain(where)}"
                    )


def _statements(nodes: Sequence[Node]) -> list[Statement]:
    found: list[Statement] = []
    for node in nodes:
        found += [node] if isinstance(node, Statement) else _statements(node.body)
    return found
