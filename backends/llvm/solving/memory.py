"""Memory of a function, and numbers of several sequences between their rows and registers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..body import Body, Type, Value
from ..gemm.packing import transposed

#: Up to so many bytes what belongs to a register of sequences stays in the nearest cache.
NEAR = 24 * 1024


def room(b: Body, kind: Type, count: int) -> Value:
    """Memory of the function for so many values."""
    f = b.f
    f.count += 1
    name = f"%room{f.count}"
    f.blocks[0].lines.insert(0, f"{name} = alloca {kind}, i64 {count}, align 64")
    return Value(b, Type("ptr"), name)


def gather(
    b: Body, kind: Type, lines: Sequence[Value], rows: int, count: int, target: Value, step: int
) -> None:
    """Bring matrices of so many rows and columns, one behind each address, into registers.

    A register of ``kind`` holds one entry of each; rows are ``step`` registers apart.
    """
    single = Type(kind.element)

    def row(i: Value, count: int) -> None:
        here = [b.at(line, i * count, single) for line in lines]
        to = b.at(target, i * step, kind)

        def square(k: Value | int) -> None:
            found = [b.load(b.at(line, k, single), kind) for line in here]
            for j, v in enumerate(transposed(b, found)):
                b.store(v, b.at(b.at(to, k, kind), j, kind))

        def one(k: Value) -> None:
            v = b.const(kind, 0.0)
            for j, line in enumerate(here):
                v = b.with_lane(v, b.load(b.at(line, k, single), single), j)
            b.store(v, b.at(to, k, kind))

        _squares(b, count, kind.lanes, square, one)

    _rows(b, rows, count, step, row)


def spread(
    b: Body, kind: Type, source: Value, step: int, lines: Sequence[Value], rows: int, count: int
) -> None:
    """Bring what stands in registers behind an address for each sequence; undoes `gather`."""
    single = Type(kind.element)

    def row(i: Value, count: int) -> None:
        here = [b.at(line, i * count, single) for line in lines]
        at = b.at(source, i * step, kind)

        def square(k: Value | int) -> None:
            where = b.at(at, k, kind)
            found = [b.load(b.at(where, j, kind), kind) for j in range(len(here))]
            for v, line in zip(transposed(b, found), here, strict=True):
                b.store(v, b.at(line, k, single))

        def one(k: Value) -> None:
            v = b.load(b.at(at, k, kind), kind)
            for j, line in enumerate(here):
                b.store(b.lane(v, j), b.at(line, k, single))

        _squares(b, count, kind.lanes, square, one)

    _rows(b, rows, count, step, row)


def _rows(b: Body, rows: int, count: int, step: int, body: Callable[[Value, int], None]) -> None:
    """For every row; one row of all numbers where these follow each other."""
    if count == step:
        rows, count = 1, rows * count

    def one(i: Value, _: list[Value]) -> list[Value]:
        body(i, count)
        return []

    b.loop(rows, [], one)


def _squares(
    b: Body, count: int, side: int, square: Callable[[Value | int], None],
    one: Callable[[Value], None],
) -> None:  # fmt: skip
    """So many numbers in squares of registers; the last of them moved back over the others."""

    def each(k: Value, _: list[Value]) -> list[Value]:
        if count < side:
            one(k)
        else:
            square(k)
        return []

    if count < side:
        b.loop(count, [], each)
        return
    b.loop(count // side * side, [], each, by=side)
    if count % side:
        square(count - side)


__all__ = ["NEAR", "gather", "room", "spread"]
