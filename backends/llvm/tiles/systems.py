"""Small linear systems on tiles: a matrix in each row, which elimination destroys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfold.expr import Call
from unfold.ops.record import fn

from ..body import Body, Value
from ..components import dims
from ..ir import integer
from ..solving import (
    abreast,
    cholesky,
    inverse,
    lanes_abreast,
    linear_system,
    log_determinant,
)
from .nodes import Eliminate, Map, View

if TYPE_CHECKING:
    from .emit import TileEmitter
    from .expressions import Expressions


def select(s: Expressions, target: View, e: Call) -> None:
    """Compute a system, inverse, determinant or factor into a place."""
    shared = s.is_shared(e)
    matrix = s.temporary(dims(e.args[0].shape), "real", shared)
    s.into(matrix, fn("real", e.args[0]))
    result = s.temporary(dims(e.shape), "real", shared)
    if e.op == "solve":
        s.into(result, fn("real", e.args[1]))
    s.ops.append(Eliminate(result, matrix, e.op))
    s.ops.append(Map(target, e, {e: result}))


def emit(te: TileEmitter, op: Eliminate) -> None:
    """One call for each row, or for several rows abreast."""
    b, tile = Body(te.f), te.tile
    n, real = op.matrix.shape[0], tile.formats.real
    if op.op == "solve":
        name = linear_system(b.module, n, real, op.target.size // n)
    else:
        make = {"inv": inverse, "logdet": log_determinant, "cholesky": cholesky}[op.op]
        name = make(b.module, n, real)
    places = [b.wrap(tile.base(v)) for v in (op.matrix, op.target)]
    rows = b.wrap(integer(1) if op.target.shared else tile.rows)

    def row(k: Value, _: list[Value]) -> list[Value]:
        with tile.scope():
            b.call_void(name, *(b.wrap(tile.row_base(v, k)) for v in (op.matrix, op.target)))
        return []

    def each() -> list[Value]:
        with tile.scope():
            b.loop(rows, [], row)
        return []

    columns = op.target.size // n if op.op == "solve" else 0
    lanes = lanes_abreast(op.op, n, columns, real, te.lanes)
    if lanes == 1 or op.target.shared:
        each()
        return

    def together() -> list[Value]:
        steps = (b.wrap(tile.row_distance(v)) for v in (op.matrix, op.target))
        given = (v for pair in zip(places, steps, strict=True) for v in pair)
        b.call_void(abreast(b.module, op.op, n, columns, real, lanes), *given, rows)
        return []

    several = rows.gt(1)
    b.when(several, together)
    b.when(several ^ 1, each)


__all__ = ["emit", "select"]
