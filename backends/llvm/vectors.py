"""Operations on the components of one sequence, neighbours side by side in vector registers.

An element of several components is a few *pieces*: along its last axis as many components as a
register holds, then the rest of the row. What LLVM would have to find out again from components
that are written one by one, namely which of them can go together, is known here; the code is
shorter by the width of a register, and so is the time that LLVM takes for it.

A value is one for each piece of its `layout`. Without vectors every piece is a component.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import groupby
from math import prod

import numpy as np

from unfold.expr import Call

from . import components, elementwise, vecmath
from .components import REARRANGED, ZERO, Components, Unit, add, dims, extreme, groups, tree
from .elementwise import convert
from .ir import Function, Value, integer, number_of, vector, width_of

#: The number of a piece's first component, and how many it has.
Piece = tuple[int, int]
Rule = Callable[[Unit, Call, Sequence[Components]], Components]
Combine = Callable[[Value, Value], Value]
_FAST = "contract"
#: From so many products on a sum is made as two, and from four times as many as four: fewer of
#: them wait for each other.
_CHAINED = 6


@lru_cache(maxsize=4096)
def layout(shape: tuple[int, ...], width: int) -> tuple[Piece, ...]:
    """The pieces of an element, for registers of ``width`` components."""
    if width == 1 or not shape:
        return tuple((k, 1) for k in range(prod(shape)))
    row = shape[-1]
    return tuple(
        (start + k, min(width, row - k))
        for start in range(0, prod(shape), row)
        for k in range(0, row, width)
    )


def emit(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    """The pieces of an operation's result.

    Raises:
        KeyError: the op has no rule.
    """
    if u.width == 1 or not any(a.shape for a in (node, *node.args)):
        return components.emit(u, node, args)
    rule = RULES.get(node.op)
    if rule is not None:
        return rule(u, node, args)
    if node.op in elementwise.RULES:
        return _elementwise(u, node, args)
    return _apart(u, node, args)


def _apart(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    """The result of a rule that takes every component by itself."""
    shapes = [dims(a.shape) for a in node.args]
    single = [apart(u, v, shape) for v, shape in zip(args, shapes, strict=True)]
    return together(u, components.emit(u, node, single), dims(node.shape))


# --- pieces and components ------------------------------------------------------------------------


def apart(u: Unit, values: Components, shape: tuple[int, ...]) -> Components:
    """Every component of an element by itself."""
    pieces = zip(values, layout(shape, u.width), strict=True)
    return [u.f.lane(v, k) if n > 1 else v for v, (_, n) in pieces for k in range(n)]


def together(u: Unit, values: Components, shape: tuple[int, ...]) -> Components:
    """The pieces of an element from its components."""
    return [joined(u.f, values[first : first + n]) for first, n in layout(shape, u.width)]


def filled(u: Unit, value: Value, shape: tuple[int, ...]) -> Components:
    """The pieces of an element whose components are all the same."""
    return [u.f.splat(value, n) for _, n in layout(shape, u.width)]


def joined(f: Function, values: Components) -> Value:
    """A register that holds some scalars."""
    if len(values) == 1:
        return values[0]
    kind = vector(values[0].type, len(values))
    if all(v.name == values[0].name for v in values):
        return f.splat(values[0], len(values))
    if not any(v.name.startswith("%") for v in values):
        return Value(kind, f"<{', '.join(map(str, values))}>")
    found = Value(kind, "poison")
    for k, v in enumerate(values):
        found = f.with_lane(found, v, k)
    return found


class _Source:
    """Components that are picked from: those of some operands, counted through."""

    def __init__(self, u: Unit, values: Components, shapes: Sequence[tuple[int, ...]]) -> None:
        self.u = u
        self.values = values
        at = [
            (k, lane)
            for k, n in enumerate(n for shape in shapes for _, n in layout(shape, u.width))
            for lane in range(n)
        ]
        self.at: dict[int, tuple[int, int]] = dict(enumerate(at))

    def piece(self, numbers: Sequence[int]) -> Value:
        """The components with these numbers side by side."""
        u, f = self.u, self.u.f
        places = [self.at.get(n) for n in numbers]
        used = list(dict.fromkeys(p[0] for p in places if p is not None))
        if len(numbers) == 1:
            return self.component(numbers[0])
        if len(used) == 1:
            only = self.values[used[0]]
            lanes = width_of(only.type)
            mask = [lanes if p is None else p[1] for p in places]
            if mask == list(range(lanes)):
                return only
            if lanes > 1:
                other = Value(only.type, "zeroinitializer" if lanes in mask else "poison")
                return shuffle(u, only, other, mask)
            if None not in places:
                return f.splat(only, len(numbers))
        if len(used) == 2 and None not in places:
            a, b = (self.values[k] for k in used)
            if a.type == b.type and width_of(a.type) > 1:
                skips = {used[0]: 0, used[1]: width_of(a.type)}
                return shuffle(u, a, b, [skips[p[0]] + p[1] for p in places if p is not None])
        return joined(u.f, [self.component(n) for n in numbers])

    def component(self, number: int) -> Value:
        place = self.at.get(number)
        if place is None:
            return self.values[-1]
        return self.u.f.lane(self.values[place[0]], place[1])


def shuffle(u: Unit, a: Value, b: Value, lanes: Sequence[int]) -> Value:
    """Chosen lanes of ``a`` (counted from 0) and of ``b`` (counted on from there)."""
    if len(set(lanes)) == 1:
        mask = f"splat (i32 {lanes[0]})" if lanes[0] else "zeroinitializer"
    else:
        mask = f"<{', '.join(f'i32 {k}' for k in lanes)}>"
    to = vector(a.type[a.type.index("x ") + 2 : -1], len(lanes))
    return u.f.pure(to, f"shufflevector {a}, {b}, <{len(lanes)} x i32> {mask}")


def _picked(
    u: Unit,
    values: Components,
    shapes: Sequence[tuple[int, ...]],
    numbers: Sequence[int],
    shape: tuple[int, ...],
) -> Components:
    """An element whose components are those of others that have these numbers."""
    source = _Source(u, values, shapes)
    return [source.piece(numbers[first : first + n]) for first, n in layout(shape, u.width)]


def _rearranged(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    kind = node.type.kind
    values = [convert(u.f, v, u.formats.of(kind)) for a in args for v in a]
    numbers = REARRANGED[node.op](node).ravel().tolist()
    if ZERO in numbers:
        values.append(u.zero(kind))
    return _picked(u, values, [dims(a.shape) for a in node.args], numbers, dims(node.shape))


def _elementwise(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    shape = dims(node.shape)
    ready = []
    for values, a in zip(args, node.args, strict=True):
        have = dims(a.shape)
        if have != shape and have:
            numbers = components.broadcast_map(have, shape)
            values = _picked(u, values, [have], numbers, shape)
        ready.append(values if have else values * len(layout(shape, u.width)))
    return [elementwise.emit(u.f, u.formats, node, v) for v in zip(*ready, strict=True)]


# --- products ---------------------------------------------------------------------------------


def _reals(u: Unit, values: Components) -> Components:
    return [convert(u.f, v, u.formats.real) for v in values]


def _matmul(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    left, (inner, *columns) = (dims(a.shape) for a in node.args)
    a, b = (_reals(u, x) for x in args)
    if not columns:
        return _dots(u, _rows(u, a, left), b)
    lefts = _Source(u, a, [left])
    size = len(layout(tuple(columns), u.width))
    result = []
    for row in range(prod(left[:-1])):
        for at in range(size):
            below = b[at::size]
            factors = [
                lefts.piece([row * inner + k] * width_of(below[k].type)) for k in range(inner)
            ]
            result.append(_sum_of_products(u, factors, below))
    return result


def _sum_of_products(u: Unit, a: Components, b: Components) -> Value:
    """The sum of the products of two lists, which may fuse."""
    chains = 1 if len(a) < _CHAINED else 2 if len(a) < 4 * _CHAINED else 4
    return tree(
        lambda x, y: add(u, x, y),
        [components.dot(u, zip(a[k::chains], b[k::chains], strict=True)) for k in range(chains)],
    )


def _dots(u: Unit, rows: Sequence[Components], b: Components) -> Components:
    """The products of some rows with a vector, side by side."""

    def plus(x: Value, y: Value) -> Value:
        return add(u, x, y)

    products = [
        [u.binary(f"fmul {_FAST}", x, y) for x, y in zip(row, b, strict=True)] for row in rows
    ]
    found = []
    for first, count in layout((len(rows),), u.width):
        if count == 1:
            found.append(reduced(u, products[first], plus))
            continue
        terms = zip(*products[first : first + count], strict=True)
        widths = groupby(terms, lambda column: width_of(column[0].type))
        sums = [
            _across(u, [tree(plus, list(x)) for x in zip(*same, strict=True)], width)
            for width, same in widths
        ]
        found.append(tree(plus, sums))
    return found


def _across(u: Unit, rows: Components, width: int) -> Value:
    """The sum of each of some registers, side by side.

    Neighbours within 128 bits are added first, of two registers at once: what leaves these takes
    a processor three times as long.
    """
    if width == 1:
        return joined(u.f, rows)
    wide = 1 << (width - 1).bit_length()
    if wide > width:
        zero = Value(rows[0].type, "zeroinitializer")
        mask = [*range(width), *[width] * (wide - width)]
        rows = [shuffle(u, v, zero, mask) for v in rows]
    near = min(wide, 16 // u.formats.bytes("real"))
    halves = [
        start + source + k
        for start in range(0, wide, near)
        for source in (0, wide)
        for k in range(0, near, 2)
    ]
    blocks = [k for k in range(2 * wide) if k // near % 2 == 0]
    count, parts = len(rows), wide
    while parts > 1:
        # Every part of every register is to be added to the one beside it.
        low, distance = (halves, 1) if parts > wide // near else (blocks, near)
        high = [k + distance for k in low]
        pairs = [rows[k : k + 2] for k in range(0, len(rows), 2)]
        rows = [
            add(u, shuffle(u, pair[0], pair[-1], low), shuffle(u, pair[0], pair[-1], high))
            for pair in pairs
        ]
        parts //= 2
    return _concatenated(u, rows, count)


def _concatenated(u: Unit, values: Components, count: int) -> Value:
    """The first components of some registers one after the other."""
    wide = width_of(values[0].type)
    if len(values) == 1:
        none = Value(values[0].type, "poison")
        return values[0] if wide == count else shuffle(u, values[0], none, range(count))
    if len(values) == 2:
        return shuffle(u, values[0], values[1], range(count))
    return joined(u.f, [u.f.lane(values[k // wide], k % wide) for k in range(count)])


def _outer(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    a, b = (_reals(u, x) for x in args)
    rows = apart(u, a, dims(node.args[0].shape))
    return [u.binary(f"fmul {_FAST}", x, y) for x in rows for y in b]


# --- reductions ---------------------------------------------------------------------------------


def reduced(u: Unit, pieces: Components, combine: Combine) -> Value:
    """All components of some pieces combined, one half of a register with the other."""
    single = []
    for width, group in groupby(pieces, lambda v: width_of(v.type)):
        value = tree(combine, list(group))
        while width > 1:
            half, odd = divmod(width, 2)
            if odd:
                single.append(u.f.lane(value, width - 1))
            if half == 1:
                low, high = u.f.lane(value, 0), u.f.lane(value, 1)
            else:
                none = Value(value.type, "poison")
                low = shuffle(u, value, none, range(half))
                high = shuffle(u, value, none, range(half, 2 * half))
            value, width = combine(low, high), half
        single.append(value)
    return tree(combine, single)


def _rows(u: Unit, values: Components, shape: tuple[int, ...]) -> list[Components]:
    """The pieces of each row."""
    size = len(layout(shape[-1:], u.width))
    return [values[k : k + size] for k in range(0, len(values), size)]


def _reduction(which: str) -> Rule:
    def rule(u: Unit, node: Call, args: Sequence[Components]) -> Components:
        def combine(a: Value, b: Value) -> Value:
            return add(u, a, b) if which == "sum" else extreme(u, which, a, b)

        shape, axis = dims(node.args[0].shape), node.attr("axis")
        if axis is None:
            return [reduced(u, args[0], combine)]
        if axis == len(shape) - 1:
            found = [reduced(u, row, combine) for row in _rows(u, args[0], shape)]
            return together(u, found, dims(node.shape))
        numbers = np.array(groups(shape, axis))
        terms = [
            _picked(u, args[0], [shape], column.tolist(), dims(node.shape)) for column in numbers.T
        ]
        return [tree(combine, parts) for parts in zip(*terms, strict=True)]

    return rule


def _exponentials(u: Unit, values: Components) -> tuple[Components, Value, Value]:
    """``exp(v - shift)`` of each component, the shift, and their sum; see `components`."""
    top = reduced(u, values, lambda a, b: extreme(u, "max", a, b))
    shift = components.shift(u, top)
    terms = [vecmath.emit(u.f, "exp", u.binary("fsub", v, shift)) for v in values]
    return terms, shift, reduced(u, terms, lambda a, b: add(u, a, b))


def _log_of_sum(u: Unit, values: Components) -> Value:
    _, shift, total = _exponentials(u, values)
    return u.binary("fadd", vecmath.emit(u.f, "log", total), shift)


def _along_rows(of_row: Callable[[Unit, Components], Components]) -> Rule:
    """An operation along the last axis, row by row; along others component by component."""

    def rule(u: Unit, node: Call, args: Sequence[Components]) -> Components:
        shape, axis = dims(node.args[0].shape), node.attr("axis")
        if axis not in (None, len(shape) - 1) or (axis is None and len(shape) > 1):
            return _apart(u, node, args)
        found = [v for row in _rows(u, _reals(u, args[0]), shape) for v in of_row(u, row)]
        return found if node.shape == node.args[0].shape else together(u, found, dims(node.shape))

    return rule


def _softmax(u: Unit, row: Components) -> Components:
    terms, _, total = _exponentials(u, row)
    return [u.binary("fdiv", v, components.divisor(u, total)) for v in terms]


def _log_softmax(u: Unit, row: Components) -> Components:
    total = _log_of_sum(u, row)
    return [u.binary("fsub", v, total) for v in row]


# --- choice by an integer -------------------------------------------------------------------------


def _onehot(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    (index,) = args[0]
    found = []
    for first, n in layout(dims(node.shape), u.width):
        numbers = joined(u.f, [integer(k) for k in range(first, first + n)])
        hit = u.f.compare("icmp eq", u.f.splat(index, n), numbers)
        found.append(convert(u.f, hit, u.formats.real))
    return found


def _take(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    numbers = np.moveaxis(components.numbered(node), node.attr("axis"), 0)
    (index,) = args[1]
    shape = dims(node.shape)

    def entry(k: int) -> Components:
        have = [dims(node.args[0].shape)]
        return _picked(u, args[0], have, numbers[k].ravel().tolist(), shape)

    known = number_of(index)
    if known is not None:
        return entry(known)
    result = entry(0)
    for k in range(1, len(numbers)):
        hit = u.f.compare("icmp eq", index, integer(k))
        result = [u.f.select(hit, a, b) for a, b in zip(entry(k), result, strict=True)]
    return result


def _cross_entropy(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    logits, (label,) = _reals(u, args[0]), args[1]
    single = apart(u, logits, dims(node.args[0].shape))
    chosen = single[0]
    for k, v in enumerate(single[1:], start=1):
        chosen = u.select(u.f.compare("icmp eq", label, integer(k)), v, chosen)
    return [u.binary("fsub", _log_of_sum(u, logits), chosen)]


RULES: dict[str, Rule] = {
    "matmul": _matmul,
    "outer": _outer,
    **dict.fromkeys(REARRANGED, _rearranged),
    "take": _take,
    "onehot": _onehot,
    "sum": _reduction("sum"),
    "max": _reduction("max"),
    "min": _reduction("min"),
    "softmax": _along_rows(_softmax),
    "log_softmax": _along_rows(_log_softmax),
    "logsumexp": _along_rows(lambda u, row: [_log_of_sum(u, row)]),
    "cross_entropy": _cross_entropy,
}

__all__ = ["RULES", "apart", "emit", "filled", "joined", "layout", "reduced", "shuffle", "together"]
