"""Several matrix products as one: their operands are put side by side in memory.

before:  %0 = i_in[t] + W_i @ h[t-1]     %1 = f_in[t] + W_f @ h[t-1]
after:   (%0 %1) = (i_in f_in)[t] + [W_i; W_f] @ h[t-1]

before:  g = W_i' @ di[t+1]    g = g + W_f' @ df[t+1]
after:   g = [W_i; W_f]' @ (di df)[t+1]

before:  dW_i += outer(di[t], x[t]) over all t    dW_f += outer(df[t], x[t]) over all t
after:   [dW_i; dW_f] += outer((di df)[t], x[t]) over all t

requires: arranged operations. Storages of one kind and range become a *bundle*: they share each
row. Matrices are stacked in a copy, once per call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeVar

from unfold.expr import Ref
from unfold.plan import Plan
from unfold.poly import Poly

from .nodes import (
    Branch,
    Contract,
    Map,
    Op,
    Points,
    Product,
    Repeat,
    Stretch,
    Temporary,
    View,
    dense,
)

_P = TypeVar("_P", Product, Contract)


@dataclass(frozen=True)
class Member:
    """A storage's part in a bundle: the first storage, where the part begins, the row's length."""

    base: str
    offset: int
    total: int


class Stacker:
    """Stacks the products of one function.

    Args:
        plan, temporaries: what is stored.
        summed: buffers that hold a sum over the batch.

    Attributes:
        members: the bundles, by storage.
        stacks: the matrices (or vectors) that are copied together, by the name of the copy.
    """

    def __init__(
        self, plan: Plan, temporaries: dict[str, Temporary], summed: frozenset[str]
    ) -> None:
        self.plan = plan
        self.temporaries = temporaries
        self.summed = summed
        self.members: dict[str, Member] = {}
        self.stacks: dict[str, tuple[View, ...]] = {}

    def ops(self, ops: Sequence[Op]) -> tuple[Op, ...]:
        """The operations with products stacked where their operands can stand together."""
        result: list[Op] = []
        at = 0
        while at < len(ops):
            run = self.run(ops, at)
            merged = None
            while len(run) > 1 and merged is None:
                merged = self.merged(run)
                run = run if merged is not None else run[:-1]
            if merged is not None:
                result.append(merged)
                at += len(run)
            else:
                result.append(self.inside(ops[at]))
                at += 1
        return tuple(result)

    def inside(self, op: Op) -> Op:
        if isinstance(op, Branch):
            return replace(op, then=self.ops(op.then), otherwise=self.ops(op.otherwise))
        if isinstance(op, (Repeat, Points, Stretch)):
            return replace(op, body=self.ops(op.body))
        return op

    # --- which operations -------------------------------------------------------------------------

    def run(self, ops: Sequence[Op], at: int) -> Sequence[Op]:
        """The operations from ``at`` on that may be one."""
        end = at + 1
        kind = _kind(ops[at])
        if kind is not None:
            while end < len(ops) and _kind(ops[end]) == kind and _goes_on(ops[end - 1], ops[end]):
                end += 1
        if end - at == 1 and isinstance(ops[at], Product):
            while end < len(ops) and _chained(ops[end - 1], ops[end]):
                end += 1
        return ops[at:end]

    def merged(self, run: Sequence[Op]) -> Op | None:
        first = run[0]
        if isinstance(first, Stretch):
            bodies = [op.body[0] for op in run if isinstance(op, Stretch)]
            contract = self.contracts([b for b in bodies if isinstance(b, Contract)])
            return None if contract is None else replace(first, body=(contract,))
        products = [op for op in run if isinstance(op, Product)]
        if products[0].target == products[1].target:
            return self.fan_in(products)
        return self.fan_out(products)

    def fan_out(self, products: Sequence[Product]) -> Op | None:
        """Several matrices, one vector."""
        trial = dict(self.members)
        products = self.in_order(products, lambda p: p.target)
        target = self.bundle([p.target for p in products], trial)
        if target is None:
            return None
        starts = [p.start for p in products if p.start is not None]
        start: View | None = None
        if starts:
            shared = starts[0].shared
            start = self.stacked(starts) if shared else self.bundle(starts, trial)
            if start is None:
                return None
        split = [_split(p) for p in products]
        matrix = self.stacked([m for m, _ in split])
        self.members = trial
        return Product(target, matrix, split[0][1], start)

    def fan_in(self, products: Sequence[Product]) -> Op | None:
        """Several matrices, each with a vector of its own; the sum of their products."""
        trial = dict(self.members)
        start = products[0].start
        products = self.in_order(products, lambda p: _split(p)[1])
        split = [_split(p) for p in products]
        vector = self.bundle([v for _, v in split], trial)
        if vector is None:
            return None
        matrix = self.stacked([m.transposed() for m, _ in split]).transposed()
        self.members = trial
        return Product(products[0].target, matrix, vector, start)

    def contracts(self, ops: Sequence[Contract]) -> Contract | None:
        """Several gradients with one right factor."""
        trial = dict(self.members)
        ops = self.in_order(ops, lambda c: c.left)
        left = self.bundle([c.left for c in ops], trial)
        target = self.bundle([c.target for c in ops], trial)
        if left is None or target is None:
            return None
        self.members = trial
        return Contract(target, left, ops[0].right, ops[0].fresh)

    # --- where operands stand ---------------------------------------------------------------------

    def in_order(self, ops: Sequence[_P], view: Callable[[_P], View]) -> list[_P]:
        """The operations in the order that their operands have in a bundle already."""
        known = [self.members.get(view(op).storage) for op in ops]
        places = [m.offset for m in known if m is not None]
        if len(places) < len(ops):
            return list(ops)
        return [ops[k] for k in sorted(range(len(ops)), key=places.__getitem__)]

    def bundle(self, views: Sequence[View], members: dict[str, Member]) -> View | None:
        """One view of what stands side by side, bundling the storages if they are free."""
        first = views[0]
        names = [v.storage for v in views]
        if len(set(names)) < len(names):
            return None
        signatures = [self.signature(v) for v in views]
        if signatures[0] is None or any(s != signatures[0] for s in signatures):
            return None
        assigned = [members.get(n) for n in names]
        sizes = [v.size for v in views]
        if not any(assigned):
            offset, total = 0, sum(sizes)
            for n, size in zip(names, sizes, strict=True):
                members[n] = Member(names[0], offset, total)
                offset += size
        else:
            expected = None
            for m, size in zip(assigned, sizes, strict=True):
                if m is None or (expected is not None and (m.base, m.offset) != expected):
                    return None
                expected = m.base, m.offset + size
        shape = (sum(v.shape[0] for v in views), *first.shape[1:])
        return replace(first, shape=shape, strides=dense(shape))

    def signature(self, v: View) -> object:
        """What views must have in common to stand side by side; ``None`` if this one cannot."""
        if v.offset or v.pick is not None or v.strides != dense(v.shape):
            return None
        if v.storage in self.temporaries:
            t = self.temporaries[v.storage]
            if t.shared or t.kind != "real" or t.size != v.size or len(v.shape) != 1:
                return None
            return "temporary", (t.least, t.more)
        b = self.plan.buffers.get(v.storage)
        if b is None or b.kind != "work" or b.shared or b.type.kind != "real":
            return None
        if b.shape != v.shape:
            return None
        if b.name in self.summed:
            return ("summed", v.shape[1:]) if not b.axes and len(v.shape) == 2 else None
        return ("buffer", b.axes, v.position) if len(v.shape) == 1 else None

    def stacked(self, views: Sequence[View]) -> View:
        """A copy in which the rows of all views follow each other."""
        key = tuple(views)
        name = next((n for n, known in self.stacks.items() if known == key), None)
        shape = (sum(v.shape[0] for v in views), *views[0].shape[1:])
        if name is None:
            name = f"%stack{len(self.stacks)}"
            self.stacks[name] = key
            self.temporaries[name] = Temporary(name, prod(shape), "real", True)
        return View(name, (), shape, dense(shape), shared=True)

    def filling(self) -> tuple[Op, ...]:
        """The operations that make the copies."""
        found: list[Op] = []
        for name, views in self.stacks.items():
            shape = (sum(v.shape[0] for v in views), *views[0].shape[1:])
            whole, start = View(name, (), shape, dense(shape), shared=True), 0
            for v in views:
                part = whole.sliced(0, start, start + v.shape[0])
                sizes = tuple(Poly.const(n) for n in v.shape)
                source = Ref(f"%{v.storage}", v.position, sizes)
                found.append(Map(part, source, {source: v}))
                start += v.shape[0]
        return tuple(found)


def _split(p: Product) -> tuple[View, View]:
    """A product as matrix times vector."""
    if p.left.shared:
        return p.left, p.right
    return p.right.transposed(), p.left


def _is_stackable(p: Product) -> bool:
    """One matrix for all rows, with a fixed place, and a vector in each row."""
    matrix, vector = _split(p)
    return (
        matrix.shared
        and not vector.shared
        and not p.target.shared
        and len(matrix.shape) == 2
        and len(vector.shape) == 1
        and matrix.pick is None
        and not any(q.symbols for q in matrix.position)
        and matrix.storage[0] != "%"
    )


def _kind(op: Op) -> object:
    """What operations must have in common to be one; ``None`` for those that stay alone."""
    if isinstance(op, Product) and _is_stackable(op) and op.start != op.target:
        start = None if op.start is None else (op.start.shared, op.start.position)
        if op.start is not None and op.start.storage[0] == "%":
            return None
        return _split(op)[1], op.target.position, start
    if isinstance(op, Stretch) and op.whole and len(op.body) == 1:
        (body,) = op.body
        if isinstance(body, Contract) and len(body.target.shape) == 2:
            return op.index, op.lows, op.highs, body.right, body.fresh
    return None


def _goes_on(a: Op, b: Op) -> bool:
    """Whether the second neither reads nor repeats what the first writes."""
    if isinstance(a, Product) and isinstance(b, Product):
        return b.start != a.target and b.target != a.target
    return True


def _chained(a: Op, b: Op) -> bool:
    """Whether the second product adds to the first."""
    return (
        isinstance(a, Product)
        and isinstance(b, Product)
        and _is_stackable(a)
        and _is_stackable(b)
        and a.target == b.target == b.start
    )
