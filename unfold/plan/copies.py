"""Vectors end to end are put together anew by every loop that reads them.

before:  h[t] = [f[t]; b[t]]
         g[t] = tanh(W @ h[t] + U @ g[t-1])                    a loop forward
         k[t] = tanh(V @ h[t] + S @ k[t+1])                    another one backward
         W_bar = sum[t](outer(g_pre_bar[t], h[t]))
after:   h_copy[t] = [f[t]; b[t]]
         g[t] = tanh(W @ h_copy[t] + U @ g[t-1])
         h_copy_1[t] = [f[t]; b[t]]
         k[t] = tanh(V @ h_copy_1[t] + S @ k[t+1])
         …

requires: a program without free sizes. What one loop alone reads can be kept for a strip of its
steps; kept for all of them, the copy takes as much memory as the states again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

from ..expr import Call, Expr, Reduce, Ref, fresh, names, with_operands
from ..program import Program, Var
from .hoist import carried_names

#: What tells loops apart: the states that they compute. Maps are together, and so are sums.
Key: TypeAlias = frozenset[str]
MAPS, SUMS = frozenset[str](), frozenset(("sum",))


def copies(program: Program) -> Program:
    """The program with a variable for each reader of vectors that are put end to end."""
    kept = {o.name for o in program.outputs} | set(program.losses)
    joined = {
        v.name
        for v in program.vars.values()
        if len(v.axes) == 1 and len(v.shape) == 1 and v.name not in kept
    }
    for eq in program.equations:
        if eq.solver is not None or not _is_joined(eq.rhs):
            joined.discard(eq.name)
    read = {n for eq in program.equations for n in names(eq.rhs)}
    joined &= read & {eq.name for eq in program.equations}
    # Vectors that are themselves put together stay, so that no copy is made of a copy.
    joined -= {n for eq in program.equations if eq.name in joined for n in names(eq.rhs)}
    return _Copier(program, joined).run() if joined else program


def _is_joined(e: Expr) -> bool:
    return isinstance(e, Call) and e.op == "concat" and all(isinstance(a, Ref) for a in e.args)


class _Copier:
    def __init__(self, program: Program, joined: set[str]) -> None:
        self.program = program
        self.joined = joined
        self.vars: dict[str, Var] = dict(program.vars)
        self.made: dict[tuple[str, Key], str] = {}
        self.loops = carried_names(program)
        self.home: Mapping[str, Key] = {n: loop for loop in self.loops.values() for n in loop}

    def run(self) -> Program:
        equations = []
        for number, eq in enumerate(self.program.equations):
            loop = self.loops.get(number, MAPS)
            if eq.name not in self.joined:
                equations.append(replace(eq, rhs=self.visit(eq.rhs, loop)))
        for (name, _), copy in self.made.items():
            pieces = [eq for eq in self.program.equations if eq.name == name]
            equations += [replace(eq, name=copy) for eq in pieces]
        return self.program.with_(vars=self.vars, equations=tuple(equations))

    def visit(self, e: Expr, loop: Key) -> Expr:
        if isinstance(e, Ref) and e.name in self.joined:
            return replace(e, name=self.copy(e.name, loop))
        if isinstance(e, Reduce) and loop == MAPS:
            # A gradient goes with the loop whose steps it adds up.
            loop = SUMS.union(*(self.home[n] for n in names(e) if n in self.home))
        return with_operands(e, tuple(self.visit(c, loop) for c in e.operands))

    def copy(self, name: str, loop: Key) -> str:
        if (name, loop) not in self.made:
            copy = fresh(f"{name}_copy", self.vars)
            self.vars[copy] = replace(self.vars[name], name=copy, generated=True)
            self.made[name, loop] = copy
        return self.made[name, loop]


__all__ = ["copies"]
