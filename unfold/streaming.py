"""Causal models one step at a time.

before:  h[0] = 0                          (a program over t = 1..T)
         h[t] = tanh(W @ x[t] + U @ h[t-1])
after:   h = tanh(W @ x + U @ h_lag1)      (a program without time; h_lag1 is an input)
         and the start value: h[0] = 0
requires: what the outputs over t need reads no later step, no end of the sequence, and a bounded
number of earlier steps. Those that are read at distances which vary stand side by side in the step:

before:  y[t] = sum[k](R[k] * s[t-k])      with k in 0..2; or sum[t-2 <= s <= t](…), by its distance
after:   s_window[0] = s, s_window[1] = s_lag1, s_window[2] = s_lag2
         y = sum[k](R[k] * s_window[k])
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from .distances import by_distance, distances
from .domain import Domain
from .errors import InputError
from .expr import (
    BOOL,
    INT,
    Call,
    Const,
    Expr,
    Guard,
    Position,
    Reduce,
    Ref,
    fresh,
    names,
    reads,
    with_operands,
)
from .ops.record import compare, where
from .poly import Poly
from .program import TIME, Axis, Equation, Output, Program, Var, verify
from .transform import simplify
from .transform.common import prune

PAST = (
    "a running total is an equation of its own, `m[t] = m[t-1] + x[t]`, and the last steps are an "
    "axis: `axis k: 0..9`, and `x[t-k]` under `sum[k]`"
)


@dataclass(frozen=True)
class State:
    """The last values of a variable or input: ``names[k]`` holds the one of k+1 steps ago, and the
    output ``newest`` the one of this step."""

    variable: str
    names: tuple[str, ...]
    newest: str


@dataclass(frozen=True)
class StepProgram:
    """One step of a program.

    Attributes:
        program: without a time axis; the states are inputs.
        start: computes the states before the first step.
        declared: the step's inputs with symbolic sizes, for messages.
        moving, static: the inputs given at each step, and once.
        states: what is carried. A value that is both carried and returned is there twice, so that
            nobody who writes to a result changes the state.
        clock: the state that counts the steps, if their number is read.
        outputs: what a step returns.
    """

    program: Program
    start: Program
    declared: dict[str, Var]
    moving: tuple[str, ...]
    static: tuple[str, ...]
    states: tuple[State, ...]
    clock: str | None
    outputs: tuple[str, ...]


def time_axis(v: Var) -> int | None:
    """Which axis of a variable is time, if one is."""
    found = [k for k, a in enumerate(v.axes) if TIME in (a.lo.symbols | a.hi.symbols)]
    return found[0] if found else None


def step_program(program: Program, declared: Program) -> StepProgram:
    """One step of a causal program. Raises `InputError` with the equation that prevents it."""
    return _Stepping(program, declared).run()


class _Stepping:
    def __init__(self, program: Program, declared: Program) -> None:
        self.program = program
        self.declared = declared
        self.time = {name: time_axis(v) for name, v in program.vars.items()}
        self.depth: dict[str, int] = {}
        #: Of variables that are read at distances which vary the least and the largest.
        self.windows: dict[str, tuple[int, int]] = {}
        #: Of equations by distance what they were.
        self.original: dict[Equation, Equation] = {}
        self.clock = fresh("step", program.vars)
        self.ticks = False

    def refuse(self, eq: Equation, why: str, cure: str = "") -> InputError:
        from .show import equation_text

        return InputError(
            f"{self.program.name} cannot run one step at a time: {why}\n"
            f"    {equation_text(self.program, self.original.get(eq, eq))}"
            + (f"\n{cure}" if cure else "")
        )

    def run(self) -> StepProgram:
        p = self.program
        shown = tuple(o.name for o in p.outputs if self.time[o.name] is not None)
        if not shown:
            raise InputError(
                f"{p.name} cannot run one step at a time: none of its outputs is a sequence over t"
            )
        needed = self._needed(shown)
        for name in needed:
            for eq in self._running(name):
                self._look_back(eq)
        equations = [eq for name in needed for eq in self._step_equations(name)]
        if self.ticks:
            self.depth[self.clock] = 1
        inputs = [v.name for v in p.inputs if v.name in needed]
        moving = tuple(n for n in inputs if self.time[n] is not None)
        states = tuple(
            State(name, tuple(self.lag(name, k + 1) for k in range(depth)), self.newest(name))
            for name, depth in self.depth.items()
        )
        variables = {name: self._still(p.vars[name]) for name in p.vars if name in needed}
        if self.ticks:
            last = Ref(self.lag(self.clock, 1), (), (), INT)
            variables[self.clock] = Var(self.clock, "variable", type=INT)
            equations.append(Equation(self.clock, (), Domain(), last + Const(1, (), INT)))
        for state in states:
            v = variables[state.variable]
            for name in state.names:
                variables[name] = replace(v, name=name, role="input", init=None, noise=None)
            variables[state.newest] = replace(
                v, name=state.newest, role="variable", init=None, noise=None, generated=True
            )
            at = tuple(Poly.symbol(a.index) for a in v.axes)
            value = Ref(v.name, at, v.shape, v.type)
            indices_of = tuple(a.index for a in v.axes)
            equations.append(Equation(state.newest, indices_of, v.domain, value))
        for name in self.windows:
            variables[self.window(name)] = self._window_of(p.vars[name])
            equations += self._window_equations(variables[name])
        outputs = [self._output(o) for o in p.outputs if o.name in shown]
        for state in states:
            axes = variables[state.newest].axes
            outputs.append(Output(state.newest, tuple((a.lo, a.hi) for a in axes)))
        indices = {
            i: (lo, hi) for i, (lo, hi) in p.indices.items() if TIME not in lo.symbols | hi.symbols
        }
        step = p.with_(
            indices=indices,
            vars=variables,
            equations=tuple(equations),
            outputs=tuple(outputs),
            losses=(),
        )
        start = self._start(states)
        static = tuple(
            v.name
            for v in p.inputs
            if self.time[v.name] is None and (v.name in needed or v.name in start.vars)
        )
        return StepProgram(
            verify(simplify(verify(step))),
            start,
            {n: self._still(v) for n, v in self.declared.vars.items()},
            moving,
            static,
            states,
            self.clock if self.ticks else None,
            shown,
        )

    def _output(self, o: Output) -> Output:
        """What a step returns of an output over t."""
        k = self.time[o.name]
        assert k is not None
        return Output(o.name, o.ranges[:k] + o.ranges[k + 1 :])

    def lag(self, name: str, k: int) -> str:
        return fresh(f"{name}_lag{k}", self.program.vars)

    def window(self, name: str) -> str:
        return fresh(f"{name}_window", self.program.vars)

    def newest(self, name: str) -> str:
        return fresh(f"{name}_lag0", self.program.vars)

    def _still(self, v: Var) -> Var:
        """The variable without its time axis."""
        k = self.time.get(v.name)
        return v if k is None else replace(v, axes=v.axes[:k] + v.axes[k + 1 :])

    def _needed(self, shown: Iterable[str]) -> list[str]:
        """What a step has to know, in order of declaration."""
        found = set(shown)
        work = list(found)
        while work:
            name = work.pop()
            for eq in self._running(name):
                for other in names(eq.rhs) - found:
                    found.add(other)
                    work.append(other)
        return [n for n in self.program.vars if n in found]

    def _running(self, name: str) -> list[Equation]:
        """The pieces of a variable that hold at some t of 1..T."""
        k = self.time[name]
        pieces = self.program.pieces(name)
        if k is None:
            return pieces
        given = self.program.given
        running = []
        for eq in pieces:
            if not (eq.domain & Domain.range(eq.indices[k], 1, TIME)).is_empty(given):
                near = replace(eq, rhs=by_distance(eq, eq.indices[k], given))
                self.original[near] = eq
                running.append(near)
        return running

    # --- windows ---

    def _look_back(self, eq: Equation) -> None:
        """Note the distances of reads, where they vary and are bounded."""
        k = self.time[eq.name]
        if k is None:
            return
        t, given = eq.indices[k], self.program.given
        for read in reads(eq.rhs):
            j = self.time.get(read.ref.name)
            if j is None or self.program.vars[read.ref.name].role == "param":
                continue
            behind = eq.pins.get(t, Poly.symbol(t)) - read.ref.index[j]
            if behind.constant is not None or {t, TIME} & behind.symbols:
                continue  # `_read` says what is wrong
            least, most = distances(behind, read.domain & eq.domain & given)
            if most is None:
                continue
            if least is None or least < 0:
                raise self.refuse(eq, "this equation looks ahead")
            name = read.ref.name
            known = self.windows.get(name, (least, most))
            self.windows[name] = (min(known[0], least), max(known[1], most))
            if most:
                self.depth[name] = max(self.depth.get(name, 0), most)

    def _window_of(self, v: Var) -> Var:
        """The variable over its last steps: the axis of time is that of the distance."""
        k = self.time[v.name]
        assert k is not None
        least, most = self.windows[v.name]
        axis = Axis(v.axes[k].index, Poly.const(least), Poly.const(most))
        axes = (*v.axes[:k], axis, *v.axes[k + 1 :])
        return Var(self.window(v.name), "variable", axes, v.shape, v.type, generated=True)

    def _window_equations(self, v: Var) -> list[Equation]:
        """Each of the last values in its place; ``v`` is the variable without time."""
        k = self.time[v.name]
        assert k is not None
        least, most = self.windows[v.name]
        t = self.program.vars[v.name].axes[k].index
        indices = tuple(a.index for a in v.axes)
        at = tuple(Poly.symbol(i) for i in indices)
        places = (*indices[:k], t, *indices[k:])
        return [
            Equation(
                self.window(v.name),
                places,
                v.domain & Domain.point(t, lag),
                Ref(self.lag(v.name, lag) if lag else v.name, at, v.shape, v.type),
            )
            for lag in range(least, most + 1)
        ]

    # --- equations ---

    def _step_equations(self, name: str) -> list[Equation]:
        k = self.time[name]
        pieces = self._running(name)
        if k is None:
            for eq in pieces:
                self._check_static(eq)
            return pieces
        groups: dict[tuple[tuple[str, ...], Domain], list[tuple[list[Poly], Equation]]] = {}
        for eq in pieces:
            t = eq.indices[k]
            others = eq.indices[:k] + eq.indices[k + 1 :]
            now, rest = self._split(eq, t)
            groups.setdefault((others, rest), []).append((now, eq))
        result = []
        for (others, rest), parts in groups.items():
            *earlier, (_, last) = sorted(parts, key=lambda part: -len(part[0]))
            solver = last.solver
            if earlier and any(eq.solver for _, eq in parts):
                raise self.refuse(last, "an implicit equation has several pieces")
            rhs = self._now(last, last.indices[k])
            for conditions, eq in reversed(earlier):
                rhs = where(self._all(conditions, eq.indices[k]), self._now(eq, eq.indices[k]), rhs)
            result.append(Equation(name, others, rest, rhs, last.span, solver))
        return result

    def _split(self, eq: Equation, t: str) -> tuple[list[Poly], Domain]:
        """The conditions on the step beyond 1 <= t, and the domain of the other indices."""
        here = Poly.symbol(t)
        now: list[Poly] = []
        rest: list[Poly] = []
        for p in eq.domain.gist(self.program.given & Domain.range(t, 1, TIME)).constraints:
            if TIME in p.symbols:
                raise self.refuse(eq, "this equation holds only up to, or at, the sequence's end")
            if not p.coefficient(t):
                rest.append(p)
            elif p.symbols == {t}:
                now.append(p)
            else:
                why = "it has more elements at every step: all of the past, not a fixed part"
                raise self.refuse(eq, why, PAST)
        # `t <= T` may be a bound that the declared range does not give: t in 0..T-1.
        if not (eq.domain & Domain.of((here - TIME,))).is_empty(self.program.given):
            return now, Domain.of(rest)
        raise self.refuse(eq, "this equation holds only up to, or at, the sequence's end")

    def _all(self, conditions: Iterable[Poly], t: str) -> Expr:
        total: Expr | None = None
        for p in conditions:
            holds = compare("ge", self._position(p, t), Const(0, (), INT))
            total = holds if total is None else Call("and", (total, holds), (), (), BOOL)
        return total if total is not None else Const(True, (), BOOL)

    def _position(self, p: Poly, t: str) -> Expr:
        """The value of an affine expression when ``t`` is the step at hand."""
        slope = p.coefficient(t)
        rest = p.subs({t: 0})
        if not slope:
            return Position(p)
        self.ticks = True
        value: Expr = Ref(self.clock, (), (), INT)
        if slope != 1:
            value = Const(slope, (), INT) * value
        if rest.constant == 0:
            return value
        shift = Const(rest.constant, (), INT) if rest.constant is not None else Position(rest)
        return value + shift

    def _check_static(self, eq: Equation) -> None:
        for read in reads(eq.rhs):
            if self.time.get(read.ref.name) is not None:
                raise self.refuse(eq, f"this equation reads all of {read.ref.name}, or its end")

    def _now(self, eq: Equation, t: str) -> Expr:
        """The right-hand side at the step at hand."""
        memo: dict[Expr, Expr] = {}

        def go(e: Expr) -> Expr:
            if e not in memo:
                memo[e] = build(e)
            return memo[e]

        def build(e: Expr) -> Expr:
            if isinstance(e, Ref):
                return self._read(eq, e, t)
            if isinstance(e, Position):
                if TIME in e.poly.symbols:
                    raise self.refuse(eq, "this equation depends on the sequence's length T")
                return self._position(e.poly, t)
            if isinstance(e, Guard):
                now = [p for p in e.domain.constraints if p.coefficient(t)]
                rest = Domain.of(p for p in e.domain.constraints if not p.coefficient(t))
                if TIME in e.domain.gist(eq.domain & self.program.given).symbols:
                    raise self.refuse(eq, "this equation depends on where the sequence ends")
                body = go(e.body)
                body = Guard(rest, body) if rest.constraints else body
                return where(self._all(now, t), body, Const(0.0)) if now else body
            if isinstance(e, Reduce):
                if t in e.domain.symbols or TIME in e.domain.symbols:
                    why = "this equation reads all of the past, not a fixed part"
                    raise self.refuse(eq, why, PAST)
                return Reduce(e.op, e.indices, e.domain, go(e.body))
            return with_operands(e, tuple(go(c) for c in e.operands))

        return go(eq.rhs)

    def _read(self, eq: Equation, e: Ref, t: str) -> Expr:
        k = self.time[e.name]
        if k is None:
            if any(t in p.symbols for p in e.index):
                raise self.refuse(eq, f"{e.name} is not carried from step to step")
            return e
        # An equation for one step, h[1] = …, speaks of steps by their numbers.
        lag = (eq.pins.get(t, Poly.symbol(t)) - e.index[k]).constant
        index = e.index[:k] + e.index[k + 1 :]
        behind = eq.pins.get(t, Poly.symbol(t)) - e.index[k]
        if lag is None and e.name in self.windows and not {t, TIME} & behind.symbols:
            place = (*e.index[:k], behind, *e.index[k + 1 :])
            return Ref(self.window(e.name), place, e.shape, e.type)
        if lag is None:
            what = "one fixed step of"
            if TIME in e.index[k].symbols:
                what = "the end of"
            elif t in e.index[k].symbols:
                what = "a range of steps of"
            raise self.refuse(eq, f"this equation reads {what} {e.name}")
        if self.program.vars[e.name].role == "param":
            raise self.refuse(eq, f"the parameter {e.name} has a value for every step")
        if any(t in p.symbols for p in index):
            raise self.refuse(eq, f"another index of {e.name} changes with the step", PAST)
        if lag < 0:
            raise self.refuse(eq, "this equation looks ahead")
        if lag == 0:
            return Ref(e.name, index, e.shape, e.type)
        self.depth[e.name] = max(self.depth.get(e.name, 0), lag)
        return Ref(self.lag(e.name, lag), index, e.shape, e.type)

    # --- before the first step ---

    def _start(self, states: Iterable[State]) -> Program:
        """The program of the values at t <= 0 that the first steps read."""
        p = self.program
        outputs = []
        for state in states:
            if state.variable == self.clock:
                continue
            v = p.vars[state.variable]
            k = self.time[v.name]
            lo = v.axes[k].lo.constant if k is not None else None
            if v.role != "variable" or k is None or lo is None or lo > 0:
                continue
            first = Poly.const(max(lo, 1 - len(state.names)))
            ranges = [(a.lo, a.hi) for a in v.axes]
            ranges[k] = (first, Poly())
            outputs.append(Output(v.name, tuple(ranges)))
        start = prune(p.with_(outputs=tuple(outputs), losses=()))
        used = frozenset().union(*(names(eq.rhs) for eq in start.equations)) if outputs else set()
        for eq in start.equations:
            for read in reads(eq.rhs):
                v = p.vars[read.ref.name]
                if v.role == "input" and self.time[v.name] is not None:
                    raise self.refuse(eq, f"the start reads the sequence {v.name}")
        kept = {n: v for n, v in start.vars.items() if v.role in ("variable", "param") or n in used}
        return verify(start.with_(vars=kept))
