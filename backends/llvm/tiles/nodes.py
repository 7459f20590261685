"""What a plan becomes before it is code: operations on tiles.

A tile is one element of a variable for every sequence of the batch: a row of components for each.
A `View` says which components of which storage are meant; an operation reads views and writes one.
Everything here is data, so that operations can be looked at, merged and reordered before any
instruction is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

from unfold.domain import Domain
from unfold.expr import Expr
from unfold.poly import Poly
from unfold.program import Solver

#: The symbols of the number of steps of a strip, and of its first one.
LENGTH, FIRST = "%strip", "%first"
#: Rows of a portion of a stretch, and of one in which solutions are searched for: the rows of a
#: portion go on together until the last one is found.
PORTION, SEARCHED = 256, 64


@dataclass(frozen=True)
class View:
    """Components of one element of a storage.

    Attributes:
        storage: a buffer of the plan, or a temporary.
        position: the element, for storages with axes.
        shape: the components that are meant, axis by axis.
        strides: the distance of neighbours along each axis, in components; 0 repeats.
        offset: the first component.
        shared: whether there is one row for the whole batch.
        walked: the axis along which the rows of a stretch are counted; ``None`` for the last.
        pick: an integer of each row and a stride, by which the first component moves.
    """

    storage: str
    position: tuple[Poly, ...]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    shared: bool = False
    pick: tuple[View, int] | None = None
    walked: int | None = None

    @property
    def size(self) -> int:
        """The number of components."""
        return prod(self.shape)

    @property
    def is_dense(self) -> bool:
        """Whether the components stand in C order without gaps."""
        return self.pick is None and all(
            s == d for s, d, n in zip(self.strides, dense(self.shape), self.shape, strict=True)
            if n > 1
        )  # fmt: skip

    def reshaped(self, shape: tuple[int, ...]) -> View | None:
        """The same components under another shape; ``None`` if they would have to move."""
        if self.is_dense:
            return replace(self, shape=shape, strides=dense(shape))
        kept = [(n, s) for n, s in zip(self.shape, self.strides, strict=True) if n != 1]
        if [n for n, _ in kept] != [n for n in shape if n != 1]:
            return None
        following = iter(kept)
        return replace(
            self, shape=shape, strides=tuple(0 if n == 1 else next(following)[1] for n in shape)
        )

    def transposed(self) -> View:
        return replace(self, shape=self.shape[::-1], strides=self.strides[::-1])

    def sliced(self, axis: int, lo: int, hi: int) -> View:
        """Components ``lo..hi-1`` along an axis."""
        shape = (*self.shape[:axis], hi - lo, *self.shape[axis + 1 :])
        return replace(self, shape=shape, offset=self.offset + lo * self.strides[axis])

    def taken(self, axis: int, at: int) -> View:
        """One component along an axis, which goes away."""
        return replace(
            self,
            shape=self.shape[:axis] + self.shape[axis + 1 :],
            strides=self.strides[:axis] + self.strides[axis + 1 :],
            offset=self.offset + at * self.strides[axis],
        )

    def broadcast(self, shape: tuple[int, ...]) -> View:
        """Repeated along the axes that it lacks."""
        lack = len(shape) - len(self.shape)
        strides = [0] * lack + [
            0 if n == 1 and want != 1 else s
            for n, s, want in zip(self.shape, self.strides, shape[lack:], strict=True)
        ]
        return replace(self, shape=shape, strides=tuple(strides))


def dense(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of components in C order."""
    return tuple(prod(shape[k + 1 :]) for k in range(len(shape)))


@dataclass(frozen=True)
class Map:
    """``target = rhs`` component by component; ``leaves`` are the parts of ``rhs`` in memory.

    With ``update`` the value is added to the target.
    """

    target: View
    rhs: Expr
    leaves: Mapping[Expr, View]
    update: bool = False


@dataclass(frozen=True)
class Group:
    """Maps over the same components that are done together, one component after the other."""

    parts: tuple[Map, ...]


@dataclass(frozen=True)
class Fold:
    """``target`` = the reduction ``op`` (sum, max, min, argmax) of ``rhs`` along ``axis``."""

    target: View
    op: str
    axis: int | None
    rhs: Expr
    leaves: Mapping[Expr, View]


@dataclass(frozen=True)
class Product:
    """``target = start + left @ right`` for each row; ``start`` may be the target, or zeros."""

    target: View
    left: View
    right: View
    start: View | None = None


@dataclass(frozen=True)
class Eliminate:
    """``target`` = ``op`` (solve, inv, logdet, cholesky) of a matrix for each row.

    Both views are dense. The matrix is destroyed; for solve the target holds the right side before.
    """

    target: View
    matrix: View
    op: str


@dataclass(frozen=True)
class ColumnSum:
    """Add ``rhs``, summed over all rows, to a ``target`` that the rows share.

    With ``fresh`` the target is overwritten; ``rows_alike`` says that all rows have one value.
    ``op`` may be max or min in place of sum.
    """

    target: View
    rhs: Expr
    leaves: Mapping[Expr, View]
    rows_alike: bool = False
    fresh: bool = False
    op: str = "sum"


@dataclass(frozen=True)
class Contract:
    """Add the outer products of ``left`` and ``right``, summed over rows, to a shared target.

    With ``fresh`` the target is overwritten.
    """

    target: View
    left: View
    right: View
    fresh: bool = False


@dataclass(frozen=True)
class ScatterSum:
    """Add each row's ``source`` to the slice of a shared target that the row's ``index`` names.

    ``axis`` is the axis of the target along which the index chooses.
    """

    target: View
    source: View
    index: View
    axis: int


@dataclass(frozen=True)
class Branch:
    """``then`` if the condition on the indices holds, else ``otherwise``."""

    condition: Domain
    then: tuple[Op, ...]
    otherwise: tuple[Op, ...]


@dataclass(frozen=True)
class Repeat:
    """``body`` for all values of ``index`` between the bounds."""

    index: str
    ranges: tuple[tuple[tuple[Poly, ...], tuple[Poly, ...]], ...]
    direction: int
    body: tuple[Op, ...]


@dataclass(frozen=True)
class Points:
    """``body`` for all values of ``index`` in a domain whose other symbols are known."""

    index: str
    domain: Domain
    body: tuple[Op, ...]


@dataclass(frozen=True)
class Stretch:
    """``body`` for all values of ``index`` at once: the steps' tiles as the rows of one.

    All views in the body that are not shared advance by one step with the index. With ``whole``
    the rows are taken in one go (sums over all rows), otherwise in portions that stay in cache.
    """

    index: str
    lows: tuple[Poly, ...]
    highs: tuple[Poly, ...]
    body: tuple[Op, ...]
    whole: bool = False


@dataclass(frozen=True)
class Strips:
    """``body`` for one strip of steps after the other; ``index`` is the first step of each.

    Strips have as many steps as the symbol `LENGTH` says, a power of two, and begin at multiples of
    that; together they cover all ranges. Loops in the body hold themselves to their strip.
    ``inputs`` are copied before the body, for the steps of the strip.
    """

    index: str
    ranges: tuple[tuple[tuple[Poly, ...], tuple[Poly, ...]], ...]
    direction: int
    body: tuple[Op, ...]
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Solve:
    """``target`` becomes a solution of ``target = F(target)`` in every row.

    It may stand in a stretch: whatever it touches is computed by ``first`` and ``step``.

    Attributes:
        image: where ``step`` computes the map's value from the target.
        last: for each row the last change.
        work: for each row what the method keeps.
        state: for each row the state of Anderson's method, several rows side by side.
        marks: for each row whether it is still searched for, and how (see
            `unfold.backends.llvm.solving.anderson`), and the steps so far.
        name: the variable, for failures.
        affine: whether the map is affine in its unknown.
        patience: how slow plain steps may be (see `unfold.implicit.patience`).
        first: what is done once: the first guess, and the parts of the map that do not change.
        direction, slope, tangent: for Newton's method: the change of the unknown (the same in all
            rows), that of the map's value, and how it is computed.
    """

    target: View
    image: View
    last: View
    work: View
    state: View | None
    marks: View
    name: str
    solver: Solver
    affine: bool
    patience: float
    first: tuple[Op, ...]
    step: tuple[Op, ...]
    direction: View | None
    slope: View | None
    tangent: tuple[Op, ...]


Op: TypeAlias = (
    Map | Group | Fold | Product | Eliminate | ColumnSum | Contract | ScatterSum | Branch | Repeat
    | Points | Stretch | Strips | Solve
)  # fmt: skip


@dataclass(frozen=True)
class Temporary:
    """A storage for intermediate values: one element for each row of a tile.

    It has a row for each sequence of the batch and ``more``, and ``least`` rows if these are fewer:
    those of a portion of a stretch. With ``axes`` it has an element for each position along them.
    """

    name: str
    size: int
    kind: str
    shared: bool
    least: int = PORTION
    more: int = 0
    axes: tuple[tuple[Poly, Poly], ...] = ()
