"""Shared operands of products in panels: which are filled once a call, and where they stand.

A matrix that every step multiplies by is brought into panels before the first step. So are all
matrices of a family, ``U[k]``, if a loop comes back to them: ``sum[k](U[k] @ h[t-k])`` at each t.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING

from unfold.expr import REAL
from unfold.plan import Buffer
from unfold.poly import Poly

from .. import gemm
from ..ir import Value, integer
from . import pieces
from .nodes import LENGTH, View

if TYPE_CHECKING:
    from .emit import TileEmitter
    from .products import Matrix


@dataclass
class Packs:
    """The matrices that are brought into panels, with the storage of each.

    A matrix without positions though its storage has axes stands for the whole family. Those in
    ``early`` are filled before everything else.
    """

    places: dict[Matrix, Buffer] = field(default_factory=dict)
    early: set[Matrix] = field(default_factory=set)

    @property
    def buffers(self) -> list[Buffer]:
        """Their storages."""
        return list(self.places.values())

    def named(self, name: str) -> Buffer | None:
        """The storage of a name, if it is one of them."""
        return next((b for b in self.places.values() if b.name == name), None)

    def place(self, m: Matrix, axes: tuple[tuple[Poly, Poly], ...], size: int) -> Buffer:
        """The storage for a matrix, or for all of a family."""
        name = f"%pack{len(self.places)}"
        return self.places.setdefault(m, Buffer(name, "work", axes, (size,), REAL, True))


def packed(te: TileEmitter, m: Matrix, at: Value, stride: Value, transposed: bool) -> Value:
    """The address of a shared matrix in panels: made once per call if that can be."""
    g, v = te.generator, m.view
    size = gemm.packed_size(g.target, g.dtype, m.columns, m.rows)
    symbols = {s for p in v.position for s in p.symbols} - set(g.plan.lengths)
    ready = not te.is_first and v.pick is None and _is_ready(te, v.storage)
    if ready and symbols and _comes_back(te, v, symbols):
        whole = replace(m, view=replace(v, position=()))
        b = g.packs.place(whole, g.plan.buffers[v.storage].axes, size)
        g.packs.early.add(whole)
        return te.tile.base(View(b.name, v.position, (size,), (1,), shared=True))
    target = g.work(te.f, g.packs.place(m, (), size).name)
    if ready and not symbols:
        g.packs.early.add(m)
    else:
        _fill(te, m, at, stride, transposed, target)
    return target


def _is_ready(te: TileEmitter, storage: str) -> bool:
    """Whether a storage has its values before the body begins."""
    g = te.generator
    if storage in g.stacker.stacks:
        return True
    # What rows share in a stretch may be computed in the body.
    return storage not in g.temporaries and g.plan.buffers[storage].shared


def _comes_back(te: TileEmitter, v: View, symbols: set[str]) -> bool:
    """Whether a loop takes each matrix of a family several times."""
    g = te.generator
    if v.storage not in g.plan.buffers or v.storage in g.rings:
        return False
    return bool(set(te.tile.env) - set(g.plan.lengths) - symbols - {LENGTH})


def _fill(
    te: TileEmitter, m: Matrix, at: Value, stride: Value, transposed: bool, target: Value
) -> None:
    """Bring a matrix into panels."""
    g = te.generator
    if pieces.divided(g, m.columns, m.rows):
        pieces.pack(te, m.columns, m.rows, at, stride, transposed, target)
        return
    gemm.bring(
        te.f, g.target, g.dtype, m.columns, m.rows, (at, stride, target), transposed=transposed
    )


def fill(te: TileEmitter) -> None:
    """Fill all that is filled before everything else."""
    g, f = te.generator, te.f
    for m, b in g.packs.places.items():
        if m not in g.packs.early:
            continue
        by_rows, target = m.is_by_rows, g.work(f, b.name)
        stride = integer(m.down if by_rows else m.right)
        if not b.axes:
            _fill(te, m, te.tile.base(m.view), stride, not by_rows, target)
            continue
        # The matrices of a family follow each other.
        first = replace(m.view, position=tuple(lo for lo, _ in b.axes))
        source, distance = te.tile.base(first), prod(g.plan.buffers[m.view.storage].shape)
        loop = f.loop(integer(0), te.last(te.tile.count(1, b.axes)), 1)
        with te.tile.scope():
            at, to = (
                f.offset(start, g.formats.real, f.binary("mul nsw", loop.index, integer(n)))
                for start, n in ((source, distance), (target, b.size))
            )
            _fill(te, m, at, stride, not by_rows, to)
        loop.close()


__all__ = ["Packs", "fill", "packed"]
