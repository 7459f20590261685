"""The value of an element-wise expression at some components of one row.

The emission is generic over one *vector axis*: along it a value has as many lanes as asked for,
along all others one component at a time. Where a component stands is said by coordinates, one for
each axis of an expression's shape; `transpose`, slices and broadcasting only rearrange those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from unfold.expr import Call, Const, Expr, Position

from .. import elementwise
from ..components import dims
from ..elementwise import convert
from ..ir import Value, integer, real, suffix, vector, width_of
from .nodes import View
from .tile import Tile


@dataclass(frozen=True)
class Coordinate:
    """The component ``offset`` places after that of the loop over ``axis`` (``None``: after 0)."""

    axis: int | None
    offset: int = 0

    def moved(self, by: int) -> Coordinate:
        return Coordinate(self.axis, self.offset + by)


Place = tuple[Coordinate, ...]
ORIGIN = Coordinate(None, 0)


def identity(rank: int) -> Place:
    """Each axis at its own loop."""
    return tuple(Coordinate(k) for k in range(rank))


class Evaluator:
    """Evaluates expressions in one row.

    Args:
        tile: where instructions go.
        row: the number of the row.
        axes: the loops' values, axis by axis.
        lane_axis: the vector axis; ``None`` for none.
        width: how many components along it are computed side by side.
        flat: whether axis 0 runs over all components of all rows, standing in a line.
        bases: the addresses of views in this row, where they are known.
        mask: where ``flat``, the lanes that are there; ``None`` for all.
    """

    def __init__(
        self,
        tile: Tile,
        row: Value,
        axes: list[Value],
        lane_axis: int | None,
        width: int,
        flat: bool = False,
        bases: dict[View, Value] | None = None,
        mask: Value | None = None,
    ) -> None:
        self.tile = tile
        self.f = tile.f
        self.leaves: Mapping[Expr, View] = {}
        self.row = row
        self.axes = axes
        self.lane_axis = lane_axis
        self.width = width
        self.flat = flat
        self.mask = mask
        self.bases = {} if bases is None else bases
        self.memo: dict[tuple[Expr | View, Place], Value] = {}

    def of(self, e: Expr, leaves: Mapping[Expr, View], place: Place) -> Value:
        """A component of an expression, of which ``leaves`` says what stands in memory.

        What an expression before it had in common is not computed again; equal expressions must
        therefore have equal leaves.
        """
        self.leaves = leaves
        return self.value(e, place)

    def value(self, e: Expr, place: Place) -> Value:
        """One component, or ``width`` of them along the vector axis."""
        leaf = self.leaves.get(e)
        if self.flat and (e.shape != () or (leaf is not None and not leaf.shared)):
            place = identity(1)
        key = (e if leaf is None else leaf, place)
        if key not in self.memo:
            self.memo[key] = self.compute(e, place)
        return self.memo[key]

    def compute(self, e: Expr, place: Place) -> Value:
        formats = self.tile.formats
        if e in self.leaves:
            return self.load(self.leaves[e], place)
        if isinstance(e, Const):
            value = e.value
            if e.shape != ():
                at = tuple(c.offset for c in place)
                if any(c.axis is not None for c in place):
                    return self.constant_array(e, place)
                value = np.broadcast_to(np.asarray(value), dims(e.shape))[at]
            if e.type.kind == "real":
                return real(float(value), formats.real)
            return integer(int(value), formats.of(e.type.kind))
        if isinstance(e, Position):
            return self.tile.position(e.poly)
        assert isinstance(e, Call)
        if e.op in _THROUGH:
            return _THROUGH[e.op](self, e, place)
        args = [self.value(a, self.broadcast(a, e, place)) for a in e.args]
        return elementwise.emit(self.f, formats, e, args)

    def broadcast(self, a: Expr, e: Expr, place: Place) -> Place:
        """Coordinates of an operand whose shape repeats to that of the result."""
        if self.flat:
            return identity(1) if a.shape != () else ()
        have, want = dims(a.shape), dims(e.shape)
        lack = len(want) - len(have)
        return tuple(
            ORIGIN if n == 1 and m != 1 else c
            for n, m, c in zip(have, want[lack:], place[lack:], strict=True)
        )

    def coordinate(self, c: Coordinate) -> Value:
        """A coordinate as a number; along the vector axis one for each lane."""
        if c.axis is None:
            return integer(c.offset)
        at = self.axes[c.axis]
        if c.offset:
            at = self.f.binary("add nsw", at, integer(c.offset))
        if c.axis == self.lane_axis and self.width > 1:
            wide = vector("i64", self.width)
            steps = ", ".join(f"i64 {k}" for k in range(self.width))
            at = self.f.binary("add", self.f.splat(at, self.width), Value(wide, f"<{steps}>"))
        return at

    def constant_array(self, e: Const, place: Place) -> Value:
        """A component of a constant array at run-time coordinates: a chain of choices."""
        shape = dims(e.shape)
        values = np.broadcast_to(np.asarray(e.value), shape)
        result: Value | None = None
        for at in np.ndindex(*shape):
            one = Const(values[at].item(), (), e.type)
            here = self.compute(one, ())
            if result is None:
                result = here
                continue
            hit: Value | None = None
            for c, k in zip(place, at, strict=True):
                if c.axis is None:
                    continue
                where = self.coordinate(c)
                same = self.f.compare("icmp eq", where, integer(k, where.type))
                hit = same if hit is None else self.both(hit, same)
            assert hit is not None
            width = max(width_of(hit.type), width_of(result.type))
            result = self.f.select(*(self.f.splat(v, width) for v in (hit, here, result)))
        assert result is not None
        return result

    def both(self, a: Value, b: Value) -> Value:
        width = max(width_of(a.type), width_of(b.type))
        return self.f.binary("and", self.f.splat(a, width), self.f.splat(b, width))

    def load(self, v: View, place: Place) -> Value:
        f, tile = self.f, self.tile
        stored = tile.stored(v.storage)
        kind = tile.storages[v.storage].kind
        size = tile.formats.bytes(kind)
        if self.flat:
            pointer = tile.base(v)
            if v.size == 1 and v.shared:
                loaded = f.load(stored, pointer, size)
            else:
                at = f.offset(pointer, stored, self.axes[0])
                loaded = self.vector_at(at, stored, size)
            return convert(f, loaded, tile.formats.of(kind))
        pointer = self.bases.get(v) or tile.row_base(v, self.row)
        self.bases[v] = pointer
        at, lane_stride = self.address(v, place, pointer, stored)
        if self.width == 1 or lane_stride == 0:
            loaded = f.load(stored, at, size)
        elif lane_stride == 1:
            loaded = f.load(vector(stored, self.width), at, size)
        else:
            loaded = Value(vector(stored, self.width), "poison")
            for k in range(self.width):
                here = f.offset(at, stored, integer(k * lane_stride))
                loaded = f.with_lane(loaded, f.load(stored, here, size), k)
        return convert(f, loaded, tile.formats.of(kind))

    def address(self, v: View, place: Place, pointer: Value, stored: str) -> tuple[Value, int]:
        """The address of a component and the distance of the next one along the vector axis."""
        f = self.f
        constant, lane_stride = 0, 0
        for c, stride in zip(place, v.strides, strict=True):
            constant += c.offset * stride
            if c.axis is not None and stride:
                if c.axis == self.lane_axis:
                    lane_stride += stride
                at = self.axes[c.axis]
                if stride != 1:
                    at = f.binary("mul nsw", at, integer(stride))
                pointer = f.offset(pointer, stored, at)
        return f.offset(pointer, stored, integer(constant)), lane_stride

    def store(self, v: View, place: Place, value: Value, update: bool) -> None:
        """Write (or add to) components of a view."""
        self.writer(v, place, value, update)()

    def writer(self, v: View, place: Place, value: Value, update: bool) -> Callable[[], None]:
        """What writes (or adds to) components of a view, which others may still be read from."""
        f, tile = self.f, self.tile
        kind = tile.storages[v.storage].kind
        stored, size = tile.stored(v.storage), tile.formats.bytes(kind)
        wanted = tile.formats.of(kind)
        value = f.splat(convert(f, value, wanted), self.width)
        if self.flat:
            at, lane_stride = f.offset(tile.base(v), stored, self.axes[0]), 1
        else:
            pointer = self.bases.get(v) or tile.row_base(v, self.row)
            self.bases[v] = pointer
            at, lane_stride = self.address(v, place, pointer, stored)
        if not update:
            self.memo[v, place] = value

        def write() -> None:
            if self.width == 1 or lane_stride == 1:
                self.put(value, at, stored, size, update, kind)
                return
            for k in range(self.width):
                here = f.offset(at, stored, integer(k * lane_stride))
                self.put(f.lane(value, k), here, stored, size, update, kind)

        return write

    def vector_at(self, at: Value, stored: str, size: int) -> Value:
        """A vector in memory; lanes that are not there are zero."""
        kind = vector(stored, self.width)
        if self.mask is None:
            return self.f.load(kind, at, size)
        name = f"llvm.masked.load.{suffix(kind)}.p0"
        self.f.module.declare(name, kind, ["ptr", "i32 immarg", self.mask.type, kind])
        zero = Value(kind, "zeroinitializer")
        args = f"{at}, i32 {size}, {self.mask}, {zero}"
        return self.f.op(kind, f"call {kind} @{name}({args})")

    def put(self, value: Value, at: Value, stored: str, size: int, update: bool, kind: str) -> None:
        f = self.f
        if update:
            old = self.vector_at(at, stored, size) if self.flat else f.load(value.type, at, size)
            value = f.binary("fadd" if kind == "real" else "add", old, value)
        value = convert(f, value, stored)
        if self.mask is None:
            f.store(value, at, size)
            return
        name = f"llvm.masked.store.{suffix(value.type)}.p0"
        f.module.declare(name, "void", [value.type, "ptr", "i32 immarg", self.mask.type])
        f.emit(f"call void @{name}({value}, {at}, i32 {size}, {self.mask})")


def _broadcast(v: Evaluator, e: Call, place: Place) -> Value:
    a = e.args[0]
    return v.value(a, v.broadcast(a, e, place))


def _transpose(v: Evaluator, e: Call, place: Place) -> Value:
    return v.value(e.args[0], place[::-1])


def _slice(v: Evaluator, e: Call, place: Place) -> Value:
    axis, lo = e.attr("axis"), e.attr("lo").evaluate({})
    return v.value(e.args[0], (*place[:axis], place[axis].moved(lo), *place[axis + 1 :]))


def _reshape(v: Evaluator, e: Call, place: Place) -> Value:
    """Only for shapes that differ by axes of one component."""
    kept = iter(c for c, n in zip(place, dims(e.shape), strict=True) if n != 1)
    inner = tuple(ORIGIN if n == 1 else next(kept) for n in dims(e.args[0].shape))
    return v.value(e.args[0], inner)


def _outer(v: Evaluator, e: Call, place: Place) -> Value:
    a, b = (
        convert(v.f, v.value(x, (c,)), v.tile.formats.real)
        for x, c in zip(e.args, place, strict=True)
    )
    width = max(width_of(a.type), width_of(b.type))
    return v.f.binary("fmul contract", v.f.splat(a, width), v.f.splat(b, width))


def _hit(v: Evaluator, index: Expr, c: Coordinate) -> Value:
    at, chosen = v.coordinate(c), v.value(index, ())
    return v.f.compare("icmp eq", at, v.f.splat(chosen, width_of(at.type)))


def _onehot(v: Evaluator, e: Call, place: Place) -> Value:
    return convert(v.f, _hit(v, e.args[0], place[0]), v.tile.formats.real)


def _scatter(v: Evaluator, e: Call, place: Place) -> Value:
    axis = e.attr("axis")
    hit = _hit(v, e.args[1], place[axis])
    value = v.value(e.args[0], place[:axis] + place[axis + 1 :])
    width = max(width_of(hit.type), width_of(value.type))
    zero = v.f.splat(v.tile.zero(e.type.kind), width)
    return v.f.select(v.f.splat(hit, width), v.f.splat(value, width), zero)


def _half_lower(v: Evaluator, e: Call, place: Place) -> Value:
    value = convert(v.f, v.value(e.args[0], place), v.tile.formats.real)
    row, column = (v.coordinate(c) for c in place)
    width = max(width_of(x.type) for x in (value, row, column))
    value, row, column = (v.f.splat(x, width) for x in (value, row, column))
    half = v.f.binary("fmul", value, v.f.splat(real(0.5, v.tile.formats.real), width))
    zero = v.f.splat(v.tile.zero("real"), width)
    upper = v.f.select(v.f.compare("icmp eq", row, column), half, zero)
    return v.f.select(v.f.compare("icmp sgt", row, column), value, upper)


_THROUGH = {
    "broadcast": _broadcast,
    "transpose": _transpose,
    "slice": _slice,
    "reshape": _reshape,
    "outer": _outer,
    "onehot": _onehot,
    "scatter": _scatter,
    "half_lower": _half_lower,
}
