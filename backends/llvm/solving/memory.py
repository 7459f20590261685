"""Memory of one call of a function."""

from __future__ import annotations

from ..body import Body, Type, Value


def room(b: Body, kind: Type, count: int) -> Value:
    """Memory of the function for so many values."""
    f = b.f
    f.count += 1
    name = f"%room{f.count}"
    f.blocks[0].lines.insert(0, f"{name} = alloca {kind}, i64 {count}, align 64")
    return Value(b, Type("ptr"), name)


__all__ = ["room"]
