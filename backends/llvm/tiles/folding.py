"""Code for reductions over the components of each row."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from ..components import add, dims, extreme
from ..elementwise import convert, is_float
from ..ir import Value, integer, real, scalar_of, vector, width_of
from .loops import Loops, pieces
from .nodes import Fold, View
from .values import Evaluator, identity


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

            def side_by_side(at: list[Value], count: int) -> None:
                if count == 1:
                    one(at, 1)
                    return
                total = self.fold_lines(op, at_row, at, count, start)
                e = Evaluator(self.tile, at_row, at, len(outer) - 1, count)
                e.store(op.target, identity(len(outer)), total, False)

            if outer:
                (_, _, most), *_ = pieces(shape[-1], self.lanes)
                self.over_components(outer, len(outer) - 1, side_by_side, most=most)
            else:
                self.over_components(outer, None, one)

        self.over_rows(op.target, row)

    def fold_lines(
        self, op: Fold, at_row: Value, at: list[Value], count: int, start: Value
    ) -> Value:
        """Along the vector axis of ``count`` neighbouring lines: a lane for each."""
        *outer, size = dims(op.rhs.shape)
        rank, wanted = len(outer) + 1, self.tile.formats.of(op.rhs.type.kind)
        lines = [[*at[:-1], self.f.binary("add nsw", at[-1], integer(k))] for k in range(count)]

        def terms(place: Value, width: int, states: Sequence[Value]) -> list[Value]:
            bases: dict[View, Value] = {}
            found = []
            for line, state in zip(lines, states, strict=True):
                e = Evaluator(self.tile, at_row, [*line, place], rank - 1, width, bases=bases)
                value = convert(self.f, e.of(op.rhs, op.leaves, identity(rank)), wanted)
                found.append(self.combine(op.op, state, self.f.splat(value, width)))
            return found

        totals: list[Value] = []
        for first, times, width in pieces(size, self.lanes):
            states = [self.f.splat(start, width)] * count
            if times == 1:
                states = terms(integer(first), width, states)
            else:
                loop = self.f.loop(integer(0), integer(times - 1), 1, states)
                with self.tile.scope():
                    place = self.f.binary("mul nsw", loop.index, integer(width))
                    place = self.f.binary("add nsw", place, integer(first))
                    found = terms(place, width, loop.state)
                states = loop.close(found)
            totals.append(self.to_lanes(op.op, states))
        return reduce(lambda a, b: self.combine(op.op, a, b), totals)

    def to_lanes(self, op: str, vectors: Sequence[Value]) -> Value:
        """The lanes of each of some vectors combined to one number: a vector of these."""
        count = len(vectors)
        if width_of(vectors[0].type) < count:
            kind = vector(scalar_of(vectors[0].type), count)
            total = Value(kind, "poison")
            for k, v in enumerate(vectors):
                total = self.f.with_lane(total, self.across(op, v), k)
            return total
        found = list(vectors)
        while (width := width_of(found[0].type)) > count:
            found = [
                self.combine(op, self.half(v, width // 2, 0), self.half(v, width // 2, 1))
                for v in found
            ]
        # Neighbouring lanes first, inside of blocks that shuffles do not leave; then the blocks.
        block = min(count, 16 // self.tile.formats.bytes("real"))
        sizes = [1] * (block.bit_length() - 1)
        sizes += [block] * ((count // block).bit_length() - 1)
        for size in sizes:
            span = block if size == 1 else count
            found = [
                self.interleaved(op, a, b, size, span)
                for a, b in zip(found[::2], found[1::2], strict=True)
            ]
        return found[0]

    def interleaved(self, op: str, a: Value, b: Value, size: int, span: int) -> Value:
        """Neighbouring parts of ``size`` lanes combined, in each span of lanes those of ``a``, then
        those of ``b``."""
        width = width_of(a.type)
        found = []
        for odd in (0, size):
            lanes = [
                vector_of * width + start + part + odd + k
                for start in range(0, width, span)
                for vector_of in (0, 1)
                for part in range(0, span, 2 * size)
                for k in range(size)
            ]
            mask = ", ".join(f"i32 {k}" for k in lanes)
            shuffled = f"shufflevector {a}, {b}, <{width} x i32> <{mask}>"
            found.append(self.f.op(a.type, shuffled))
        return self.combine(op, *found)

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
