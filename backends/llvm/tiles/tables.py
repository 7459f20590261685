"""What reductions over one index compute alike, in a search for a solution, is computed once.

before:  solve z: m = max over n of p[n] @ z;  then sum over n of exp(p[n] @ z - m)
after:   solve z: all n: a[n] = p[n] @ z;  m = max over n of a[n];  then sum over n of exp(a[n] - m)

requires: tiles of one row, so that the values of an index can be rows. Elsewhere an equation names
what is read again; in a search nothing can leave the right-hand side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from unfold.domain import Domain
from unfold.expr import Call, Expr, Reduce, free_symbols, kinds, subs_positions, walk
from unfold.poly import Poly

from ..components import dims
from .nodes import Stretch, View
from .special import SPECIAL

if TYPE_CHECKING:
    from .expressions import Expressions

#: The name of every index, where it is of no matter.
_ANY = "%index"


def repeated(e: Expr) -> frozenset[Expr]:
    """What the reductions of an expression compute more than once at each value of their index."""
    found: Counter[Expr] = Counter()
    for node in walk(e):
        if isinstance(node, Reduce) and len(node.indices) == 1:
            # The logarithm of a sum also asks for the largest term.
            times = 2 if node.op == "logsumexp" else 1
            for part in _parts(node):
                found[_general(part, node.indices[0])] += times
    return frozenset(part for part, times in found.items() if times > 1)


def tabulated(s: Expressions, e: Reduce) -> dict[Expr, View]:
    """The parts of a reduction that stand in tables, after computing those that are not there
    yet, and where."""
    found: dict[Expr, View] = {}
    if not s.repeated or len(e.indices) != 1:
        return found
    (index,) = e.indices
    lows, highs = e.domain.bounds(index)
    if len(lows) != 1 or len(highs) != 1 or (lows[0].symbols | highs[0].symbols) - s.lengths:
        return found
    if any(abs(p.coefficient(index)) > 1 for p in e.domain.constraints):
        return found
    everywhere = Domain.range(_ANY, lows[0], highs[0])
    for part in _parts(e):
        form = _general(part, index)
        # Two tables are the same one if they have the same numbers at the same places.
        key = Reduce("sum", (_ANY,), everywhere, form)
        if form not in s.repeated:
            continue
        table = s.known(key) or _computed(s, part, index, (lows[0], highs[0]))
        if table is not None:
            s.scopes[-1].setdefault(key, table)
            found[part] = replace(table, position=(Poly.symbol(index),))
    return found


def _computed(s: Expressions, e: Expr, index: str, axis: tuple[Poly, Poly]) -> View | None:
    """A table of the values of an expression, if the values of its index can be rows."""
    table = s.temporary(dims(e.shape), e.type.kind, False, axes=(axis,))
    table = replace(table, position=(Poly.symbol(index),))
    before = set(s.temporaries)
    with s.collected() as ops:
        s.into(table, e)
    body = s.rows(ops, index, before)
    if body is None:
        return None
    s.ops.append(Stretch(index, (axis[0],), (axis[1],), tuple(body)))
    return table


def _parts(e: Reduce) -> Iterator[Expr]:
    """The largest parts of a reduction's body that are operations of their own, and that its index
    changes."""
    stack = [e.body]
    while stack:
        node = stack.pop()
        if not isinstance(node, Call) or e.indices[0] not in free_symbols(node):
            continue
        if node.op in SPECIAL and kinds(node).isdisjoint(("Reduce", "Guard")):
            yield node
        else:
            stack.extend(node.operands)


def _general(e: Expr, index: str) -> Expr:
    return subs_positions(e, {index: Poly.symbol(_ANY)})


__all__ = ["repeated", "tabulated"]
