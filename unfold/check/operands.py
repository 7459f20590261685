"""Operands while a text is read: literals, positions, and values of unknown shape.

Between text and `Expr` stand two kinds of value that no program has:

- a *literal*, a constant of type `LITERAL`, which becomes an integer or a real when it meets
  something (the rules stand in `unfold.check.spelling`);
- a `Hole`, a value that depends on a variable of unknown shape. Its own shape and type are bounds
  from below: what is already certain. Only shape inference sees holes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..expr import INT, REAL, Const, Expr, Position, Ref, Type
from ..ops import OPS, call
from ..poly import Poly, Shape, ShapeError, broadcast, show_shape

LITERAL = Type("literal")


@dataclass(frozen=True)
class Hole:
    """A value that is not known yet, with what is known of its shape and type.

    ``scalar``: only scalars have met the unknown so far, which says nothing, but a guess is due.
    """

    shape: Shape | None = None
    type: Type | None = None
    scalar: bool = False


Value: TypeAlias = Expr | Hole

#: Ops whose literals are integers where every other operand is one.
MEETING = frozenset(
    "add sub mul floordiv mod maximum minimum lt le gt ge eq ne where stack concat".split()
)
#: Operands that are integers by their place: op -> their numbers.
INTEGERS = {"take": (1,), "scatter": (1,), "onehot": (0,), "cross_entropy": (1,)}

_FOLD = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
}


def literal(value: int) -> Const:
    """An integer literal."""
    return Const(value, (), LITERAL)


def is_literal(value: Value) -> bool:
    """Whether a value still waits for its type."""
    return isinstance(value, Const) and value.type == LITERAL


def array(items: Any) -> Const:
    """A constant array of nested tuples of numbers; a literal if no number has a point."""
    shape: list[Poly] = []
    inner = items
    while isinstance(inner, tuple):
        shape.append(Poly.const(len(inner)))
        inner = inner[0]
    if _all_int(items):
        return Const(items, tuple(shape), LITERAL)
    return Const(_floats(items), tuple(shape), REAL)


def _all_int(items: Any) -> bool:
    if isinstance(items, tuple):
        return all(_all_int(i) for i in items)
    return isinstance(items, int) and not isinstance(items, bool)


def _floats(items: Any) -> Any:
    return tuple(_floats(i) for i in items) if isinstance(items, tuple) else float(items)


def as_type(value: Const, kind: Type) -> Const:
    """A literal as a real or an integer constant."""
    if kind == REAL:
        return Const(_floats(value.value), value.shape, REAL)
    return Const(value.value, value.shape, INT)


def settled(value: Value, kind: Type = REAL) -> Value:
    """The value, real (or ``kind``) if it was a literal that met nothing."""
    return as_type(value, kind) if isinstance(value, Const) and is_literal(value) else value


def settle(op: str, args: Sequence[Value]) -> tuple[Value, ...]:
    """Give literals the type that their place asks for."""
    if not any(is_literal(a) for a in args):
        return tuple(args)
    places = INTEGERS.get(op, ())
    # A table of whole numbers that something is looked up in stays one of integers.
    kind = INT if op in ("take", "slice") else REAL
    if op in MEETING:
        others = [
            a.type
            for k, a in enumerate(args)
            if not is_literal(a) and not (op == "where" and k == 0)
        ]
        if others and all(o is not None and o.kind == "int" for o in others):
            kind = INT
        elif None in others and REAL not in others:
            return tuple(args)  # what they meet is not known yet
    return tuple(settled(a, INT if k in places else kind) for k, a in enumerate(args))


def poly_of(value: Value) -> Poly | None:
    """The polynomial of a position or of an integer constant, else ``None``."""
    if isinstance(value, Position):
        return value.poly
    if isinstance(value, Const) and value.shape == () and value.type.kind in ("int", "literal"):
        return Poly.const(int(value.value))
    return None


def position(poly: Poly) -> Expr:
    """An integer known from the indices alone."""
    value = poly.constant
    return Position(poly) if value is None else literal(value)


def apply(op: str, args: Sequence[Value], fixed: frozenset[str], **attrs: Any) -> Value:
    """An op applied to operands; raises `ShapeError`.

    Integers that are known from the indices stay one position where that is affine; ``fixed`` are
    the symbols that are compile-time sizes, which may multiply.
    """
    if op in _FOLD or op == "neg":
        together = _together(op, args, fixed)
        if together is not None:
            return together
    ready = settle(op, args)
    if any(isinstance(a, Hole) for a in ready):
        return hole(op, ready, attrs)
    return call(op, *(a for a in ready if isinstance(a, Expr)), **attrs)


def _together(op: str, args: Sequence[Value], fixed: frozenset[str]) -> Expr | None:
    """The sum, difference, product or negative of positions and literals."""
    if op == "neg" and isinstance(args[0], Const) and args[0].shape == ():
        value = args[0].value
        return None if isinstance(value, bool) else Const(-value, (), args[0].type)
    polys = [poly_of(a) for a in args]
    if any(p is None for p in polys) or any(a.type == INT for a in args if isinstance(a, Const)):
        return None
    known = [p for p in polys if p is not None]
    if op == "neg":
        return position(-known[0])
    left, right = known
    sizes_only = not (left.symbols | right.symbols) - fixed
    if op == "mul" and not sizes_only and left.constant is None and right.constant is None:
        return None
    result: Poly = _FOLD[op](left, right)
    return position(result)


def hole(op: str, args: Sequence[Value], attrs: dict[str, Any]) -> Hole:
    """What is known of a result when some operand is not. Raises `ShapeError` for sure misfits."""
    record = OPS[op]
    shapes = [a.shape for a in args]
    if record.elementwise:
        known = [s for s in shapes if s is not None]
        if op == "where":
            known = [s for s in shapes[1:] if s is not None]
        shape = broadcast(*known) if known else None
        if shape == () and len(known) < len(shapes) - (op == "where"):
            return Hole(None, _kind(op, args, attrs), scalar=True)
        # `tanh(a + ?)` has met what `a + ?` has met.
        scalar = shape is None and any(isinstance(a, Hole) and a.scalar for a in args)
        return Hole(shape, _kind(op, args, attrs), scalar)
    if op in ("reshape", "broadcast"):
        return Hole(attrs["shape"], args[0].type)
    if op == "onehot":
        return Hole((attrs["size"],), REAL)
    if op == "cross_entropy":
        return Hole((), REAL)
    if op in ("sum", "max", "min", "logsumexp") and attrs.get("axis") is None:
        return Hole((), _kept(op, args))
    if op == "argmax" and shapes[0] is None:
        # Its bound is the size of what it chooses from.
        return Hole(() if attrs.get("axis") is None else None, None)
    if op == "take" and shapes[0] is not None and shapes[1] == ():
        # Whatever chooses, a row is a row: `n[t] = argmax(A[n[t-1]])` says how many there are.
        axis = attrs["axis"]
        return Hole((*shapes[0][:axis], *shapes[0][axis + 1 :]), args[0].type)
    if op == "stack":
        first = next((s for s in shapes if s is not None), None)
        return Hole(None if first is None else (Poly.const(len(args)), *first), REAL)
    if op == "outer":
        # `outer(v - S @ k, k)` is a matrix though S is not known: fast weights recur like this.
        rows = [s for s in shapes if s is not None and len(s) == 1]
        return Hole((*rows[0], *rows[1]) if len(rows) == 2 else None, REAL)
    if op == "logdet":
        return Hole((), REAL)
    if op in ("solve", "inv", "cholesky", "half_lower"):
        # As its last operand: a recurrence may well begin with a matrix and go on so.
        return Hole(shapes[-1], REAL)
    return _all_or_nothing(op, args, attrs)


def _all_or_nothing(op: str, args: Sequence[Value], attrs: dict[str, Any]) -> Hole:
    """Ops whose result is known once all shapes are, even if a type is not."""
    ready = []
    for k, a in enumerate(args):
        if isinstance(a, Hole):
            if a.shape is None:
                return Hole(None, REAL if op in ("matmul", "softmax", "log_softmax") else None)
            a = Ref(f"?{k}", (), a.shape, a.type or REAL)
        ready.append(a)
    try:
        result = call(op, *ready, **attrs)
    except ShapeError:
        # A bound from below may still grow; the last round reports what really does not fit.
        return Hole()
    return Hole(result.shape, result.type)


def _kept(op: str, args: Sequence[Value]) -> Type | None:
    return REAL if op == "logsumexp" else args[0].type


def _kind(op: str, args: Sequence[Value], attrs: dict[str, Any]) -> Type | None:
    if op == "where":
        # A choice between what is known and what is not is what is known: `n[t] = where(c, n[t-1],
        # mod(k[t], 3))` has the bound of the remainder.
        known = [a.type for a in args[1:] if a.type is not None and not is_literal(a)]
        if len(known) == 1:
            return known[0]
    dummies = tuple(_scalar(a) for a in args)
    try:
        _, kind = OPS[op].infer(dummies, attrs)
    except ShapeError:
        return None
    # An unknown operand counts as an integer: from below. What becomes of `? + 1` is unknown.
    told = any(a.type is not None and not is_literal(a) for a in args)
    return kind if told or kind.kind != "int" or kind.bound is not None else None


def _scalar(value: Value) -> Expr:
    """A scalar that stands for an operand where only types matter."""
    if isinstance(value, Expr) and not is_literal(value) and value.shape == ():
        return value
    kind = INT if value.type is None or value.type == LITERAL else value.type
    return Ref("?", (), (), kind)


def show(value: Value) -> str:
    """`real[H, D]`, for the words beside a caret."""
    if isinstance(value, Hole):
        return (
            "unknown" if value.shape is None else f"{value.type or REAL}{show_shape(value.shape)}"
        )
    if value.type == LITERAL:
        return "a number" if value.shape == () else f"numbers{show_shape(value.shape)}"
    return f"{value.type}{show_shape(value.shape)}"
