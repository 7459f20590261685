"""What the transformations share: which pieces are alive, where variables live, fresh names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..domain import Domain, hull
from ..expr import (
    NEUTRAL,
    Call,
    Const,
    Expr,
    Guard,
    Read,
    Reduce,
    kinds,
    names,
    reads,
    subs_positions,
    walk,
    with_operands,
)
from ..intern import remembered
from ..ops.record import broadcast_to
from ..poly import Poly
from ..program import Axis, Equation, Output, Program, Var, equation


def axis_range(
    domains: Iterable[Domain], index: str, indices: Iterable[str], given: Domain
) -> tuple[Poly, Poly]:
    """The range ``lo..hi`` of one index over domains of several indices, free of the others."""
    others = [i for i in indices if i != index]
    found = hull([d.project_out(others) for d in domains], index, given)
    if found is None:
        raise ValueError(f"the index {index} has no bounds that hold for all lengths")
    return found


def zero(e: Expr) -> Expr:
    """The zero of an expression's shape and type."""
    value: bool | int | float = {"bool": False, "int": 0}.get(e.type.kind, 0.0)
    return broadcast_to(Const(value, (), e.type), e.shape)


def hit(index: tuple[Poly, ...], piece: Equation) -> Domain:
    """The condition that the element at ``index`` is one that ``piece`` defines."""
    # The piece's own index names are replaced at once, so equal names in ``index`` do no harm.
    return piece.domain.subs(dict(zip(piece.indices, index, strict=True)))


def output_domain(program: Program, out: Output) -> tuple[tuple[str, ...], Domain]:
    """The index names of an output's variable and the elements that are returned."""
    v = program.vars[out.name]
    domain = Domain()
    for axis, (lo, hi) in zip(v.axes, out.ranges, strict=True):
        domain = domain & Domain.range(axis.index, lo, hi)
    return tuple(a.index for a in v.axes), domain


def prune(program: Program) -> Program:
    """before: any program. after: without the equation pieces and variables that no output or
    loss needs; stored ranges shrink to what is left. Inputs and params stay.
    """
    given = program.given
    waiting: dict[str, list[int]] = {}
    for number, eq in enumerate(program.equations):
        waiting.setdefault(eq.name, []).append(number)
    alive: set[int] = set()
    work: list[int] = []

    def mark(name: str, index: tuple[Poly, ...], where: Domain) -> None:
        for number in list(waiting.get(name, ())):
            eq = program.equations[number]
            if _hits(index, where, eq.indices, eq.domain, given):
                waiting[name].remove(number)
                alive.add(number)
                work.append(number)

    for out in program.outputs:
        indices, domain = output_domain(program, out)
        mark(out.name, tuple(Poly.symbol(i) for i in indices), domain)
    for name in program.losses:
        mark(name, (), Domain())
    while work:
        eq = program.equations[work.pop()]
        for read in reads(eq.rhs):
            mark(read.ref.name, read.ref.index, eq.domain & read.domain)
    kept = tuple(
        eq.with_rhs(_without_dead(eq.rhs, eq.domain, given))
        for number, eq in enumerate(program.equations)
        if number in alive
    )
    return refit(program.with_(equations=kept))


@remembered
def _hits(
    index: tuple[Poly, ...], where: Domain, indices: tuple[str, ...], domain: Domain, given: Domain
) -> bool:
    """Whether a read at ``index``, somewhere in ``where``, may be of a piece on ``domain``."""
    return not (where & domain.subs(dict(zip(indices, index, strict=True)))).is_empty(given)


def _without_dead(e: Expr, domain: Domain, given: Domain) -> Expr:
    """``e`` with zeros for guards that never hold, and what reductions without terms are: what
    they read may be gone."""
    if kinds(e).isdisjoint(("Guard", "Reduce")):
        return e
    if isinstance(e, Guard):
        inner = domain & e.domain
        if inner.is_empty(given):
            return zero(e)
        return Guard(e.domain, _without_dead(e.body, inner, given))
    inner = domain
    if isinstance(e, Reduce):
        inner = domain & e.domain
        apart = domain.symbols.isdisjoint(e.indices)
        if (inner if apart else e.domain).is_empty(given):
            return broadcast_to(Const(NEUTRAL[e.op], (), e.type), e.shape)
    return with_operands(e, tuple(_without_dead(c, inner, given) for c in e.operands))


def refit(program: Program) -> Program:
    """Drop variables without equations and fit stored ranges to the pieces that exist."""
    given = program.given
    by_name: dict[str, list[Equation]] = {}
    for eq in program.equations:
        by_name.setdefault(eq.name, []).append(eq)
    variables: dict[str, Var] = {}
    for name, v in program.vars.items():
        if v.role != "variable":
            variables[name] = v
        elif name in by_name:
            axes = _fitted(v.axes, tuple((eq.indices, eq.domain) for eq in by_name[name]), given)
            variables[name] = v if axes == v.axes else replace(v, axes=axes)
    return program.with_(vars=variables)


@remembered
def _fitted(
    axes: tuple[Axis, ...], pieces: tuple[tuple[tuple[str, ...], Domain], ...], given: Domain
) -> tuple[Axis, ...]:
    """Axes whose ranges are those of the pieces."""
    found = []
    for k, axis in enumerate(axes):
        domains = []
        for indices, domain in pieces:
            shadow = domain.project_out(i for i in indices if i != indices[k])
            domains.append(shadow.subs({indices[k]: Poly.symbol(axis.index)}))
        # Where no affine end covers all pieces (2 and T, say), the old range stays.
        lo, hi = hull(domains, axis.index, given) or (axis.lo, axis.hi)
        found.append(Axis(axis.index, lo, hi))
    return tuple(found)


_MOST_TRIMMED = 3


def trim(program: Program) -> Program:
    """before: ``h_bar[t] = … for t in 0..T-1``, and nothing reads h_bar[0].
    after:  ``h_bar[t] = … for t <= T-1``.

    Only compiler-made equations lose elements that nothing reads, at the ends of their ranges.
    """
    equations = list(program.equations)
    for _ in range(_MOST_TRIMMED):
        readers: dict[str, list[tuple[Domain, Read]]] = {}
        for eq in equations:
            for read in reads(eq.rhs):
                readers.setdefault(read.ref.name, []).append((eq.domain, read))
        shown = {o.name: output_domain(program, o) for o in program.outputs}
        changed = False
        for number, eq in enumerate(equations):
            v = program.vars[eq.name]
            if not (v.generated or v.adjoint_of or v.tangent_of) or not eq.indices:
                continue
            smaller = _trimmed(eq, readers.get(eq.name, []), shown.get(eq.name), program.given)
            if smaller != eq.domain:
                changed = True
                equations[number] = equation(
                    eq.name, eq.indices, smaller, eq.rhs, eq.span, eq.solver
                )
        if not changed:
            break
    return refit(program.with_(equations=tuple(equations)))


def _trimmed(
    eq: Equation,
    readers: list[tuple[Domain, Read]],
    shown: tuple[tuple[str, ...], Domain] | None,
    given: Domain,
) -> Domain:
    """The domain of a piece without a first or last position that nothing reads."""
    domain = eq.domain
    for k, index in enumerate(eq.indices):
        if index in eq.pins:
            continue
        try:
            lo, hi = axis_range([domain], index, eq.indices, given)
        except ValueError:
            continue
        for end, keep in ((lo, Poly.symbol(index) - lo - 1), (hi, hi - 1 - Poly.symbol(index))):
            if not _is_read(k, end, eq, readers, shown, given):
                domain = domain & Domain.of((keep,))
    return domain if domain == eq.domain else domain.simplified(given)


def _is_read(
    k: int,
    end: Poly,
    eq: Equation,
    readers: list[tuple[Domain, Read]],
    shown: tuple[tuple[str, ...], Domain] | None,
    given: Domain,
) -> bool:
    if shown is not None:
        indices, domain = shown
        if not (domain & Domain.point(indices[k], end)).is_empty(given):
            return True
    for where, read in readers:
        gap = read.ref.index[k] - end
        here = where & read.domain & Domain.of((gap, -gap)) & hit(read.ref.index, eq)
        if not here.is_empty(given):
            return True
    return False


def depends_on(program: Program, sources: Iterable[str]) -> set[str]:
    """The names of all variables that some source influences (the sources included)."""
    readers: dict[str, set[str]] = {}
    for eq in program.equations:
        for name in names(eq.rhs):
            readers.setdefault(name, set()).add(eq.name)
    return _closure(sources, readers)


def needed_for(program: Program, targets: Iterable[str]) -> set[str]:
    """The names of all variables that influence some target (the targets included)."""
    read_by: dict[str, set[str]] = {}
    for eq in program.equations:
        read_by.setdefault(eq.name, set()).update(names(eq.rhs))
    return _closure(targets, read_by)


def _closure(start: Iterable[str], edges: Mapping[str, set[str]]) -> set[str]:
    found = set(start)
    work = list(found)
    while work:
        for nxt in edges.get(work.pop(), ()):
            if nxt not in found:
                found.add(nxt)
                work.append(nxt)
    return found


_HEAVY = frozenset(
    ("matmul", "outer", "softmax", "log_softmax", "logsumexp", "cross_entropy", "max", "min", "sum")
    + ("solve", "inv", "logdet", "cholesky")
)


@remembered
def nameless(eq: Equation) -> tuple[Domain, Expr]:
    """An equation without its own name and those of its indices: equal ones compute the same."""
    canonical = {i: Poly.symbol(f"#{k}") for k, i in enumerate(eq.indices)}
    return eq.domain.subs(canonical), subs_positions(eq.rhs, canonical)


@remembered
def is_heavy(e: Expr) -> bool:
    """Whether an expression is too much to be computed, or read, twice.

    Products of matrices, reductions, functions of more than one element, more than four operations.
    """
    count = 0
    for node in walk(e):
        if isinstance(node, Reduce):
            return True
        if isinstance(node, Call):
            if node.op in _HEAVY:
                return True
            count += 1
    # What depends on indices and lengths alone is no value of the model.
    return count > 4 and bool(names(e))


_REARRANGING = {"neg", "take", "slice", "reshape", "broadcast", "transpose", "real"}


def is_simple(e: Expr) -> bool:
    """An element, a constant or a position, perhaps negated or rearranged: nothing to name."""
    if isinstance(e, Guard):
        return is_simple(e.body)
    if isinstance(e, Call):
        return e.op in _REARRANGING and all(is_simple(a) for a in e.args)
    return not isinstance(e, Reduce)
