"""Local algebra: rewriting one expression to a shorter equal one.

Every rule keeps the value for all finite operands and is shown as ``before -> after``. Rules that
drop an operand (``0 * x -> 0``) are those of differentiation's zeros and ones; they may turn a NaN
into a number, as everywhere in compilers for derivatives.
"""

from __future__ import annotations

from collections.abc import Callable

from ..expr import (
    REAL,
    Call,
    Const,
    Expr,
    Guard,
    Position,
    Reduce,
    elementwise,
    free_symbols,
    with_operands,
)
from ..intern import remembered
from ..ops import call
from ..ops.linear import matmul, outer, transpose
from ..ops.record import broadcast_to, sum_over
from ..poly import Poly, broadcast

_FOLD: dict[str, Callable[[float, float], float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
}


@remembered
def simplify_expr(e: Expr) -> Expr:
    """Apply the rules bottom-up until nothing changes."""
    for _ in range(8):
        new = _all(e)
        if new is e:
            break
        e = new
    return e


@remembered
def _all(e: Expr) -> Expr:
    """The expression with every node in it, from the operands on, simplified once."""
    below = e.operands
    return _one(with_operands(e, tuple([_all(c) for c in below])) if below else e)


def scalar(e: Expr) -> float | None:
    """The number, if the expression is a constant scalar or a repeated one."""
    if isinstance(e, Const) and e.shape == () and e.type.kind != "bool":
        return float(e.value)
    if isinstance(e, Call) and e.op == "broadcast":
        return scalar(e.args[0])
    return None


@remembered
def _one(e: Expr) -> Expr:
    if isinstance(e, Guard):
        return _zero(e) if scalar(e.body) == 0 else e
    if isinstance(e, Reduce):
        return _reduce(e)
    if not isinstance(e, Call):
        return e
    rule = _RULES.get(e.op)
    if rule is None:
        return e
    new = rule(e)
    if new is None:
        return e
    assert new.shape == e.shape, f"rule for {e.op} changed the shape"
    return new if new.type.kind == e.type.kind else e


def _zero(e: Expr) -> Expr:
    return _number(0.0, e)


def _number(value: float, like: Expr) -> Expr:
    if like.type.kind == "int":
        return broadcast_to(Const(int(value), (), like.type), like.shape)
    return broadcast_to(Const(value), like.shape)


def _whole(part: Expr, like: Expr) -> Expr:
    """``part`` as a replacement of ``like``: repeated, and converted, where they differ."""
    if part.type.kind == "int" and like.type.kind == "real":
        if isinstance(part, Const):
            part = Const(float(part.value), part.shape)
        else:
            part = Call("real", (part,), (), part.shape, REAL)
    return broadcast_to(part, like.shape)


def _negated(e: Expr) -> Expr | None:
    """``x`` if ``e`` is ``-x``."""
    if isinstance(e, Call) and e.op == "neg":
        return e.args[0]
    value = scalar(e)
    if value is not None and value < 0 and isinstance(e, Const):
        return Const(-e.value, (), e.type)
    return None


def _bare(e: Expr, other: Expr) -> Expr:
    """A repeated operand without its repetition, where the other operand gives the shape."""
    if isinstance(e, Call) and e.op == "broadcast":
        inner = e.args[0]
        if broadcast(inner.shape, other.shape) == e.shape == other.shape:
            return inner
    return e


def _unrepeat(e: Call) -> Call:
    """``broadcast(a, [n]) + b -> a + b``"""
    a, b = e.args
    left = _bare(a, b)
    right = _bare(b, a) if left is a else b
    if left is a and right is b:
        return e
    new = elementwise(e.op, left, right)
    assert isinstance(new, Call)
    return new


def _add(e: Call) -> Expr | None:
    e = _unrepeat(e)
    a, b = e.args
    x, y = scalar(a), scalar(b)
    if x is not None and y is not None:
        return _number(x + y, e)
    if x == 0:
        return _whole(b, e)  # 0 + b -> b
    if y == 0:
        return _whole(a, e)
    minus = _negated(b)
    if minus is not None:
        return elementwise("sub", a, minus)  # a + -b -> a - b
    minus = _negated(a)
    if minus is not None:
        return elementwise("sub", b, minus)  # -a + b -> b - a
    if a is b and e.is_real:
        return 2.0 * a
    return _factor(e) or _changed(e)


def _sub(e: Call) -> Expr | None:
    e = _unrepeat(e)
    a, b = e.args
    x, y = scalar(a), scalar(b)
    if x is not None and y is not None:
        return _number(x - y, e)
    if y == 0:
        return _whole(a, e)
    if x == 0:
        return _whole(-b, e)
    minus = _negated(b)
    if minus is not None:
        return elementwise("add", a, minus)  # a - -b -> a + b
    if a is b:
        return _zero(e)
    return _factor(e) or _changed(e)


def _factor(e: Call) -> Expr | None:
    """``g * a - g * b -> g * (a - b)``"""
    a, b = e.args
    if not (isinstance(a, Call) and isinstance(b, Call) and a.op == b.op == "mul"):
        return None
    if a.shape != b.shape:
        return None
    for i in (0, 1):
        for j in (0, 1):
            if a.args[i] is b.args[j] and not isinstance(a.args[i], Const):
                rest = elementwise(e.op, a.args[1 - i], b.args[1 - j])
                if broadcast(a.args[i].shape, rest.shape) == e.shape:
                    return a.args[i] * rest
    return None


def _mul(e: Call) -> Expr | None:
    e = _unrepeat(e)
    a, b = e.args
    x, y = scalar(a), scalar(b)
    if x is not None and y is not None:
        return _number(x * y, e)
    if x == 0 or y == 0:
        return _zero(e)
    if x == 1:
        return _whole(b, e)
    if y == 1:
        return _whole(a, e)
    for p, q, left in ((a, b, True), (b, a, False)):
        minus = _negated(p)
        if minus is not None and scalar(p) in (None, -1.0):
            return -(elementwise("mul", minus, q) if left else elementwise("mul", q, minus))
    if y is not None and not isinstance(b, Call):
        return elementwise("mul", b, a)  # x * 2 -> 2 * x
    if x is not None and isinstance(b, Call) and b.op == "mul":
        inner = scalar(b.args[0])
        if inner is not None and isinstance(a, Const) and isinstance(b.args[0], Const):
            return elementwise("mul", x * inner, b.args[1])  # 2 * (3 * x) -> 6 * x
    if isinstance(b, Call) and b.op == "div" and scalar(b.args[0]) == 1:
        return elementwise("div", a, b.args[1])  # a * (1 / b) -> a / b
    if x is not None and isinstance(b, Call) and b.op == "div":
        return elementwise("div", elementwise("mul", a, b.args[0]), b.args[1])  # 2 * (x / T)
    if isinstance(a, Call) and a.op == "div" and scalar(a.args[0]) == 1:
        return elementwise("div", b, a.args[1])  # (1 / a) * b -> b / a
    if isinstance(b, Call) and b.op == "mul" and isinstance(b.args[0], Const) and x is None:
        return elementwise("mul", b.args[0], elementwise("mul", a, b.args[1]))
    if isinstance(b, Call) and b.op == "mul" and b.args[0].shape == e.shape == a.shape:
        return elementwise("mul", a * b.args[0], b.args[1])  # a * (b * c) -> a * b * c
    if isinstance(a, Call) and a.op == "mul" and isinstance(a.args[0], Const) and y is None:
        return elementwise("mul", a.args[0], elementwise("mul", a.args[1], b))
    return _changed(e)


def _chain_rule(e: Call) -> Expr | None:
    """A product that is 0 where its first factor is: numbers and signs are those of a product."""
    e = _unrepeat(e)
    g, p = e.args
    if scalar(g) == 0 or scalar(p) is not None:
        return _whole(g * p, e)
    for a, left in ((g, True), (p, False)):
        minus = _negated(a)
        if minus is not None and scalar(a) is None:
            return -(elementwise(e.op, minus, p) if left else elementwise(e.op, g, minus))
    return _changed(e)


def _div(e: Call) -> Expr | None:
    e = _unrepeat(e)
    a, b = e.args
    x, y = scalar(a), scalar(b)
    if x is not None and y is not None and y != 0:
        return _number(x / y, e)
    if x == 0:
        return _zero(e)
    if y == 1:
        return _whole(a, e)
    minus = _negated(a)
    if minus is not None and x is None:
        return -elementwise("div", minus, b)
    if isinstance(a, Call) and a.op == "div" and not isinstance(b, Call):
        return elementwise("div", a.args[0], elementwise("mul", a.args[1], b))
    return _changed(e)


def _neg(e: Call) -> Expr | None:
    (a,) = e.args
    value = scalar(a)
    if value is not None:
        return _number(-value, e)
    minus = _negated(a)
    if minus is not None:
        return minus
    if isinstance(a, Call) and a.op == "sub":
        return elementwise("sub", a.args[1], a.args[0])  # -(a - b) -> b - a
    return None


def _pow(e: Call) -> Expr | None:
    a, b = e.args
    y = scalar(b)
    if y == 1:
        return _whole(a, e)
    if y == 0:
        return _number(1.0, e)
    return None


def _transpose(e: Call) -> Expr | None:
    (a,) = e.args
    return a.args[0] if isinstance(a, Call) and a.op == "transpose" else None


def _matmul(e: Call) -> Expr | None:
    a, b = e.args
    if scalar(a) == 0 or scalar(b) == 0:
        return _zero(e)
    if len(a.shape) == len(b.shape) == 1:
        for p, q in ((a, b), (b, a)):
            if isinstance(p, Call) and p.op == "broadcast" and p.args[0].shape == ():
                return p.args[0] * sum_over(q, None)  # broadcast(c, [n]) @ v -> c * sum(v)
    for p, left in ((a, True), (b, False)):
        minus = _negated(p)
        if minus is not None:  # W' @ -g -> -(W' @ g)
            return -(matmul(minus, b) if left else matmul(a, minus))
    return None


def _outer(e: Call) -> Expr | None:
    a, b = e.args
    if scalar(a) == 0 or scalar(b) == 0:
        return _zero(e)
    minus = _negated(a)
    if minus is not None:
        return -outer(minus, b)
    minus = _negated(b)
    return None if minus is None else -outer(a, minus)


def _sum(e: Call) -> Expr | None:
    (a,) = e.args
    if scalar(a) == 0:
        return _zero(e)
    minus = _negated(a)
    if minus is not None and not isinstance(a, Const):
        return -sum_over(minus, e.attr("axis"))
    if isinstance(a, Call) and a.op == "mul" and a.is_real:
        u, v = a.args
        if len(a.shape) == 1 and u.shape == v.shape == a.shape:
            return matmul(u, v)  # sum(u * v) -> u @ v
        if u.shape == ():
            return u * sum_over(v, e.attr("axis"))  # sum(2 * v) -> 2 * sum(v)
    return None


def _linear(e: Call) -> Expr | None:
    """Rearranging zeros gives zeros; rearranging a negation negates the rearrangement."""
    (a, *rest) = e.args
    if scalar(a) == 0:
        return _zero(e)
    if isinstance(a, Call) and a.op == "neg":
        return -Call(e.op, (a.args[0], *rest), e.attrs, e.shape, e.type)
    return None


def _part(e: Call) -> Expr | None:
    """Components of components: ``v[2:6][1] -> v[3]``, ``v[2:6][1:3] -> v[3:5]``."""
    a, axis = e.args[0], e.attr("axis")
    if isinstance(a, Call) and a.op == "slice" and a.attr("axis") == axis:
        low = a.attr("lo")
        if e.op == "slice":
            lo, hi = low + e.attr("lo"), low + e.attr("hi")
            return call("slice", a.args[0], axis=axis, lo=lo, hi=hi)
        at = e.args[1]
        if isinstance(at, Const) and low.constant is not None:
            moved = Const(int(at.value) + low.constant, (), at.type)
            return call("take", a.args[0], moved, axis=axis)
    return _linear(e)


def _broadcast(e: Call) -> Expr | None:
    (a,) = e.args
    if a.shape == e.shape:
        return a
    if isinstance(a, Call) and a.op == "broadcast":
        return broadcast_to(a.args[0], e.shape)
    if isinstance(a, Call) and a.op == "neg":
        return -broadcast_to(a.args[0], e.shape)
    return None


def _reshape(e: Call) -> Expr | None:
    (a,) = e.args
    if a.shape == e.shape:
        return a
    if isinstance(a, Call) and a.op == "reshape":
        return Call("reshape", a.args, e.attrs, e.shape, e.type)
    return _linear(e)


def _where(e: Call) -> Expr | None:
    c, a, b = e.args
    if isinstance(c, Const) and c.shape == ():
        return _whole(a if c.value else b, e)
    if a is b:
        return _whole(a, e)
    if scalar(a) == 0 and scalar(b) == 0:
        return _zero(e)
    return None


def _real(e: Call) -> Expr | None:
    (a,) = e.args
    if isinstance(a, Const) and a.shape == ():
        return Const(float(a.value))
    return a if a.type.kind == "real" else None


def _changed(e: Call) -> Expr | None:
    return e


def _reduce(e: Reduce) -> Expr:
    if e.op != "sum":
        return e
    if scalar(e.body) == 0:
        return _zero(e)
    body = e.body
    if isinstance(body, Call) and body.op == "neg":
        return -Reduce(e.op, e.indices, e.domain, body.args[0])
    if isinstance(body, Call) and body.op == "transpose":
        return transpose(Reduce(e.op, e.indices, e.domain, body.args[0]))
    if isinstance(body, Call) and body.op in ("mul", "div"):
        a, b = body.args
        # sum[t](2 * x[t]) -> 2 * sum[t](x[t]); sum[t](x[t] / T) -> sum[t](x[t]) / T
        # but sum[t](t * x[t]) stays: there each term has a factor of its own.
        if body.op == "mul" and _is_same(a, e) and b.shape == body.shape:
            return a * Reduce(e.op, e.indices, e.domain, b)
        if body.op == "div" and _is_same(b, e) and a.shape == body.shape and a.is_real:
            return Reduce(e.op, e.indices, e.domain, a) / b
    if isinstance(body, Call) and body.op == "outer":
        # sum[t](outer(2 * u, v)) keeps its form: scaling happens before the product.
        return e
    count = _count(e)
    if count is not None and not (free_symbols(body) & set(e.indices)) and body.is_real:
        return body * count  # sum[t](c) -> c * T
    return e


def _is_same(e: Expr, around: Reduce) -> bool:
    """Whether an operand is one number, the same in all terms of a reduction."""
    return (
        isinstance(e, (Const, Position))
        and e.shape == ()
        and free_symbols(e).isdisjoint(around.indices)
    )


def _count(e: Reduce) -> Expr | None:
    """The number of terms, where the domain is one plain range."""
    if len(e.indices) != 1 or len(e.domain.constraints) != 2:
        return None
    (index,) = e.indices
    if any(abs(p.coefficient(index)) > 1 for p in e.domain.constraints):
        return None  # every second position, say
    lower, upper = e.domain.bounds(index)
    if len(lower) != 1 or len(upper) != 1:
        return None
    n: Poly = upper[0] - lower[0] + 1
    if not _is_natural(n):
        return None  # sum[s <= t - 3](c) is 0 at t = 1
    return Const(float(n.constant)) if n.constant is not None else Position(n)


def _is_natural(n: Poly) -> bool:
    """Whether a number is 0 or more by its form: lengths are, which have capital names."""
    return all(coef >= 0 and all(s[0].isupper() for s in mono) for mono, coef in n.terms)


_RULES: dict[str, Callable[[Call], Expr | None]] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "chain_rule": _chain_rule,
    "div": _div,
    "neg": _neg,
    "pow": _pow,
    "transpose": _transpose,
    "matmul": _matmul,
    "outer": _outer,
    "sum": _sum,
    "slice": _part,
    "pad": _linear,
    "take": _part,
    "scatter": _linear,
    "broadcast": _broadcast,
    "reshape": _reshape,
    "where": _where,
    "real": _real,
}

__all__ = ["scalar", "simplify_expr", "transpose"]
