"""Windows of a long sequence: the state at the end of one is the start of the next.

before:  h[0] = h0                           (a program over the whole sequence)
         h[t] = tanh(W @ x[t] + U @ h[t-1])
after:   h[0] = where(done == 0, h0, h_before[0])          (the same over one window of it)
         h[t] = tanh(W @ x[t] + U @ h[t-1])
         h_after[t] = h[T+t] for t in 0..0
         with the inputs `h_before`, and `done`: how many steps the windows before had
requires: what the losses need reads no later step but of inputs, no end of the sequence, and a
fixed number of earlier steps. Losses themselves add up a value for each step (see `counted`).

`h_after` of one window is `h_before` of the next: values are those of the whole sequence, and no
derivative passes from one window to the one before (Williams and Peng 1990, "An efficient
gradient-based algorithm for on-line training of recurrent network trajectories"). A parameter that
the state starts from has its gradient in the first window. Numbers of steps (``t``, ``for t >= 3``)
are those of the whole sequence; ``T``, in a mean over time say, is the length of the window.

Where the losses leave out the last steps, as a sum over `t < T` does, windows overlap by these: the
state that goes on is that of the last step which counts, `h_after[t] = h[T-1+t]`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..domain import Domain
from ..errors import InputError
from ..expr import (
    BOOL,
    INT,
    Call,
    Const,
    Expr,
    Guard,
    Position,
    Read,
    Reduce,
    Ref,
    fresh,
    reads,
    subs_positions,
    with_operands,
)
from ..ops.record import compare
from ..poly import Poly
from ..program import TIME, Axis, Equation, Output, Program, Var, equation, verify
from ..streaming import time_axis
from ..transform import simplify
from ..transform.common import prune
from .counted import left_out, over_steps


@dataclass(frozen=True)
class CarriedState:
    """A variable whose last ``lags`` values go from window to window: from the output ``after`` of
    one to the input ``before`` of the next; time is their axis number ``axis``."""

    variable: str
    before: str
    after: str
    lags: int
    axis: int


@dataclass(frozen=True)
class Carried:
    """A program over one window of a sequence.

    Attributes:
        program: the program, whose outputs are the states at the end.
        states: what is carried.
        done: the input that counts the steps of the windows before.
        first: of each input that is a sequence the position, 1 at the window's first step, that its
            array begins with: those of earlier steps that are read belong to it.
        overlap: how many steps at a window's end are those that the next one begins with.
    """

    program: Program
    states: tuple[CarriedState, ...]
    done: str
    first: dict[str, int]
    overlap: int


def carried(program: Program) -> Carried:
    """The program, of fixed sizes, over one window. Raises `InputError` with the equation that
    prevents it."""
    return _Carrying(prune(program.with_(outputs=()))).run()


class _Carrying:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.time = {name: time_axis(v) for name, v in program.vars.items()}
        self.done = fresh("done", program.vars)
        self.depth = dict.fromkeys(program.vars, 0)

    def refuse(self, eq: Equation, why: str) -> InputError:
        from ..show import equation_text

        return InputError(
            f"{self.program.name} cannot be trained with carried state: {why}\n"
            f"    {equation_text(self.program, eq)}"
        )

    def run(self) -> Carried:
        p = self.program
        if TIME not in p.lengths:
            raise InputError(f"{p.name} has no sequence over t, whose state could be carried")
        for name, v in p.vars.items():
            lo = v.axes[k].lo.constant if (k := self.time[name]) is not None else None
            if v.role == "variable" and lo is not None:
                self.depth[name] = max(0, 1 - lo)
        for eq in p.equations:
            self._look_back(eq)
        overlap = left_out(p, self.time, self.refuse)
        end = Poly.symbol(TIME) - overlap
        static = [eq for eq in p.equations if self.time[eq.name] is None]
        equations = [replace(eq, rhs=self._whole(eq)) for eq in static]
        variables = dict(p.vars)
        variables[self.done] = Var(self.done, "input", type=INT)
        states, outputs = [], []
        for name, v in p.vars.items():
            k = self.time[name]
            if k is None or v.role == "param":
                continue
            if v.role == "variable":
                if not p.pieces(name):
                    continue
                equations += self._running(name, k)
            if not self.depth[name]:
                continue
            first = Poly.const(1 - self.depth[name])
            a = v.axes[k]
            if v.role == "input":
                if v.noise:
                    raise InputError(
                        f"{p.name} cannot be trained with carried state: it reads earlier draws "
                        f"of {name}"
                    )
                lo = a.lo.constant
                first = first if lo is None or lo > 1 - self.depth[name] else a.lo
                variables[name] = replace(v, axes=_with(v.axes, k, Axis(a.index, first, a.hi)))
                continue
            variables[name] = replace(v, axes=_with(v.axes, k, Axis(a.index, first, a.hi)))
            state = CarriedState(
                name,
                fresh(f"{name}_before", variables),
                fresh(f"{name}_after", variables),
                self.depth[name],
                k,
            )
            states.append(state)
            axes = _with(v.axes, k, Axis(a.index, first, Poly()))
            variables[state.before] = Var(state.before, "input", axes, v.shape, v.type)
            variables[state.after] = Var(state.after, "variable", axes, v.shape, v.type)
            equations += self._start(v, k, state.before)
            here = [Poly.symbol(i.index) for i in axes]
            at = tuple(q + end if j == k else q for j, q in enumerate(here))
            domain = Domain()
            for axis in axes:
                domain = domain & Domain.range(axis.index, axis.lo, axis.hi)
            names = tuple(i.index for i in axes)
            equations.append(equation(state.after, names, domain, Ref(name, at, v.shape, v.type)))
            outputs.append(Output(state.after, tuple((i.lo, i.hi) for i in axes)))
        made = p.with_(
            vars=variables,
            equations=tuple(equations),
            outputs=tuple(outputs),
            minimum={**p.minimum, TIME: 1 + overlap},
        )
        sequences = [v for v in made.inputs if time_axis(v) is not None and v.name in p.vars]
        return Carried(
            verify(simplify(verify(made))),
            tuple(states),
            self.done,
            {v.name: self._first(v) for v in sequences},
            overlap,
        )

    def _first(self, v: Var) -> int:
        lo = v.axes[time_axis(v) or 0].lo.constant
        if lo is None:
            raise InputError(
                f"{self.program.name} cannot be trained with carried state: {v.name} begins at "
                f"{v.axes[time_axis(v) or 0].lo}"
            )
        return lo

    # --- how far back ---

    def _look_back(self, eq: Equation) -> None:
        """Note which earlier steps an equation reads; refuse what is no fixed number of them."""
        k = self.time[eq.name]
        if k is None:
            return  # `left_out` looks at it
        t = eq.indices[k]
        inside = eq.domain & Domain.range(t, 1, TIME)
        if inside.is_empty(self.program.given):
            self._check_start(eq, t)
            return
        for read in reads(eq.rhs):
            j = self.time.get(read.ref.name)
            if j is None:
                continue
            v = self.program.vars[read.ref.name]
            if v.role == "param":
                raise self.refuse(eq, f"the parameter {v.name} has a value for every step")
            near, far = self._lags(eq, t, read, read.ref.index[j])
            if near < 0 and v.role != "input":
                raise self.refuse(eq, "this equation looks ahead")
            self.depth[v.name] = max(self.depth[v.name], far)

    def _check_start(self, eq: Equation, t: str) -> None:
        for read in reads(eq.rhs):
            j = self.time.get(read.ref.name)
            if j is not None and read.ref.index[j].symbols - {t}:
                raise self.refuse(eq, f"this equation reads all of {read.ref.name}, or its end")

    def _lags(self, eq: Equation, t: str, read: Read, position: Poly) -> tuple[int, int]:
        """The least and the largest number of steps that a read goes back."""
        behind = (Poly.symbol(t) - position).subs(eq.pins)
        near = far = behind
        for symbol in sorted(behind.symbols):
            if symbol not in read.bound:
                what = "the end of" if TIME in position.symbols else "one fixed step of"
                raise self.refuse(eq, f"this equation reads {what} {read.ref.name}")
            lower, upper = read.domain.bounds(symbol)
            lo = [b.constant for b in lower if b.constant is not None]
            hi = [b.constant for b in upper if b.constant is not None]
            if not lo or not hi:
                raise self.refuse(eq, "this equation reads all of the past, not a fixed part")
            ends = (max(lo), min(hi))
            up = behind.coefficient(symbol) > 0
            near = near.subs({symbol: ends[0 if up else 1]})
            far = far.subs({symbol: ends[1 if up else 0]})
        return near.constant or 0, far.constant or 0

    # --- equations ---

    def _whole(self, eq: Equation) -> Expr:
        """A right-hand side that is no sequence: a loss, or what it is made of."""

        def go(e: Expr, over: frozenset[str]) -> Expr:
            if isinstance(e, Position):
                return self._position(e.poly, over)
            if isinstance(e, Reduce):
                over |= {*over_steps(e, over)}
            return with_operands(e, tuple(go(c, over) for c in e.operands))

        return go(eq.rhs, frozenset())

    def _running(self, name: str, k: int) -> list[Equation]:
        """The pieces of a sequence at 1..T, and those behind its end as they are."""
        given = self.program.given
        groups: dict[tuple[tuple[str, ...], Domain], list[tuple[list[Poly], Equation]]] = {}
        result = []
        for eq in self.program.pieces(name):
            t = eq.indices[k]
            if (eq.domain & Domain.range(t, 1, TIME)).is_empty(given):
                if (eq.domain & Domain.of((-Poly.symbol(t),))).is_empty(given):
                    result.append(eq)
                continue
            now: list[Poly] = []
            rest: list[Poly] = []
            for q in eq.domain.gist(given & Domain.range(t, 1, TIME)).constraints:
                if TIME in q.symbols:
                    raise self.refuse(eq, "this equation holds only up to the sequence's end")
                if q.coefficient(t) and q.symbols != {t}:
                    raise self.refuse(eq, "the range of its other indices changes with the step")
                (now if q.coefficient(t) else rest).append(q)
            others = eq.indices[:k] + eq.indices[k + 1 :]
            groups.setdefault((others, Domain.of(rest)), []).append((now, eq))
        v = self.program.vars[name]
        for (_, rest_), parts in groups.items():
            *earlier, (_, last) = sorted(parts, key=lambda part: -len(part[0]))
            if earlier and any(eq.solver for _, eq in parts):
                raise self.refuse(last, "an implicit equation has several pieces")
            t = last.indices[k]
            rhs = self._now(last, last.indices[k], t)
            for conditions, eq in reversed(earlier):
                holds = self._all(conditions, eq.indices[k], t)
                rhs = _where(holds, self._now(eq, eq.indices[k], t), rhs)
            domain = rest_ & Domain.range(t, 1, TIME)
            for i, axis in zip(last.indices, v.axes, strict=True):
                if i != t:
                    domain = domain & Domain.range(i, axis.lo, axis.hi)
            result.append(Equation(name, last.indices, domain, rhs, last.span, last.solver))
        return result

    def _start(self, v: Var, k: int, before: str) -> list[Equation]:
        """The elements before the window: given, but in the first window the model's own."""
        first = 1 - self.depth[v.name]
        fresh_start = compare("eq", Ref(self.done, (), (), INT), Const(0, (), INT))
        result = []
        for eq in self.program.pieces(v.name):
            t = eq.indices[k]
            domain = eq.domain & Domain.range(t, first, 0)
            if domain.is_empty(self.program.given):
                continue
            given = Ref(before, eq.element, v.shape, v.type)
            rhs = _where(fresh_start, eq.rhs, given)
            result.append(equation(v.name, eq.indices, domain, rhs, eq.span))
        lo = v.axes[k].lo.constant
        last = min(0, lo - 1) if lo is not None else 0
        if first <= last:
            indices = tuple(a.index for a in v.axes)
            domain = Domain.range(indices[k], first, last)
            for j, a in enumerate(v.axes):
                if j != k:
                    domain = domain & Domain.range(a.index, a.lo, a.hi)
            at = tuple(Poly.symbol(i) for i in indices)
            result.append(equation(v.name, indices, domain, Ref(before, at, v.shape, v.type)))
        return result

    def _position(self, q: Poly, over: Iterable[str]) -> Expr:
        """The value of an affine expression, its steps counted from the sequence's start."""
        slope = sum(q.coefficient(i) for i in over)
        if not slope:
            return Position(q)
        done: Expr = Ref(self.done, (), (), INT)
        return Position(q) + (done if slope == 1 else Const(slope, (), INT) * done)

    def _all(self, conditions: Iterable[Poly], own: str, t: str) -> Expr:
        total: Expr | None = None
        for q in conditions:
            here = q.subs({own: Poly.symbol(t)})
            holds = compare("ge", self._position(here, {t}), Const(0, (), INT))
            total = holds if total is None else Call("and", (total, holds), (), (), BOOL)
        return total if total is not None else Const(True, (), BOOL)

    def _now(self, eq: Equation, own: str, t: str) -> Expr:
        """The right-hand side at step ``t`` of the window."""
        pins, memo = eq.pins, {}
        rhs = eq.rhs if own == t else subs_positions(eq.rhs, {own: Poly.symbol(t)})

        def go(e: Expr) -> Expr:
            if e not in memo:
                memo[e] = build(e)
            return memo[e]

        def build(e: Expr) -> Expr:
            if isinstance(e, Ref):
                j = self.time[e.name]
                if j is None or own not in pins:
                    return e
                # The piece of one step spoke of others by their numbers.
                index = _with(e.index, j, e.index[j] - pins[own] + Poly.symbol(t))
                return Ref(e.name, index, e.shape, e.type)
            if isinstance(e, Position):
                if TIME in e.poly.symbols:
                    raise self.refuse(eq, "this equation depends on the sequence's length T")
                return self._position(e.poly, {t})
            if isinstance(e, Guard):
                now = [q for q in e.domain.constraints if q.coefficient(t)]
                rest = Domain.of(q for q in e.domain.constraints if not q.coefficient(t))
                if TIME in e.domain.gist(eq.domain & self.program.given).symbols:
                    raise self.refuse(eq, "this equation depends on where the sequence ends")
                body = go(e.body)
                body = Guard(rest, body) if rest.constraints else body
                zero = Const(0, (), INT) if e.type.kind == "int" else Const(0.0)
                return _where(self._all(now, t, t), body, zero) if now else body
            if isinstance(e, Reduce):
                if t in e.domain.symbols or TIME in e.domain.symbols:
                    raise self.refuse(eq, "this equation reads all of the past, not a fixed part")
                return Reduce(e.op, e.indices, e.domain, go(e.body))
            return with_operands(e, tuple(go(c) for c in e.operands))

        return go(rhs)


def _where(condition: Expr, a: Expr, b: Expr) -> Expr:
    return Call("where", (condition, a, b), (), a.shape, a.type)


def _with(values: tuple, k: int, value: object) -> tuple:
    return (*values[:k], value, *values[k + 1 :])


__all__ = ["Carried", "CarriedState", "carried"]
