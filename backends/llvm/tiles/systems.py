"""Small linear systems on tiles: a matrix in each row, which elimination destroys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unfold.expr import Call
from unfold.ops.record import fn

from ..body import Body, Value
from ..components import dims
from ..ir import integer
from ..solving import cholesky, inverse, linear_system, log_determinant
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
    """One call for each row."""
    b, tile = Body(te.f), te.tile
    n, real = op.matrix.shape[0], tile.formats.real
    if op.op == "solve":
        name = linear_system(b.module, n, real, op.target.size // n)
    else:
        make = {"inv": inverse, "logdet": log_determinant, "cholesky": cholesky}[op.op]
        name = make(b.module, n, real)
    for v in (op.matrix, op.target):
        tile.base(v)

    def row(k: Value, _: list[Value]) -> list[Value]:
        with tile.scope():
            b.call_void(name, *(b.wrap(tile.row_base(v, k)) for v in (op.matrix, op.target)))
        return []

    b.loop(b.wrap(integer(1) if op.target.shared else tile.rows), [], row)


__all__ = ["emit", "select"]
