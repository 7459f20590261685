"""Simplification: the same program in fewer and shorter equations.

before:  c_bar[t] = h_bar[t] * o[t] * 1 + 0          i_bar[t] = c_bar[t] * g[t]
         i_pre_bar[t] = i_bar[t] * (i[t] * (1 - i[t]))
after:   c_bar[t] = h_bar[t] * o[t]
         i_pre_bar[t] = c_bar[t] * g[t] * (i[t] * (1 - i[t]))
requires: nothing. What the user named keeps its name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from ..domain import Domain
from ..expr import (
    Call,
    Const,
    Expr,
    Guard,
    Position,
    Reduce,
    Ref,
    free_symbols,
    fresh,
    kinds,
    names,
    subs_positions,
    walk,
    with_operands,
)
from ..intern import remembered
from ..poly import Poly
from ..program import Equation, Program, equation
from .algebra import scalar, simplify_expr
from .common import hit, nameless, prune, trim
from .reuse import form, reuse

_ROUNDS = 6


def simplify(program: Program) -> Program:
    """Algebra, inlining of generated names that are used once, merging of equal ones, pruning."""
    is_whole = False  # whether all of the last round's equations were needed
    for _ in range(_ROUNDS):
        before = program
        shorter = _inline(reuse(_merge_equal(_algebra(program))))
        if is_whole and shorter.equations == before.equations:
            break
        program = trim(prune(shorter))
        is_whole = program.equations == shorter.equations
        if program.equations == before.equations:
            break
    return program


def _algebra(program: Program) -> Program:
    return program.with_(
        equations=tuple(e.with_rhs(simplify_expr(e.rhs)) for e in program.equations)
    )


def _protected(program: Program) -> set[str]:
    return {o.name for o in program.outputs} | set(program.losses)


# --- merging ------------------------------------------------------------------------------------


def _merge_equal(program: Program) -> Program:
    """Generated variables with the same single definition become one."""
    pieces = _by_name(program)
    protected = _protected(program)
    single = {n: eqs[0] for n, eqs in pieces.items() if len(eqs) == 1 and not eqs[0].solver}
    alike = Counter(form(eq.rhs) for eq in single.values())
    seen: dict[tuple[object, ...], str] = {}
    alias: dict[str, str] = {}
    for name, eq in single.items():
        if alike[form(eq.rhs)] == 1:
            continue
        key = nameless(eq)
        if key in seen and program.vars[name].generated and name not in protected:
            alias[name] = seen[key]
        else:
            seen.setdefault(key, name)
    if not alias:
        return program
    return program.with_(
        equations=tuple(
            e.with_rhs(_rename(e.rhs, alias)) for e in program.equations if e.name not in alias
        )
    )


def _rename(e: Expr, alias: dict[str, str]) -> Expr:
    from ..expr import rewrite

    def one(node: Expr) -> Expr:
        if isinstance(node, Ref) and node.name in alias:
            return Ref(alias[node.name], node.index, node.shape, node.type)
        return node

    return rewrite(e, one)


# --- inlining -----------------------------------------------------------------------------------


def _inline(program: Program) -> Program:
    """Replace reads of generated variables by what they stand for, where that is shorter."""
    pieces = _by_name(program)
    protected = _protected(program)
    reducing = {n for n, eqs in pieces.items() if any(_has_reduction(eq.rhs) for eq in eqs)}
    inner = {
        n: eqs
        for n, eqs in pieces.items()
        if program.vars[n].generated
        and n not in protected
        and not any(eq.solver or n in names(eq.rhs) for eq in eqs)
    }
    counts: dict[str, int] = {}
    for eq in program.equations:
        for name, weight in _occurrences(eq, inner, reducing):
            counts[name] = counts.get(name, 0) + weight
    candidates = {
        n: eqs
        for n, eqs in inner.items()
        if counts.get(n, 0) == 1 or all(_is_trivial(eq.rhs) for eq in eqs)
    }
    if not candidates:
        return program
    inliner = Inliner(program, candidates)
    return program.with_(
        equations=tuple(
            equation(e.name, e.indices, e.domain, inliner.expand(e.rhs, e.domain), e.span, e.solver)
            for e in program.equations
        )
    )


@remembered
def _is_trivial(e: Expr) -> bool:
    """A constant (also of lengths: ``1 / T``), an element, or the negative of one."""
    if scalar(e) is not None:
        return True
    nodes = list(walk(e))
    if len(nodes) <= 5 and all(isinstance(n, (Const, Position)) or _is_scalar(n) for n in nodes):
        return True
    if isinstance(e, Call) and e.op in ("neg", "broadcast"):
        return _is_trivial(e.args[0])
    return isinstance(e, (Ref, Const))


def _is_scalar(e: Expr) -> bool:
    return isinstance(e, Call) and e.shape == ()


def _has_reduction(e: Expr) -> bool:
    return "Reduce" in kinds(e)


def _occurrences(
    eq: Equation, wanted: Collection[str], reducing: set[str]
) -> Iterator[tuple[str, int]]:
    """Reads of the ``wanted`` by name, counted as they are written.

    One counts double that would be computed again and again: in a loop over indices it does not
    depend on, or in every iteration of an implicit equation. So does a reduction inside another
    one (``reducing`` names those that are): it reads better, and is hoisted, under its own name.
    """
    loop = frozenset(eq.indices) - set(eq.pins)
    stack: list[tuple[Expr, frozenset[str], bool]] = [(eq.rhs, loop, False)]
    while stack:
        node, bound, nested = stack.pop()
        if names(node).isdisjoint(wanted):
            continue
        if isinstance(node, Ref):
            used = frozenset(s for p in node.index for s in p.symbols)
            again = not bound <= used or eq.solver or (nested and node.name in reducing)
            yield node.name, 2 if again else 1
        elif isinstance(node, Reduce):
            stack.append((node.body, bound | frozenset(node.indices), True))
        else:
            stack.extend((c, bound, nested) for c in node.operands)


class Inliner:
    """Puts what variables stand for in the place of reads of them.

    Args:
        candidates: the equations of each.
    """

    def __init__(self, program: Program, candidates: Mapping[str, Sequence[Equation]]) -> None:
        self.program = program
        self.given = program.given
        self.candidates = candidates

    def expand(self, e: Expr, domain: Domain) -> Expr:
        """An expression whose value is asked for on a domain."""
        if names(e).isdisjoint(self.candidates):
            return e
        if isinstance(e, Ref):
            return self.definition(e, domain)
        if isinstance(e, Guard):
            body = self.expand(e.body, domain & e.domain)
            return e if body is e.body else Guard(e.domain, body)
        if isinstance(e, Reduce):
            body = self.expand(e.body, domain & e.domain)
            return e if body is e.body else Reduce(e.op, e.indices, e.domain, body)
        return with_operands(e, tuple([self.expand(c, domain) for c in e.operands]))

    def definition(self, ref: Ref, domain: Domain) -> Expr:
        """The right-hand side that a read always hits, moved to the read's position."""
        for piece in self.candidates.get(ref.name, ()):
            if domain.subset(hit(ref.index, piece), self.given):
                # Two steps, so that an index of the piece may occur in the read's position.
                taken = free_symbols(piece.rhs) | frozenset(s for p in ref.index for s in p.symbols)
                apart = {i: Poly.symbol(fresh(f"{i}_", taken)) for i in piece.indices}
                moved = subs_positions(piece.rhs, apart)
                names = [p.as_symbol or "" for p in apart.values()]
                return subs_positions(moved, dict(zip(names, ref.index, strict=True)))
        return ref


def _by_name(program: Program) -> dict[str, list[Equation]]:
    pieces: dict[str, list[Equation]] = {}
    for eq in program.equations:
        pieces.setdefault(eq.name, []).append(eq)
    return pieces
