"""Copies of variables, and what one variable alone reads at its own step, are not kept.

before:  y[t] = h[t]                       loss = sum[t](sum(y[t] ** 2))
         y_bar[t] = 2 * y[t]               h_bar[t] = y_bar[t] + U' @ h_pre_bar[t+1]
after:   loss = sum[t](sum(h[t] ** 2))     h_bar[t] = 2 * h[t] + U' @ h_pre_bar[t+1]

requires: a program without free sizes. Both would be passes over all of time through memory, for
values that their readers have at hand or find with a few operations: copy propagation, and the
forward substitution of compilers that put loops in parallel (Kuck et al., *Dependence graphs and
compiler optimizations*, POPL 1981). What is no more than a copy is read by the name of what it
copies; the rest must have been named by the compiler.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..expr import Ref, kinds, names, reads
from ..program import Equation, Program, equation
from ..transform.common import prune
from ..transform.simplify import Inliner

#: What is computed by those who read it may be made of.
_CHEAP = frozenset(("Ref", "Const", "Position", "add", "sub", "mul", "div", "neg", "pow",
                    "broadcast"))  # fmt: skip


def forward(program: Program) -> Program:
    """The program with such variables read as what they stand for."""
    while found := _found(program):
        inliner = Inliner(program, found)
        changed = prune(
            program.with_(
                equations=tuple(
                    eq if eq.name in found else _expanded(inliner, eq) for eq in program.equations
                )
            )
        )
        if len(changed.equations) == len(program.equations):
            break
        program = changed
    return program


def _expanded(inliner: Inliner, eq: Equation) -> Equation:
    rhs = inliner.expand(eq.rhs, eq.domain)
    return equation(eq.name, eq.indices, eq.domain, rhs, eq.span, eq.solver)


def _found(program: Program) -> dict[str, list[Equation]]:
    """The variables that need not be kept, with their equations; none of them reads another."""
    kept = {o.name for o in program.outputs} | set(program.losses)
    pieces: dict[str, list[Equation]] = {}
    for eq in program.equations:
        pieces.setdefault(eq.name, []).append(eq)
    readers = _readers(program)
    found: dict[str, list[Equation]] = {}
    for name, eqs in pieces.items():
        if name in kept or not program.vars[name].axes or any(eq.solver for eq in eqs):
            continue
        read = {n for eq in eqs for n in names(eq.rhs)}
        once = program.vars[name].generated and len(readers.get(name, ())) == 1
        cheap = once and None not in readers[name] and all(kinds(e.rhs) <= _CHEAP for e in eqs)
        if name not in read and not read & found.keys() and (_is_copy(eqs) or cheap):
            found[name] = eqs
    return found


def _is_copy(eqs: Sequence[Equation]) -> bool:
    """Whether a variable is another one, element by element."""
    (eq, *others) = eqs
    return not others and isinstance(eq.rhs, Ref) and eq.rhs.index == eq.element


def _readers(program: Program) -> dict[str, set[str | None]]:
    """For each variable those that read it at their own element; ``None`` for other reads."""
    found: dict[str, set[str | None]] = {}
    for eq in program.equations:
        for read in reads(eq.rhs):
            own = read.ref.index == eq.element and eq.solver is None and not read.bound
            found.setdefault(read.ref.name, set()).add(eq.name if own else None)
    return found


__all__ = ["forward"]
