"""Products of vectors and matrices, and the rearrangement of components.

Each op here is linear in every real operand, so its ``vjp`` is its transpose and its tangent
follows by linearity.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..expr import REAL, Call, Const, Expr, Position, Type, promote
from ..poly import ONE, Poly, Shape, ShapeError, show_shape
from .record import (
    Args,
    Attrs,
    Example,
    Op,
    broadcast_to,
    compare,
    reshape,
    sum_over,
    sum_to,
    times,
    where,
)

ANY = (-2.0, 2.0)


def _real_operands(args: Args) -> None:
    for position, a in enumerate(args):
        if a.type.kind == "bool":
            raise ShapeError("numbers are needed here, not a truth value", (position,))


# --- products ---------------------------------------------------------------------------------


def matmul_shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    _real_operands(args)
    a, b = args
    for position, x in enumerate(args):
        if len(x.shape) == 0:
            raise ShapeError("a scalar has no place in a matrix product; use `*`", (position,))
        if len(x.shape) > 2:
            raise ShapeError("a matrix product takes vectors and matrices", (position,))
    if a.shape[-1] != b.shape[0]:
        left = f"{a.shape[-1]} " + ("columns" if len(a.shape) == 2 else "components")
        right = f"{b.shape[0]} " + ("rows" if len(b.shape) == 2 else "components")
        raise ShapeError(f"{left} on the left, {right} on the right", (0, 1))
    return a.shape[:-1] + b.shape[1:], REAL


def matmul(a: Expr, b: Expr) -> Expr:
    shape, kind = matmul_shape((a, b), {})
    return Call("matmul", (a, b), (), shape, kind)


def transpose(a: Expr) -> Expr:
    if isinstance(a, Call) and a.op == "transpose":
        return a.args[0]
    return Call("transpose", (a,), (), a.shape[::-1], a.type)


def outer(u: Expr, v: Expr) -> Expr:
    return Call("outer", (u, v), (), u.shape + v.shape, REAL)


def _matmul_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    a, b = args
    ranks = len(a.shape), len(b.shape)
    if ranks == (1, 1):
        return times(g, b), times(g, a)
    if ranks == (2, 1):
        return outer(g, b), matmul(transpose(a), g)
    if ranks == (1, 2):
        return matmul(b, g), outer(a, g)
    return matmul(g, transpose(b)), matmul(transpose(a), g)


def _outer_shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    _real_operands(args)
    for position, a in enumerate(args):
        if len(a.shape) != 1:
            raise ShapeError("outer takes two vectors", (position,))
    return args[0].shape + args[1].shape, REAL


def _outer_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    u, v = args
    return matmul(g, v), matmul(transpose(g), u)


def _transpose_shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    if len(args[0].shape) != 2:
        raise ShapeError(f"only a matrix can be transposed, not {show_shape(args[0].shape)}", (0,))
    return args[0].shape[::-1], args[0].type


# --- rearrangement ----------------------------------------------------------------------------


def _volume(shape: Shape) -> Poly:
    total = ONE
    for n in shape:
        total = total * n
    return total


def _reshape_shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    shape: Shape = attrs["shape"]
    if _volume(shape) != _volume(args[0].shape):
        raise ShapeError(
            f"{_volume(args[0].shape)} components cannot be arranged as {show_shape(shape)}", (0,)
        )
    return shape, args[0].type


def _broadcast_shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    from ..poly import broadcast

    shape: Shape = attrs["shape"]
    if broadcast(args[0].shape, shape) != shape:
        raise ShapeError(
            f"{show_shape(args[0].shape)} does not repeat to {show_shape(shape)}", (0,)
        )
    return shape, args[0].type


def _common(args: Args) -> Type:
    """The type of components that stay what they are: a bound on integers is kept."""
    kinds = {a.type for a in args}
    return kinds.pop() if len(kinds) == 1 else promote(*(a.type for a in args))


def _concat_shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    axis: int = attrs["axis"]
    first = args[0].shape
    total = Poly()
    for position, a in enumerate(args):
        if len(a.shape) <= axis:
            raise ShapeError("only vectors and matrices can be concatenated, with `;`", (position,))
        if a.shape[:axis] + a.shape[axis + 1 :] != first[:axis] + first[axis + 1 :]:
            raise ShapeError("the pieces do not have the same number of columns", (0, position))
        total = total + a.shape[axis]
    return first[:axis] + (total,) + first[axis + 1 :], _common(args)


def _concat_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    axis: int = attrs["axis"]
    parts: list[Expr | None] = []
    start = Poly()
    for a in args:
        stop = start + a.shape[axis]
        parts.append(slice_(g, axis, start, stop) if a.is_real else None)
        start = stop
    return tuple(parts)


def _concat_jvp(
    tangents: tuple[Expr | None, ...], y: Expr, args: Args, attrs: Attrs
) -> Expr | None:
    if all(d is None for d in tangents):
        return None
    pieces = tuple(
        broadcast_to(Const(0.0), a.shape) if d is None else d
        for d, a in zip(tangents, args, strict=True)
    )
    assert isinstance(y, Call) or y.shape is not None
    return Call("concat", pieces, (("axis", attrs["axis"]),), y.shape, REAL)


def _stack_shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    for position, a in enumerate(args):
        if a.shape != args[0].shape:
            raise ShapeError("the entries of `[a, b, …]` must have one shape", (0, position))
    return (Poly.const(len(args)), *args[0].shape), _common(args)


def _stack_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    return tuple(
        take(g, Const(i, (), Type("int")), 0) if a.is_real else None for i, a in enumerate(args)
    )


def _stack_jvp(tangents: tuple[Expr | None, ...], y: Expr, args: Args, attrs: Attrs) -> Expr | None:
    if all(d is None for d in tangents):
        return None
    pieces = tuple(
        broadcast_to(Const(0.0), a.shape) if d is None else d
        for d, a in zip(tangents, args, strict=True)
    )
    return Call("stack", pieces, (), y.shape, REAL)


def slice_(a: Expr, axis: int, lo: Poly, hi: Poly) -> Expr:
    """Components ``lo..hi-1`` along an axis."""
    if lo == Poly() and hi == a.shape[axis]:
        return a
    shape = a.shape[:axis] + (hi - lo,) + a.shape[axis + 1 :]
    return Call("slice", (a,), (("axis", axis), ("hi", hi), ("lo", lo)), shape, a.type)


def _slice_shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    (a,) = args
    axis, lo, hi = attrs["axis"], attrs["lo"], attrs["hi"]
    if len(a.shape) <= axis:
        raise ShapeError(f"there is no axis {axis} to slice in {show_shape(a.shape)}", (0,))
    size = a.shape[axis]
    for name, value in (("start", lo), ("length", hi - lo), ("end", size - hi)):
        if value.constant is not None and value.constant < 0:
            raise ShapeError(f"the slice {lo}:{hi} does not lie in 0:{size} ({name})", (0,))
    return a.shape[:axis] + (hi - lo,) + a.shape[axis + 1 :], a.type


def _slice_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    axis, lo, hi = attrs["axis"], attrs["lo"], attrs["hi"]
    return (pad(g, axis, lo, args[0].shape[axis] - hi),)


def pad(g: Expr, axis: int, before: Poly, after: Poly) -> Expr:
    """``g`` with zeros before and after along an axis."""
    if before == Poly() and after == Poly():
        return g
    shape = g.shape[:axis] + (before + g.shape[axis] + after,) + g.shape[axis + 1 :]
    attrs = (("after", after), ("axis", axis), ("before", before))
    return Call("pad", (g,), attrs, shape, g.type)


def _pad_shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    (a,) = args
    axis = attrs["axis"]
    if len(a.shape) <= axis:
        raise ShapeError(f"there is no axis {axis} to pad in {show_shape(a.shape)}", (0,))
    size = attrs["before"] + a.shape[axis] + attrs["after"]
    return a.shape[:axis] + (size,) + a.shape[axis + 1 :], a.type


def _pad_numpy(a: Any, axis: int, before: int, after: int) -> Any:
    widths = [(0, 0)] * np.ndim(a)
    widths[axis] = (before, after)
    return np.pad(a, widths)


def _pad_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    axis, before = attrs["axis"], attrs["before"]
    return (slice_(g, axis, before, before + args[0].shape[axis]),)


def take(a: Expr, index: Expr, axis: int) -> Expr:
    """The component ``index`` (counted from 0) along an axis."""
    shape = a.shape[:axis] + a.shape[axis + 1 :]
    return Call("take", (a, index), (("axis", axis),), shape, a.type)


def _take_shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    a, index = args
    axis = attrs["axis"]
    if len(a.shape) <= axis:
        raise ShapeError("a scalar has no components" if not a.shape else f"no axis {axis}", (0,))
    if index.type.kind != "int" or index.shape != ():
        raise ShapeError("a component is chosen by one integer", (1,))
    size = a.shape[axis]
    if isinstance(index, Const):
        at = Poly.const(int(index.value))
    elif isinstance(index, Position):
        at = index.poly
    else:
        bound = index.type.bound
        if bound is None:
            raise ShapeError(
                f"the integer may lie outside 0..{size - 1}; its type has no bound", (1,)
            )
        room = (size - bound).constant
        if bound != size and (room is None or room < 0):
            raise ShapeError(f"the index is an int<{bound}>, but there are {size} components", (1,))
        return a.shape[:axis] + a.shape[axis + 1 :], a.type
    for value in (at, size - at - 1):
        if value.constant is not None and value.constant < 0:
            raise ShapeError(f"there is no component {at}; they are counted 0..{size - 1}", (1,))
    return a.shape[:axis] + a.shape[axis + 1 :], a.type


def _take_numpy(a: Any, i: Any, axis: int) -> Any:
    return np.take(a, int(i), axis=axis)


def _take_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    return scatter(g, args[1], args[0].shape[attrs["axis"]], attrs["axis"]), None


def _take_jvp(tangents: tuple[Expr | None, ...], y: Expr, args: Args, attrs: Attrs) -> Expr | None:
    return None if tangents[0] is None else take(tangents[0], args[1], attrs["axis"])


def scatter(g: Expr, index: Expr, size: Poly, axis: int) -> Expr:
    """Zeros of ``size`` along a new axis, with ``g`` at position ``index``."""
    shape = g.shape[:axis] + (size,) + g.shape[axis:]
    return Call("scatter", (g, index), (("axis", axis), ("size", size)), shape, g.type)


def _scatter_shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    g, index = args
    axis = attrs["axis"]
    if index.type.kind != "int" or index.shape != ():
        raise ShapeError("a component is chosen by one integer", (1,))
    if axis > len(g.shape):
        raise ShapeError(f"no axis {axis}", (0,))
    return g.shape[:axis] + (attrs["size"],) + g.shape[axis:], g.type


def _scatter_numpy(g: Any, i: Any, axis: int, size: int) -> Any:
    g = np.asarray(g)
    result = np.zeros((*g.shape[:axis], size, *g.shape[axis:]), dtype=g.dtype)
    result[(slice(None),) * axis + (int(i),)] = g
    return result


def _scatter_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    return take(g, args[1], attrs["axis"]), None


def _scatter_jvp(
    tangents: tuple[Expr | None, ...], y: Expr, args: Args, attrs: Attrs
) -> Expr | None:
    d = tangents[0]
    return None if d is None else scatter(d, args[1], attrs["size"], attrs["axis"])


def onehot(index: Expr, size: Poly) -> Expr:
    """The unit vector of length ``size`` with 1 at ``index``."""
    return Call("onehot", (index,), (("size", size),), (size,), REAL)


def _onehot_shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    if args[0].type.kind != "int" or args[0].shape != ():
        raise ShapeError("onehot takes one integer", (0,))
    return (attrs["size"],), REAL


def _onehot_numpy(i: Any, size: int) -> Any:
    result = np.zeros(size)
    result[int(i)] = 1.0
    return result


def _broadcast_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    return (sum_to(g, args[0].shape),)


OPS: tuple[Op, ...] = (
    Op("matmul", 2, np.matmul, r"{0}\, {1}",
       (Example(((2, 3), (3,)), (ANY, ANY)), Example(((3,), (3,)), (ANY, ANY)),
        Example(((3,), (3, 2)), (ANY, ANY)), Example(((2, 3), (3, 4)), (ANY, ANY))),
       matmul_shape, vjp=_matmul_vjp, elementwise=False, mixes=True),
    Op("outer", 2, np.multiply.outer, r"{0}\, {1}^\top", (Example(((2,), (3,)), (ANY, ANY)),),
       _outer_shape, vjp=_outer_vjp, elementwise=False),
    Op("transpose", 1, np.transpose, r"{0}^\top", (Example(((2, 3),), (ANY,)),),
       _transpose_shape, vjp=lambda g, y, args, attrs: (transpose(g),), elementwise=False),
    Op("reshape", 1, lambda a, shape: np.reshape(a, shape),
       r"\operatorname{{reshape}}\left({0}\right)",
       (Example(((2, 3),), (ANY,), (("shape", (Poly.const(6),)),)),
        Example(((4,),), (ANY,), (("shape", (Poly.const(2), Poly.const(2))),))),
       _reshape_shape, vjp=lambda g, y, args, attrs: (reshape(g, args[0].shape),),
       elementwise=False),
    Op("broadcast", 1, lambda a, shape: np.broadcast_to(a, shape), "{0}",
       (Example(((),), (ANY,), (("shape", (Poly.const(3),)),)),
        Example(((3,),), (ANY,), (("shape", (Poly.const(2), Poly.const(3))),)),
        Example(((2, 1),), (ANY,), (("shape", (Poly.const(2), Poly.const(3))),))),
       _broadcast_shape, vjp=_broadcast_vjp, elementwise=False),
    Op("concat", None, lambda *a, axis: np.concatenate(a, axis=axis),
       r"\begin{{bmatrix}} {0} \\ {1} \end{{bmatrix}}",
       (Example(((2,), (3,)), (ANY, ANY), (("axis", 0),)),
        Example(((2, 3), (1, 3)), (ANY, ANY), (("axis", 0),))),
       _concat_shape, vjp=_concat_vjp, jvp=_concat_jvp, elementwise=False),
    Op("stack", None, lambda *a: np.stack(a), r"\begin{{bmatrix}} {0} \\ {1} \end{{bmatrix}}",
       (Example(((), ()), (ANY, ANY)), Example(((3,), (3,)), (ANY, ANY))),
       _stack_shape, vjp=_stack_vjp, jvp=_stack_jvp, elementwise=False),
    Op("slice", 1, lambda a, axis, lo, hi: np.take(a, range(lo, hi), axis=axis), "{0}",
       (Example(((5,),), (ANY,), (("axis", 0), ("hi", Poly.const(4)), ("lo", Poly.const(1)))),
        Example(((2, 5),), (ANY,), (("axis", 1), ("hi", Poly.const(5)), ("lo", Poly.const(2))))),
       _slice_shape, vjp=_slice_vjp, elementwise=False),
    Op("pad", 1, _pad_numpy, r"\operatorname{{pad}}\left({0}\right)",
       (Example(((2,),), (ANY,), (("after", ONE), ("axis", 0), ("before", Poly.const(2)))),),
       _pad_shape, vjp=_pad_vjp, elementwise=False),
    Op("take", 2, _take_numpy, "{0}_{{{1}}}",
       (Example(((5,), ()), (ANY, ("int", 5)), (("axis", 0),)),
        Example(((4, 3), ()), (ANY, ("int", 4)), (("axis", 0),)),
        Example(((4, 3), ()), (ANY, ("int", 3)), (("axis", 1),))),
       _take_shape, vjp=_take_vjp, jvp=_take_jvp, elementwise=False),
    Op("scatter", 2, _scatter_numpy, r"{0}\, e_{{{1}}}",
       (Example(((), ()), (ANY, ("int", 4)), (("axis", 0), ("size", Poly.const(4)))),
        Example(((3,), ()), (ANY, ("int", 4)), (("axis", 0), ("size", Poly.const(4)))),
        Example(((3,), ()), (ANY, ("int", 2)), (("axis", 1), ("size", Poly.const(2))))),
       _scatter_shape, vjp=_scatter_vjp, jvp=_scatter_jvp, elementwise=False),
    Op("onehot", 1, _onehot_numpy, "e_{{{0}}}",
       (Example(((),), (("int", 4),), (("size", Poly.const(4)),)),),
       _onehot_shape, elementwise=False),
)  # fmt: skip

__all__ = ["OPS", "compare", "matmul", "onehot", "outer", "pad", "scatter", "slice_", "sum_over",
           "take", "transpose", "where"]  # fmt: skip
