"""Conditions: affine ones become guards and domains, all others choose between values.

`a if t < T else b` is decided by the indices: it becomes the sum of two guards, and in each branch
only what is needed there has to exist. `a if x[t] > 0 else b` is decided by data: the op `where`.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from ..domain import EVERYWHERE, Domain
from ..expr import BOOL, INT, REAL, Call, Const, Expr, Guard, Type
from ..ops import call
from ..poly import Poly, ShapeError, broadcast
from ..syntax import tree as t
from .operands import Hole, Value, is_literal, poly_of, settled, show
from .report import Failed
from .scope import Env

if TYPE_CHECKING:
    from .values import Reader


def is_affine(reader: Reader, node: t.Expr, env: Env) -> bool:
    """Whether a condition speaks of indices, lengths and sizes only."""
    if isinstance(node, t.Comparison):
        return all(_is_position(reader, o, env) for o in node.operands)
    if isinstance(node, t.Logical):
        return all(is_affine(reader, o, env) for o in node.operands)
    if isinstance(node, t.Unary) and node.operator == "not":
        return is_affine(reader, node.operand, env)
    return False


def _is_position(reader: Reader, node: t.Expr, env: Env) -> bool:
    if isinstance(node, t.Number):
        return isinstance(node.value, int)
    if isinstance(node, t.Name):
        scope, name = reader.scope, node.text
        if name in env.indices or name in scope.sizes or name in scope.lengths:
            return True
        # An index that is not bound is reported as one, not as an unknown value.
        return name in scope.indices and name not in scope.definitions
    if isinstance(node, t.Unary):
        return node.operator in "+-" and _is_position(reader, node.operand, env)
    if isinstance(node, t.Binary):
        both = _is_position(reader, node.left, env) and _is_position(reader, node.right, env)
        if node.operator == "*":
            literal = isinstance(node.left, t.Number) or isinstance(node.right, t.Number)
            return both and literal
        return both and node.operator in "+-"
    return False


def domains(reader: Reader, node: t.Expr, env: Env) -> tuple[Domain, ...]:
    """Where an affine condition holds: disjoint domains. Raises `Failed`."""
    if isinstance(node, t.Comparison):
        polys = []
        for operand in node.operands:
            poly = poly_of(reader.value(operand, env))
            assert poly is not None
            polys.append(poly)
        result: tuple[Domain, ...] = (EVERYWHERE,)
        for sign, left, right in zip(node.operators, polys, polys[1:], strict=False):
            result = _both(result, _relation(sign, left, right))
        return result
    if isinstance(node, t.Unary):
        return complement(domains(reader, node.operand, env))
    assert isinstance(node, t.Logical)
    parts = [domains(reader, o, env) for o in node.operands]
    if node.operator == "and":
        return reduce(_both, parts)
    return reduce(_either, parts)


def _relation(sign: str, left: Poly, right: Poly) -> tuple[Domain, ...]:
    if sign == "!=":
        return (Domain.of((right - left - 1,)), Domain.of((left - right - 1,)))
    if sign == "==":
        return (Domain.of((left - right, right - left)),)
    gap = right - left if sign in ("<", "<=") else left - right
    return (Domain.of((gap - 1 if sign in "<>" else gap,)),)


def _both(a: tuple[Domain, ...], b: tuple[Domain, ...]) -> tuple[Domain, ...]:
    return tuple(d for x in a for y in b if not (d := x & y).is_empty())


def _either(a: tuple[Domain, ...], b: tuple[Domain, ...]) -> tuple[Domain, ...]:
    return (*a, *_both(b, complement(a)))


def complement(parts: tuple[Domain, ...]) -> tuple[Domain, ...]:
    """Everything outside of disjoint domains, as disjoint domains."""
    rest: tuple[Domain, ...] = (EVERYWHERE,)
    for part in parts:
        rest = tuple(piece for d in rest for piece in d.minus(part))
    return rest


# --- choosing ---------------------------------------------------------------------------------


def choice(
    reader: Reader, condition: t.Expr, yes: t.Expr, no: t.Expr, node: t.Expr, env: Env
) -> Value:
    """`yes if condition else no`."""
    if is_affine(reader, condition, env):
        where = domains(reader, condition, env)
        return guarded(reader, [(where, yes), (complement(where), no)], node, env)
    split = _split(reader, condition, env)
    if split is not None:
        assert isinstance(condition, t.Logical)
        sure, rest = split
        inner = t.Conditional(yes, rest, no, span=node.span)
        if condition.operator == "and":
            return choice(reader, sure, inner, no, node, env)
        return choice(reader, sure, yes, inner, node, env)
    operands = (condition, yes, no)
    return reader.apply("where", reader.all(operands, env), node, operands)


def _split(reader: Reader, node: t.Expr, env: Env) -> tuple[t.Expr, t.Expr] | None:
    """`t > 1 and m[t]` as the part that the indices decide, and the rest."""
    if not isinstance(node, t.Logical):
        return None
    sure = [o for o in node.operands if is_affine(reader, o, env)]
    rest = [o for o in node.operands if not is_affine(reader, o, env)]
    if not sure:
        return None

    def joined(parts: list[t.Expr]) -> t.Expr:
        return (
            parts[0] if len(parts) == 1 else t.Logical(node.operator, tuple(parts), span=node.span)
        )

    return joined(sure), joined(rest)


_MIXED = "a truth value in one branch of a choice, and a number in another"


def guarded(
    reader: Reader, branches: list[tuple[tuple[Domain, ...], t.Expr]], node: t.Expr, env: Env
) -> Value:
    """The sum of guarded branches, of which one holds at each point."""
    pairs: list[tuple[Domain, Value, t.Expr]] = []
    for where, text in branches:
        for d in where:
            pairs.append((d, reader.value(text, env.within(d)), text))
    values = _same_type([v for _, v, _ in pairs])
    hole = _hole(values)
    if hole is not None:
        return hole
    terms: list[Expr] = []
    given = reader.scope.given
    for (d, _, _), v in zip(pairs, values, strict=True):
        assert isinstance(v, Expr)
        # Beside `n == 6` stands `n >= 7`, where an index that ends at 6 never comes.
        if not _is_zero(v) and not (env.domain & d & given).is_empty():
            terms.append(v if not d.constraints else Guard(d, v))
    exprs = [v for v in values if isinstance(v, Expr)]
    kind = _kind(exprs)
    texts = [text for _, _, text in pairs]
    if len({e.type.kind == "bool" for e in exprs}) > 1:
        raise _differ(reader, exprs, texts, "E0601", _MIXED)
    try:
        shape = broadcast(*(e.shape for e in exprs))
    except ShapeError:
        raise _differ(reader, exprs, texts, "E0302", "shapes do not fit in a choice") from None
    result = terms[0] if terms else next((e for e in exprs if _is_zero(e)), exprs[0])
    for term in terms[1:]:
        total = call("or" if kind == BOOL else "add", result, term)
        result = Call(total.op, total.args, total.attrs, total.shape, kind)
    if result.shape != shape:
        result = call("broadcast", result, shape=shape)
    return result


def _differ(
    reader: Reader, values: list[Expr], texts: list[t.Expr], code: str, message: str
) -> Failed:
    """Branches of a choice that cannot both be its value."""
    first = next(k for k, v in enumerate(values) if v.shape or code == "E0601")
    other = next(
        k
        for k, v in enumerate(values)
        if (v.type.kind == "bool") != (values[first].type.kind == "bool")
        or (code == "E0302" and k > first and v.shape and v.shape != values[first].shape)
    )
    return reader.report.error(
        code,
        message,
        (texts[first].span, show(values[first])),
        (texts[other].span, show(values[other])),
        notes=["all branches of a choice have one shape and type; a scalar such as `0` fits any"],
    )


def _same_type(values: list[Value]) -> list[Value]:
    """Literals as what the other branches are: integers beside integers, else reals."""
    others = [v.type for v in values if not is_literal(v)]
    whole = bool(others) and all(o is not None and o.kind == "int" for o in others)
    return [settled(v, INT if whole else REAL) for v in values]


def _hole(values: list[Value]) -> Hole | None:
    if not any(isinstance(v, Hole) for v in values):
        return None
    shapes = [v.shape for v in values if v.shape is not None]
    types = [v.type for v in values if v.type is not None and not is_literal(v)]
    try:
        shape = broadcast(*shapes) if shapes else None
    except ShapeError:
        shape = shapes[0]
    if shape == () and len(shapes) < len(values):
        return Hole(None, types[0] if types else None, scalar=True)
    return Hole(shape, types[0] if types else None)


def _kind(values: list[Expr]) -> Type:
    """The type of the whole: a bound survives if every branch keeps to it."""
    kinds = {v.type for v in values if not (isinstance(v, Const) and v.type == INT)}
    if len(kinds) == 1:
        kind = kinds.pop()
        numbers = [v for v in values if isinstance(v, Const) and v.type == INT]
        below = kind.bound.constant if kind.bound is not None else None
        if all(v.value == 0 or (below is not None and 0 <= v.value < below) for v in numbers):
            return kind
        return Type(kind.kind)
    if {k.kind for k in kinds} == {"int"} or not kinds:
        return INT
    return REAL


def _is_zero(e: Expr) -> bool:
    return isinstance(e, Const) and not isinstance(e.value, tuple) and e.value == 0
