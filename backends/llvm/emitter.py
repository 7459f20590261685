"""From an expression to instructions: the components of its value at the current indices.

The emitter is generic over its lanes: with one lane it computes one sequence, with the lanes of a
vector register as many sequences side by side. What is the same for all of them (parameters,
positions, what is computed from those) stays in scalars.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from unfold.domain import Domain
from unfold.expr import Call, Const, Expr, Guard, Position, Reduce, Ref, names
from unfold.poly import Poly

from . import components, functions
from .components import Components, Unit, add, dims, extreme
from .elementwise import Formats
from .ir import Function, Value, integer, real, vector, width_of
from .memory import Memory

#: From this many entries on, a component chosen at run time is loaded rather than selected.
_LOAD_ENTRIES = 4


class Emitter(Unit):
    """Computes expressions in one function.

    Args:
        f: receives the instructions.
        formats: the number formats.
        memory: where the elements of variables stand.
        env: the values of lengths (and of the indices of loops around, kept up to date by `loop`).
    """

    def __init__(
        self, f: Function, formats: Formats, memory: Memory, env: dict[str, Value]
    ) -> None:
        super().__init__(f, formats)
        self.memory = memory
        self.env = env
        # What has been computed, by nesting of control flow: inner values do not reach outside.
        self.scopes: list[dict[Any, Any]] = [{}]

    # --- scopes -----------------------------------------------------------------------------------

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Control flow in which values are computed that must not be used after it."""
        self.scopes.append({})
        yield
        self.scopes.pop()

    def known(self, key: Any) -> Any:
        """What was computed under a key and can be used here, or ``None``."""
        for scope in reversed(self.scopes):
            if key in scope:
                return scope[key]
        return None

    def remember(self, key: Any, value: Any) -> Any:
        """Keep a value for the rest of the current scope."""
        self.scopes[-1][key] = value
        return value

    # --- integers ---------------------------------------------------------------------------------

    def position(self, p: Poly) -> Value:
        """An affine expression as an ``i64``."""
        number = p.constant
        if number is not None:
            return integer(number)
        found = self.known(p)
        if found is not None:
            return found  # type: ignore[no-any-return]
        total: Value | None = None
        for mono, coef in p.terms:
            term = integer(coef)
            for k, symbol in enumerate(mono):
                factor = self.env[symbol]
                term = factor if k == 0 and coef == 1 else self.f.binary("mul", term, factor)
            total = term if total is None else self.f.binary("add", total, term)
        assert total is not None
        return self.remember(p, total)  # type: ignore[no-any-return]

    def condition(self, domain: Domain) -> Value:
        """Whether all constraints hold."""
        result = integer(1, "i1")
        for k, p in enumerate(domain.constraints):
            one = self.f.compare("icmp sge", self.position(p), integer(0))
            result = one if k == 0 else self.f.binary("and", result, one)
        return result

    def bounds(self, domain: Domain, index: str) -> tuple[Value, Value]:
        """The range that the constraints on an index leave it, the other symbols being known."""
        lows, highs = [], []
        for p in domain.constraints:
            coef = p.coefficient(index)
            if not coef:
                continue
            rest = self.position(p - Poly.symbol(index) * coef)
            if coef > 0:
                lows.append(self.f.binary("sub", integer(0), self.quotient(rest, coef)))
            else:
                highs.append(self.quotient(rest, -coef))
        return self.ends(lows, highs)

    def ends(self, lows: Sequence[Value], highs: Sequence[Value]) -> tuple[Value, Value]:
        """The largest lower and the smallest upper bound."""
        lo, hi = lows[0], highs[0]
        for v in lows[1:]:
            lo = self.f.intrinsic("llvm.smax", lo, v)
        for v in highs[1:]:
            hi = self.f.intrinsic("llvm.smin", hi, v)
        return lo, hi

    def quotient(self, a: Value, divisor: int) -> Value:
        """``a // divisor``, rounded down."""
        if divisor == 1:
            return a
        d = integer(divisor)
        rest = self.f.binary("srem", a, d)
        below = self.f.compare("icmp slt", rest, integer(0))
        down = self.f.binary("sub", a, self.f.select(below, integer(divisor - 1), integer(0)))
        return self.f.binary("sdiv", down, d)

    # --- expressions ------------------------------------------------------------------------------

    def value(self, e: Expr) -> Components:
        """The components of an expression in C order; real, ``i64`` or ``i1`` by its type."""
        found = self.known(e)
        if found is None:
            found = self.remember(e, self.compute(e))
        return found  # type: ignore[no-any-return]

    def compute(self, e: Expr) -> Components:
        if isinstance(e, Const):
            return self.constant(e)
        if isinstance(e, Position):
            return [self.position(e.poly)]
        if isinstance(e, Ref):
            return self.memory.load(self, e.name, self.place(e.index))
        if isinstance(e, Guard):
            return self.guarded(e)
        if isinstance(e, Reduce):
            return self.reduced(e)
        assert isinstance(e, Call)
        if e.op == "take" and isinstance(e.args[0], Ref):
            if dims(e.args[0].shape)[e.attr("axis")] > _LOAD_ENTRIES:
                return self.taken(e, e.args[0])
        return components.emit(self, e, [self.value(a) for a in e.args])

    def place(self, index: Sequence[Poly]) -> list[Value]:
        """The positions of an element."""
        return [self.position(p) for p in index]

    def constant(self, e: Const) -> Components:
        flat = np.broadcast_to(np.asarray(e.value), dims(e.shape)).ravel().tolist()
        if e.type.kind == "real":
            return [real(float(x), self.formats.real) for x in flat]
        return [integer(int(x), self.formats.of(e.type.kind)) for x in flat]

    def taken(self, e: Call, ref: Ref) -> Components:
        """A component at a run-time index, from memory."""
        (index,) = self.value(e.args[1])
        shape, axis = dims(ref.shape), e.attr("axis")
        numbers = np.moveaxis(np.arange(int(np.prod(shape))).reshape(shape), axis, 0)
        stride = int(np.prod(shape[axis + 1 :]))
        place = self.place(ref.index)
        first = [int(k) for k in numbers[0].ravel()]
        return self.memory.load_at(self, ref.name, place, first, index, stride)

    def lanes_of(self, e: Expr) -> int:
        """How many lanes the value of an expression has."""
        return self.memory.lanes_of(names(e))

    def widened(self, values: Components, width: int) -> Components:
        """Every component in that many lanes."""
        return [self.f.splat(v, width) for v in values]

    def guarded(self, e: Guard) -> Components:
        """The body where the condition holds (and only there), else zeros."""
        f = self.f
        width = self.lanes_of(e.body)
        condition = self.condition(e.domain)
        yes, after = f.label("if"), f.label("join")
        before = f.block.label
        f.branch_if(condition, yes, after)
        f.start(yes)
        with self.scope():
            values = self.widened(self.value(e.body), width)
        last = f.block.label
        f.branch(after)
        f.start(after)
        zero = f.splat(self.zero(e.type.kind), width)
        return [f.phi(v.type, [(v, last), (zero, before)]) for v in values]

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
                functions.emit(f, "exp", self.binary("fsub", v, s))
                for v, s in zip(values, shifts, strict=True)
            ]
            return [add(self, a, b) for a, b in zip(state, terms, strict=True)]

        totals = self.fold(e, e.body, self.zero("real"), accumulate)
        return [
            self.binary("fadd", functions.emit(f, "log", t), s)
            for t, s in zip(totals, shifts, strict=True)
        ]

    def fold(self, e: Reduce, body: Expr, start: Value, step: Any) -> Components:
        """Run through all points of a reduction's domain, combining the body's components."""
        width = self.lanes_of(body)
        count = int(np.prod(dims(body.shape)))
        outside = Domain.of(p for p in e.domain.constraints if not p.symbols & set(e.indices))
        state = [self.f.splat(start, width)] * count

        def nest(indices: Sequence[str], state: Components) -> Components:
            if not indices:
                with self.scope():
                    return self.widened(step(state, self.value(body)), width)
            index, rest = indices[0], indices[1:]
            lo, hi = self.bounds(e.domain.project_out(rest), index)
            with self.index_scope(index):
                loop = self.f.loop(lo, hi, 1, state)
                self.env[index] = loop.index
                inner = nest(rest, loop.state)
            return loop.close(inner)

        if not outside.constraints:
            return nest(e.indices, state)
        f = self.f
        yes, after = f.label("some"), f.label("none")
        before = f.block.label
        f.branch_if(self.condition(outside), yes, after)
        f.start(yes)
        with self.scope():
            found = nest(e.indices, state)
        last = f.block.label
        f.branch(after)
        f.start(after)
        return [f.phi(a.type, [(a, last), (b, before)]) for a, b in zip(found, state, strict=True)]

    @contextmanager
    def index_scope(self, index: str) -> Iterator[None]:
        """A scope in which an index name gets a value."""
        outer = self.env.get(index)
        with self.scope():
            yield
        if outer is None:
            self.env.pop(index, None)
        else:
            self.env[index] = outer


__all__ = ["Emitter", "vector"]
