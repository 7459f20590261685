"""Large operations in pieces, which the threads of a crew take (see `unfold.backends.llvm.crew`).

before:  C = start + A @ B                     one call
after:   for each piece of B's columns: C[:, piece] = start[:, piece] + A @ B[:, piece]

requires: pieces that no other piece reads from or writes to, and whose bits do not depend on where
the borders are. They are whole panels, so those of the kernels do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from typing import TYPE_CHECKING

from unfold.expr import Ref
from unfold.poly import Poly

from .. import gemm
from ..crew import FIELD, FRAME, WORDS
from ..gemm.tiling import tiling
from ..ir import Function, Value, integer
from ..pool import pause
from .nodes import Map, Op

if TYPE_CHECKING:
    from .emit import TileEmitter
    from .generate import Generator
    from .outline import Call

#: Matrices of fewer numbers are not divided, and pieces have about so many at least: to begin a
#: piece takes as long as to read some thousand numbers.
LEAST, PIECE = 2**16, 2**16
#: An operation has up to so many pieces; they have so many columns at least, for every piece of a
#: product reads all of the left matrix.
MOST, COLUMNS = 8, 64
#: Loops over so many numbers are divided.
NUMBERS = 2**13
#: The function that has pieces done.
SHARE = "unfold.share"
#: Bytes of a piece of what is copied.
BYTES = 2**18


def extents(total: int, other: int, width: int) -> tuple[int, int, int]:
    """How many pieces of a matrix ``total`` columns wide and ``other`` high, their columns (whole
    panels of ``width``), and those of the last one."""
    count = max(2, min(MOST, total // COLUMNS, total * other // PIECE))
    columns = -(-total // (count * width)) * width
    count = -(-total // columns)
    last = total - (count - 1) * columns
    if count > 1 and last <= width:
        count, last = count - 1, last + columns
    return count, columns, last


def divided(g: Generator, total: int, other: int) -> bool:
    """Whether an operation on a matrix ``total`` columns wide is done some columns at a time."""
    return g.crew and total * other >= LEAST and total >= 2 * COLUMNS


def pack(
    te: TileEmitter, N: int, K: int, at: Value, stride: Value, transposed: bool, target: Value
) -> None:
    """Bring a matrix into panels, some columns at a time."""
    g, kind = te.generator, te.generator.formats.real

    def piece(f: Function, first: Value, columns: int, operands: Sequence[Value]) -> None:
        at, stride, target = operands
        skip = f.binary("mul nsw", first, stride) if transposed else first
        to = f.offset(target, kind, f.binary("mul nsw", first, integer(K)))
        here = f.offset(at, kind, skip), stride, to
        gemm.bring(f, g.target, g.dtype, columns, K, here, transposed=transposed)

    _share(te, ("pack", N, K, transposed), (N, K), [at, stride, target], piece)


def product(
    te: TileEmitter, N: int, K: int, rows: Value, a: Value, a_step: int, packed: Value,
    start: Value | None, start_step: int, c: Value, c_step: int,
) -> None:  # fmt: skip
    """``c = start + a @ B``, where ``packed`` is B[K, N] in panels."""
    g, kind = te.generator, te.generator.formats.real

    def piece(f: Function, first: Value, columns: int, operands: Sequence[Value]) -> None:
        rows, a, packed, c, *begin = operands
        panels = f.offset(packed, kind, f.binary("mul nsw", first, integer(K)))
        begins = f.offset(begin[0], kind, first) if begin else Value("ptr", "null")
        gemm.multiply(
            f, g.target, g.dtype, columns, K,
            (rows, a, integer(a_step), panels, begins, integer(start_step),
             f.offset(c, kind, first), integer(c_step)),
        )  # fmt: skip

    operands = [rows, a, packed, c, *([] if start is None else [start])]
    key = ("product", N, K, a_step, start is None, start_step, c_step)
    _share(te, key, (N, K), operands, piece)


def outer(
    te: TileEmitter, N1: int, N2: int, rows: Value, a: Value, a_step: Value, b: Value,
    b_step: Value, c: Value, c_step: int, accumulate: bool,
) -> None:  # fmt: skip
    """``c[N1, N2] (+)= a[rows, N1]^T @ b[rows, N2]``, some rows of c at a time, or some columns if
    these are more."""
    g, kind = te.generator, te.generator.formats.real
    by_rows = N1 >= N2
    count, columns, last = extents(max(N1, N2), min(N1, N2), tiling(g.target, g.dtype).columns)
    sizes = [(n, N2) if by_rows else (N1, n) for n in (columns, last)]
    room = max(gemm.outer_work(g.target, g.dtype, *size) for size in sizes)
    # Each piece packs its operands for itself.
    work = g.scratch(te.f, count * room)

    def piece(f: Function, first: Value, columns: int, operands: Sequence[Value]) -> None:
        rows, a, a_step, b, b_step, c, work = operands
        n1, n2 = (columns, N2) if by_rows else (N1, columns)
        number = f.binary("udiv", first, integer(columns_of))
        if by_rows:
            a = f.offset(a, kind, first)
            c = f.offset(c, kind, f.binary("mul nsw", first, integer(c_step)))
        else:
            b, c = f.offset(b, kind, first), f.offset(c, kind, first)
        gemm.outer_sum(
            f, g.target, g.dtype, n1, n2,
            (rows, a, a_step, b, b_step, c, integer(c_step), integer(accumulate, "i1"),
             f.offset(work, kind, f.binary("mul nsw", number, integer(room)))),
        )  # fmt: skip

    columns_of = columns
    key = ("outer", N1, N2, c_step, accumulate)
    _share(te, key, (max(N1, N2), min(N1, N2)), [rows, a, a_step, b, b_step, c, work], piece)


def _share(
    te: TileEmitter, key: tuple[object, ...], sizes: tuple[int, int], operands: Sequence[Value],
    piece: Callable[[Function, Value, int, Sequence[Value]], None],
) -> None:  # fmt: skip
    """Have the columns of a matrix done, some at a time: ``piece(function, first column, columns,
    operands)`` writes the code for these. ``sizes`` are its width and height."""
    g = te.generator
    count, columns, last = extents(*sizes, tiling(g.target, g.dtype).columns)
    name = ".".join(["piece", *map(str, key)])

    def write(f: Function, number: Value, given: Sequence[Value]) -> None:
        first = f.binary("mul nsw", number, integer(columns))
        if last == columns:
            piece(f, first, columns, given)
            return
        is_last = f.compare("icmp eq", number, integer(count - 1))
        for size, condition in ((last, is_last), (columns, f.binary("xor", is_last, _TRUE))):
            with f.when(condition):
                piece(f, first, size, given)

    share(te, name, integer(count), operands, write)


_TRUE = integer(1, "i1")


def rows(te: TileEmitter, call: Call, places: Sequence[Value], count: Value, numbers: int) -> None:
    """A loop over the rows of a tile, with ``numbers`` to compute in each: many rows in pieces."""
    f, formats = te.f, te.generator.formats
    operands = [*places, *call.numbers, count]
    if len(operands) > WORDS - FRAME:
        f.call_void(call.name, *operands)
        return
    many = f.compare("icmp sge", f.binary("mul nsw", count, integer(numbers)), integer(NUMBERS))
    many = f.binary("and", many, f.compare("icmp sgt", count, integer(1)))
    with f.when(f.binary("xor", many, _TRUE)):
        f.call_void(call.name, *operands)

    def write(f: Function, number: Value, given: Sequence[Value]) -> None:
        total = given[-1]
        first, end = (
            f.binary("udiv", f.binary("mul nsw", total, n), integer(MOST))
            for n in (number, f.binary("add nsw", number, integer(1)))
        )
        moved = [
            f.offset(v, formats.stored(kind), f.binary("mul nsw", first, integer(row)))
            for v, (kind, row) in zip(given, call.kinds, strict=False)
        ]
        between = given[len(moved) : -1]
        f.call_void(call.name, *moved, *between, f.binary("sub", end, first))

    with f.when(many):
        share(te, f"piece.{call.name}", integer(MOST), operands, write)


def copies(te: TileEmitter, op: Op) -> bool:
    """Copy one matrix to another, some rows at a time; False if that is not worth while."""
    g = te.generator
    if not g.crew or not isinstance(op, Map) or op.target.size < 2 * PIECE:
        return False
    ((source, view),) = op.leaves.items()
    height = op.target.shape[0]
    if height % MOST or op.rhs != source:
        return False
    some = height // MOST
    sizes = tuple(Poly.const(n) for n in (some, *op.target.shape[1:]))
    part = Ref(view.storage, (), sizes)
    target, view = op.target.sliced(0, 0, some), view.sliced(0, 0, some)
    from .outline import called

    call = called(te, Map(target, part, {part: view}))

    def write(f: Function, number: Value, given: Sequence[Value]) -> None:
        moved = [
            f.offset(
                at, g.formats.stored(kind),
                f.binary("mul nsw", number, integer(some * v.strides[0])),
            )
            for at, v, (kind, _) in zip(given, call.views, call.kinds, strict=True)
        ]  # fmt: skip
        f.call_void(call.name, *moved, *call.numbers, integer(1))

    places = [te.tile.base(v) for v in call.views]
    share(te, f"piece.{call.name}.{some}", integer(MOST), places, write)
    return True


def is_copied(g: Generator, size: int) -> bool:
    """Whether it is worth while to `copy` so many bytes."""
    return g.crew and size >= 2 * BYTES


def copy(te: TileEmitter, target: Value, source: Value, size: int) -> None:
    """Copy so many bytes, some at a time."""

    def write(f: Function, number: Value, given: Sequence[Value]) -> None:
        target, source, size = given
        first = f.binary("mul nsw", number, integer(BYTES))
        left = f.binary("sub", size, first)
        count = f.intrinsic("llvm.smin", left, integer(BYTES))
        name = "llvm.memcpy.p0.p0.i64"
        f.module.declare(name, "void", ["ptr", "ptr", "i64", "i1"])
        f.call_void(
            name, f.offset(target, "i8", first), f.offset(source, "i8", first), count,
            integer(0, "i1"),
        )  # fmt: skip

    share(te, "piece.copy", integer(-(-size // BYTES)), [target, source, integer(size)], write)


def share(
    te: TileEmitter, name: str, count: Value, operands: Sequence[Value],
    write: Callable[[Function, Value, Sequence[Value]], None],
) -> None:  # fmt: skip
    """Have ``count`` pieces done by whoever is there; fewer than 2 ** 16.

    ``write(function, number, operands)`` writes the function of one. Operands stand in the frame, a
    word each.
    """
    f, g = te.f, te.generator
    assert len(operands) <= WORDS - FRAME
    if name not in g.kernels:
        g.kernels.add(name)
        args = [("ptr", "frame", ""), ("i64", "number", "")]
        function = Function(g.module, f'"{name}"', args, linkage="internal")
        frame, number = function.args
        places = [function.offset(frame, "i64", integer(n)) for n in range(len(operands))]
        given = [function.load(v.type, at, 8) for v, at in zip(operands, places, strict=True)]
        write(function, number, given)
        function.ret()
        g.module.add(str(function))
    crew = g.work(f, FIELD)
    for n, v in enumerate(operands):
        f.store(v, f.offset(crew, "i64", integer(FRAME + n)), 8)
    f.module.declare(SHARE, "void", ["ptr", "ptr", "i64"])
    f.call_void(SHARE, crew, Value("ptr", f'@"{name}"'), count)


def entry(g: Generator) -> str:
    """The functions that threads meet in: ``run``, which calls ``program``."""
    text = resources.files("unfold.backends.llvm").joinpath("crew.ll").read_text(encoding="utf-8")
    field = g.layout().record.field("work", FIELD)
    return text.replace("@pause@", pause(g.target.triple)).replace("@field@", str(field))


__all__ = ["copies", "copy", "divided", "entry", "extents", "outer", "pack", "product", "rows"]
