"""Truncated backpropagation through time, as a rewriting of the equations.

before:  h[t] = tanh(W @ x[t] + U @ h[t-1])
after:   h[t] = tanh(W @ x[t] + U @ where(crosses, detach(h[t-1]), h[t-1]))
         with crosses = ((t-1) // 10 != (t-2) // 10 and t-1 >= 1)
requires: the recurrence runs over the index that the truncation names.

Values do not change; the derivative no longer passes from one window of steps to the one before
(Williams and Peng 1990, "An efficient gradient-based algorithm for on-line training of recurrent
network trajectories"). Truncation is a directive of the compilation, apart from the equations.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import networkx as nx

from unfold.dependence import dependences
from unfold.expr import BOOL, INT, Call, Const, Expr, Position, Ref, rewrite
from unfold.ops import call
from unfold.ops.record import where
from unfold.poly import Poly
from unfold.program import Program, verify


@dataclass(frozen=True)
class Window:
    """Cut the gradient at the borders of windows of ``steps`` steps: after steps k, 2k, 3k, …

    Initial values before the first step are not cut off.
    """

    steps: int
    index: str = "t"


def truncate(program: Program, how: Window) -> Program:
    """The same values with a gradient that is cut as ``how`` says.

    Raises:
        ValueError: a window of less than one step, or no recurrence over that index.
    """
    if how.steps < 1:
        raise ValueError(f"a window holds at least one step, not {how.steps}")
    recurrent = _recurrent_reads(program, how.index)
    if not recurrent:
        raise ValueError(f"{program.name} has no recurrence over {how.index} to truncate")
    cut = _Cut(
        how, {e.name: k for e in program.equations for k in _time_axis(program, e.name, how)}
    )
    equations = tuple(
        replace(eq, rhs=cut.apply(eq.rhs, recurrent[number])) if number in recurrent else eq
        for number, eq in enumerate(program.equations)
    )
    return verify(program.with_(equations=equations))


def _time_axis(program: Program, name: str, how: Window) -> list[int]:
    return [k for k, axis in enumerate(program.vars[name].axes) if axis.index == how.index]


def _recurrent_reads(program: Program, index: str) -> dict[int, set[str]]:
    """For each piece in a cycle of the dependence graph: the variables of that cycle it reads."""
    edges = dependences(program)
    graph = nx.DiGraph((e.source, e.reader) for e in edges)
    cycle = {
        n: k
        for k, part in enumerate(nx.strongly_connected_components(graph))
        for n in part
        if len(part) > 1 or graph.has_edge(n, n)
    }
    found: dict[int, set[str]] = {}
    for e in edges:
        same = cycle.get(e.source, -1) == cycle.get(e.reader, -2)
        if same and index in program.equations[e.reader].indices:
            found.setdefault(e.reader, set()).add(e.read.ref.name)
    return found


@dataclass(frozen=True)
class _Cut:
    how: Window
    axis: dict[str, int]

    def apply(self, rhs: Expr, targets: set[str]) -> Expr:
        def one(e: Expr) -> Expr:
            if isinstance(e, Ref) and e.name in targets and e.name in self.axis and e.is_real:
                return self.cut(e, e.index[self.axis[e.name]])
            return e

        return rewrite(rhs, one)

    def cut(self, read: Ref, position: Poly) -> Expr:
        here = Poly.symbol(self.how.index)
        if position == here:
            return read
        borders = call("ne", self.window(here), self.window(position))
        started = call("ge", Position(position), Const(1, (), INT))
        crosses = Call("and", (borders, started), (), (), BOOL)
        return where(crosses, call("detach", read), read)

    def window(self, position: Poly) -> Expr:
        """The number of the window that a position lies in, from 0."""
        return call("floordiv", Position(position - 1), Const(self.how.steps, (), INT))
