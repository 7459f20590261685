"""The order in which the equations of a program are best read.

A program's equations are a set. On paper they stand in sections (the program itself, its tangent,
its adjoint); in a section, what is needed stands before what needs it; the variables of one loop
stand together, their boundary values first; what is free keeps its order of declaration, the
adjoint running backward.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import networkx as nx

from ..expr import names, reads
from ..poly import Poly
from ..program import Equation, Program

SECTIONS = ("", "tangent", "adjoint")


@dataclass(frozen=True)
class Section:
    """Equations under one heading (none for the program itself)."""

    title: str
    equations: tuple[Equation, ...]


def sections(program: Program) -> list[Section]:
    """All equations, in reading order."""
    pieces: dict[str, list[Equation]] = {}
    for eq in program.equations:
        pieces.setdefault(eq.name, []).append(eq)
    needs: nx.DiGraph[str] = nx.DiGraph()
    needs.add_nodes_from(pieces)
    for eq in program.equations:
        needs.add_edges_from((n, eq.name) for n in names(eq.rhs) if n in pieces and n != eq.name)
    title = _titles(program, needs)
    result = []
    for heading in SECTIONS:
        members = [n for n in pieces if title[n] == heading]
        ordered = tuple(_in_order(program, needs.subgraph(members), pieces))
        if ordered:
            result.append(Section(heading, ordered))
    return result


def is_boundary(program: Program, eq: Equation) -> bool:
    """Whether some index is pinned to one position: ``h[0] = …``."""
    return any(eq.domain.fixed(i, program.given) is not None for i in eq.indices)


def _titles(program: Program, needs: nx.DiGraph[str]) -> dict[str, str]:
    """The section of each variable: that of its own mark, or of what it is computed from. Helpers
    that the compiler named stand with those who read them."""
    title = {}
    for name in needs:
        v = program.vars[name]
        title[name] = "adjoint" if v.adjoint_of else "tangent" if v.tangent_of else ""
    for heading in ("tangent", "adjoint"):
        marked = [n for n in needs if title[n] == heading]
        for name in set().union(*(nx.descendants(needs, n) for n in marked)):
            if SECTIONS.index(title[name]) < SECTIONS.index(heading):
                title[name] = heading
    shown = {o.name for o in program.outputs} | set(program.losses)
    for name in reversed(list(_any_order(needs))):
        readers = {title[r] for r in needs.successors(name)} - {title[name]}
        alone = all(title[r] != title[name] for r in needs.successors(name))
        if program.vars[name].generated and name not in shown and readers and alone:
            title[name] = min(readers, key=SECTIONS.index)
    return title


def _any_order(needs: nx.DiGraph[str]) -> Iterable[str]:
    """Every variable after those it needs, those of a loop in any order."""
    loops = nx.condensation(needs)
    for k in nx.topological_sort(loops):
        yield from sorted(loops.nodes[k]["members"])


def _in_order(
    program: Program, needs: nx.DiGraph[str], pieces: dict[str, list[Equation]]
) -> Iterable[Equation]:
    declared = {name: k for k, name in enumerate(program.vars)}

    def rank(name: str) -> tuple[int, int]:
        primal = program.vars[name].adjoint_of
        if primal is None or primal not in program.vars:
            return 0, declared[name]
        # The gradients, in the order of the parameters, close the adjoint.
        data = program.vars[primal].role != "variable"
        return (1, declared[primal]) if data else (0, -declared[primal])

    loops = nx.condensation(needs)
    first = {k: min(map(rank, loops.nodes[k]["members"])) for k in loops}
    for k in nx.lexicographical_topological_sort(loops, key=first.__getitem__):
        members = sorted(loops.nodes[k]["members"], key=rank)
        if len(members) > 1:
            members = _within_loop(program, members, pieces)
        equations = [eq for name in members for eq in pieces[name]]
        yield from sorted(equations, key=lambda eq: not is_boundary(program, eq))


def _within_loop(
    program: Program, members: list[str], pieces: dict[str, list[Equation]]
) -> list[str]:
    """The variables of one loop, each after those that it reads at the same position."""
    now: nx.DiGraph[str] = nx.DiGraph()
    now.add_nodes_from(members)
    for name in members:
        for eq in pieces[name]:
            here = tuple(Poly.symbol(i) for i in eq.indices)
            for read in reads(eq.rhs):
                if read.ref.name in now and read.ref.name != name and read.ref.index == here:
                    now.add_edge(read.ref.name, name)
    if not nx.is_directed_acyclic_graph(now):
        return members
    position = {name: k for k, name in enumerate(members)}
    return list(nx.lexicographical_topological_sort(now, key=position.__getitem__))
