"""From expressions to operations on tiles.

What needs all components of its operands (products, reductions, look-ups by computed indices) is
computed into a temporary by an operation of its own; the element-wise rest of an expression stays
together as one `Map`, which later becomes one loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add

from unfold.domain import Domain
from unfold.expr import (
    Call,
    Const,
    Expr,
    Guard,
    Position,
    Reduce,
    Ref,
    Type,
    free_symbols,
    with_operands,
)

from ..components import dims
from ..elementwise import RULES
from .nodes import Branch, Map, Op, Points, Product, View, dense
from .places import Places
from .special import SPECIAL, log_of_sum
from .stretching import stretches
from .sums import reduce_rows
from .tables import tabulated
from .walking import along

#: Calls that a `Map` reads through: they only say which component stands where, or compare with it.
THROUGH = frozenset(("broadcast", "transpose", "slice", "outer", "onehot", "scatter", "half_lower"))


class Expressions(Places):
    """Computes expressions into places, by operations appended to those of the open block."""

    def view(self, e: Expr) -> View:
        """Where the value of an expression stands, after computing it if need be."""
        found = self.known(e) or self.in_place(e)
        if found is None:
            found = self.temporary(dims(e.shape), e.type.kind, self.is_shared(e))
            self.into(found, e)
            self.scopes[-1][e] = found
        return found

    def into(self, target: View, e: Expr) -> None:
        """Compute an expression into a place."""
        if isinstance(e, Guard):
            self.guarded(target, e)
        elif isinstance(e, Reduce):
            self.reduced(target, e)
        elif isinstance(e, Call) and e.op in SPECIAL:
            SPECIAL[e.op](self, target, e)
        elif not (isinstance(e, Call) and e.op == "add" and self.products(e, target)):
            leaves: dict[Expr, View] = {}
            rhs = self.inline(e, leaves)
            self.ops.append(Map(target, rhs, leaves))

    def inline(self, e: Expr, leaves: dict[Expr, View]) -> Expr:
        """``e`` with its non-element-wise parts computed; ``leaves`` says where those stand.

        Raises:
            KeyError: an op has no lowering.
        """
        if isinstance(e, (Const, Position)):
            return e
        found = self.known(e) or self.in_place(e)
        if found is not None:
            leaves[e] = found
            return e
        if isinstance(e, Call) and e.op == "add":
            rest = self.products(e)
            if rest is not None:
                return self.inline(rest, leaves)
        if isinstance(e, Call) and (e.op in RULES or e.op in THROUGH):
            return with_operands(e, tuple(self.inline(a, leaves) for a in e.operands))
        if isinstance(e, Call) and e.op == "reshape" and _same_but_ones(e):
            return with_operands(e, (self.inline(e.args[0], leaves),))
        if isinstance(e, Call) and e.op not in SPECIAL:
            raise KeyError(e.op)
        leaves[e] = self.view(e)
        return e

    def terms(self, e: Expr) -> list[Expr]:
        """The terms of a sum of expressions of one shape, down to what is known."""
        if isinstance(e, Call) and e.op == "add" and self.known(e) is None:
            if all(a.shape == e.shape for a in e.args):
                return [t for a in e.args for t in self.terms(a)]
        return [e]

    def products(self, e: Call, target: View | None = None) -> Expr | None:
        """Of a sum, the matrix products one on top of the other, on one other term if one fits.

        Returns the sum with those terms replaced by one that is known, or ``None`` if there are no
        products. A ``target`` is used only if all terms are of this kind; then ``e`` is returned.
        """
        terms = self.terms(e)
        fits = [t for t in terms if isinstance(t, Call) and t.op == "matmul" and not self.known(t)]
        starts = [t for t in terms if t not in fits and self.can_start(t)]
        if not fits or e.type.kind != "real":
            return None
        used = [*fits, *starts[:1]]
        rest = [t for t in terms if t not in used]
        if target is not None and rest:
            return None
        if len(used) == 1:
            return None
        shared = self.is_shared(e) if target is not None else all(map(self.is_shared, used))
        place = target or self.temporary(dims(e.shape), "real", shared)
        start = self.in_place(starts[0]) if starts else None
        for t in fits:
            left, right = (self.view(a) for a in t.args)
            self.ops.append(Product(place, left, right, start))
            start = place
        partial = reduce(add, used)
        self.scopes[-1][partial] = place
        return reduce(add, [partial, *rest])

    def can_start(self, t: Expr) -> bool:
        """Whether a product can begin its sums with a term."""
        view = self.in_place(t) if t.type.kind == "real" else None
        return view is not None and view.pick is None and all(
            s == d for s, d in zip(view.strides, dense(view.shape), strict=True)
        )  # fmt: skip

    def guarded(self, target: View, e: Guard) -> None:
        with self.collected() as then:
            self.into(target, e.body)
        with self.collected() as otherwise:
            self.fill(target, 0.0)
        self.ops.append(Branch(e.domain, tuple(then), tuple(otherwise)))

    def fill(self, target: View, value: float) -> None:
        """Write one number everywhere; it is whole where the storage holds integers."""
        made = self.temporaries.get(target.storage)
        kind = made.kind if made is not None else self.plan.buffers[target.storage].type.kind
        number = Const(value) if kind == "real" else Const(int(value), (), Type(kind))
        self.ops.append(Map(target, number, {}))

    def reduced(self, target: View, e: Reduce) -> None:
        """A reduction over indices: the target is where it accumulates."""
        if e.op == "logsumexp":
            top = Reduce("max", e.indices, e.domain, e.body)

            def total(terms: Expr) -> Expr:
                return Reduce("sum", e.indices, e.domain, terms)

            self.into(target, log_of_sum(e.body, top, total))
            return
        self.settle(e.body, e.indices)
        if self.alone:
            self.scopes.append(tabulated(self, e))
            done = reduce_rows(self, target, e)
            self.scopes.pop()
            if done:
                return
        start = {"sum": 0.0, "max": float("-inf"), "min": float("inf")}[e.op]
        if e.type.kind == "int" and e.op != "sum":
            start = -(2**63) if e.op == "max" else 2**63 - 1
        self.fill(target, start)
        with self.collected() as ops:
            leaves: dict[Expr, View] = {}
            rhs = self.inline(e.body, leaves)
            if e.op == "sum":
                self.ops.append(Map(target, rhs, leaves, update=True))
            else:
                so_far = Ref("%accumulator", (), e.shape, e.type)
                leaves[so_far] = target
                name = {"max": "maximum", "min": "minimum"}[e.op]
                both = Call(name, (so_far, rhs), (), e.shape, e.type)
                self.ops.append(Map(target, both, leaves))
        self.ops.extend(self.nest(e, tuple(ops)))

    def rows(self, ops: Sequence[Op], index: str, before: Iterable[str]) -> Sequence[Op] | None:
        """The body of a loop as operations on the values of its index as rows, if it can be.

        ``before`` are the temporaries that were there when the body was begun.
        """
        if self.alone:
            ops = along(ops, index, self.temporaries.keys() - set(before))
        return ops if stretches(ops, index, self.temporaries) else None

    def settle(self, e: Expr, indices: Sequence[str]) -> None:
        """Compute what a loop over ``indices`` would compute again and again, before the loop."""
        if self.known(e) is not None or isinstance(e, (Ref, Const, Position, Guard)):
            return
        own_way = isinstance(e, Reduce) or (isinstance(e, Call) and e.op in SPECIAL)
        if own_way and not free_symbols(e) & set(indices):
            self.view(e)
            return
        if not isinstance(e, Reduce):
            for c in e.operands:
                self.settle(c, indices)

    def nest(self, e: Reduce, body: tuple[Op, ...]) -> tuple[Op, ...]:
        """Loops over the points of a reduction's domain."""
        for k in reversed(range(len(e.indices))):
            index, inner = e.indices[k], e.indices[k + 1 :]
            body = (Points(index, e.domain.project_out(inner), body),)
        outside = Domain.of(p for p in e.domain.constraints if not p.symbols & set(e.indices))
        return (Branch(outside, body, ()),) if outside.constraints else body


def _same_but_ones(e: Call) -> bool:
    have = [n for n in dims(e.args[0].shape) if n != 1]
    return have == [n for n in dims(e.shape) if n != 1]
