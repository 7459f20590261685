"""A fault with all that is to be said about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import SolverError
from ..expr import Const, Expr
from ..implicit import parts
from ..program import Equation, Program
from .elements import Index, Values
from .locate import ARRIVED, Found
from .reasons import reason, show
from .report import Fault, Growth, Operation, Read, element_text
from .trace import Place, Trace, Tracer
from .words import adjoint_text, at_point, differentiated, source_of, symbolic

#: So many reads of an equation, and links of a chain, are told.
_READS, _LINKS = 8, 6
#: So many steps back are looked at for growth; this much in all is worth telling.
_STEPS, _GROWN = 400, 100.0


@dataclass(frozen=True)
class Telling:
    """What a description needs to know.

    Attributes:
        phase: ``"forward"`` or ``"backward"``.
        forward: the model's program; ``tracer``: of the sequence.
        sequence: its number.
        error: what a solver said about the run.
    """

    phase: str
    forward: Program
    tracer: Tracer
    sequence: int | None
    error: SolverError | None

    @property
    def values(self) -> Values:
        return self.tracer.values

    @property
    def program(self) -> Program:
        return self.values.lengths.program

    def fault(self, found: Found) -> Fault:
        """The whole story of a fault."""
        eq, name, notes = found.equation, found.equation.name, []
        at = dict(zip(eq.indices, found.index, strict=True))
        trace = found.trace
        if found.arrival:
            name = name.removesuffix(ARRIVED)
            attempts = f"only {show(found.value)} of the step was done"
            said = self._solver_error(name, found.index)
            notes.append(said or f"the solver did not reach the end of the step: {attempts}")
        elif eq.solver is not None:
            trace = self._start(eq, at, found.component)
            said = self._solver_error(name, found.index)
            notes.append(said or f"{eq.solver.method} found no solution")
            if trace is not None:
                notes.append("the operation is that of the first step of the search")
        elif trace is None:
            value = float(self.tracer.value(eq.rhs, at)[found.component])
            notes.append(
                f"native code gives {show(found.value)} where the interpreter finds {show(value)} "
                "of the same operands: an intermediate value leaves the range of the format"
            )
        origin = trace.first if trace is not None else None
        if origin is not None and origin.read is not None:
            notes.append(self._passed(origin))
        span, derivative_in = eq.span, None
        if self.phase == "backward":
            span, derivative_in = differentiated(self.forward, self.program, eq, origin)
        part = ""
        if origin is not None and origin.read is None and self.phase == "forward":
            part = symbolic(self.program, eq, origin)
        reads = self._reads(eq, at, origin)
        return Fault(
            self.phase, name, found.index, found.component, self.sequence, found.value,
            adjoint_text(self.program, eq), source_of(span, part), derivative_in,
            self._operations(trace) if trace is not None else (),
            tuple(self._read(*r) for r in reads[:_READS]),
            self._chain(eq, found.index), self._growth(eq, found.index), tuple(notes),
        )  # fmt: skip

    def _solver_error(self, name: str, index: Index) -> str:
        e = self.error
        if e is None or (e.equation, tuple(e.index)) != (name, index):
            return ""
        return str(e).replace(f" in sequence {e.sequence} of the batch", "")

    def _start(self, eq: Equation, at: Mapping[str, int], component: Index) -> Trace | None:
        """What is wrong in the first step of a search, if that is not finite already."""
        rhs, start = parts(eq.rhs)
        zero: Expr = Const(0.0, eq.rhs.shape)
        first = self.tracer.value(zero if start is None else start, at)
        index = tuple(at[i] for i in eq.indices)
        held = dict(self.values.arrays)
        origin = self.values.lengths.origins[eq.name]
        array = held[eq.name].copy()
        array[tuple(i - o for i, o in zip(index, origin, strict=True))] = first
        held[eq.name] = array
        there = Tracer(Values(self.values.lengths, held), self.tracer.dtype)
        value = there.value(rhs, at)
        bad = np.argwhere(~np.isfinite(value))
        if not len(bad):
            return None
        return there.trace(rhs, at, tuple(map(int, bad[0])))

    # --- inside the equation ---

    def _operations(self, trace: Trace) -> tuple[Operation, ...]:
        """What should not have happened, the first first; then the logarithms of 0 that it met."""
        wrong = [o for t in trace.before if not t.is_honest for o in self._operations(t)]
        met = [
            self._operation(t)
            for t in trace.before
            if t.is_honest and t.operands and all(np.isfinite(p.number) for p in t.operands)
        ]
        own = [self._operation(trace)] if trace.operands else []
        return tuple({op.text: op for op in (*wrong, *own, *met)}.values())

    def _operation(self, trace: Trace) -> Operation:
        e = trace.end.expr
        text = at_point(self.program, e, {**self.values.lengths.values, **trace.end.at})
        operands = tuple((self._text(p), p.number) for p in trace.operands)
        why = reason(trace.op, [n for _, n in operands], trace.end.number, self.tracer.dtype)
        bound = {k: n for k, n in trace.end.at.items() if k not in trace.path[0].at}
        if bound:
            why += f", at {', '.join(f'{k} = {n}' for k, n in bound.items())}"
        return Operation(text, trace.op, trace.end.number, operands, why)

    def _text(self, p: Place) -> str:
        text = at_point(self.program, p.expr, {**self.values.lengths.values, **p.at})
        if p.component and any(n > 1 for n in p.value.shape):
            return f"component {_component(p.component)} of {text}"
        return text

    def _passed(self, trace: Trace) -> str:
        end = trace.end
        text = at_point(self.program, end.expr, {**self.values.lengths.values, **end.at})
        return f"{show(end.number)} comes from {text}"

    # --- what the equation reads ---

    def _reads(
        self, eq: Equation, at: Mapping[str, int], origin: Trace | None
    ) -> list[tuple[str, Index]]:
        """What an equation reads: first what the faulty operation does, then the rest of that point
        of reductions, and what is outside of reductions."""
        known = self.values.lengths.values
        own = (eq.name, tuple(at[i] for i in eq.indices))
        places = [] if origin is None else [(p.expr, p.at) for p in reversed(origin.path)]
        places = [(e, p) for e, p in places if len(p) > len(at)] + places[:1]
        places.sort(key=lambda place: place[0] is not (origin and origin.end.expr))
        found = [r for e, p in places for r in self.values.reads(e, {**known, **p})]
        found += self.values.reads(eq.rhs, {**known, **at}, bound=not places or len(found) == 0)
        return [r for r in dict.fromkeys(found) if r != own]

    def _read(self, name: str, index: Index) -> Read:
        value = self.values[name, index]
        text = element_text(name, index)
        if value.dtype.kind != "f":
            return Read(text, float(value.min(initial=0)), float(value.max(initial=0)))
        finite = value[np.isfinite(value)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (np.nan, np.nan)
        wrong = np.argwhere(~np.isfinite(value))
        if not len(wrong):
            return Read(text, low, high)
        at = tuple(map(int, wrong[0]))
        return Read(text, low, high, float(value[at]), at)

    # --- what fed it ---

    def _largest(self, name: str, index: Index) -> float:
        value: Any = self.values[name, index]
        finite = np.abs(value[np.isfinite(value)]) if value.dtype.kind == "f" else np.abs(value * 1)
        return float(finite.max(initial=0))

    def _source(self, eq: Equation, index: Index, only: str | None = None) -> Any:
        """The computed element of the largest magnitude that an equation reads."""
        point = {**self.values.lengths.values, **dict(zip(eq.indices, index, strict=True))}
        best, top = None, -1.0
        for name, at in self.values.reads(eq.rhs, point):
            v = self.program.vars[name]
            if v.role != "variable" or v.type.kind != "real" or (name, at) == (eq.name, index):
                continue
            if only is not None and name != only:
                continue
            if (size := self._largest(name, at)) > top:
                best, top = (name, at), size
        return best

    def _chain(self, eq: Equation, index: Index) -> tuple[tuple[str, float], ...]:
        found: list[tuple[str, float]] = []
        here: Equation | None = eq
        while here is not None and len(found) < _LINKS:
            source = self._source(here, index)
            if source is None:
                break
            found.append((element_text(*source), self._largest(*source)))
            here, index = self.values.lengths.piece(*source), source[1]
        return tuple(found)

    def _growth(self, eq: Equation, index: Index) -> Growth | None:
        """The run of steps up to the fault over which one variable's magnitude grew."""
        last: dict[str, tuple[Index, float]] = {}
        runs: dict[str, list[tuple[Index, float]]] = {}
        ended: set[str] = set()
        here: Equation | None = eq
        for _ in range(_STEPS):
            if here is None:
                break
            source = self._source(here, index)
            if source is None:
                break
            name, at = source
            size = self._largest(name, at)
            if name in last and (at == last[name][0] or size >= last[name][1]):
                ended.add(name)
                if len(ended) == len(last):
                    break
            if name not in ended and size > 0:
                runs.setdefault(name, []).append((at, size))
                last[name] = at, size
            here, index = self.values.lengths.piece(*source), at
        best: Growth | None = None
        for name, run in runs.items():
            (until, high), (since, low) = run[0], run[-1]
            if len(run) >= 3 and high >= _GROWN * low:
                grown = Growth(name, since, until, low, high, (high / low) ** (1 / (len(run) - 1)))
                if best is None or grown.last > best.last:
                    best = grown
        return best


def _component(at: Index) -> str:
    return str(at[0]) if len(at) == 1 else f"({', '.join(map(str, at))})"


__all__ = ["Telling"]
