"""What is read in parts is computed in parts, by those who read them.

before:  y_pre_bar[t] = V' @ y_bar[t]
         f_bar[t] = U' @ f_pre_bar[t+1] + y_pre_bar[t][0:4]
         b_bar[t] = S' @ b_pre_bar[t-1] + y_pre_bar[t][4:8]
after:   f_bar[t] = U' @ f_pre_bar[t+1] + V[:, 0:4]' @ y_bar[t]
         b_bar[t] = S' @ b_pre_bar[t-1] + V[:, 4:8]' @ y_bar[t]

requires: a program without free sizes. Nothing is computed twice: the parts of different readers
are apart. Such a variable is the adjoint of vectors end to end (the states of both directions, say)
and would have to be kept for all of time, since loops of both directions read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from ..domain import Domain
from ..expr import (
    Call,
    Expr,
    Reduce,
    Ref,
    free_symbols,
    fresh,
    subs_positions,
    walk,
    with_operands,
)
from ..ops import call
from ..poly import Poly
from ..program import Equation, Program
from ..transform.common import hit

#: A reader, the part that it reads, and what stands there instead.
_Moved = tuple[Equation, Call, Expr]


def parts(program: Program) -> Program:
    """The program with products that are read in parts as products of parts."""
    kept = {o.name for o in program.outputs} | set(program.losses)
    equations = list(program.equations)
    for v in program.vars.values():
        pieces = [eq for eq in equations if eq.name == v.name]
        if not pieces or not v.generated or v.name in kept or len(v.shape) != 1:
            continue
        if any(eq.solver is not None or not _is_cuttable(eq.rhs) for eq in pieces):
            continue
        moved = _moved(equations, pieces, program.given)
        if moved is None:
            continue
        new = {id(eq): replace(eq, rhs=_with(eq.rhs, old, e)) for eq, old, e in moved}
        equations = [new.get(id(eq), eq) for eq in equations if eq.name != v.name]
    return program.with_(equations=tuple(equations))


def _is_cuttable(e: Expr) -> bool:
    """Whether an expression is a sum of products of matrices with vectors."""
    if any(isinstance(n, Reduce) for n in walk(e)):
        return False
    if isinstance(e, Call) and e.op == "add":
        return all(a.shape == e.shape and _is_cuttable(a) for a in e.args)
    return isinstance(e, Call) and e.op == "matmul" and len(e.args[0].shape) == 2


def _moved(
    equations: Sequence[Equation], pieces: Sequence[Equation], given: Domain
) -> list[_Moved] | None:
    """For each equation that reads a variable the one part it reads, and its own product for it;
    ``None`` if it is read otherwise, or something would be computed twice."""
    name = pieces[0].name
    found: list[_Moved] = []
    ranges: dict[str, tuple[int, int]] = {}
    for eq in equations:
        reads = list(_reads(eq.rhs, name))
        if not reads:
            continue
        part, *others = reads
        if others or eq.solver is not None or not isinstance(part, Call):
            return None
        ref = part.args[0]
        assert isinstance(ref, Ref)
        inner = {s for p in ref.index for s in p.symbols}
        piece = next((p for p in pieces if eq.domain.subset(hit(ref.index, p), given)), None)
        if piece is None or set(eq.indices) - set(eq.pins) - inner:
            return None
        lo, hi = (part.attr(end).evaluate({}) for end in ("lo", "hi"))
        if ranges.setdefault(eq.name, (lo, hi)) != (lo, hi):
            return None
        found.append((eq, part, _cut(_at(piece, ref), lo, hi)))
    ends = sorted(ranges.values())
    apart = all(a[1] <= b[0] for a, b in pairwise(ends))
    return found if found and apart else None


def _reads(e: Expr, name: str) -> Iterator[Expr]:
    """The parts of a variable that an expression reads; whatever else reads it as well."""
    if isinstance(e, Ref):
        if e.name == name:
            yield e
    elif isinstance(e, Call) and e.op == "slice" and isinstance(e.args[0], Ref):
        if e.args[0].name == name:
            yield e
    elif isinstance(e, Reduce):
        # Under another index it would be computed again and again.
        yield from (n for n in walk(e) if isinstance(n, Ref) and n.name == name)
    else:
        for c in e.operands:
            yield from _reads(c, name)


def _at(piece: Equation, ref: Ref) -> Expr:
    """The right-hand side at the position of a read."""
    # Two steps, so that an index of the piece may occur in the read's position.
    taken = free_symbols(piece.rhs) | {s for p in ref.index for s in p.symbols}
    apart = {i: fresh(f"{i}_", taken) for i in piece.indices}
    moved = subs_positions(piece.rhs, {i: Poly.symbol(n) for i, n in apart.items()})
    return subs_positions(moved, dict(zip(apart.values(), ref.index, strict=True)))


def _cut(e: Expr, lo: int, hi: int) -> Expr:
    """Components ``lo..hi-1`` of a sum of products."""
    assert isinstance(e, Call)
    if e.op == "add":
        a, b = (_cut(term, lo, hi) for term in e.args)
        return a + b
    matrix, vector = e.args
    low, high = Poly.const(lo), Poly.const(hi)
    if isinstance(matrix, Call) and matrix.op == "transpose":
        columns = call("slice", matrix.args[0], axis=1, lo=low, hi=high)
        return call("matmul", call("transpose", columns), vector)
    return call("matmul", call("slice", matrix, axis=0, lo=low, hi=high), vector)


def _with(e: Expr, old: Expr, new: Expr) -> Expr:
    if e is old:
        return new
    return with_operands(e, tuple(_with(c, old, new) for c in e.operands))


__all__ = ["parts"]
