"""Code for operations on tiles: loops over rows and components."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from unfold.poly import Poly

from ..ir import Function, Value, integer
from . import implicit, pairs, products, systems
from .deliver import Deliverer
from .loops import Loops
from .nodes import (
    PORTION,
    SEARCHED,
    Branch,
    Contract,
    Eliminate,
    Op,
    Points,
    Product,
    Repeat,
    Solve,
    Stretch,
    Strips,
)
from .outline import LOOPS, outline
from .stretching import adding
from .tile import Tile

if TYPE_CHECKING:
    from .generate import Generator


class TileEmitter(Loops):
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
        super().__init__(tile, lanes)
        self.generator = generator
        self.known = known
        self.is_first = first
        self.is_repeated = False
        #: The innermost loop's index and direction.
        self.turn: tuple[str, int] | None = None
        #: Whether the steps of a stretch follow each other in memory: the tile has all rows.
        self.is_whole = True
        #: The logarithm of the number of steps of a strip.
        self.bits = integer(0)

    def ops(self, ops: Sequence[Op]) -> None:
        """Emit operations in order."""
        for op in ops:
            if isinstance(op, LOOPS):
                outline(self, op)
            else:
                EMIT[type(op)](self, op)

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

    def product(self, op: Product) -> None:
        products.product(self, op)

    def contract(self, op: Contract) -> None:
        products.contract(self, op)

    # --- control ----------------------------------------------------------------------------------

    def branch(self, op: Branch) -> None:
        f = self.f
        yes, no, after = f.label("then"), f.label("else"), f.label("after")
        condition, before = self.tile.condition(op.condition), f.block
        f.branch_if(condition, yes, no if op.otherwise else after)
        for label, body in ((yes, op.then), (no, op.otherwise)):
            if label is no and not body:
                continue
            f.start(label, before)
            with self.tile.scope():
                self.ops(body)
            f.branch(after)
        f.start(after, before)

    def repeat(self, op: Repeat) -> None:
        if not pairs.emit(self, op):
            self.counted(op.index, *self.hull(op.ranges), op.direction, op.body)

    def hull(self, ranges: Sequence[tuple[Sequence[Poly], Sequence[Poly]]]) -> tuple[Value, Value]:
        """The first and the last position of several ranges."""
        tile = self.tile
        ends = [tile.ends(tile.place(a), tile.place(b)) for a, b in ranges]
        lo, hi = ends[0]
        for a, b in ends[1:]:
            lo = self.f.intrinsic("llvm.smin", lo, a)
            hi = self.f.intrinsic("llvm.smax", hi, b)
        return lo, hi

    def points(self, op: Points) -> None:
        lo, hi = self.tile.bounds(op.domain, op.index)
        self.counted(op.index, lo, hi, 1, op.body)

    def counted(self, index: str, lo: Value, hi: Value, direction: int, body: Sequence[Op]) -> None:
        outer = self.is_repeated, self.turn
        self.is_repeated, self.turn = True, (index, direction)
        with self.tile.index_scope(index):
            loop = self.f.loop(lo, hi, direction)
            self.tile.env[index] = loop.index
            self.ops(body)
        loop.close()
        self.is_repeated, self.turn = outer

    def strips(self, op: Strips) -> None:
        tile, f = self.tile, self.f
        lo, hi = (f.binary("ashr", end, self.bits) for end in self.hull(op.ranges))
        outer, self.is_repeated = self.is_repeated, True
        with tile.index_scope(op.index):
            loop = f.loop(lo, hi, op.direction)
            tile.env[op.index] = f.binary("shl", loop.index, self.bits)
            if op.inputs:
                several = f.compare("icmp sgt", tile.rows, integer(1))
                with f.when(several), tile.scope():
                    for name in op.inputs:
                        Deliverer(self, self.generator).collect_strip(name)
            self.ops(op.body)
        loop.close()
        self.is_repeated = outer

    def stretch(self, op: Stretch) -> None:
        tile, f = self.tile, self.f
        lo, hi = tile.ends(tile.place(op.lows), tile.place(op.highs))
        if not self.is_whole:
            self.by_steps(op, lo, hi)
            return
        steps = f.binary("add", f.binary("sub", hi, lo), integer(1))
        steps = f.intrinsic("llvm.smax", steps, integer(0))
        total = f.binary("mul nsw", steps, tile.rows)
        with tile.index_scope(op.index):
            tile.env[op.index] = lo
            if op.whole:
                with tile.portion(integer(0), total):
                    sums = [o for o in op.body if isinstance(o, Contract)]
                    if len(sums) == len(op.body):
                        products.contracts(self, sums)
                    else:
                        self.ops(op.body)
                return
            size = SEARCHED if any(isinstance(o, Solve) for o in op.body) else PORTION
            portions = f.binary("sdiv", f.binary("add", total, integer(size - 1)), integer(size))
            loop = f.loop(integer(0), self.last(portions), 1)
            first = f.binary("mul nsw", loop.index, integer(size))
            count = f.intrinsic("llvm.smin", f.binary("sub", total, first), integer(size))
            with tile.portion(first, count):
                self.ops(op.body)
            loop.close()

    def by_steps(self, op: Stretch, lo: Value, hi: Value) -> None:
        """A stretch one step after the other."""
        body = tuple(map(adding, op.body))
        if op.whole and body != op.body:
            # Over no rows a sum only clears its target.
            with self.tile.index_scope(op.index):
                self.tile.env[op.index] = lo
                with self.tile.portion(self.tile.first, integer(0)):
                    self.ops(op.body)
        self.counted(op.index, lo, hi, 1, body)


EMIT: dict[type, Callable[[TileEmitter, Any], None]] = {
    Product: TileEmitter.product,
    Contract: TileEmitter.contract,
    Eliminate: systems.emit,
    Branch: TileEmitter.branch,
    Repeat: TileEmitter.repeat,
    Points: TileEmitter.points,
    Stretch: TileEmitter.stretch,
    Strips: TileEmitter.strips,
    Solve: implicit.emit,
}

__all__ = ["TileEmitter"]
