"""Code for operations on tiles: loops over rows and components."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

from unfold.expr import Call, Expr, walk
from unfold.poly import Poly

from .. import gemm
from ..components import add, dims, extreme
from ..elementwise import RULES, convert, is_float
from ..indexing import Indexer
from ..ir import Function, Value, integer, real, scalar_of, vector, width_of
from . import implicit, products
from .nodes import (
    Branch,
    ColumnSum,
    Contract,
    Fold,
    Map,
    Op,
    Points,
    Product,
    Repeat,
    ScatterSum,
    Solve,
    Stretch,
    View,
)
from .products import Matrix
from .storage import PORTION
from .tile import Tile
from .values import Coordinate, Evaluator, Place, identity

if TYPE_CHECKING:
    from .generate import Generator


class TileEmitter:
    """Writes code for operations.

    Args:
        tile: the tile, in the function that receives the code.
        lanes: how many reals fill a vector register.
        generator: knows the module's kernels and packed operands.
        known: the function's arguments by name.
        first: whether the function runs before operands are packed.
    """

    def __init__(
        self, tile: Tile, lanes: int, generator: Generator, known: dict[str, Value], first: bool
    ) -> None:
        self.tile = tile
        self.f = tile.f
        self.lanes = lanes
        self.generator = generator
        self.known = known
        self.is_first = first
        self.is_repeated = False

    def ops(self, ops: Sequence[Op]) -> None:
        """Emit operations in order."""
        for op in ops:
            EMIT[type(op)](self, op)

    # --- loops ------------------------------------------------------------------------------------

    def over_rows(self, view: View, body: Callable[[Value], None]) -> None:
        """Once for each row of the tile, or once for what the rows share."""
        if view.shared:
            body(integer(0))
            return
        loop = self.f.loop(integer(0), self.last(self.tile.rows), 1)
        with self.tile.scope():
            body(loop.index)
        loop.close()

    def last(self, count: Value) -> Value:
        return self.f.binary("sub", count, integer(1))

    def over_components(
        self, shape: Sequence[int], lane_axis: int | None, body: Callable[[list[Value], int], None]
    ) -> None:
        """Loops over all axes; along the vector axis in steps of a register, then of its parts."""

        def nest(axis: int, at: list[Value]) -> None:
            if axis == len(shape):
                body(at, 1)
                return
            if axis == lane_axis:
                for start, count, width in pieces(shape[axis], self.lanes):
                    self.steps(start, count, width, lambda i, w: tail(axis, [*at, i], w))
                return
            self.steps(0, shape[axis], 1, lambda i, _: nest(axis + 1, [*at, i]))

        def tail(axis: int, at: list[Value], width: int) -> None:
            # The vector axis is always the last one.
            assert axis == len(shape) - 1
            body(at, width)

        nest(0, [])

    def steps(self, start: int, count: int, width: int, body: Callable[[Value, int], None]) -> None:
        """``count`` times at ``start``, ``start + width``, …; unrolled when it is one."""
        if count == 1:
            body(integer(start), width)
            return
        loop = self.f.loop(integer(0), integer(count - 1), 1)
        with self.tile.scope():
            at = loop.index
            if width != 1:
                at = self.f.binary("mul nsw", at, integer(width))
            if start:
                at = self.f.binary("add nsw", at, integer(start))
            body(at, width)
        loop.close()

    # --- element-wise operations ------------------------------------------------------------------

    def map(self, op: Map) -> None:
        if self.is_flat(op):
            self.flat(op)
            return
        target = op.target
        rank = len(target.shape)
        lane_axis = rank - 1 if rank and target.shape[-1] > 1 else None

        def row(at_row: Value) -> None:
            bases: dict[View, Value] = {}
            views = [*op.leaves.values(), target]
            for v in views:
                bases[v] = self.tile.row_base(v, at_row)

            def components(at: list[Value], width: int) -> None:
                e = Evaluator(self.tile, op.leaves, at_row, at, lane_axis, width, bases=dict(bases))
                place = identity(rank)
                value = e.value(op.rhs, self.repeated(op.rhs, target, place))
                e.store(target, place, value, op.update)

            self.over_components(target.shape, lane_axis, components)

        self.over_rows(target, row)

    def repeated(self, e: Expr, target: View, place: Place) -> Place:
        """Coordinates of an expression that repeats to the target's shape."""
        have = dims(e.shape)
        lack = len(target.shape) - len(have)
        return tuple(
            Coordinate(None) if n == 1 and m != 1 else c
            for n, m, c in zip(have, target.shape[lack:], place[lack:], strict=True)
        )

    def is_flat(self, op: Map) -> bool:
        """Whether all rows can be one line of components: all operands dense, or one number."""
        target = op.target
        whole = self.tile.row_step(target) == target.size and target.is_dense

        def fits(v: View) -> bool:
            if v.size == 1 and v.shared and v.pick is None:
                return True
            return v.is_dense and v.size == target.size and (
                self.tile.row_step(v) == v.size
            )  # fmt: skip

        if target.shared or not whole or not all(fits(v) for v in op.leaves.values()):
            return False
        for e, v in op.leaves.items():
            if v.size == 1 and not v.shared and target.size != 1:
                return False
            if (v.size == 1) != (e.shape == ()) and target.size != 1:
                return False
        return all(
            n in op.leaves
            or not isinstance(n, Call)
            or (n.op in RULES and (n.shape == () or dims(n.shape) == target.shape))
            or (n.op == "broadcast" and n.args[0].shape == ())
            for n in _above(op.rhs, set(op.leaves))
        ) and all(n.shape == () for n in walk(op.rhs) if type(n).__name__ == "Const")

    def flat(self, op: Map) -> None:
        """One loop over all components of all rows."""
        f, target = self.f, op.target
        total = f.binary("mul nsw", self.tile.rows, integer(target.size))
        for v in (*op.leaves.values(), target):
            self.tile.base(v)
        whole = f.binary("sdiv", total, integer(self.lanes))
        done = f.binary("mul nsw", whole, integer(self.lanes))

        def at(start: Value, width: int) -> None:
            with self.tile.scope():
                e = Evaluator(self.tile, op.leaves, integer(0), [start], 0, width, flat=True)
                e.store(target, identity(1), e.value(op.rhs, identity(1)), op.update)

        loop = f.loop(integer(0), self.last(whole), 1)
        at(f.binary("mul nsw", loop.index, integer(self.lanes)), self.lanes)
        loop.close()
        rest = f.loop(done, self.last(total), 1)
        at(rest.index, 1)
        rest.close()

    # --- reductions over components ---------------------------------------------------------------

    def fold(self, op: Fold) -> None:
        if op.op == "argmax":
            self.argmax(op)
            return
        shape = dims(op.rhs.shape)
        axes = list(range(len(shape))) if op.axis is None else [op.axis]
        if axes[-1] == len(shape) - 1:
            self.fold_last(op, shape, axes)
        else:
            self.fold_across(op, shape, axes[0])

    def combine(self, op: str, a: Value, b: Value) -> Value:
        return add(self.tile, a, b) if op == "sum" else extreme(self.tile, op, a, b)

    def neutral(self, op: str, kind: str) -> Value:
        if op == "sum":
            return self.tile.zero(kind)
        sign = -1 if op == "max" else 1
        if kind == "real":
            return real(sign * float("inf"), self.tile.formats.real)
        return integer(sign * (2**63 - 1))

    def fold_last(self, op: Fold, shape: tuple[int, ...], axes: list[int]) -> None:
        """Along the vector axis: lanes are combined at the end."""
        kind = op.rhs.type.kind
        outer = shape[: axes[0]]
        start = self.neutral(op.op, kind)

        def row(at_row: Value) -> None:
            def one(at: list[Value], _: int) -> None:
                parts: list[Value] = []
                for first, count, width in pieces(shape[-1], self.lanes):
                    state = self.f.splat(start, width)
                    state = self.fold_nest(op, at_row, at, shape, first, count, width, state)
                    parts.append(self.across(op.op, state))
                total = reduce(lambda a, b: self.combine(op.op, a, b), parts)
                e = Evaluator(self.tile, {}, at_row, at, None, 1)
                e.store(op.target, identity(len(outer)), total, False)

            self.over_components(outer, None, one)

        self.over_rows(op.target, row)

    def fold_nest(
        self,
        op: Fold,
        at_row: Value,
        outer: list[Value],
        shape: tuple[int, ...],
        first: int,
        count: int,
        width: int,
        state: Value,
    ) -> Value:
        """Loops over the reduced axes, carrying the state; the last one in steps of ``width``."""
        last = len(shape) - 1

        def nest(axis: int, at: list[Value], state: Value) -> Value:
            if axis > last:
                e = Evaluator(self.tile, op.leaves, at_row, at, last, width)
                value = e.value(op.rhs, identity(len(shape)))
                wanted = self.tile.formats.of(op.rhs.type.kind)
                return self.combine(op.op, state, convert(self.f, value, wanted))
            times, step, origin = (count, width, first) if axis == last else (shape[axis], 1, 0)
            if times == 1:
                return nest(axis + 1, [*at, integer(origin)], state)
            loop = self.f.loop(integer(0), integer(times - 1), 1, [state])
            with self.tile.scope():
                i = self.f.binary("mul nsw", loop.index, integer(step)) if step > 1 else loop.index
                i = self.f.binary("add nsw", i, integer(origin)) if origin else i
                inner = nest(axis + 1, [*at, i], loop.state[0])
            return loop.close([inner])[0]

        return nest(len(outer), outer, state)

    def across(self, op: str, v: Value) -> Value:
        """The lanes of a vector combined to one number."""
        width = width_of(v.type)
        while width > 1:
            width //= 2
            low, high = (self.half(v, width, k) for k in (0, 1))
            v = self.combine(op, low, high)
        return v

    def half(self, v: Value, width: int, which: int) -> Value:
        lanes = ", ".join(f"i32 {which * width + k}" for k in range(width))
        if width == 1:
            return self.f.lane(v, which)
        to = vector(scalar_of(v.type), width)
        return self.f.op(to, f"shufflevector {v}, {v.type} poison, <{width} x i32> <{lanes}>")

    def fold_across(self, op: Fold, shape: tuple[int, ...], axis: int) -> None:
        """Along another axis than the vector axis: every lane has its own result."""
        kept = shape[:axis] + shape[axis + 1 :]
        rank = len(kept)
        start = self.neutral(op.op, op.rhs.type.kind)

        def row(at_row: Value) -> None:
            def one(at: list[Value], width: int) -> None:
                loop = self.f.loop(
                    integer(0), integer(shape[axis] - 1), 1, [self.f.splat(start, width)]
                )
                with self.tile.scope():
                    full = [*at[:axis], loop.index, *at[axis:]]
                    e = Evaluator(self.tile, op.leaves, at_row, full, rank, width)
                    value = self.f.splat(e.value(op.rhs, identity(len(shape))), width)
                    wanted = self.tile.formats.of(op.rhs.type.kind)
                    state = self.combine(op.op, loop.state[0], convert(self.f, value, wanted))
                (total,) = loop.close([state])
                e = Evaluator(self.tile, {}, at_row, at, rank - 1, width)
                e.store(op.target, identity(rank), total, False)

            self.over_components(kept, rank - 1, one)

        self.over_rows(op.target, row)

    def argmax(self, op: Fold) -> None:
        """The number of the first of the largest components; of the first NaN if there is one."""
        shape = dims(op.rhs.shape)
        axis = op.axis
        along = [axis] if axis is not None else list(range(len(shape)))
        kept = [k for k in range(len(shape)) if k not in along]
        total = 1
        for k in along:
            total *= shape[k]
        f = self.f

        def row(at_row: Value) -> None:
            def one(outer: list[Value], _: int) -> None:
                def component(number: Value) -> Value:
                    at: list[Value] = [integer(0)] * len(shape)
                    for k, v in zip(kept, outer, strict=True):
                        at[k] = v
                    rest = number
                    for k in reversed(along):
                        at[k] = rest
                        if len(along) > 1:
                            at[k] = f.binary("srem", rest, integer(shape[k]))
                            rest = f.binary("sdiv", rest, integer(shape[k]))
                    e = Evaluator(self.tile, op.leaves, at_row, at, None, 1)
                    return e.value(op.rhs, identity(len(shape)))

                best = component(integer(0))
                loop = f.loop(integer(1), integer(total - 1), 1, [best, integer(0)])
                with self.tile.scope():
                    v = component(loop.index)
                    if is_float(v):
                        larger = f.compare("fcmp ugt", v, loop.state[0])
                        wins = f.binary(
                            "and", larger, f.compare("fcmp ord", loop.state[0], loop.state[0])
                        )
                    else:
                        wins = f.compare("icmp sgt", v, loop.state[0])
                    following = [
                        f.select(wins, v, loop.state[0]),
                        f.select(wins, loop.index, loop.state[1]),
                    ]
                found = loop.close(following)[1]
                e = Evaluator(self.tile, {}, at_row, outer, None, 1)
                e.store(op.target, identity(len(kept)), found, False)

            self.over_components([shape[k] for k in kept], None, one)

        self.over_rows(op.target, row)

    # --- sums over rows ---------------------------------------------------------------------------

    def column_sum(self, op: ColumnSum) -> None:
        target = op.target
        rank = len(target.shape)
        lane_axis = rank - 1 if rank and target.shape[-1] > 1 else None

        def components(at: list[Value], width: int) -> None:
            kind = self.tile.storages[target.storage].kind
            start = self.f.splat(self.tile.zero(kind), width)
            loop = self.f.loop(integer(0), self.last(self.tile.rows), 1, [start])
            with self.tile.scope():
                e = Evaluator(self.tile, op.leaves, loop.index, at, lane_axis, width)
                place = identity(rank)
                value = e.value(op.rhs, self.repeated(op.rhs, target, place))
                value = convert(self.f, value, self.tile.formats.of(kind))
                state = add(self.tile, loop.state[0], self.f.splat(value, width))
            (total,) = loop.close([state])
            e = Evaluator(self.tile, {}, integer(0), at, lane_axis, width)
            e.store(target, identity(rank), total, True)

        self.over_components(target.shape, lane_axis, components)

    def scatter_sum(self, op: ScatterSum) -> None:
        target, axis = op.target, op.axis
        rank = len(op.source.shape)
        lane_axis = rank - 1 if rank and op.source.shape[-1] > 1 else None
        slice_ = target.taken(axis, 0)

        def row(at_row: Value) -> None:
            index = self.f.load("i64", self.tile.row_base(op.index, at_row), 8)
            step = self.f.binary("mul nsw", index, integer(target.strides[axis]))
            stored = self.tile.stored(target.storage)
            start = self.f.offset(self.tile.base(slice_), stored, step)

            def components(at: list[Value], width: int) -> None:
                hole = _Leaf(op.source)
                e = Evaluator(
                    self.tile, hole.leaves, at_row, at, lane_axis, width, bases={slice_: start}
                )
                e.store(slice_, identity(rank), e.load(op.source, identity(rank)), True)

            self.over_components(op.source.shape, lane_axis, components)

        loop = self.f.loop(integer(0), self.last(self.tile.rows), 1)
        with self.tile.scope():
            row(loop.index)
        loop.close()

    # --- products ---------------------------------------------------------------------------------

    def function(self, name: str, write: Callable[[Function], None]) -> str:
        """A kernel of the module, written when it is first asked for."""
        g = self.generator
        if name not in g.kernels:
            g.kernels.add(name)
            args = [("ptr", "a", "noalias readonly"), ("ptr", "b", "noalias readonly")]
            args += [("ptr", "c", "noalias"), ("i64", "rows", "")]
            f = Function(g.module, f'"{name}"', args, linkage="internal")
            write(f)
            f.ret()
            g.module.add(str(f))
        return f'"{name}"'

    def packed(self, m: Matrix, at: Value, stride: Value, transposed: bool) -> Value:
        """The address of a shared matrix in panels: made once per call if that can be."""
        v, g = m.view, self.generator
        early = not self.is_first and v.pick is None and v.storage not in g.temporaries
        early = early and not any(p.symbols - set(g.plan.lengths) for p in v.position)
        name = g.pack_storage(m, early)
        target = g.work(self.f, name)
        if not early:
            self.pack(m, at, stride, transposed, target)
        return target

    def pack(self, m: Matrix, at: Value, stride: Value, transposed: bool, target: Value) -> None:
        """Bring a matrix into panels."""
        g = self.generator
        name = gemm.pack(g.module, g.target, g.dtype, m.columns, m.rows, transposed=transposed)
        self.f.call_void(name, at, stride, target)

    def count(self, e: Indexer, size: int, ranges: Sequence[tuple[Poly, Poly]]) -> Value:
        """How many components some positions have."""
        total = integer(size)
        for lo, hi in ranges:
            extent = self.f.intrinsic("llvm.smax", e.position(hi - lo + 1), integer(0))
            total = self.f.binary("mul nsw", total, extent)
        return total

    def product(self, op: Product) -> None:
        products.product(self, op)

    def contract(self, op: Contract) -> None:
        products.contract(self, op)

    # --- control ----------------------------------------------------------------------------------

    def branch(self, op: Branch) -> None:
        f = self.f
        yes, no, after = f.label("then"), f.label("else"), f.label("after")
        f.branch_if(self.tile.condition(op.condition), yes, no if op.otherwise else after)
        for label, body in ((yes, op.then), (no, op.otherwise)):
            if label is no and not body:
                continue
            f.start(label)
            with self.tile.scope():
                self.ops(body)
            f.branch(after)
        f.start(after)

    def repeat(self, op: Repeat) -> None:
        tile = self.tile
        ends = [tile.ends(tile.place(a), tile.place(b)) for a, b in op.ranges]
        lo, hi = ends[0]
        for a, b in ends[1:]:
            lo = self.f.intrinsic("llvm.smin", lo, a)
            hi = self.f.intrinsic("llvm.smax", hi, b)
        self.counted(op.index, lo, hi, op.direction, op.body)

    def points(self, op: Points) -> None:
        lo, hi = self.tile.bounds(op.domain, op.index)
        self.counted(op.index, lo, hi, 1, op.body)

    def counted(self, index: str, lo: Value, hi: Value, direction: int, body: Sequence[Op]) -> None:
        outer, self.is_repeated = self.is_repeated, True
        with self.tile.index_scope(index):
            loop = self.f.loop(lo, hi, direction)
            self.tile.env[index] = loop.index
            self.ops(body)
        loop.close()
        self.is_repeated = outer

    def stretch(self, op: Stretch) -> None:
        tile, f = self.tile, self.f
        lo, hi = tile.ends(tile.place(op.lows), tile.place(op.highs))
        steps = f.binary("add", f.binary("sub", hi, lo), integer(1))
        steps = f.intrinsic("llvm.smax", steps, integer(0))
        total = f.binary("mul nsw", steps, tile.rows)
        with tile.index_scope(op.index):
            tile.env[op.index] = lo
            if op.whole:
                with tile.portion(integer(0), total):
                    self.ops(op.body)
                return
            portions = f.binary(
                "sdiv", f.binary("add", total, integer(PORTION - 1)), integer(PORTION)
            )
            loop = f.loop(integer(0), self.last(portions), 1)
            first = f.binary("mul nsw", loop.index, integer(PORTION))
            count = f.intrinsic("llvm.smin", f.binary("sub", total, first), integer(PORTION))
            with tile.portion(first, count):
                self.ops(op.body)
            loop.close()


class _Leaf:
    """No expression at all: what a copy from view to view evaluates."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.leaves: dict[Expr, View] = {}


def pieces(size: int, lanes: int) -> list[tuple[int, int, int]]:
    """A range of components in vectors: (start, how many, width) with falling widths."""
    found, start, width = [], 0, lanes
    while start < size:
        count = (size - start) // width
        if count:
            found.append((start, count, width))
            start += count * width
        width //= 2
    return found


def _above(e: Expr, leaves: set[Expr]) -> list[Expr]:
    """The nodes of an expression down to its leaves."""
    found, stack = [], [e]
    while stack:
        node = stack.pop()
        found.append(node)
        if node not in leaves and isinstance(node, Call):
            stack.extend(node.args)
    return found


EMIT: dict[type, Callable[[TileEmitter, Any], None]] = {
    Map: TileEmitter.map,
    Fold: TileEmitter.fold,
    Product: TileEmitter.product,
    ColumnSum: TileEmitter.column_sum,
    Contract: TileEmitter.contract,
    ScatterSum: TileEmitter.scatter_sum,
    Branch: TileEmitter.branch,
    Repeat: TileEmitter.repeat,
    Points: TileEmitter.points,
    Stretch: TileEmitter.stretch,
    Solve: implicit.emit,
}

__all__ = ["TileEmitter", "pieces"]
