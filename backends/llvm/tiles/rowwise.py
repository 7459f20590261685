"""Code for maps: element-wise expressions, component by component, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from unfold.expr import Call, Const, Expr

from ..components import dims
from ..elementwise import RULES
from ..ir import Value, integer
from .ahead import ask
from .loops import Loops, paired_lanes
from .nodes import Map, View
from .values import Coordinate, Evaluator, Place, identity


def emit(w: Loops, parts: Sequence[Map], ahead: Mapping[View, Value]) -> None:
    """One loop that does all maps, which have targets of one shape.

    ``ahead`` is how far from views those stand that the next step reads.
    """
    if all(is_flat(w, part) for part in parts):
        _flat(w, parts, ahead)
        return
    target = parts[0].target
    rank = len(target.shape)
    lane_axis = rank - 1 if rank and target.shape[-1] > 1 else None
    beside = {v: distance for v, distance in ahead.items() if v.shape == target.shape}

    def row(at_row: Value) -> None:
        bases: dict[View, Value] = {}
        for part in parts:
            for v in (*part.leaves.values(), part.target):
                bases[v] = bases.get(v) or w.tile.row_base(v, at_row)

        def components(at: list[Value], width: int) -> None:
            if rank == 1 and width > 1:
                ask(w.tile, bases, beside, at, width)
            e = Evaluator(w.tile, at_row, at, lane_axis, width, bases=dict(bases))
            # Everything is read before anything is written: places may be shared.
            writes = []
            for part in parts:
                place = identity(rank)
                value = e.of(part.rhs, part.leaves, repeated(part.rhs, part.target, place))
                writes.append(e.writer(part.target, place, value, part.update))
            for write in writes:
                write()

        w.over_components(target.shape, lane_axis, components, paired=True)

    w.over_rows(target, row)


def repeated(e: Expr, target: View, place: Place) -> Place:
    """Coordinates of an expression that repeats to the target's shape."""
    have = dims(e.shape)
    lack = len(target.shape) - len(have)
    return tuple(
        Coordinate(None) if n == 1 and m != 1 else c
        for n, m, c in zip(have, target.shape[lack:], place[lack:], strict=True)
    )


def is_flat(w: Loops, part: Map) -> bool:
    """Whether all rows can be one line of components: every operand dense, or one number."""
    target = part.target

    def whole(v: View) -> bool:
        beside = v.walked is None and w.tile.row_step(v) == v.size
        return v.is_dense and v.size == target.size and beside

    if target.shared or not whole(target):
        return False
    for e, v in part.leaves.items():
        number = v.size == 1 and v.shared and v.pick is None and e.shape == ()
        if not number and not (whole(v) and (e.shape != () or target.size == 1)):
            return False
    return keeps_lines(part)


def keeps_lines(part: Map) -> bool:
    """Whether each component is computed from the same one of operands of the target's shape."""
    return all(_keeps_line(n, part, dims(n.shape)) for n in _above(part.rhs, part.leaves))


def is_aligned(part: Map, v: View) -> bool:
    """Whether a part that keeps lines reads of a view the very component that it computes, and no
    other."""
    target = part.target
    return (
        v.is_dense
        and v.shape == target.shape
        and all(e.shape != () for e, leaf in part.leaves.items() if leaf == v and target.shape)
    )


def is_line(w: Loops, leaves: Iterable[tuple[Expr, View]], rhs: Expr) -> bool:
    """Whether an expression of one number in each row reads rows that are one line of numbers."""
    known = dict(leaves)
    for v in known.values():
        number = v.size == 1 and v.pick is None
        if not number or not (v.shared or (v.walked is None and w.tile.row_step(v) == 1)):
            return False
    return rhs.shape == () and all(
        n in known or (isinstance(n, Call) and n.op in RULES) or isinstance(n, Const)
        for n in _above(rhs, known)
    )


def _keeps_line(n: Expr, part: Map, shape: tuple[int, ...]) -> bool:
    if n in part.leaves or not isinstance(n, (Call, Const)):
        return True
    if isinstance(n, Const):
        return shape == ()
    if n.op == "broadcast":
        return n.args[0].shape == ()
    return n.op in RULES and shape in ((), part.target.shape)


def _above(e: Expr, leaves: object) -> list[Expr]:
    """The nodes of an expression down to its leaves."""
    assert hasattr(leaves, "__contains__")
    found, stack = dict[Expr, None](), [e]
    while stack:
        node = stack.pop()
        if node not in found:
            found[node] = None
            if node not in leaves:
                stack.extend(node.operands if isinstance(node, Call) else ())
    return list(found)


def _flat(w: Loops, parts: Sequence[Map], ahead: Mapping[View, Value]) -> None:
    """One loop over all components of all rows."""
    f, size = w.f, parts[0].target.size
    total = f.binary("mul nsw", w.tile.rows, integer(size))
    bases: dict[View, Value] = {}
    for part in parts:
        for v in (*part.leaves.values(), part.target):
            bases[v] = w.tile.base(v)
    wide = paired_lanes(size, w.lanes)
    whole = f.binary("sdiv", total, integer(wide))

    def at(start: Value, width: int, mask: Value | None = None) -> None:
        with w.tile.scope():
            if width > 1 and mask is None:
                ask(w.tile, bases, ahead, [start], width)
            e = Evaluator(w.tile, integer(0), [start], 0, width, flat=True, mask=mask)
            writes = []
            for part in parts:
                value = e.of(part.rhs, part.leaves, identity(1))
                writes.append(e.writer(part.target, identity(1), value, part.update))
            for write in writes:
                write()

    loop = f.loop(integer(0), w.last(whole), 1)
    at(f.binary("mul nsw", loop.index, integer(wide)), wide)
    loop.close()
    done = f.binary("mul nsw", whole, integer(wide))
    if size % w.lanes and w.masks:
        left = f.binary("sub", total, done)
        with f.when(f.compare("icmp sgt", left, integer(0))):
            at(done, w.lanes, w.first_lanes(left))
    elif size % w.lanes:
        rest = f.loop(done, w.last(total), 1)
        at(rest.index, 1)
        rest.close()
