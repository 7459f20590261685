"""What a plan is made of: buffers, loops and statements.

A plan is imperative where a program is not: it says in which order elements are computed and where
they are kept. It is still symbolic in the lengths and silent about the batch, the number format and
the machine, which belong to the backends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..domain import Domain
from ..expr import Expr, Type
from ..poly import Poly
from ..program import Program, Solver


@dataclass(frozen=True)
class Buffer:
    """The storage of one variable.

    Attributes:
        name: the variable's name.
        kind: ``"input"`` or ``"param"`` (given, never written) or ``"work"``.
        axes: the positions ``lo..hi`` stored along each axis.
        shape, type: of one element; the shape is of numbers, a plan has no free sizes.
        shared: whether there is one for the whole batch; otherwise every sequence has its own.
    """

    name: str
    kind: str
    axes: tuple[tuple[Poly, Poly], ...]
    shape: tuple[int, ...]
    type: Type
    shared: bool

    @property
    def size(self) -> int:
        """The number of components of one element."""
        total = 1
        for n in self.shape:
            total *= n
        return total


@dataclass(frozen=True)
class Result:
    """One output: positions ``lo..hi`` of each axis of a buffer.

    ``adjoint`` is set for the adjoint of another variable (zero beyond a sequence's end, where
    other outputs repeat their last value), ``summed`` for that of a parameter, and for whatever
    else is to be added up over a batch.
    """

    name: str
    ranges: tuple[tuple[Poly, Poly], ...]
    adjoint: bool = False
    summed: bool = False


@dataclass(frozen=True)
class Statement:
    """``target[position] = rhs`` where ``guard`` holds.

    With a ``solver`` the right-hand side reads the very element that is assigned, and the element
    is a solution (see `unfold.implicit`). One that ``adds`` adds to the element that is there.
    """

    target: str
    position: tuple[Poly, ...]
    guard: Domain
    rhs: Expr
    solver: Solver | None = None
    adds: bool = False


@dataclass(frozen=True)
class Loop:
    """``body`` for each value of ``index``, upward (``direction`` 1) or downward (-1).

    ``ranges`` are pairs (lows, highs): the loop runs from the least ``max(lows)`` to the greatest
    ``min(highs)``. ``parallel`` says that the iterations may be taken in any order.
    """

    index: str
    ranges: tuple[tuple[tuple[Poly, ...], tuple[Poly, ...]], ...]
    direction: int
    parallel: bool
    body: tuple[Node, ...]

    @property
    def domain(self) -> Domain:
        """What its index satisfies: its range, or nothing where it has several."""
        if len(self.ranges) > 1:
            return Domain()
        i, (lows, highs) = Poly.symbol(self.index), self.ranges[0]
        return Domain.of((*(i - p for p in lows), *(p - i for p in highs)))


Node: TypeAlias = Statement | Loop


@dataclass(frozen=True)
class Plan:
    """How a program is computed.

    Attributes:
        program: what is computed, with the equations the plan was made from.
        buffers: the storage of every variable that is read or written, by name.
        shared: what depends on parameters alone, done once for the whole batch.
        body: what is done for every sequence.
        results: the outputs, in the program's order.
    """

    program: Program
    buffers: Mapping[str, Buffer]
    shared: tuple[Node, ...]
    body: tuple[Node, ...]
    results: tuple[Result, ...]

    @property
    def lengths(self) -> tuple[str, ...]:
        """The numbers that are known at each call only."""
        return self.program.lengths

    def __str__(self) -> str:
        from .text import show

        return show(self)


def statements(nodes: Sequence[Node]) -> Iterator[Statement]:
    """All statements, in order."""
    for node in nodes:
        if isinstance(node, Statement):
            yield node
        else:
            yield from statements(node.body)
