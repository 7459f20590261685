"""Sequences of unequal length side by side, the longest one first.

At a step t the sequences that are not over are the first rows of the tile, so that no kernel needs
a mask: loops over time have fewer rows as they go on, and chains that run backward begin with the
longest and take in the others at their own ends. What depends on a sequence's own length in any
other way (`h_bar[T]`, a division by T) is done for each group of sequences of one length.

before:  for t in 1..T: h[t] = f(h[t-1])                 h_bar[T] = g(h[T])
after:   for t in 1..longest: the first alive(t) rows    for each group of rows: T is its length

requires: operations in their final order, rows in falling order of their lengths. Every row still
has its operations in their order; nothing touches a row behind its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from unfold.plan import Plan, statements
from unfold.poly import Poly

from ..body import INT, POINTER, Body, define
from ..body import Value as Number
from ..ir import Value, integer
from .nodes import (
    ColumnSum,
    Contract,
    Map,
    Op,
    Points,
    Repeat,
    Stretch,
    View,
)
from .own import OWN, differs, mentions, shared_by, storages
from .stretching import adding

if TYPE_CHECKING:
    from .emit import TileEmitter


def side_by_side(plan: Plan) -> bool:
    """Whether sequences of unequal length can be the rows of one tile.

    Solutions are searched for, and their failures told, in tiles of sequences that are alike;
    storages must begin at one position for all rows.
    """
    if any(s.solver is not None for s in statements((*plan.shared, *plan.body))):
        return False
    return not any(OWN in lo.symbols for b in plan.buffers.values() for lo, _ in b.axes)


@dataclass(frozen=True)
class _Span:
    """A loop over ``index`` that ends at the row's own length plus ``beyond``."""

    index: str
    lows: tuple[Poly, ...]
    highs: tuple[Poly, ...]
    beyond: int
    direction: int
    body: tuple[Op, ...]


class Unequal:
    """Emits operations for rows of falling lengths.

    Args:
        te: the emitter; its environment must not know the own length.
        ends: the address of each row's length, in falling order.
        rows: how many there are, at least one.
    """

    def __init__(self, te: TileEmitter, ends: Value, rows: Value) -> None:
        self.te = te
        self.f = te.f
        self.tile = te.tile
        self.ends = ends
        self.rows = rows

    def ops(self, ops: Sequence[Op]) -> None:
        """Operations in order. What rows of one length share is known in their group only, so that
        all goes on in groups as long as somebody will read it."""
        grouped: list[Op] = []
        numbers: set[str] = set()
        later = [storages(op) for op in ops]
        for k in reversed(range(len(ops) - 1)):
            later[k] |= later[k + 1]
        for op, touched in zip(ops, later, strict=True):
            span = _span(op)
            apart = isinstance(op, Repeat) and span is None and not mentions(op.ranges)
            if numbers & touched or (span is None and not apart and differs(op)):
                grouped.append(op)
                numbers |= shared_by(op)
                continue
            self.groups(grouped)
            grouped, numbers = [], set()
            if isinstance(op, Repeat) and apart and differs(op):
                with self.rounds(op):
                    self.ops(op.body)
                continue
            self.clear(op)
            if span is not None and isinstance(span.body[0], Contract) and len(span.body) == 1:
                self.contract(span, span.body[0])
            elif span is not None:
                self.span(span)
            elif not self.is_fill(op):
                with self.tile.portion(integer(0), self.rows):
                    self.te.ops([op])
        self.groups(grouped)

    @contextmanager
    def rounds(self, op: Repeat) -> Iterator[None]:
        """A loop that sequences go through alike, such as one over the matrices of a family."""
        lo, hi = self.te.hull(op.ranges)
        outer, self.te.is_repeated = self.te.is_repeated, True
        with self.tile.index_scope(op.index):
            loop = self.f.loop(lo, hi, op.direction)
            self.tile.env[op.index] = loop.index
            yield
        loop.close()
        self.te.is_repeated = outer

    @contextmanager
    def length(self, value: Value) -> Iterator[None]:
        """A scope in which the own length is known."""
        with self.tile.index_scope(OWN):
            self.tile.env[OWN] = value
            yield

    def end(self, row: Value) -> Value:
        """The length of a row."""
        return self.f.load("i64", self.f.offset(self.ends, "i64", row), 8)

    def alive(self, step: Value) -> Value:
        """How many rows reach a step."""
        name = define(self.f.module, "unfold.alive", INT, (POINTER, INT, INT), _alive)
        return self.f.call("i64", name, self.ends, self.rows, step)

    def span(self, s: _Span) -> None:
        """A loop over time, at each step for the rows that reach it."""
        tile, f = self.tile, self.f
        with self.length(self.end(integer(0))):
            lo, hi = tile.ends(tile.place(s.lows), tile.place(s.highs))
        outer, self.te.is_repeated = self.te.is_repeated, True
        with tile.index_scope(s.index):
            loop = f.loop(lo, hi, s.direction)
            tile.env[s.index] = loop.index
            rows = self.alive(f.binary("sub", loop.index, integer(s.beyond)))
            with tile.portion(integer(0), rows):
                self.te.ops(s.body)
        loop.close()
        self.te.is_repeated = outer

    def contract(self, s: _Span, op: Contract) -> None:
        """A sum of outer products over all rows and steps: along what is longer, at a time."""
        views = [_walked(v, s.index) for v in (op.left, op.right)]
        left, right = views
        if left is None or right is None:
            self.span(s)
            return
        f, tile = self.f, self.tile
        yes, no, after = f.label("sequences"), f.label("steps"), f.label("after")
        longer = f.compare("icmp sgt", self.end(integer(0)), self.rows)
        before = f.block
        f.branch_if(longer, yes, no)
        f.start(yes, before)
        with tile.scope():
            loop = f.loop(integer(0), self.te.last(self.rows), 1)
            with self.length(self.end(loop.index)):
                lo, hi = tile.ends(tile.place(s.lows), tile.place(s.highs))
                steps = f.binary("add", f.binary("sub", hi, lo), integer(1))
                steps = f.intrinsic("llvm.smax", steps, integer(0))
                with tile.index_scope(s.index):
                    tile.env[s.index] = lo
                    with tile.steps_of(loop.index, steps):
                        self.te.ops([replace(op, left=left, right=right)])
            loop.close()
        f.branch(after)
        f.start(no, before)
        with tile.scope():
            self.span(s)
        f.branch(after)
        f.start(after, before)

    def groups(self, ops: Sequence[Op]) -> None:
        """Operations in order for each group of rows of one length."""
        if not ops:
            return
        for op in ops:
            self.clear(op)
        f, tile = self.f, self.tile
        loop = f.loop(integer(0), self.te.last(self.rows), 1)
        first, own = loop.index, self.end(loop.index)
        longer = self.alive(f.binary("add", own, integer(1)))
        with f.when(f.compare("icmp eq", first, longer)), self.length(own):
            count = f.binary("sub", self.alive(own), first)
            with tile.portion(first, count):
                self.te.ops(self.begun(ops))
        loop.close()

    def begun(self, ops: Sequence[Op]) -> list[Op]:
        """Operations whose sums over rows have begun with nothing (`clear`)."""
        return [
            replace(op, body=tuple(self.begun(op.body))) if isinstance(op, Repeat) else adding(op)
            for op in ops
            if not self.is_fill(op)
        ]

    def is_fill(self, op: Op) -> bool:
        """Whether an operation gives a sum over the batch its first value."""
        if not isinstance(op, Map) or op.leaves or mentions(op):
            return False
        return op.target.storage in self.te.generator.summed

    def clear(self, op: Op) -> None:
        """Make sums over rows that overwrite their targets begin with nothing."""
        if isinstance(op, Repeat):
            if not mentions(op.ranges) and self.begun([op]) != [op]:
                with self.rounds(op):
                    for inner in op.body:
                        self.clear(inner)
            return
        if self.is_fill(op):
            self.te.ops([op])
            return
        first = op.body[0] if isinstance(op, Stretch) and op.whole else op
        if not isinstance(first, (Contract, ColumnSum)) or not first.fresh:
            return
        # Over no rows the kernels write what the sum begins with, wherever operands stand.
        with self.length(integer(1)), self.tile.portion(integer(0), integer(0)):
            if isinstance(op, Stretch):
                with self.tile.index_scope(op.index):
                    self.tile.env[op.index] = integer(1)
                    self.te.ops([first])
            else:
                self.te.ops([first])


def _span(op: Op) -> _Span | None:
    """An operation as a loop to each row's end, if that is all that its rows differ in."""
    if isinstance(op, Repeat) and len(op.ranges) == 1:
        (lows, highs), direction = op.ranges[0], op.direction
    elif isinstance(op, Stretch):
        lows, highs, direction = op.lows, op.highs, 1
        op = adding(op)
        assert isinstance(op, Stretch)
    elif isinstance(op, Points):
        own = [p for p in op.domain.constraints if abs(p.coefficient(op.index)) == 1]
        if len(own) < len(op.domain.constraints):
            return None
        index, direction = Poly.symbol(op.index), 1
        lows = tuple(index - p for p in own if p.coefficient(op.index) > 0)
        highs = tuple(p + index for p in own if p.coefficient(op.index) < 0)
    else:
        return None
    moving = [p for p in highs if OWN in p.symbols]
    if len(moving) != 1 or any(OWN in p.symbols for p in lows) or any(map(differs, op.body)):
        return None
    beyond = (moving[0] - Poly.symbol(OWN)).constant
    if beyond is None:
        return None
    return _Span(op.index, lows, highs, beyond, direction, op.body)


def _walked(v: View, index: str) -> View | None:
    """A view with the steps as its rows, if they are one distance apart."""
    axes = [k for k, p in enumerate(v.position) if index in p.symbols]
    if (
        v.shared
        or v.pick is not None
        or len(axes) != 1
        or v.position[axes[0]].coefficient(index) != 1
    ):
        return None
    return replace(v, walked=axes[0])


def _alive(b: Body) -> Number:
    """How many of the first numbers are not smaller than a bound: by bisection."""
    ends, rows, bound = b.args

    def step(values: list[Number]) -> tuple[Number, list[Number]]:
        low, high = values
        middle = (low + high) >> 1
        reaches = b.load(b.at(ends, middle, INT), INT).ge(bound)
        low, high = reaches.select(middle + 1, low), reaches.select(high, middle)
        return low.lt(high), [low, high]

    return b.repeat([b.const(INT, 0), rows], step)[0]


__all__ = ["Unequal", "side_by_side"]
