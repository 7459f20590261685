"""Loops over a tile as functions: equal loops, whatever they work on, are one function.

Three gates of a cell differ in their buffers only. Compiling their loops once, and many small
functions rather than a large one, is most of what keeps compile times down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from unfold.expr import Call as Applied
from unfold.expr import Expr, Guard, Position, Reduce, Ref, with_operands
from unfold.poly import Poly

from ..ir import Function, Value, integer
from . import pieces, rowwise
from .ahead import following
from .moving import move
from .nodes import ColumnSum, Fold, Group, Map, ScatterSum, View
from .stack import Member
from .summing import Summing
from .tile import Storage, Tile

if TYPE_CHECKING:
    from .emit import TileEmitter

#: In place of the distance of rows that are only known at run time: the function is told it.
_WALKED = -1

LOOPS = (Map, Group, Fold, ColumnSum, ScatterSum)


@dataclass(frozen=True)
class Call:
    """A function for an operation, and what it is called with.

    Attributes:
        views: what its first arguments are the addresses of, and for each the type of a component
            and the distance of rows (`_WALKED` where that is a number among the arguments).
        numbers: the arguments between these and the number of rows.
    """

    name: str
    views: tuple[View, ...]
    kinds: tuple[tuple[str, int], ...]
    numbers: tuple[Value, ...]


def outline(te: TileEmitter, op: Map | Group | Fold | ColumnSum | ScatterSum) -> None:
    """Call the function for an operation, written when it is first asked for."""
    if isinstance(op, (Map, Group)) and move(te, op):
        return
    call = called(te, op)
    parts = op.parts if isinstance(op, Group) else (op,)
    by_rows = isinstance(op, (Map, Group, Fold))
    places = [te.tile.base(replace(v, pick=None)) for v in call.views]
    rows = integer(1) if parts[0].target.shared and by_rows else te.tile.rows
    beside = all(v.walked is None for v in call.views)
    if te.generator.crew and by_rows and beside and not parts[0].target.shared:
        pieces.rows(te, call, places, rows, sum(p.target.size for p in parts))
        return
    te.f.call_void(call.name, *places, *call.numbers, rows)


def called(te: TileEmitter, op: Map | Group | Fold | ColumnSum | ScatterSum) -> Call:
    """The function for an operation, written when it is first asked for."""
    o = _Outline(te.tile)
    parts = [o.part(p) for p in (op.parts if isinstance(op, Group) else (op,))]
    symbols = sorted(o.symbols)
    read = [v for p in parts if isinstance(p, Map) for v in p.leaves.values()]
    seen = {o.numbers[v]: v for v in o.views}
    ahead = {} if te.turn is None else following(te.tile, [seen[v] for v in read], te.turn)
    numbered = {o.numbers[v]: distance for v, distance in ahead.items()}
    g = te.generator
    twice = may_repeat(op, g.members)
    key = (tuple(o.kinds), tuple(symbols), tuple(map(_key, parts)), twice, tuple(numbered))
    name = g.outlined.get(key)
    if name is None:
        name = f"loop.{len(g.outlined)}"
        g.outlined[key] = name
        _write(te, name, o, parts, symbols, twice, list(numbered))
    walked = [te.tile.row_distance(v) for v in o.views if v.walked is not None]
    numbers = (*(te.tile.env[s] for s in symbols), *numbered.values(), *walked)
    return Call(name, tuple(o.views), tuple(o.kinds), numbers)


def may_repeat(
    op: Map | Group | Fold | ColumnSum | ScatterSum, members: Mapping[str, Member]
) -> bool:
    """Whether components may be computed twice: nothing is read where something is written."""
    parts = op.parts if isinstance(op, Group) else (op,)

    def place(v: View) -> str:
        share = members.get(v.storage)
        return v.storage if share is None else share.base

    written = {place(part.target) for part in parts}
    for part in parts:
        if not isinstance(part, (Map, Fold)) or (isinstance(part, Map) and part.update):
            return False
        if any(place(v) in written for v in part.leaves.values()):
            return False
    return True


def _key(op: Any) -> Any:
    fields = [type(op).__name__, op.target]
    if isinstance(op, ScatterSum):
        return (*fields, op.source, op.index, op.axis)
    extra: Any = (op.op, op.axis) if isinstance(op, Fold) else ()
    extra = (op.op, op.fresh) if isinstance(op, ColumnSum) else extra
    update = op.update if isinstance(op, Map) else False
    return (*fields, op.rhs, tuple(op.leaves.items()), extra, update)


class _Outline:
    """An operation with its operands numbered: the views in order, and what is known of each."""

    def __init__(self, tile: Tile) -> None:
        self.tile = tile
        self.views: list[View] = []
        self.kinds: list[tuple[str, int]] = []
        self.numbers: dict[View, View] = {}
        self.symbols: set[str] = set()

    def view(self, v: View) -> View:
        """The view as the function sees it."""
        if v not in self.numbers:
            pick = None if v.pick is None else (self.view(v.pick[0]), v.pick[1])
            name = f"%{len(self.views)}"
            self.views.append(v)
            walked = None if v.walked is None else 0
            row = _WALKED if walked is not None else self.tile.row_step(v)
            self.kinds.append((self.tile.storages[v.storage].kind, row))
            at = () if walked is None else (Poly(),)
            self.numbers[v] = View(name, at, v.shape, v.strides, 0, v.shared, pick, walked)
        return self.numbers[v]

    def part(self, op: Any) -> Any:
        """The operation on numbered views."""
        if isinstance(op, ScatterSum):
            source, index = self.view(op.source), self.view(op.index)
            return replace(op, target=self.view(op.target), source=source, index=index)
        leaves: dict[Expr, View] = {}
        rhs = self.expression(op.rhs, op.leaves, leaves)
        return replace(op, target=self.view(op.target), rhs=rhs, leaves=leaves)

    def expression(self, e: Expr, leaves: Mapping[Expr, View], found: dict[Expr, View]) -> Expr:
        """The expression with its leaves replaced by numbered ones."""
        memo: dict[Expr, Expr] = {}

        def go(node: Expr) -> Expr:
            if node not in memo:
                if node in leaves:
                    view = self.view(leaves[node])
                    named = Ref(view.storage, (), node.shape, node.type)
                    found[named] = view
                    memo[node] = named
                else:
                    if isinstance(node, Position):
                        self.symbols |= node.poly.symbols
                    assert not isinstance(node, (Guard, Reduce))
                    if isinstance(node, Applied):
                        memo[node] = with_operands(node, tuple(go(a) for a in node.args))
                    else:
                        memo[node] = node
            return memo[node]

        return go(e)


def _write(
    te: TileEmitter, name: str, o: _Outline, parts: list[Any], symbols: list[str], twice: bool,
    far: list[View],
) -> None:  # fmt: skip
    args = [("ptr", f"p{k}", "") for k in range(len(o.views))]
    args += [("i64", f"at.{s}", "") for s in symbols]
    args += [("i64", f"far.{k}", "") for k in range(len(far))]
    walked = [k for k, (_, row) in enumerate(o.kinds) if row == _WALKED]
    args += [("i64", f"row.{k}", "") for k in walked]
    f = Function(te.generator.module, name, [*args, ("i64", "rows", "")], linkage="internal")
    pointers, numbers = f.args[: len(o.views)], f.args[len(o.views) : -1]
    ahead = dict(zip(far, numbers[len(symbols) :], strict=False))
    storages = {
        f"%{k}": Storage(pointer, kind, (), (), row, True)
        for k, (pointer, (kind, row)) in enumerate(zip(pointers, o.kinds, strict=True))
    }
    for k, distance in zip(walked, numbers[len(symbols) + len(far) :], strict=True):
        first = replace(storages[f"%{k}"], lows=(integer(0),), steps=(distance,), row=0)
        storages[f"%{k}"] = first
    env = dict(zip(symbols, numbers, strict=False))
    tile = Tile(f, te.tile.formats, env, storages, Value("i64", "%rows"))
    w = Summing(tile, te.lanes, te.generator.target.masks, twice)
    if isinstance(parts[0], Map):
        rowwise.emit(w, parts, ahead)
    elif isinstance(parts[0], Fold):
        w.fold(parts[0])
    elif isinstance(parts[0], ColumnSum):
        w.column_sum(parts[0])
    else:
        w.scatter_sum(parts[0])
    f.ret()
    te.generator.module.add(str(f))


__all__ = ["LOOPS", "outline"]
