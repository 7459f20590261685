"""From statements to operations on tiles.

What needs all components of its operands (products, reductions, look-ups by computed indices) is
computed into a temporary by an operation of its own; the element-wise rest of an expression stays
together as one `Map`, which later becomes one loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from unfold.domain import Domain
from unfold.expr import (
    Call,
    Const,
    Expr,
    Guard,
    Position,
    Reduce,
    Ref,
    children,
    free_symbols,
    names,
    walk,
    with_children,
)
from unfold.ops.record import compare as comparison
from unfold.ops.record import expand, fn, where
from unfold.plan import Buffer, Loop, Node, Plan, Statement
from unfold.poly import Poly

from ..components import dims
from ..elementwise import RULES
from . import implicit
from .nodes import (
    Branch,
    ColumnSum,
    Contract,
    Fold,
    Group,
    Map,
    Op,
    Points,
    Product,
    Repeat,
    ScatterSum,
    Solve,
    Stretch,
    Temporary,
    View,
    dense,
)

#: Calls that a `Map` reads through: they only say which component stands where, or compare with it.
THROUGH = frozenset(("broadcast", "transpose", "slice", "outer", "onehot", "scatter"))


class Selector:
    """Selects the operations of one plan.

    Args:
        plan: with products hoisted.
        summed: buffers that hold the sum over the batch (one row for all sequences).

    Attributes:
        temporaries: what was needed beside the plan's buffers, by name.
    """

    def __init__(self, plan: Plan, summed: frozenset[str]) -> None:
        self.plan = plan
        self.summed = summed
        self.temporaries: dict[str, Temporary] = {}
        self.ops: list[Op] = []
        self.scopes: list[dict[Expr, View]] = [{}]

    # --- plan nodes -------------------------------------------------------------------------------

    def nodes(self, nodes: Sequence[Node]) -> tuple[Op, ...]:
        """The operations of some plan nodes."""
        with self.collected() as ops:
            for node in nodes:
                if isinstance(node, Loop):
                    self.loop(node)
                else:
                    self.statement(node)
        return tuple(ops)

    @contextmanager
    def collected(self) -> Iterator[list[Op]]:
        """Gather operations in a list of their own; temporaries made there end with it."""
        outer, self.ops = self.ops, []
        self.scopes.append({})
        yield self.ops
        self.scopes.pop()
        self.ops = outer

    def loop(self, node: Loop) -> None:
        body = self.nodes(node.body)
        inner = node.body[0]
        if node.parallel and len(node.body) == 1 and isinstance(inner, Statement):
            lows, highs = node.ranges[0]
            if not inner.guard.constraints and self.stretches(body, node.index):
                self.ops.append(Stretch(node.index, lows, highs, body))
                return
        self.ops.append(Repeat(node.index, node.ranges, node.direction, body))

    def statement(self, s: Statement) -> None:
        target = self.element(self.plan.buffers[s.target], s.position)
        if s.guard.constraints:
            with self.collected() as ops:
                self.assign(target, s)
            self.ops.append(Branch(s.guard, tuple(ops), ()))
        else:
            self.assign(target, s)

    def assign(self, target: View, s: Statement) -> None:
        if s.solver is not None:
            implicit.select(self, target, s)
        elif s.target in self.summed and isinstance(s.rhs, Ref) and s.rhs.name in self.summed:
            self.into(target, s.rhs)
        elif s.target in self.summed:
            with self.collected() as ops:
                self.add_rows(target, s.rhs)
            begun = _overwriting(ops[0])
            if begun is None:
                self.fill(target, 0.0)
            else:
                ops[0] = begun
            self.ops.extend(ops)
        else:
            self.into(target, s.rhs)

    # --- where values stand -----------------------------------------------------------------------

    def element(self, b: Buffer, position: tuple[Poly, ...]) -> View:
        shared = b.shared or b.name in self.summed
        return View(b.name, position, b.shape, dense(b.shape), shared=shared)

    def temporary(
        self, shape: tuple[int, ...], kind: str, shared: bool, portions: bool = True
    ) -> View:
        """A new storage for intermediate values of every row, or for one row that all share."""
        name = f"%{len(self.temporaries)}"
        size = 1
        for n in shape:
            size *= n
        self.temporaries[name] = Temporary(name, size, kind, shared, portions)
        return View(name, (), shape, dense(shape), shared=shared)

    def is_shared(self, e: Expr) -> bool:
        buffers = self.plan.buffers
        return all(n not in buffers or buffers[n].shared for n in names(e))

    def known(self, e: Expr) -> View | None:
        for scope in reversed(self.scopes):
            if e in scope:
                return scope[e]
        return None

    def view(self, e: Expr) -> View:
        """Where the value of an expression stands, after computing it if need be."""
        found = self.known(e) or self.in_place(e)
        if found is None:
            found = self.temporary(dims(e.shape), e.type.kind, self.is_shared(e))
            self.into(found, e)
            self.scopes[-1][e] = found
        return found

    def in_place(self, e: Expr) -> View | None:
        """The components of an element, rearranged without moving them, if that is all ``e`` is."""
        if isinstance(e, Ref):
            return self.known(e) or self.element(self.plan.buffers[e.name], e.index)
        if not isinstance(e, Call) or e.op not in (
            "transpose",
            "reshape",
            "slice",
            "take",
            "detach",
        ):
            return None
        inner = self.known(e.args[0]) or self.in_place(e.args[0])
        if inner is None:
            return None
        if e.op == "detach":
            return inner
        if e.op == "transpose":
            return inner.transposed()
        if e.op == "reshape":
            return inner.reshaped(dims(e.shape))
        axis = e.attr("axis")
        if e.op == "slice":
            return inner.sliced(axis, e.attr("lo").evaluate({}), e.attr("hi").evaluate({}))
        index = e.args[1]
        if isinstance(index, Const):
            return inner.taken(axis, int(index.value))
        if inner.pick is not None:
            return None
        chosen = self.view(index)
        moved = inner.taken(axis, 0)
        shared = inner.shared and chosen.shared
        return View(
            moved.storage, moved.position, moved.shape, moved.strides, moved.offset,
            shared, (chosen, inner.strides[axis]),
        )  # fmt: skip

    # --- expressions ------------------------------------------------------------------------------

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
            return with_children(e, tuple(self.inline(a, leaves) for a in children(e)))
        if isinstance(e, Call) and e.op == "reshape" and _same_but_ones(e):
            return with_children(e, (self.inline(e.args[0], leaves),))
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
        partial = _sum(used)
        self.scopes[-1][partial] = place
        return _sum([partial, *rest])

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
        self.ops.append(Map(target, Const(value), {}))

    def reduced(self, target: View, e: Reduce) -> None:
        """A reduction over indices: the target is where it accumulates."""
        if e.op == "logsumexp":
            top = Reduce("max", e.indices, e.domain, e.body)
            self.into(target, self.from_exponentials(e.body, top, lambda terms: Reduce(
                "sum", e.indices, e.domain, terms), None))  # fmt: skip
            return
        self.settle(e.body, e.indices)
        start = {"sum": 0.0, "max": float("-inf"), "min": float("inf")}[e.op]
        if e.type.kind == "int" and e.op != "sum":
            start = float(-(2**63)) if e.op == "max" else float(2**63 - 1)
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
        self.ops.extend(nest(e, tuple(ops)))

    def settle(self, e: Expr, indices: Sequence[str]) -> None:
        """Compute what a loop over ``indices`` would compute again and again, before the loop."""
        if self.known(e) is not None or isinstance(e, (Ref, Const, Position, Guard)):
            return
        own_way = isinstance(e, Reduce) or (isinstance(e, Call) and e.op in SPECIAL)
        if own_way and not free_symbols(e) & set(indices):
            self.view(e)
            return
        if not isinstance(e, Reduce):
            for c in children(e):
                self.settle(c, indices)

    def from_exponentials(self, a: Expr, top: Expr, total: object, axis: object) -> Expr:
        """``log(sum(exp(a)))`` relative to the largest term, or to 0 where that is infinite."""
        assert callable(total)
        shift = where(comparison("ne", fn("abs", top), float("inf")), top, 0.0)
        spread = shift if axis is None else expand(shift, *axis)  # type: ignore[misc]
        terms = fn("exp", a - spread)
        return fn("log", total(terms)) + shift

    # --- sums over the batch ----------------------------------------------------------------------

    def add_rows(self, target: View, e: Expr) -> None:
        """Add an expression, summed over all sequences, to a target that they share."""
        if len(terms := self.terms(e)) > 1:
            for t in terms:
                self.add_rows(target, t)
        elif isinstance(e, Guard):
            with self.collected() as ops:
                self.add_rows(target, e.body)
            self.ops.append(Branch(e.domain, tuple(ops), ()))
        elif isinstance(e, Reduce) and e.op == "sum":
            self.settle(e.body, e.indices)
            with self.collected() as ops:
                self.add_rows(target, e.body)
            body = tuple(ops)
            index = e.indices[0]
            if len(e.indices) == 1 and self.stretches(body, index):
                lows, highs = e.domain.bounds(index)
                outside = [p for p in e.domain.constraints if not p.coefficient(index)]
                stretch = Stretch(index, lows, highs, body, whole=len(body) == 1)
                rest: tuple[Op, ...] = (stretch,)
                if outside:
                    rest = (Branch(Domain.of(outside), rest, ()),)
                self.ops.extend(rest)
            else:
                self.ops.extend(nest(e, body))
        elif isinstance(e, Call) and e.op == "outer" and not self.is_shared(e):
            left, right = (self.own_rows(self.view(a), a) for a in e.args)
            self.ops.append(Contract(target, left, right))
        elif isinstance(e, Call) and e.op == "scatter" and not self.is_shared(e):
            source, chosen = (self.own_rows(self.view(a), a) for a in e.args)
            self.ops.append(ScatterSum(target, source, chosen, e.attr("axis")))
        else:
            leaves: dict[Expr, View] = {}
            rhs = self.inline(e, leaves)
            self.ops.append(ColumnSum(target, rhs, leaves, self.is_shared(e)))

    def own_rows(self, view: View, e: Expr) -> View:
        """A copy with adjacent components in every row, unless the view is like that."""
        if not view.shared and view.is_dense:
            return view
        copy = self.temporary(view.shape, e.type.kind, False)
        self.ops.append(Map(copy, e, {e: view}))
        return copy

    # --- the steps of a map as one tile -----------------------------------------------------------

    def stretches(self, ops: Sequence[Op], index: str) -> bool:
        """Whether operations for consecutive values of ``index`` can be one on longer tiles."""
        return all(self.stretches_one(op, index) for op in ops)

    def stretches_one(self, op: Op, index: str) -> bool:
        if isinstance(op, (Branch, Repeat, Points, Stretch, Solve, Group)):
            return False
        if isinstance(op, (ColumnSum, Contract, ScatterSum)):
            # They sum over the rows of the whole stretch into one place.
            if any(index in p.symbols for p in op.target.position):
                return False
        if isinstance(op, (Map, Fold, ColumnSum)):
            views = [*op.leaves.values()]
            if any(index in n.poly.symbols for n in walk(op.rhs) if isinstance(n, Position)):
                return False
            if isinstance(op, ColumnSum):
                if op.rows_alike:
                    return False
            else:
                views.append(op.target)
        elif isinstance(op, Product):
            views = [op.target, op.left, op.right, *([op.start] if op.start else [])]
        elif isinstance(op, Contract):
            views = [op.left, op.right]
        else:
            views = [op.source, op.index]
        views += [v.pick[0] for v in views if v.pick is not None]
        return all(self.advances(v, index) for v in views)

    def advances(self, v: View, index: str) -> bool:
        """Whether a view moves on by one tile with each step of the index (or is shared)."""
        if v.shared:
            return not any(index in p.symbols for p in v.position)
        if v.storage in self.temporaries:
            return True
        *leading, last = v.position or (Poly(),)
        return last.coefficient(index) == 1 and not any(index in p.symbols for p in leading)


def nest(e: Reduce, body: tuple[Op, ...]) -> tuple[Op, ...]:
    """Loops over the points of a reduction's domain."""
    for k in reversed(range(len(e.indices))):
        index, inner = e.indices[k], e.indices[k + 1 :]
        body = (Points(index, e.domain.project_out(inner), body),)
    outside = Domain.of(p for p in e.domain.constraints if not p.symbols & set(e.indices))
    return (Branch(outside, body, ()),) if outside.constraints else body


def _overwriting(op: Op) -> Op | None:
    """A sum over rows that does not need its target to be zero before, if it can be one."""
    if isinstance(op, (Contract, ColumnSum)):
        return replace(op, fresh=True)
    if isinstance(op, Stretch) and op.whole and len(op.body) == 1:
        begun = _overwriting(op.body[0])
        return None if begun is None else replace(op, body=(begun,))
    return None


def _sum(terms: Sequence[Expr]) -> Expr:
    total = terms[0]
    for t in terms[1:]:
        total = total + t
    return total


def _same_but_ones(e: Call) -> bool:
    have = [n for n in dims(e.args[0].shape) if n != 1]
    return have == [n for n in dims(e.shape) if n != 1]


# --- operations with a way of their own -----------------------------------------------------------


def _product(s: Selector, target: View, e: Call) -> None:
    left, right = (s.view(a) for a in e.args)
    s.ops.append(Product(target, left, right))


def _fold(s: Selector, target: View, e: Call) -> None:
    leaves: dict[Expr, View] = {}
    rhs = s.inline(e.args[0], leaves)
    s.ops.append(Fold(target, e.op, e.attr("axis"), rhs, leaves))


def _pieces(s: Selector, target: View, e: Call) -> None:
    axis, start = e.attr("axis"), 0
    for a in e.args:
        size = dims(a.shape)[axis]
        s.into(target.sliced(axis, start, start + size), _as_type(a, e))
        start += size


def _stacked(s: Selector, target: View, e: Call) -> None:
    for k, a in enumerate(e.args):
        s.into(target.taken(0, k), _as_type(a, e))


def _as_type(a: Expr, e: Call) -> Expr:
    return fn("real", a) if a.type.kind != "real" and e.type.kind == "real" else a


def _padded(s: Selector, target: View, e: Call) -> None:
    axis, before = e.attr("axis"), e.attr("before").evaluate({})
    s.fill(target, 0.0)
    size = dims(e.args[0].shape)[axis]
    s.into(target.sliced(axis, before, before + size), e.args[0])


def _reshaped(s: Selector, target: View, e: Call) -> None:
    view = target.reshaped(dims(e.args[0].shape))
    if view is not None:
        s.into(view, e.args[0])
        return
    inner = s.view(e.args[0]).reshaped(dims(e.shape))
    if inner is None:
        copy = s.temporary(dims(e.args[0].shape), e.type.kind, s.is_shared(e))
        s.into(copy, e.args[0])
        inner = copy.reshaped(dims(e.shape))
    assert inner is not None
    s.ops.append(Map(target, e, {e: inner}))


def _taken(s: Selector, target: View, e: Call) -> None:
    source = s.view(e.args[0])
    s.scopes[-1][e.args[0]] = source
    view = s.in_place(e)
    if view is None:
        copy = s.temporary(source.shape, e.type.kind, s.is_shared(e.args[0]))
        s.ops.append(Map(copy, e.args[0], {e.args[0]: source}))
        s.scopes[-1][e.args[0]] = copy
        view = s.in_place(e)
    assert view is not None
    s.ops.append(Map(target, e, {e: view}))


def _call(op: str, a: Expr, axis: int | None) -> Expr:
    shape = () if axis is None else a.shape[:axis] + a.shape[axis + 1 :]
    return Call(op, (a,), (("axis", axis),), shape, a.type)


def _logsumexp_of(s: Selector, a: Expr, axis: int | None) -> Expr:
    where_ = None if axis is None else (axis, a.shape)
    top = _call("max", a, axis)
    return s.from_exponentials(a, top, lambda terms: _call("sum", terms, axis), where_)


def _logsumexp(s: Selector, target: View, e: Call) -> None:
    s.into(target, _logsumexp_of(s, fn("real", e.args[0]), e.attr("axis")))


def _log_softmax(s: Selector, target: View, e: Call) -> None:
    a, axis = fn("real", e.args[0]), e.attr("axis")
    total = _logsumexp_of(s, a, axis)
    s.into(target, a - (total if axis is None else expand(total, axis, a.shape)))


def _softmax(s: Selector, target: View, e: Call) -> None:
    a, axis = fn("real", e.args[0]), e.attr("axis")

    def spread(x: Expr) -> Expr:
        return x if axis is None else expand(x, axis, a.shape)

    top = _call("max", a, axis)
    # All -inf means that nothing is possible: every weight is then zero, not NaN.
    shift = where(comparison("eq", top, float("-inf")), 0.0, top)
    weights = fn("exp", a - spread(shift))
    s.into(target, weights)
    s.scopes[-1][weights] = target
    total = _call("sum", weights, axis)
    divisor = where(comparison("eq", total, 0.0), 1.0, total)
    found = s.view(divisor)
    s.scopes[-1][divisor] = found
    s.into(target, weights / spread(divisor))
    del s.scopes[-1][weights]


def _cross_entropy(s: Selector, target: View, e: Call) -> None:
    logits, label = fn("real", e.args[0]), e.args[1]
    chosen = Call("take", (e.args[0], label), (("axis", 0),), (), e.args[0].type)
    s.into(target, _logsumexp_of(s, logits, None) - chosen)


SPECIAL = {
    "matmul": _product,
    "sum": _fold,
    "max": _fold,
    "min": _fold,
    "argmax": _fold,
    "concat": _pieces,
    "stack": _stacked,
    "pad": _padded,
    "reshape": _reshaped,
    "take": _taken,
    "logsumexp": _logsumexp,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "cross_entropy": _cross_entropy,
}

__all__ = ["SPECIAL", "THROUGH", "Selector"]
