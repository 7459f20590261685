"""Copies and zeros of whole storages, for which no loop has to be written.

before:  y = x, z = 0.0   (every component, in C order)
after:   memcpy(y, x), memset(z, 0)

Requires operands without gaps. In a loop over time it is done for small ones only, which LLVM moves
in registers: a call of the C library takes longer than a loop over few numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from unfold.expr import Const

from ..ir import Value, integer
from .nodes import Group, Map, View

if TYPE_CHECKING:
    from .emit import TileEmitter

#: Up to so many bytes are moved in registers.
FEW = 128


def move(te: TileEmitter, op: Map | Group) -> bool:
    """Write the operation so; False if it is another one."""
    parts = op.parts if isinstance(op, Group) else (op,)
    if not all(_is_moved(te, part) for part in parts) or _meet(te, parts):
        return False
    for part in parts:
        _move(te, part)
    return True


def _is_moved(te: TileEmitter, part: Map) -> bool:
    """Whether a map is a copy, or zeros, of what has no gaps."""
    tile, target = te.tile, part.target
    if part.update or not _is_whole(te, target):
        return False
    size = target.size * tile.formats.bytes(tile.storages[target.storage].kind)
    if te.is_repeated and not (target.shared and size <= FEW):
        return False
    if isinstance(part.rhs, Const):
        zeros = np.asarray(part.rhs.value)
        return not zeros.any() and not np.signbit(zeros).any()
    source = part.leaves.get(part.rhs)
    return (
        source is not None
        and source.shape == target.shape
        and source.shared == target.shared
        and _is_whole(te, source)
        and tile.storages[source.storage].kind == tile.storages[target.storage].kind
    )


def _is_whole(te: TileEmitter, v: View) -> bool:
    """Whether the components of all rows stand in a line."""
    if not v.is_dense or v.walked is not None:
        return False
    return v.shared or (not te.generator.crew and te.tile.row_step(v) == v.size)


def _meet(te: TileEmitter, parts: Sequence[Map]) -> bool:
    """Whether something is read from a storage that is written to."""
    members = te.generator.members

    def place(v: View) -> str:
        return members[v.storage].base if v.storage in members else v.storage

    written = {place(part.target) for part in parts}
    return any(place(v) in written for part in parts for v in part.leaves.values())


def _move(te: TileEmitter, part: Map) -> None:
    f, tile, target = te.f, te.tile, part.target
    size = target.size * tile.formats.bytes(tile.storages[target.storage].kind)
    total = integer(size)
    if not target.shared:
        total = f.binary("mul nsw", f.intrinsic("llvm.smax", tile.rows, integer(0)), total)
    to, no = tile.base(target), integer(0, "i1")
    if isinstance(part.rhs, Const):
        _call(te, "llvm.memset.p0.i64", to, integer(0, "i8"), total, no)
    else:
        source = tile.base(part.leaves[part.rhs])
        _call(te, "llvm.memcpy.p0.p0.i64", to, source, total, no)


def _call(te: TileEmitter, name: str, *args: Value) -> None:
    te.f.module.declare(name, "void", [a.type for a in args])
    te.f.call_void(name, *args)


__all__ = ["move"]
