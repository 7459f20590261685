"""Code for reductions: over the components of each row, and over the rows."""

from __future__ import annotations

from functools import reduce

from ..components import add, dims, extreme
from ..elementwise import convert, is_float
from ..ir import Value, integer, real, scalar_of, vector, width_of
from .loops import Loops, pieces
from .nodes import ColumnSum, Fold, ScatterSum
from .rowwise import is_line, repeated
from .values import Evaluator, Place, identity


class Folding(Loops):
    """Writes the loops of reductions."""

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
                e = Evaluator(self.tile, at_row, at, None, 1)
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
                e = Evaluator(self.tile, at_row, at, last, width)
                value = e.of(op.rhs, op.leaves, identity(len(shape)))
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
                    e = Evaluator(self.tile, at_row, full, rank, width)
                    value = self.f.splat(e.of(op.rhs, op.leaves, identity(len(shape))), width)
                    wanted = self.tile.formats.of(op.rhs.type.kind)
                    state = self.combine(op.op, loop.state[0], convert(self.f, value, wanted))
                (total,) = loop.close([state])
                e = Evaluator(self.tile, at_row, at, rank - 1, width)
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
                    e = Evaluator(self.tile, at_row, at, None, 1)
                    return e.of(op.rhs, op.leaves, identity(len(shape)))

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
                e = Evaluator(self.tile, at_row, outer, None, 1)
                e.store(op.target, identity(len(kept)), found, False)

            self.over_components([shape[k] for k in kept], None, one)

        self.over_rows(op.target, row)

    # --- sums over rows ---------------------------------------------------------------------------

    def column_sum(self, op: ColumnSum) -> None:
        target = op.target
        kind = self.tile.storages[target.storage].kind
        start = self.neutral(op.op, kind)
        if target.shape == () and is_line(self, op.leaves.items(), op.rhs):
            self.column_of_numbers(op, kind, start)
            return
        rank = len(target.shape)
        lane_axis = rank - 1 if rank and target.shape[-1] > 1 else None

        def components(at: list[Value], width: int) -> None:
            begin = self.f.splat(start, width)
            loop = self.f.loop(integer(0), self.last(self.tile.rows), 1, [begin])
            with self.tile.scope():
                e = Evaluator(self.tile, loop.index, at, lane_axis, width)
                place = identity(rank)
                value = e.of(op.rhs, op.leaves, repeated(op.rhs, target, place))
                value = convert(self.f, value, self.tile.formats.of(kind))
                state = self.combine(op.op, loop.state[0], self.f.splat(value, width))
            (total,) = loop.close([state])
            e = Evaluator(self.tile, integer(0), at, lane_axis, width)
            self.deliver_column(op, e, identity(rank), total)

        self.over_components(target.shape, lane_axis, components)

    def column_of_numbers(self, op: ColumnSum, kind: str, start: Value) -> None:
        """One number from one in each row: vectors of rows, then the rows that are left."""
        f, wanted = self.f, self.tile.formats.of(kind)
        for v in op.leaves.values():
            self.tile.base(v)

        def terms(first: Value, last: Value, width: int, state: Value) -> Value:
            loop = f.loop(first, last, 1, [state])
            with self.tile.scope():
                at = f.binary("mul nsw", loop.index, integer(width))
                e = Evaluator(self.tile, integer(0), [at], 0, width, flat=True)
                value = convert(f, e.of(op.rhs, op.leaves, identity(1)), wanted)
                following = self.combine(op.op, loop.state[0], f.splat(value, width))
            return loop.close([following])[0]

        whole = f.binary("sdiv", self.tile.rows, integer(self.lanes))
        wide = f.splat(start, self.lanes)
        state = terms(integer(0), self.last(whole), self.lanes, wide)
        done = f.binary("mul nsw", whole, integer(self.lanes))
        if self.masks:
            mask = self.first_lanes(f.binary("sub", self.tile.rows, done))
            with self.tile.scope():
                e = Evaluator(self.tile, integer(0), [done], 0, self.lanes, flat=True, mask=mask)
                value = convert(f, e.of(op.rhs, op.leaves, identity(1)), wanted)
            term = f.select(mask, f.splat(value, self.lanes), wide)
            total = self.across(op.op, self.combine(op.op, state, term))
        else:
            total = self.across(op.op, state)
            total = terms(done, self.last(self.tile.rows), 1, total)
        e = Evaluator(self.tile, integer(0), [], None, 1)
        self.deliver_column(op, e, (), total)

    def deliver_column(self, op: ColumnSum, e: Evaluator, place: Place, total: Value) -> None:
        """Write a total, or bring it together with what is there."""
        if not op.fresh and op.op != "sum":
            old = e.load(op.target, place)
            e.store(op.target, place, self.combine(op.op, old, total), False)
        else:
            e.store(op.target, place, total, not op.fresh)

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
                e = Evaluator(self.tile, at_row, at, lane_axis, width, bases={slice_: start})
                e.store(slice_, identity(rank), e.load(op.source, identity(rank)), True)

            self.over_components(op.source.shape, lane_axis, components)

        loop = self.f.loop(integer(0), self.last(self.tile.rows), 1)
        with self.tile.scope():
            row(loop.index)
        loop.close()
