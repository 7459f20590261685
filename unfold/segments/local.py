"""Positions in a segment are counted from where it begins.

before:  h[t] = tanh(W @ x[t] + U @ h[t-1])     for t in first..first+count-1
         loss_total = sum[t](norm(h[t]) / t)    over first..first+count-1
after:   h[t] = tanh(W @ x[t] + U @ h[t-1])     for t in 1..count
         loss_total = sum[t](norm(h[t]) / (t + first - 1))     over 1..count
requires: what has time in the program of a segment, with the axis that is time.

So the code of a segment knows that its positions begin at a number, as those of a whole sequence
do: elements can be kept in turn, by strips, and no address depends on where the segment lies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..expr import Expr, Reduce, Ref, reads, subs_positions, with_operands
from ..poly import Poly
from ..program import Axis, Equation, Output, Program, Var


def local(program: Program, first: Poly, time: Mapping[str, int]) -> Program:
    """The program with the positions of some variables counted from the least that one has.

    Args:
        program: of a segment.
        first: its first step; every axis in ``time`` begins at a constant distance from it.
        time: of each variable that is counted so, which axis is time.
    """
    lags = [(first - program.vars[n].axes[k].lo).constant for n, k in time.items()]
    least = first - max((lag for lag in lags if lag is not None), default=0)
    return _Mover(program, least, time).run()


class _Mover:
    def __init__(self, program: Program, least: Poly, time: Mapping[str, int]) -> None:
        self.program = program
        self.least = least
        self.time = time

    def run(self) -> Program:
        program = self.program
        return program.with_(
            vars={n: self.variable(v) for n, v in program.vars.items()},
            equations=tuple(self.equation(eq) for eq in program.equations),
            outputs=tuple(self.output(o) for o in program.outputs),
        )

    def variable(self, v: Var) -> Var:
        k = self.time.get(v.name)
        if k is None:
            return v
        axis = Axis(v.axes[k].index, v.axes[k].lo - self.least, v.axes[k].hi - self.least)
        return replace(v, axes=(*v.axes[:k], axis, *v.axes[k + 1 :]))

    def output(self, o: Output) -> Output:
        k = self.time.get(o.name)
        if k is None or not o.ranges:
            return o
        lo, hi = o.ranges[k]
        here = (lo - self.least, hi - self.least)
        return replace(o, ranges=(*o.ranges[:k], here, *o.ranges[k + 1 :]))

    def equation(self, eq: Equation) -> Equation:
        k = self.time.get(eq.name)
        moved = {} if k is None else self.moved((eq.indices[k],))
        rhs = self.expression(subs_positions(eq.rhs, moved), {})
        return replace(eq, domain=eq.domain.subs(moved), rhs=rhs)

    def moved(self, indices: tuple[str, ...]) -> dict[str, Poly]:
        return {i: Poly.symbol(i) + self.least for i in indices}

    def expression(self, e: Expr, memo: dict[Expr, Expr]) -> Expr:
        found = memo.get(e)
        if found is None:
            if isinstance(e, Ref):
                found = self.read(e)
            elif isinstance(e, Reduce):
                found = self.reduction(e)
            else:
                found = with_operands(e, tuple(self.expression(c, memo) for c in e.operands))
            memo[e] = found
        return found

    def read(self, e: Ref) -> Ref:
        k = self.time.get(e.name)
        if k is None:
            return e
        return Ref(
            e.name, (*e.index[:k], e.index[k] - self.least, *e.index[k + 1 :]), e.shape, e.type
        )

    def reduction(self, e: Reduce) -> Expr:
        """A reduction; what it runs over is counted alike if it is the time of what is read."""
        read = [r.ref for r in reads(e.body) if r.ref.name in self.time]
        times = {i for r in read for i in e.indices if r.index[self.time[r.name]].coefficient(i)}
        moved = self.moved(tuple(times))
        body = self.expression(subs_positions(e.body, moved), {})
        return Reduce(e.op, e.indices, e.domain.subs(moved), body)


__all__ = ["local"]
