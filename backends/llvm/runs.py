"""Loops over single numbers that stand one after the other in memory: a register of them at a time.

In ``all s in 1..t: a[t, s] = exp(e[t, s] - l[t])`` and in ``max[s <= t](e[t, s])`` the same is done
to neighbours, and none waits for another. A *run* is as many of them as a register holds; beyond
the end of the loop its lanes read zeros, and are not written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unfold.expr import Call, Expr, Guard, Reduce, Ref, free_symbols, walk
from unfold.plan import Loop, Statement
from unfold.poly import Poly

from .elementwise import RULES
from .ir import Value, integer, vector, width_of
from .vectors import joined

if TYPE_CHECKING:
    from .emitter import Emitter


@dataclass(frozen=True)
class Run:
    """Iterations that are done at once.

    Attributes:
        index: the loop's; its value is that of the first iteration.
        inside: which lanes are iterations of the loop.
        whole: whether all of them are.
    """

    index: str
    inside: Value
    whole: Value

    def reads(self, ref: Ref) -> bool:
        """Whether every iteration reads an element of its own."""
        return any(self.index in p.symbols for p in ref.index)


def is_run(e: Expr, index: str) -> bool:
    """Whether the values of an expression at neighbouring positions can be found side by side."""
    if index not in free_symbols(e):
        return e.shape == () and not any(isinstance(node, (Guard, Reduce)) for node in walk(e))
    if isinstance(e, Ref):
        return e.is_real and e.shape == () and _is_next(e.index, index)
    return (
        isinstance(e, Call) and e.op in RULES and e.shape == ()
        and all(is_run(a, index) for a in e.args)
    )  # fmt: skip


def is_run_of_statements(loop: Loop) -> bool:
    """Whether the iterations of a loop can be done side by side."""
    assigned: dict[str, tuple[Poly, ...]] = {}
    for s in loop.body:
        if not isinstance(s, Statement) or s.guard.constraints or s.solver or s.adds:
            return False
        if s.rhs.shape != () or not s.rhs.is_real or s.target in assigned:
            return False
        if not is_run(s.rhs, loop.index) or not _is_next(s.position, loop.index):
            return False
        assigned[s.target] = s.position
    refs = [r for s in loop.body if isinstance(s, Statement) for r in _refs(s.rhs)]
    return all(assigned.get(r.name, r.index) == r.index for r in refs)


def _is_next(place: Sequence[Poly], index: str) -> bool:
    """Whether the next iteration is at the next position of the last axis, and at no other."""
    return [p.coefficient(index) for p in place] == [0] * (len(place) - 1) + [1] and all(
        index not in p.symbols for p in place[:-1]
    )


def _refs(e: Expr) -> Iterator[Ref]:
    if isinstance(e, Ref):
        yield e
    for c in e.operands:
        yield from _refs(c)


def run_at(e: Emitter, index: str, number: Value, lo: Value, hi: Value) -> Run:
    """The run with a number, counted from 0; the index gets its value."""
    f, width = e.f, e.memory.width
    first = f.binary("add nsw", lo, f.binary("mul nsw", number, integer(width)))
    left = f.binary("sub", hi, first)
    e.env[index] = first
    # Numbers as wide as the components, so that a comparison is a mask as it is.
    lane = "i32" if e.formats.real == "float" else "i64"
    last = f.intrinsic("llvm.smin", left, integer(width))
    if lane == "i32":
        last = f.op("i32", f"trunc {last} to i32")
    lanes = joined(f, [integer(k, lane) for k in range(width)])
    inside = f.compare("icmp sle", lanes, f.splat(last, width))
    return Run(index, inside, f.compare("icmp sge", left, integer(width - 1)))


def count(e: Emitter, lo: Value, hi: Value) -> Value:
    """How many runs there are from one iteration to another."""
    width = e.memory.width
    return e.f.binary(
        "sdiv", e.f.binary("add", e.f.binary("sub", hi, lo), integer(width)), integer(width)
    )


def load(e: Emitter, run: Run, ref: Ref) -> Value:
    """The numbers that a run reads."""
    m, kind = e.memory, vector(e.formats.real, e.memory.width)
    m.loaded.add(ref.name)
    pointer = m.element(e, ref.name, e.place(ref.index))
    name = f"llvm.masked.load.v{width_of(kind)}{'f32' if e.formats.real == 'float' else 'f64'}.p0"
    e.f.module.declare(name, kind, ["ptr", "i32 immarg", run.inside.type, kind])
    align = Value("i32", str(e.formats.bytes("real")))
    return e.f.call(kind, name, pointer, align, run.inside, Value(kind, "zeroinitializer"))


def store(e: Emitter, run: Run, s: Statement, value: Value) -> None:
    """Write what a run computed."""
    f, m, size = e.f, e.memory, e.formats.bytes("real")
    value = f.splat(value, m.width)
    pointer = m.element(e, s.target, e.place(s.position))
    name = f"llvm.masked.store.v{m.width}{'f32' if size == 4 else 'f64'}.p0"
    f.module.declare(name, "void", [value.type, "ptr", "i32 immarg", run.inside.type])
    # Some processors take much longer for a store of chosen lanes.
    whole, part, after = f.label("whole"), f.label("part"), f.label("after")
    before = f.block
    f.branch_if(run.whole, whole, part)
    f.start(whole, before)
    lines = m.stored.setdefault(s.target, [])
    lines.append(f.store(value, pointer, size))
    f.branch(after)
    f.start(part, before)
    lines.append(f.line(f"call void @{name}({value}, {pointer}, i32 {size}, {run.inside})"))
    f.branch(after)
    f.start(after, before)


__all__ = ["Run", "count", "is_run", "is_run_of_statements", "load", "run_at", "store"]
