"""Reductions over indices: `sum[s <= t](…)`, `mean[t](…)`, `softmax[s](…)`.

`mean[s](e)` is `sum[s](e)` divided by the number of terms; `softmax[s <= t](e)` is the exponential
of `e` less the logsumexp of all its fellows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..domain import Domain, hull
from ..expr import Expr, Guard, Position, Reduce, fresh
from ..ops import call
from ..poly import Poly
from ..syntax import tree as t
from . import conditions
from .operands import Hole, Value, settled
from .report import Failed, listed, nearest
from .scope import Env
from .spelling import REDUCTIONS
from .subscripts import affine

if TYPE_CHECKING:
    from .values import Reader

#: Stands in front of the names of running indices while their ranges are read.
_RUNNING = "@"
#: What an op gives for no terms at all, as text: what stands in for a term that does not count.
NEUTRAL: dict[str, t.Expr] = {
    "sum": t.Number(0),
    "max": t.Unary("-", t.Name("inf")),
    "min": t.Name("inf"),
    "logsumexp": t.Unary("-", t.Name("inf")),
}


def reduction(reader: Reader, node: t.Reduction, env: Env) -> Value:
    """The value of a reduction over indices."""
    op = node.function.text
    if op not in REDUCTIONS:
        raise _no_reduction(reader, node)
    if len(node.arguments) != 1 or node.keywords:
        raise reader.report.error(
            "E0209",
            f"a `{op}` over an index takes one expression",
            (node.span, f"expected `{op}[t](…)`"),
        )
    bound = _bound(reader, node, env)
    if op == "softmax":
        return _softmax(reader, node, bound, env)
    body = node.arguments[0]
    kind = "sum" if op == "mean" else op
    total = _reduce(reader, kind, node, bound, body, env)
    if op != "mean":
        return total
    count = _count(reader, node, bound, env)
    if isinstance(total, Hole) or isinstance(count, Hole):
        return total
    return reader.apply("div", [total, count], node, [body, body])


def _no_reduction(reader: Reader, node: t.Reduction) -> Failed:
    name = node.function.text
    near = nearest(name, REDUCTIONS)
    return reader.report.error(
        "E0205",
        f"`{name}` is not a reduction over an index",
        (node.function.span, "unknown"),
        helps=[f"did you mean `{near}`?" if near else
               f"the reductions are {listed(REDUCTIONS)}"],
    )  # fmt: skip


def _bound(reader: Reader, node: t.Reduction, env: Env) -> tuple[str, ...]:
    """The names of the indices that run."""
    names: list[str] = []
    conditions_: list[t.Expr] = []
    for binder in node.binders:
        if isinstance(binder, t.Member):
            names.append(binder.index.text)
        elif isinstance(binder, t.Name):
            if binder.text not in reader.scope.indices:
                from .declarations import unknown_index

                raise unknown_index(reader.scope, binder)
            names.append(binder.text)
        else:
            conditions_.append(binder)
    said = [
        n.text
        for c in conditions_
        for n in t.walk(c)
        if isinstance(n, t.Name) and n.text in reader.scope.indices
    ]
    if node.function.text == "softmax" and not names:
        names = said[:1]
    elif node.function.text != "softmax":
        names += [n for n in dict.fromkeys(said) if n not in env.indices and n not in names]
        if not names:
            names = said[:1]
    if not names:
        raise reader.report.error(
            "E0203",
            "this reduction runs over no index",
            (node.span, "no index stands in the brackets"),
            helps=[f"name one: `{node.function.text}[t](…)`"],
        )
    for name in names:
        reader.scope.used.add(name)
    return tuple(dict.fromkeys(names))


def _inside(
    reader: Reader, node: t.Reduction, bound: tuple[str, ...], env: Env
) -> tuple[tuple[str, ...], Env, Domain, list[t.Expr]]:
    """Names for the running indices, the surroundings of the body, the domain, other conditions."""
    names: dict[str, str] = {}
    taken = set(env.taken) | {s for p in env.indices.values() for s in p.symbols}
    ranges, domain = _ranges(reader, node, bound, env)
    for name in bound:
        names[name] = _name(reader, name, ranges[name], taken)
        taken.add(names[name])
    domain = domain.subs({_RUNNING + name: Poly.symbol(other) for name, other in names.items()})
    indices = {**env.indices, **{k: Poly.symbol(v) for k, v in names.items()}}
    inside = replace(env, indices=indices, taken=frozenset(taken))
    rest: list[t.Expr] = []
    for binder in node.binders:
        if isinstance(binder, (t.Member, t.Name)):
            continue
        if conditions.is_affine(reader, binder, inside):
            parts = conditions.domains(reader, binder, inside)
            if len(parts) == 1:
                domain = domain & parts[0]
                continue
            if not parts:
                raise reader.report.error(
                    "E0406", "this condition never holds", (binder.span, "false for every index")
                )
        rest.append(binder)
    given = reader.scope.given
    # A branch that is never taken, `s <= 0` beside `s == 1`, is no place for a complaint.
    if (domain & env.domain).is_empty(given) and not env.domain.is_empty(given):
        raise reader.report.error(
            "E0406",
            "this reduction has no terms",
            (node.binders[0].span.to(node.binders[-1].span), "holds for no index"),
        )
    inside = replace(inside, domain=inside.domain & domain, inner=inside.inner & domain)
    return tuple(names.values()), inside, domain, rest


def _ranges(
    reader: Reader, node: t.Reduction, bound: tuple[str, ...], env: Env
) -> tuple[dict[str, tuple[Poly, Poly]], Domain]:
    """The least and the greatest position of each running index, whatever the others are, and the
    domain of all of them, in which `j` is called `@j`: the ends of a range may name the others, as
    in `sum[i, j in i..N](…)`.
    """
    members = {b.index.text: b.range for b in node.binders if isinstance(b, t.Member)}
    running = {name: Poly.symbol(_RUNNING + name) for name in bound}
    ranges: dict[str, tuple[Poly, Poly]] = {}
    domain = Domain()
    for name in bound:
        if name in members:
            # In its own range a name is that of the index around: `sum[t in t..T](…)`.
            beside = {n: p for n, p in running.items() if n != name}
            among = replace(env, indices={**env.indices, **beside})
            what = "the end of a range"
            lo = affine(reader, members[name].start, among, what)
            hi = affine(reader, members[name].stop, among, what)
        else:
            lo, hi = reader.scope.indices[name]
        ranges[name] = lo, hi
        domain = domain & Domain.range(_RUNNING + name, lo, hi)
    # A name stands for an index everywhere in the model, so its range may depend on no other.
    others = {s for p in (*env.indices.values(), *running.values()) for s in p.symbols}
    for name, ends in ranges.items():
        if any(not p.symbols.isdisjoint(others) for p in ends):
            own = _RUNNING + name
            shadow = (domain & env.domain).project_out(others - {own})
            found = hull([shadow], own, reader.scope.given)
            ranges[name] = found or reader.scope.indices.get(name, ends)
    return ranges, domain


def _name(reader: Reader, name: str, bounds: tuple[Poly, Poly], taken: set[str]) -> str:
    """A name for a running index that no enclosing one has."""
    scope = reader.scope
    if name not in taken:
        scope.indices.setdefault(name, bounds)
        return name
    for other, others in scope.indices.items():
        if others == bounds and other not in taken:
            return other
    new = fresh(name, taken | set(scope.indices) | set(scope.definitions))
    scope.indices[new] = bounds
    return new


def _reduce(
    reader: Reader,
    op: str,
    node: t.Reduction,
    bound: tuple[str, ...],
    body: t.Expr,
    env: Env,
) -> Value:
    names, inside, domain, rest = _inside(reader, node, bound, env)
    if rest:
        condition = rest[0] if len(rest) == 1 else t.Logical("and", tuple(rest), span=node.span)
        body = t.Conditional(body, condition, NEUTRAL[op], span=body.span)
    value = settled(reader.value(body, inside))
    if isinstance(value, Hole):
        return value
    if value.type.kind == "bool":
        raise reader.report.error(
            "E0601",
            f"`{op}` adds up numbers, and here are truth values",
            (body.span, "bool"),
            helps=[f"count them with `{op}[…](1 if … else 0)`"],
        )
    if op == "logsumexp" and value.type.kind == "int":
        value = call("real", value)
    # What holds around the reduction need not be said again inside.
    return Reduce(op, names, domain.gist(env.domain & reader.scope.given), value)


def _count(reader: Reader, node: t.Reduction, bound: tuple[str, ...], env: Env) -> Value:
    """The number of terms: a position where the range is one, else a sum of ones."""
    names, _, domain, rest = _inside(reader, node, bound, env)
    if not rest and len(names) == 1:
        lows, highs = domain.simplified(env.domain & reader.scope.given).bounds(names[0])
        if not lows or not highs:
            lows, highs = domain.bounds(names[0])
        if len(lows) == len(highs) == 1:
            return Position(highs[0] - lows[0] + 1)
    if not rest and domain == _box(reader, bound, names):
        sizes = [reader.scope.indices[b] for b in bound]
        total: Expr = Position(sizes[0][1] - sizes[0][0] + 1)
        for lo, hi in sizes[1:]:
            total = total * Position(hi - lo + 1)
        return total
    one: t.Expr = t.Number(1.0, span=node.span)
    return _reduce(reader, "sum", node, bound, one, env)


def _box(reader: Reader, bound: tuple[str, ...], names: tuple[str, ...]) -> Domain:
    whole = Domain()
    for b, n in zip(bound, names, strict=True):
        whole = whole & reader.scope.default(b, n)
    return whole


def _softmax(reader: Reader, node: t.Reduction, bound: tuple[str, ...], env: Env) -> Value:
    """The weight of one position among its fellows."""
    loose = [b for b in bound if b not in env.indices]
    if loose:
        raise reader.report.error(
            "E0204",
            f"a softmax over `{loose[0]}` gives a weight for each {loose[0]}",
            (node.span, f"which {loose[0]}?"),
            helps=[f"`a[{loose[0]}] = softmax[{loose[0]}](…)` defines the weights, and "
                   f"`sum[{loose[0]}](a[{loose[0]}] * …)` uses them"],
        )  # fmt: skip
    body = node.arguments[0]
    total = _reduce(reader, "logsumexp", node, bound, body, env)
    here = settled(reader.value(body, env))
    if isinstance(total, Hole) or isinstance(here, Hole):
        return here
    weight = reader.apply("exp_diff", [here, total], node, [body, body])
    # Outside of the condition the weight is zero; mostly the equation's own clauses forbid it.
    for binder in node.binders:
        if isinstance(binder, (t.Member, t.Name)):
            continue
        if conditions.is_affine(reader, binder, env):
            for part in conditions.domains(reader, binder, env):
                if isinstance(weight, Expr) and not env.domain.subset(part, reader.scope.given):
                    weight = Guard(part, weight)
    return weight


__all__ = ["reduction"]
