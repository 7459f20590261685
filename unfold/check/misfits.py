"""What to say when operands do not fit: in the model's own names, with the cure if one is near."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..expr import Ref
from ..ops import OPS
from ..poly import Poly, Shape, ShapeError
from ..syntax import tree as t
from .operands import Hole, Value, show
from .report import Failed, plural
from .scope import Env
from .spelling import CALLS, INFIX, PREFIX

if TYPE_CHECKING:
    from .values import Reader

_WORDS = {
    "matmul": "a matrix product", "concat": "a concatenation", "stack": "a list of entries",
    "take": "the choice of a component", "slice": "a slice", "transpose": "a transpose",
    "where": "a choice", "cross_entropy": "a cross-entropy", "outer": "an outer product",
    "solve": "a linear system",
}  # fmt: skip


def misfit(
    reader: Reader,
    op: str,
    error: ShapeError,
    args: Sequence[Value],
    node: t.Expr,
    operands: Sequence[t.Expr],
    env: Env | None = None,
) -> Failed:
    """The diagnostic for operands that an op refuses."""
    kinds = ["?" if isinstance(a, Hole) else a.type.kind for a in args]
    if _needs_truth(op) and any(k != "bool" for k in kinds[: 1 if op == "where" else None]):
        return _truth_needed(reader, op, args, operands)
    if "bool" in kinds and not _needs_truth(op):
        return _number_needed(reader, op, args, node, operands)
    if op == "where" and sorted(kinds[1:]) != kinds[1:] and "bool" in kinds[1:]:
        return _number_needed(reader, op, args, node, operands)
    if op == "matmul":
        return _product(reader, error, args, node, operands, env)
    if op in OPS and OPS[op].elementwise and all(a.shape is not None for a in args):
        return _elementwise(reader, op, args, node, operands, env)
    if "integer" in str(error) or "int<" in str(error):
        return _integer(reader, op, error, args, operands)
    return reader.report.error(
        "E0303",
        f"shapes do not fit in {_what(op)}",
        *_labels(args, operands),
        notes=[str(error)],
        helps=_shape_help(op, args, operands),
    )


def _labels(args: Sequence[Value], operands: Sequence[t.Expr]) -> list[tuple[Any, str]]:
    return [(o.span, show(a)) for a, o in zip(args, operands, strict=False)]


def _what(op: str) -> str:
    if op in _WORDS:
        return _WORDS[op]
    if op in INFIX:
        return f"`{INFIX[op][0]}`"
    if op in PREFIX:
        return f"`{PREFIX[op][0]}`"
    return f"`{CALLS.get(op, op).split('(')[0]}`"


def _needs_truth(op: str) -> bool:
    return op in ("and", "or", "not", "where")


def _truth_needed(
    reader: Reader, op: str, args: Sequence[Value], operands: Sequence[t.Expr]
) -> Failed:
    wrong = [
        (o, a)
        for a, o in zip(args[: 1 if op == "where" else None], operands, strict=False)
        if isinstance(a, Hole) or a.type.kind != "bool"
    ]
    node, value = wrong[0]
    what = "the condition of a choice" if op == "where" else f"an operand of `{op}`"
    return reader.report.error(
        "E0601",
        f"{what} is a truth value",
        (node.span, f"{show(value)}"),
        helps=[f"compare it: `{_brackets(node)} > 0`, `{_brackets(node)} == 1`"],
    )


def _number_needed(
    reader: Reader, op: str, args: Sequence[Value], node: t.Expr, operands: Sequence[t.Expr]
) -> Failed:
    wrong = next(
        o
        for a, o in zip(args, operands, strict=False)
        if not isinstance(a, Hole) and a.type.kind == "bool"
    )
    return reader.report.error(
        "E0601",
        f"{_what(op)} needs numbers, not truth values",
        (wrong.span, "bool"),
        helps=[f"`real({wrong.span.text})` is 1 where it holds and 0 elsewhere"],
    )


def _integer(
    reader: Reader, op: str, error: ShapeError, args: Sequence[Value], operands: Sequence[t.Expr]
) -> Failed:
    place = error.arguments[-1] if error.arguments else 0
    value, node = args[place], operands[place]
    whole = not isinstance(value, Hole) and value.type.kind == "int"
    code = "E0603" if whole else "E0602"
    helps = []
    name = node.base if isinstance(node, t.Subscript) else node
    if not whole and isinstance(name, t.Name):
        d = reader.scope.definitions.get(name.text)
        if d is not None and d.role == "input":
            index = f"[{', '.join(d.axes)}]" if d.axes else ""
            size = args[0].shape[0] if op in ("take", "cross_entropy") and args[0].shape else "K"
            helps = [f"declare it as an integer: `input {d.name}{index}: int<{size}>`"]
    if whole and op in ("take", "cross_entropy"):
        size = args[0].shape[0] if args[0].shape else "K"
        helps = [f"an `int<{size}>` fits; `mod(i, {size})` makes one of any integer"]
    return reader.report.error(
        code,
        str(error),
        *_labels(args, operands),
        helps=helps,
    )


def _shape_help(op: str, args: Sequence[Value], operands: Sequence[t.Expr]) -> list[str]:
    shapes = [a.shape or () for a in args]
    if op == "transpose" and len(shapes[0]) == 1:
        text = operands[0].span.text
        return [f"a vector has no transpose: `row({text})` is a matrix of one row, "
                f"`u @ {text}` the inner product"]  # fmt: skip
    if op == "concat" and any(s == () for s in shapes):
        return ["scalars make a vector with commas: `[a, b]`; `[a; b]` puts vectors end to end"]
    if op == "stack" and len({len(s) for s in shapes}) > 1:
        return ["vectors are put end to end with semicolons: `[a; b]`"]
    return []


def _elementwise(
    reader: Reader,
    op: str,
    args: Sequence[Value],
    node: t.Expr,
    operands: Sequence[t.Expr],
    env: Env | None,
) -> Failed:
    """Two shapes that do not broadcast."""
    places = [k for k, a in enumerate(args) if a.shape]
    first, second = (places[0], places[-1]) if len(places) > 1 else (0, len(args) - 1)
    a, b = args[first].shape or (), args[second].shape or ()
    notes = []
    if len(a) == len(b) == 1:
        left, right = _short(operands[first]), _short(operands[second])
        notes.append(f"{left} has {_count(a[0], 'component')}, and {right} has {b[0]}")
    else:
        notes.append("sizes are compared from the last one: equal ones fit, and 1 fits any")
    helps = []
    if op == "mul" and {len(a), len(b)} == {1, 2}:
        helps.append("a matrix product is written `@`")
    elif meant := _products_meant(reader, operands, env):
        helps += meant
    elif op in ("add", "sub") and len(a) == 2 and len(b) == 1 and a[0] == b[0]:
        helps.append(f"to add it to every column write `col({_short(operands[second])})`")
    return reader.report.error(
        "E0302",
        f"shapes do not fit in {_what(op)}",
        (operands[first].span, show(args[first])),
        (operands[second].span, show(args[second])),
        *_origin(reader, [args[first], args[second]]),
        notes=notes,
        helps=helps,
    )


def _products_meant(reader: Reader, operands: Sequence[t.Expr], env: Env | None) -> list[str]:
    """Products of elements below that may be meant as products of a matrix and a vector."""
    found: list[str] = []
    if env is None:
        return found
    for node in (n for o in operands for n in t.walk(o)):
        if isinstance(node, t.Binary) and node.operator == "*":
            a, b = (_quiet_shape(reader, o, env) for o in (node.left, node.right))
            if a is not None and b is not None and len(a) == 2 and b == a[1:]:
                product = f"`{_brackets(node.left)} @ {_brackets(node.right)}`"
                found.append(f"`{node.span.text}` is a matrix; the matrix product is {product}")
    return found


def _origin(reader: Reader, values: Sequence[Value]) -> list[tuple[Any, str]]:
    """Where a variable that is read in its own equation has its shape from."""
    piece = reader.piece
    for value in values:
        if isinstance(value, Ref) and piece is not None and value.name == piece.name:
            others = [p for p in reader.scope.definitions[value.name].pieces if p is not piece]
            if others:
                return [(others[0].span, f"`{value.name}` is {show(value)} by this")]
    return []


def _product(
    reader: Reader,
    error: ShapeError,
    args: Sequence[Value],
    node: t.Expr,
    operands: Sequence[t.Expr],
    env: Env | None,
) -> Failed:
    left, right = operands
    a, b = args[0].shape or (), args[1].shape or ()
    helps: list[str] = []
    if not a or not b:
        scalar = left if not a else right
        notes = [f"{_short(scalar)} is a scalar"]
        helps = [f"a product with a scalar is written `*`: "
                 f"`{_brackets(left)} * {_brackets(right)}`"]  # fmt: skip
    elif len(a) > 2 or len(b) > 2:
        notes = [str(error)]
    else:
        notes = [
            f"{_short(left)} has {_count(a[-1], 'column' if len(a) == 2 else 'component')}, and "
            f"{_short(right)} has {_count(b[0], 'row' if len(b) == 2 else 'component')}"
        ]
        meant = [
            *_neighbours(reader, node, left, right, a, b, env),
            *_near(reader, left, right, a, b),
        ]
        helps = [_wanted(reader, meant)] if meant else []
    return reader.report.error(
        "E0301",
        "shapes do not fit in a matrix product",
        *_labels(args, operands),
        *_origin(reader, args),
        notes=notes,
        helps=helps,
    )


#: A suggestion: the shape that it would give, and its words.
Meant = tuple[Shape, str]


def _wanted(reader: Reader, meant: list[Meant]) -> str:
    """The first suggestion that gives what the equation's variable is, or simply the first."""
    piece = reader.piece
    d = reader.scope.definitions.get(piece.name) if piece is not None else None
    fitting = [text for shape, text in meant if d is not None and shape == d.shape]
    return (fitting or [text for _, text in meant])[0]


def _neighbours(
    reader: Reader,
    node: t.Expr,
    left: t.Expr,
    right: t.Expr,
    a: Shape,
    b: Shape,
    env: Env | None,
) -> Iterator[Meant]:
    """What the other products of the same equation suggest: perhaps two operands are swapped."""
    piece = reader.piece
    if piece is None or piece.value is None or env is None or len(a) != 2 or len(b) != 1:
        return
    for other in t.walk(piece.value):
        if not isinstance(other, t.Binary) or other.operator != "@" or other is node:
            continue
        for operand, swapped in ((other.right, right), (other.left, left)):
            shape = _quiet_shape(reader, operand, env)
            if swapped is right and shape == (a[1],) and operand.span.text != right.span.text:
                yield a[:1], f"did you mean `{_brackets(left)} @ {_brackets(operand)}`?"
            elif swapped is left and shape is not None and len(shape) == 2 and shape[1] == b[0]:
                yield shape[:1], f"did you mean `{_brackets(operand)} @ {_brackets(right)}`?"


def _quiet_shape(reader: Reader, node: t.Expr, env: Env) -> Shape | None:
    from .values import Reader as Other

    reader.report.muted += 1
    try:
        return Other(reader.scope, final=False).value(node, env).shape
    except Failed:
        return None
    finally:
        reader.report.muted -= 1


def _near(reader: Reader, left: t.Expr, right: t.Expr, a: Shape, b: Shape) -> Iterator[Meant]:
    """Transposes, and declared variables that fit."""
    if len(a) == 2 and a[0] == b[0]:
        text = f"{_brackets(left)}' @ {_brackets(right)}"
        yield (a[1], *b[1:]), f"the transpose fits: `{text}`"
    if len(b) == 2 and a[-1] == b[1]:
        text = f"{_brackets(left)} @ {_brackets(right)}'"
        yield (*a[:-1], b[0]), f"the transpose fits: `{text}`"
    declared = [d for d in reader.scope.definitions.values() if d.instance is None]
    if len(b) == 1 and len(a) == 2:
        for d in declared:
            if d.role == "input" and d.shape == (a[1],):
                index = f"[{', '.join(d.axes)}]" if d.axes else ""
                yield a[:1], f"did you mean `{_brackets(left)} @ {d.name}{index}`?"
        for d in declared:
            if d.role == "param" and not d.axes and d.shape == (a[0], b[0]):
                yield a[:1], f"did you mean `{d.name} @ {_brackets(right)}`?"
    if len(a) == 1 and len(b) == 1:
        text = f"outer({left.span.text}, {right.span.text})"
        yield (*a, *b), f"`{text}` is the matrix of all products"


def _count(n: Poly, word: str) -> str:
    value = n.constant
    return plural(value, word) if value is not None else f"{n} {word}s"


def _short(node: t.Expr) -> str:
    """The operand's own text, or what it is called if that is long."""
    text = node.span.text
    return text if len(text) <= 24 and "\n" not in text else "this"


def _brackets(node: t.Expr) -> str:
    text = node.span.text
    simple = isinstance(node, (t.Name, t.Number, t.Subscript, t.Call, t.Transpose))
    return text if simple or text.startswith("(") else f"({text})"
