"""What an op is: one record that says everything once, except its native lowering.

A derivative is written with expressions, so that it can be differentiated again. Most ops need
only one of two short forms:

- an *element-wise* op gives its ``partials``, one per operand, to be held against a textbook;
- an op that is *linear* in each operand gives ``vjp``; its tangent follows from linearity.

The rest (softmax, max, …) give both ``vjp`` and ``jvp``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..expr import REAL, Attr, Call, Const, Expr, Type, elementwise, lift, promote
from ..poly import ONE, Poly, Shape, ShapeError, broadcast

Attrs: TypeAlias = "dict[str, Attr]"
Args: TypeAlias = "tuple[Expr, ...]"
ShapeRule: TypeAlias = Callable[[Args, Attrs], "tuple[Shape, Type]"]
Partial: TypeAlias = Callable[..., "Expr | float"]
Vjp: TypeAlias = Callable[[Expr, Expr, Args, Attrs], "tuple[Expr | None, ...]"]
Jvp: TypeAlias = Callable[["tuple[Expr | None, ...]", Expr, Args, Attrs], "Expr | None"]
#: How a cotangent or a tangent is multiplied with a slope.
Product: TypeAlias = Callable[[Expr, Expr], Expr]


@dataclass(frozen=True)
class Example:
    """How tests may call an op: shapes of the operands, where to draw them from, attributes.

    ``ranges`` holds one interval per operand, for integer operands ``("int", bound)``. The ends of
    an interval may be nested tuples: one number for each component.
    """

    shapes: tuple[tuple[int, ...], ...]
    ranges: tuple[Any, ...]
    attrs: tuple[tuple[str, Attr], ...] = ()


@dataclass(frozen=True)
class Op:
    """One primitive operation on components.

    Attributes:
        name: the key everywhere: in `Call.op`, in each backend's table, in printed programs.
        arity: number of operands; ``None`` for any number from one up.
        numpy: its meaning on arrays; attributes come as keywords, sizes as integers.
        latex: its form in a formula, operands as ``{0}``, ``{1}``.
        examples: where tests may sample it.
        shape: result shape and type for operands and attributes; raises `ShapeError`. The default
            is the element-wise rule.
        partials: element-wise ops: ``partials[i](y, *operands)`` is the derivative of the result
            ``y`` in operand ``i``. Empty for ops that have no derivative (integers, comparisons).
        vjp: ``vjp(g, y, operands, attrs)`` gives the cotangent of each operand (``None``: zero).
        jvp: ``jvp(tangents, y, operands, attrs)`` gives the tangent of the result. Left out where
            ``vjp`` is given and the op is linear in each operand.
        elementwise: whether component i of the result depends on component i of the operands only.
        selects: whether an operand may be without any influence: the branch not taken, the smaller
            one of two. Its cotangent is then exactly 0.
        mixes: whether a component of the result depends on many components of an operand, each in
            its own way, so that derivatives which are 0 for some of them leave no trace.
        diverges: whether the result for these operands may be infinite or NaN although they are
            finite.
    """

    name: str
    arity: int | None
    numpy: Callable[..., Any]
    latex: str
    examples: tuple[Example, ...]
    shape: ShapeRule | None = None
    partials: tuple[Partial, ...] = ()
    vjp: Vjp | None = None
    jvp: Jvp | None = None
    elementwise: bool = True
    selects: bool = False
    mixes: bool = False
    diverges: Callable[[Args], bool] = lambda args: False

    def infer(self, args: Args, attrs: Attrs) -> tuple[Shape, Type]:
        """Shape and type of the result. Raises `ShapeError`, also for a wrong operand count."""
        if self.arity is not None and len(args) != self.arity:
            raise ShapeError(f"{self.name} takes {self.arity} operands, here are {len(args)}")
        if self.shape is not None:
            return self.shape(args, attrs)
        return numeric(args, attrs)

    def cotangents(
        self, g: Expr, y: Expr, args: Args, attrs: Attrs, by: Product | None = None
    ) -> tuple[Expr | None, ...]:
        """What each operand receives when the result receives ``g`` (of the result's shape).

        ``by`` multiplies with a partial derivative (default: `times`).
        """
        if self.vjp is not None:
            return self.vjp(g, y, args, attrs)
        if not self.partials:
            return (None,) * len(args)
        product = by or times
        return tuple(
            sum_to(product(g, lift(p(y, *args))), a.shape) if a.is_real else None
            for p, a in zip(self.partials, args, strict=True)
        )

    def tangent(
        self,
        tangents: tuple[Expr | None, ...],
        y: Expr,
        args: Args,
        attrs: Attrs,
        by: Product | None = None,
    ) -> Expr | None:
        """The tangent of the result for tangents of the operands (``None``: zero)."""
        if self.jvp is not None:
            return self.jvp(tangents, y, args, attrs)
        product = by or times
        terms: list[Expr] = []
        for i, d in enumerate(tangents):
            if d is None:
                continue
            if self.partials:
                terms.append(broadcast_to(product(d, lift(self.partials[i](y, *args))), y.shape))
            elif self.vjp is not None:
                operands = (*args[:i], d, *args[i + 1 :])
                terms.append(Call(self.name, operands, tuple(sorted(attrs.items())), y.shape))
        return add_all(terms)


def numeric(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    """Element-wise arithmetic that keeps integers integers."""
    for position, a in enumerate(args):
        if a.type.kind == "bool":
            raise ShapeError("numbers are needed here, not a truth value", (position,))
    return broadcast(*(a.shape for a in args)), promote(*(a.type for a in args))


def real_valued(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    """Element-wise functions whose result is always real."""
    return numeric(args, attrs)[0], Type("real")


# --- small builders that derivative rules share ------------------------------------------------


def times(g: Expr, p: Expr) -> Expr:
    """``g * p`` without the noise of factors 1 and -1.

    Where a slope is chosen among numbers the product is chosen: ``where(c, 1, 0)`` gives
    ``where(c, g, 0)``, exactly 0 where ``c`` is false, even if ``g`` is infinite.
    """
    if isinstance(p, Const) and p.shape == () and p.value in (0, 1, -1):
        if p.value == 0:
            return broadcast_to(lift(0.0), g.shape)
        return g if p.value == 1 else -g
    if isinstance(p, Call) and p.op == "where" and all(map(_is_choice, p.args[1:])):
        shape = broadcast(g.shape, p.shape)
        return broadcast_to(where(p.args[0], *(times(g, a) for a in p.args[1:])), shape)
    return g * p


def _is_choice(e: Expr) -> bool:
    """A number, or a choice among numbers."""
    if isinstance(e, Call) and e.op == "where":
        return all(map(_is_choice, e.args[1:]))
    return isinstance(e, Const) and e.shape == ()


def chain_rule(g: Expr, p: Expr) -> Expr:
    """``g * p``, and 0 where ``g`` is exactly 0, whatever ``p`` is."""
    return Call("chain_rule", (g, p), (), broadcast(g.shape, p.shape), REAL)


def add_all(terms: list[Expr]) -> Expr | None:
    """The sum of all terms; ``None`` for none."""
    total: Expr | None = None
    for term in terms:
        total = term if total is None else total + term
    return total


def sum_over(a: Expr, axis: int | None) -> Expr:
    """Sum over all components, or over one axis."""
    shape = () if axis is None else a.shape[:axis] + a.shape[axis + 1 :]
    return Call("sum", (a,), (("axis", axis),), shape, a.type)


def reshape(a: Expr, shape: Shape) -> Expr:
    """The same components in another shape."""
    return a if a.shape == shape else Call("reshape", (a,), (("shape", shape),), shape, a.type)


def broadcast_to(a: Expr, shape: Shape) -> Expr:
    """``a`` repeated along the axes that it lacks (NumPy's rule)."""
    return a if a.shape == shape else Call("broadcast", (a,), (("shape", shape),), shape, a.type)


def sum_to(g: Expr, shape: Shape) -> Expr:
    """Sum ``g`` over the axes along which an operand of ``shape`` was repeated."""
    if shape == ():
        return g if g.shape == () else sum_over(g, None)
    while len(g.shape) > len(shape):
        g = sum_over(g, 0)
    for axis, (have, want) in enumerate(zip(g.shape, shape, strict=True)):
        if have != want:
            kept = g.shape[:axis] + (ONE,) + g.shape[axis + 1 :]
            g = reshape(sum_over(g, axis), kept)
    return g


def expand(g: Expr, axis: int | None, shape: Shape) -> Expr:
    """Undo a reduction of ``shape`` along ``axis`` by repetition."""
    if axis is not None and axis > 0:
        g = reshape(g, g.shape[:axis] + (ONE,) + g.shape[axis:])
    return broadcast_to(g, shape)


def where(condition: Expr, a: Expr | float, b: Expr | float) -> Expr:
    """``a`` where the condition holds, else ``b``."""
    left, right = lift(a), lift(b)
    shape = broadcast(condition.shape, left.shape, right.shape)
    return Call("where", (condition, left, right), (), shape, promote(left.type, right.type))


def compare(op: str, a: Expr, b: Expr | float) -> Expr:
    """A comparison, element by element."""
    right = lift(b)
    return Call(op, (a, right), (), broadcast(a.shape, right.shape), Type("bool"))


def fn(op: str, *args: Expr | float) -> Expr:
    """An element-wise real function of the table."""
    e = elementwise(op, *args)
    assert isinstance(e, Call)
    return Call(op, e.args, (), e.shape)


def size_value(n: Poly) -> Expr:
    """A size as a real constant where it is known, else as a position."""
    from ..expr import Position

    return Const(float(n.constant), ()) if n.constant is not None else Position(n)
