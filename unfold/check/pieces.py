"""Stage 3: the left-hand sides. For which indices does each equation hold?

`h[t] = …` holds on the declared range of t; a clause after `for` cuts it down; `h[0] = …` holds at
one position. Where a clause leaves nothing of the declared range (`for t <= 0`) it stands alone,
and the missing end follows from what is read (`unfold.check.open_ends`).
"""

from __future__ import annotations

from ..domain import Domain
from ..expr import fresh
from ..poly import Poly
from ..syntax import tree as t
from . import conditions
from .report import Failed, plural
from .scope import Definition, Env, Piece, Scope
from .subscripts import affine
from .values import Reader


def lay_out(scope: Scope) -> None:
    """Give every variable its pieces."""
    for eq in scope.equations:
        for number, target in enumerate(eq.targets):
            try:
                _equation(scope, eq, target, number)
            except Failed:
                _break(scope, target)
    for source, extension in scope.extended.items():
        if not scope.definitions[source].broken:
            _copy(scope, scope.definitions[source], scope.definitions[extension])


def _break(scope: Scope, target: t.Name | t.Subscript) -> None:
    name = target_name(target).text
    d = scope.definitions.get(scope.extended.get(name, name))
    if d is not None:
        d.broken = True


def target_name(target: t.Name | t.Subscript) -> t.Name:
    """The name that a left-hand side defines."""
    if isinstance(target, t.Name):
        return target
    assert isinstance(target.base, t.Name)
    return target.base


def _items(target: t.Name | t.Subscript) -> tuple[t.Expr, ...]:
    if isinstance(target, t.Name):
        return ()
    return tuple(item for item in target.items if not isinstance(item, t.Slice))


def name_axes(scope: Scope) -> None:
    """The usual index of each axis of a variable: the first name that stands there.

    On a diagonal, `a[i,i]`, the name is that of the first axis, and the second one has another.
    """
    found: dict[str, list[str | None]] = {}
    doubled: dict[tuple[str, int], str] = {}
    first: dict[str, t.Name | t.Subscript] = {}
    for eq in scope.equations:
        local = {c.index.text for c in eq.clauses if isinstance(c, t.Member)}
        for target in eq.targets:
            name = target_name(target)
            items = _items(target)
            d = scope.definitions.get(name.text)
            if d is None or d.role != "variable":
                continue
            axes = found.setdefault(name.text, [None] * len(items))
            if len(axes) != len(items):
                _differ(scope, d, first[name.text], target, len(axes), len(items))
                continue
            first.setdefault(name.text, target)
            for k, item in enumerate(items):
                is_index = isinstance(item, t.Name) and (
                    item.text in scope.indices or item.text in local
                )
                if is_index and axes[k] is None and isinstance(item, t.Name):
                    if item.text in axes:
                        doubled.setdefault((name.text, k), item.text)
                    else:
                        axes[k] = item.text
    for variable, names in found.items():
        taken = {n for n in names if n}
        for k, known in enumerate(names):
            if known is None and (variable, k) in doubled:
                names[k] = _free_name(scope, doubled[variable, k], taken)
                taken.add(str(names[k]))
            elif known is None:
                # Only positions like h[0] and h[T] are given: t is as good a name as any.
                free = [i for i in scope.indices if i not in taken]
                names[k] = "t" if "t" in free else free[0] if free else fresh("i", taken)
                taken.add(str(names[k]))
        scope.definitions[variable].axes = tuple(str(n) for n in names)


def _differ(
    scope: Scope,
    d: Definition,
    first: t.Name | t.Subscript,
    target: t.Name | t.Subscript,
    before: int,
    here: int,
) -> None:
    scope.report.error(
        "E0208",
        f"`{d.name}` has {plural(here, 'index')} here, and {before or 'none'} elsewhere",
        (target.span, f"{here or 'no index'}"),
        (first.span, f"{before or 'no index'}"),
        helps=["every equation of a variable has the same number of indices"],
    )
    d.broken = True


def _equation(scope: Scope, eq: t.Equation, target: t.Name | t.Subscript, number: int) -> None:
    name = target_name(target).text
    d = scope.definitions.get(scope.extended.get(name, name))
    if d is None or d.broken or d.role != "variable":
        return
    items = _items(target)
    if len(items) != len(d.axes):
        index = ", ".join(d.axes)
        raise scope.report.error(
            "E0208",
            f"`{name}` has {plural(len(d.axes), 'index')}, here are {len(items)}",
            (target.span, f"expected `{name}[{index}]`"),
        )
    reader = Reader(scope, final=False)
    ranges, rest = _ranges(scope, eq, reader)
    indices, env, domain, bare = _left(scope, eq, d, items, ranges, reader)
    part = _share(scope, eq, number)
    value = eq.value
    if part is not None:
        assert isinstance(value, t.Call)
        value = value.arguments[0]
    inner = Env(env)
    parts: tuple[Domain, ...] = (Domain(),)
    for clause in rest:
        if not conditions.is_affine(reader, clause, inner):
            raise _not_affine(scope, clause)
        found = conditions.domains(reader, clause, inner)
        parts = tuple(a & b for a in parts for b in found)
    clauses = eq.clauses[0].span.to(eq.clauses[-1].span).text if eq.clauses else ""
    for clause_domain in parts:
        whole, open_ = _within(scope, eq, domain, bare, clause_domain, ranges)
        d.pieces.append(
            Piece(
                d.name,
                indices,
                env,
                whole,
                value,
                target.span,
                eq.span,
                part,
                open_,
                clauses,
                scope.implicit.get(id(eq)),
            )
        )


def _ranges(
    scope: Scope, eq: t.Equation, reader: Reader
) -> tuple[dict[str, tuple[Poly, Poly]], list[t.Expr]]:
    """`for t in 0..T-1` apart from conditions."""
    ranges: dict[str, tuple[Poly, Poly]] = {}
    rest: list[t.Expr] = []
    for clause in eq.clauses:
        if isinstance(clause, t.Member):
            everywhere = Env({i: Poly.symbol(i) for i in scope.indices})
            lo = affine(reader, clause.range.start, everywhere, "the end of a range")
            hi = affine(reader, clause.range.stop, everywhere, "the end of a range")
            ranges[clause.index.text] = (lo, hi)
            scope.indices.setdefault(clause.index.text, (lo, hi))
            scope.used.add(clause.index.text)
        else:
            rest.append(clause)
    return ranges, rest


def _left(
    scope: Scope,
    eq: t.Equation,
    d: Definition,
    items: tuple[t.Expr, ...],
    ranges: dict[str, tuple[Poly, Poly]],
    reader: Reader,
) -> tuple[tuple[str, ...], dict[str, Poly], Domain, dict[str, Domain]]:
    """Index names, what the written ones stand for, positions that are given, declared ranges."""
    mentioned = {n.text for n in t.walk(eq.value) if isinstance(n, t.Name)}
    bare_names = [i.text for i in items if isinstance(i, t.Name) and _is_index(scope, i)]
    indices: list[str] = []
    env: dict[str, Poly] = {}
    domain = Domain()
    bare: dict[str, Domain] = {}
    for k, item in enumerate(items):
        if isinstance(item, t.Name) and not _is_index(scope, item) and _is_unknown(scope, item):
            from .declarations import unknown_index

            raise unknown_index(scope, item)
        if isinstance(item, t.Name) and _is_index(scope, item) and item.text not in env:
            indices.append(item.text)
            env[item.text] = Poly.symbol(item.text)
            lo, hi = ranges.get(item.text) or scope.indices[item.text]
            bare[item.text] = Domain.range(item.text, lo, hi)
            scope.used.add(item.text)
            continue
        free = {i: Poly.symbol(i) for i in scope.indices}
        at = affine(reader, item, Env(free), f"the position on the left of `{d.name}`")
        inside = [s for s in at.symbols if s in scope.indices]
        # In `h[t+1] = …` the name t is free again: what is written t stands for a position.
        busy = {*indices, *bare_names, *(mentioned - set(inside))}
        index = _free_name(scope, d.axes[k], busy)
        indices.append(index)
        if not inside or set(inside) <= set(env):
            domain = domain & Domain.point(index, at.subs(env))
            continue
        solved = _solve(scope, item, at, inside, index, bare_names)
        written = inside[0]
        env[written] = solved
        lo, hi = ranges.get(written) or scope.indices[written]
        bare[index] = Domain.range(written, lo, hi).subs({written: solved})
        scope.used.add(written)
    return tuple(indices), env, domain, bare


def _is_unknown(scope: Scope, item: t.Name) -> bool:
    return item.text not in scope.lengths and item.text not in scope.sizes


def _is_index(scope: Scope, item: t.Name) -> bool:
    return item.text in scope.indices


def _free_name(scope: Scope, usual: str, taken: set[str]) -> str:
    """An index name for a position that is given; the usual one unless it occurs otherwise."""
    if usual not in taken:
        return usual
    bounds = scope.indices[usual]
    for other, others in scope.indices.items():
        if others == bounds and other not in taken:
            return other
    name = fresh(usual, taken | set(scope.indices) | set(scope.definitions))
    scope.indices[name] = bounds
    return name


def _solve(
    scope: Scope, item: t.Expr, at: Poly, inside: list[str], index: str, bare: list[str]
) -> Poly:
    """For `h[t+1] = …`: t as a position of the new index."""
    written = inside[0]
    coef = at.coefficient(written)
    if len(inside) > 1 or abs(coef) != 1 or written in bare:
        raise scope.report.error(
            "E0405",
            "this position cannot be solved for its index",
            (item.span, "expected an index, `t+1`, `T+1-t` or a fixed position"),
            helps=["name the element by an index of its own, and say which with `for`"],
        )
    rest = at - Poly.symbol(written) * coef
    return (Poly.symbol(index) - rest) * coef


def _share(scope: Scope, eq: t.Equation, number: int) -> tuple[int, int] | None:
    """Which part of `split` a name takes; ``None``: all of it, as of `h[0], c[0] = 0`."""
    value = eq.value
    is_split = isinstance(value, t.Call) and value.function.text == "split"
    if not is_split and (len(eq.targets) == 1 or _is_number(value)):
        return None
    if not is_split or not isinstance(value, t.Call):
        raise scope.report.error(
            "E0207",
            "several names on the left need several values on the right",
            (value.span, "one value"),
            helps=["`a, b = split(v, 2)` gives each its part, and `a, b = 0` the same "
                   "number; otherwise write one equation for each"],
        )  # fmt: skip
    from . import sizes

    count = None
    if len(value.arguments) == 2 and not value.keywords:
        count = sizes.literal(scope, value.arguments[1])
    if count != len(eq.targets):
        names = plural(len(eq.targets), "name")
        raise scope.report.error(
            "E0209",
            f"`split` into {count} parts needs {count} names on the left"
            if isinstance(count, int)
            else "`split` takes a vector and the number of parts",
            (value.span, f"expected `split(v, {len(eq.targets)})`"),
            (eq.targets[0].span.to(eq.targets[-1].span), names),
        )
    return number, len(eq.targets)


def _is_number(value: t.Expr) -> bool:
    """`0`, `-1.5`, `-inf`: nothing that could be taken apart."""
    if isinstance(value, t.Unary):
        return value.operator != "not" and _is_number(value.operand)
    return isinstance(value, t.Number) or (isinstance(value, t.Name) and value.text == "inf")


def _not_affine(scope: Scope, clause: t.Expr) -> Failed:
    return scope.report.error(
        "E0405",
        "where an equation holds must be decided by the indices alone",
        (clause.span, "depends on something else"),
        helps=["a choice by data is an expression: `y[t] = a if x[t] > 0 else b`"],
    )


def _within(
    scope: Scope,
    eq: t.Equation,
    fixed: Domain,
    bare: dict[str, Domain],
    clause: Domain,
    ranges: dict[str, tuple[Poly, Poly]],
) -> tuple[Domain, frozenset[str]]:
    """Declared ranges and clauses together; the clauses drop a range that they exclude."""
    given = scope.given
    parts = dict(bare)
    whole = fixed & clause
    for part in parts.values():
        whole = whole & part
    dropped: set[str] = set()
    if whole.is_empty(given) and eq.clauses:
        for index, part in bare.items():
            if index in ranges or not clause.symbols & part.symbols & {index}:
                continue
            if (clause & part).is_empty(given):
                dropped.add(index)
        whole = fixed & clause
        for index, part in parts.items():
            if index not in dropped:
                whole = whole & part
    if whole.is_empty(given):
        raise scope.report.error(
            "E0406",
            "this equation holds for no index",
            (eq.clauses[0].span.to(eq.clauses[-1].span), "never true")
            if eq.clauses
            else (eq.targets[0].span, "an empty range"),
        )
    return whole, frozenset(dropped)


def _copy(scope: Scope, source: Definition, extension: Definition) -> None:
    """The piece that copies an extended input."""
    indices = source.axes
    domain = Domain()
    for i in indices:
        domain = domain & scope.default(i)
    env = {i: Poly.symbol(i) for i in indices}
    piece = Piece(
        extension.name, indices, env, domain, None, source.span, source.span, copy_of=source.name
    )
    extension.pieces.insert(0, piece)
    scope.used.add(source.name)


__all__ = ["lay_out", "target_name"]
