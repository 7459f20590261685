"""Code for reductions over the rows of a tile."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

from unfold.expr import kinds
from unfold.ops.functions import FUNCTIONS

from ..elementwise import convert
from ..ir import Value, integer
from .folding import Folding
from .loops import blocks
from .nodes import ColumnSum, ScatterSum, View
from .rowwise import is_line, repeated
from .values import Evaluator, Place, identity

#: So many sums over rows are made at once: two additions a cycle, each of which takes four.
SUMS = 8


class Summing(Folding):
    """Writes the loops of reductions, those over rows too."""

    def column_sum(self, op: ColumnSum) -> None:
        target = op.target
        kind = self.tile.storages[target.storage].kind
        start = self.neutral(op.op, kind)
        if target.shape == () and is_line(self, op.leaves.items(), op.rhs):
            self.column_of_numbers(op, kind, start)
            return
        rank = len(target.shape)
        lane_axis = rank - 1 if rank and target.shape[-1] > 1 else None

        place = identity(rank)

        def together(some: Sequence[tuple[list[Value], int]]) -> None:
            begin = [self.f.splat(start, width) for _, width in some]
            loop = self.f.loop(integer(0), self.last(self.tile.rows), 1, begin)
            states = []
            with self.tile.scope():
                bases: dict[View, Value] = {}
                for (at, width), state in zip(some, loop.state, strict=True):
                    e = Evaluator(self.tile, loop.index, at, lane_axis, width, bases=bases)
                    value = e.of(op.rhs, op.leaves, repeated(op.rhs, target, place))
                    value = convert(self.f, value, self.tile.formats.of(kind))
                    states.append(self.combine(op.op, state, self.f.splat(value, width)))
            for (at, width), total in zip(some, loop.close(states), strict=True):
                e = Evaluator(self.tile, integer(0), at, lane_axis, width)
                self.deliver_column(op, e, place, total)

        # Sums side by side hide the latency of additions; what calls functions takes long enough.
        size = target.shape[-1] if lane_axis is not None else 1
        found = blocks(size, self.lanes)
        if len(found) > SUMS or not kinds(op.rhs).isdisjoint(FUNCTIONS):
            self.over_components(target.shape, lane_axis, lambda at, width: together([(at, width)]))
            return
        heads = target.shape[:-1] if lane_axis is not None else target.shape
        several = prod(heads) * len(found) <= SUMS

        def lines(at: list[Value]) -> list[tuple[list[Value], int]]:
            if lane_axis is None:
                return [(at, 1)]
            return [([*at, integer(first)], width) for first, width in found]

        if several:
            all_heads = product(*(range(n) for n in heads))
            together([b for at in all_heads for b in lines([integer(k) for k in at])])
        else:
            self.over_components(heads, None, lambda at, _: together(lines(at)))

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
