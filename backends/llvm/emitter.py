"""From an expression to instructions: the components of its value at the current indices.

The emitter is generic over its lanes: with one lane it computes one sequence, with the lanes of a
vector register as many sequences side by side. What is the same for all of them (parameters,
positions, what is computed from those) stays in scalars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np

from unfold.domain import EVERYWHERE, Domain
from unfold.expr import Call, Const, Expr, Guard, Position, Reduce, Ref, free_symbols, names
from unfold.plan import Loop, statements

from . import runs, vecmath, vectors
from .components import Components, add, dims, extreme
from .elementwise import Formats
from .indexing import Indexer
from .ir import Function, Value, integer, real, width_of
from .memory import Memory
from .runs import Run

#: From this many entries on, a component chosen at run time is loaded rather than selected.
_LOAD_ENTRIES = 4


#: Sums that are not contracted with a product.
_PLAIN = {"add": "fadd", "sub": "fsub"}


class Emitter(Indexer):
    """Computes expressions in one function.

    Args:
        f: receives the instructions.
        formats: the number formats.
        memory: where the elements of variables stand.
        env: the values of lengths (and of the indices of loops around, kept up to date by `loop`).
        context: what is known of these.
    """

    def __init__(
        self,
        f: Function,
        formats: Formats,
        memory: Memory,
        env: dict[str, Value],
        context: Domain = EVERYWHERE,
    ) -> None:
        super().__init__(f, formats, env, memory.width)
        self.memory = memory
        self.context = context
        #: The iterations of the loop around that are done at once.
        self.run: Run | None = None
        #: What the loop around assigns.
        self.assigned: frozenset[str] = frozenset()

    @contextmanager
    def within(self, loop: Loop) -> Iterator[None]:
        """The body of a loop."""
        outside = self.context, self.assigned
        self.context = outside[0] & loop.domain
        self.assigned = frozenset(s.target for s in statements(loop.body))
        yield
        self.context, self.assigned = outside

    # --- expressions ------------------------------------------------------------------------------

    def value(self, e: Expr) -> Components:
        """The components of an expression in C order; real, ``i64`` or ``i1`` by its type."""
        found = self.known(e)
        if found is None:
            found = self.remember(e, self.compute(e))
        return found

    def compute(self, e: Expr) -> Components:
        if isinstance(e, Const):
            return self.constant(e)
        if isinstance(e, Position):
            return [self.position(e.poly)]
        if isinstance(e, Ref):
            if self.run is not None and self.run.reads(e):
                return [runs.load(self, self.run, e)]
            return self.memory.load(self, e.name, self.place(e.index))
        if isinstance(e, Guard):
            return self.guarded(e)
        if isinstance(e, Reduce):
            return self.reduced(e)
        assert isinstance(e, Call)
        if e.op == "take" and isinstance(e.args[0], Ref) and self.known(e.args[0]) is None:
            if dims(e.args[0].shape)[e.attr("axis")] > _LOAD_ENTRIES:
                return self.taken(e, e.args[0])
        values = [self.value(a) for a in e.args]
        if self.waits(e):
            return [self.binary(_PLAIN[e.op], a, b) for a, b in zip(*values, strict=True)]
        return vectors.emit(self, e, values)

    def waits(self, e: Call) -> bool:
        """Whether a product is there long before what it is added to, a state of the step before.

        A chain of sums is then as quick as an addition, which a fused multiply-add (on AMD's
        processors, say) is not. Between lanes, which do not wait, fewer instructions count more.
        """
        if e.op not in _PLAIN or self.memory.lanes > 1 or not all(a.is_real for a in e.args):
            return False
        late = [a for a in e.args if not names(a).isdisjoint(self.assigned)]
        ready = [a for a in e.args if names(a).isdisjoint(self.assigned)]
        if len(late) != 1 or any(a.shape != e.shape for a in e.args):
            return False
        return _is_product(ready[0]) and not _is_product(late[0])

    def constant(self, e: Const) -> Components:
        flat = np.broadcast_to(np.asarray(e.value), dims(e.shape)).ravel().tolist()
        kind = self.formats.of(e.type.kind)
        number = real if e.type.kind == "real" else integer
        return vectors.together(self, [number(x, kind) for x in flat], dims(e.shape))

    def taken(self, e: Call, ref: Ref) -> Components:
        """A component at a run-time index, from memory."""
        (index,) = self.value(e.args[1])
        shape, axis = dims(ref.shape), e.attr("axis")
        numbers = np.moveaxis(np.arange(int(np.prod(shape))).reshape(shape), axis, 0)
        stride = int(np.prod(shape[axis + 1 :]))
        place = self.place(ref.index)
        first = numbers[0].ravel().tolist()
        return self.memory.load_at(self, ref.name, place, first, index, stride, dims(e.shape))

    def lanes_of(self, e: Expr) -> int:
        """How many lanes the value of an expression has."""
        return self.memory.lanes_of(names(e))

    def widened(self, values: Components, width: int) -> Components:
        """Every component in that many lanes, one for each sequence."""
        return [self.f.splat(v, width) for v in values]

    def guarded(self, e: Guard) -> Components:
        """The body where the condition holds (and only there), else zeros."""
        f = self.f
        width = self.lanes_of(e.body)
        condition = self.condition(e.domain)
        yes, after = f.label("if"), f.label("join")
        before = f.block
        f.branch_if(condition, yes, after)
        f.start(yes, before)
        with self.scope():
            values = self.widened(self.value(e.body), width)
        last = f.block.label
        f.branch(after)
        f.start(after, before)
        zero = self.zero(e.type.kind)
        return [
            f.phi(v.type, [(v, last), (f.splat(zero, width_of(v.type)), before.label)])
            for v in values
        ]

    # --- reductions over indices ------------------------------------------------------------------

    def reduced(self, e: Reduce) -> Components:
        if e.op == "logsumexp":
            return self.logsumexp(e)
        combine = add if e.op == "sum" else None

        def step(state: Components, values: Components) -> Components:
            pairs = zip(state, values, strict=True)
            if combine is not None:
                return [combine(self, a, b) for a, b in pairs]
            return [extreme(self, e.op, a, b) for a, b in pairs]

        return self.fold(e, e.body, self.neutral(e), step)

    def neutral(self, e: Reduce) -> Value:
        """The value of a reduction over nothing."""
        if e.op == "sum":
            return self.zero(e.type.kind)
        sign = -1 if e.op in ("max", "logsumexp") else 1
        if e.type.kind == "real":
            return real(sign * float("inf"), self.formats.real)
        return integer(sign * (2**63 - 1))

    def logsumexp(self, e: Reduce) -> Components:
        """In two passes: the largest term, then the sum of exponentials relative to it."""
        f = self.f
        infinity = real(float("inf"), self.formats.real)

        def largest(state: Components, values: Components) -> Components:
            return [extreme(self, "max", a, b) for a, b in zip(state, values, strict=True)]

        tops = self.fold(e, e.body, self.neutral(e), largest)
        shifts = []
        for top in tops:
            size = f.intrinsic("llvm.fabs", top)
            finite = f.compare("fcmp one", size, f.splat(infinity, width_of(top.type)))
            shifts.append(f.select(finite, top, real(0.0, top.type)))

        def accumulate(state: Components, values: Components) -> Components:
            terms = [
                vecmath.emit(f, "exp", self.binary("fsub", v, s))
                for v, s in zip(values, shifts, strict=True)
            ]
            return [add(self, a, b) for a, b in zip(state, terms, strict=True)]

        def plus(a: Components, b: Components) -> Components:
            return [add(self, x, y) for x, y in zip(a, b, strict=True)]

        totals = self.fold(e, e.body, self.zero("real"), accumulate, plus)
        return [
            self.binary("fadd", vecmath.emit(f, "log", t), s)
            for t, s in zip(totals, shifts, strict=True)
        ]

    def fold(
        self, e: Reduce, body: Expr, start: Value, step: Step, merge: Step | None = None
    ) -> Components:
        """Run through all points of a reduction's domain, combining the body's components.

        ``step(state, values)`` takes the values at a point in; ``merge(state, state)`` combines
        what was found at some points with what was found at others, if ``step`` does not.
        """
        for part in steady(e, self.context):
            self.value(part)
        width = self.lanes_of(body)
        outside = Domain.of(p for p in e.domain.constraints if not p.symbols & set(e.indices))
        first = self.widened(vectors.filled(self, start, dims(body.shape)), width)

        def nest(indices: Sequence[str], state: Components) -> Components:
            if not indices:
                with self.scope():
                    return self.widened(step(state, self.value(body)), width)
            index, rest = indices[0], indices[1:]
            lo, hi = self.bounds(e.domain.project_out(rest), index)
            if not rest and self.memory.width > 1 and body.is_real and runs.is_run(body, index):
                found = self.in_runs(index, lo, hi, body, first, step, merge or step)
                if state is first:
                    return found
                pairs = zip(state, found, strict=True)
                return [(merge or step)([a], [b])[0] for a, b in pairs]
            with self.index_scope(index):
                loop = self.f.loop(lo, hi, 1, state)
                self.env[index] = loop.index
                inner = nest(rest, loop.state)
            return loop.close(inner)

        if not outside.constraints:
            return nest(e.indices, first)
        f = self.f
        yes, after = f.label("some"), f.label("none")
        before = f.block
        f.branch_if(self.condition(outside), yes, after)
        f.start(yes, before)
        with self.scope():
            found = nest(e.indices, first)
        last = f.block.label
        f.branch(after)
        f.start(after, before)
        return [
            f.phi(a.type, [(a, last), (b, before.label)]) for a, b in zip(found, first, strict=True)
        ]

    def in_runs(
        self, index: str, lo: Value, hi: Value, body: Expr, state: Components, step: Step,
        merge: Step,
    ) -> Components:  # fmt: skip
        """The innermost loop of `fold`, over many points at once; state has a neutral start."""
        f, width = self.f, self.memory.width
        upto = f.binary("sub", runs.count(self, lo, hi), integer(1))
        with self.index_scope(index):
            loop = f.loop(integer(0), upto, 1, [f.splat(v, width) for v in state])
            with self.at_once(runs.run_at(self, index, loop.index, lo, hi)) as run:
                values = [f.splat(v, width) for v in self.value(body)]
            found = step(loop.state, values)
            kept = [f.select(run.inside, a, b) for a, b in zip(found, loop.state, strict=True)]
        return [
            vectors.reduced(self, [v], lambda a, b: merge([a], [b])[0]) for v in loop.close(kept)
        ]

    @contextmanager
    def at_once(self, run: Run) -> Iterator[Run]:
        """The iterations of a loop that are done at once."""
        outer, self.run = self.run, run
        yield run
        self.run = outer


#: Combines the components of one element with those of another.
Step: TypeAlias = Callable[[Components, Components], Components]


def _is_product(e: Expr) -> bool:
    return isinstance(e, Call) and e.op == "mul"


def steady(e: Reduce, context: Domain) -> Iterator[Expr]:
    """The reductions in the body of another that are the same at all of its points, so that they
    are computed once; not those that may be at no point at all."""

    def inside(e: Reduce, bound: frozenset[str], context: Domain) -> Iterator[Expr]:
        if context.subset(e.domain.project_out(e.indices)):
            yield from parts(e.body, bound.union(e.indices), context & e.domain)

    def parts(e: Expr, bound: frozenset[str], context: Domain) -> Iterator[Expr]:
        if isinstance(e, Reduce):
            if free_symbols(e).isdisjoint(bound):
                yield e
            else:
                yield from inside(e, bound, context)
        elif isinstance(e, Call):
            for a in e.args:
                yield from parts(a, bound, context)

    return inside(e, frozenset(), context)
