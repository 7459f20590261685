"""The primitive operations: one record each, in one table.

The native lowering is the second and last place where an op is described, keyed by the same name;
the tests loop over this table and name whatever is missing.
"""

from __future__ import annotations

from ..expr import Attr, Call, Expr
from . import elementwise, linear, reductions, systems
from .definitions import DEFINITIONS
from .record import Example, Op

OPS: dict[str, Op] = {
    op.name: op for op in elementwise.OPS + linear.OPS + reductions.OPS + systems.OPS
}


def call(name: str, *args: Expr, **attrs: Attr) -> Call:
    """Apply an op: infer the shape and type and build the node.

    Raises `ShapeError` if the operands do not fit, ``KeyError`` for an unknown op.
    """
    shape, kind = OPS[name].infer(args, attrs)
    return Call(name, args, tuple(sorted(attrs.items())), shape, kind)


__all__ = ["DEFINITIONS", "OPS", "Example", "Op", "call"]
