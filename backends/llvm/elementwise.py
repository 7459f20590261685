"""Element-wise operations: one instruction sequence each, for scalars and for vectors alike.

Keyed by the names of `unfold.ops`. Operands arrive as values of one width; a rule sees them already
converted to the number format it works in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from unfold.expr import Call, Const, Expr

from . import vecmath
from .ir import Function, Value, integer, number_of, real, scalar_of, vector, width_of

Rule = Callable[["Function", Sequence[Value]], Value]

# Contraction to fused multiply-adds is allowed everywhere; nothing else is reordered.
_FAST = "contract"


def _arithmetic(float_op: str, int_op: str) -> Rule:
    def rule(f: Function, args: Sequence[Value]) -> Value:
        a, b = args
        return f.binary(f"{float_op} {_FAST}" if is_float(a) else int_op, a, b)

    return rule


def is_float(a: Value) -> bool:
    """Whether a value holds floating-point numbers."""
    return scalar_of(a.type) in ("double", "float")


def constant(like: Value, value: float) -> Value:
    """A number in the format of another value."""
    return real(value, like.type) if is_float(like) else integer(int(value), like.type)


def _neg(f: Function, args: Sequence[Value]) -> Value:
    (a,) = args
    if is_float(a):
        return f.op(a.type, f"fneg {a}")
    return f.binary("sub", integer(0, a.type), a)


def _compare(float_op: str, int_op: str) -> Rule:
    def rule(f: Function, args: Sequence[Value]) -> Value:
        a, b = args
        return f.compare(f"fcmp {float_op}" if is_float(a) else f"icmp {int_op}", a, b)

    return rule


def _logic(op: str) -> Rule:
    return lambda f, args: f.binary(op, args[0], args[1])


def _not(f: Function, args: Sequence[Value]) -> Value:
    return f.binary("xor", args[0], integer(1, args[0].type))


def _where(f: Function, args: Sequence[Value]) -> Value:
    return f.select(args[0], args[1], args[2])


def _chain_rule(f: Function, args: Sequence[Value]) -> Value:
    g, slope = args
    zero = constant(g, 0.0)
    product = f.binary(f"fmul {_FAST}", g, slope)
    return f.select(f.compare("fcmp oeq", g, zero), zero, product)


def _function(name: str) -> Rule:
    return lambda f, args: vecmath.emit(f, name, *args)


#: Ops on numbers of one format (their operands' common one).
RULES: dict[str, Rule] = {
    "add": _arithmetic("fadd", "add"),
    "sub": _arithmetic("fsub", "sub"),
    "mul": _arithmetic("fmul", "mul"),
    "div": _arithmetic("fdiv", "sdiv"),
    "neg": _neg,
    "lt": _compare("olt", "slt"),
    "le": _compare("ole", "sle"),
    "gt": _compare("ogt", "sgt"),
    "ge": _compare("oge", "sge"),
    "eq": _compare("oeq", "eq"),
    "ne": _compare("une", "ne"),
    "and": _logic("and"),
    "or": _logic("or"),
    "not": _not,
    "where": _where,
    "chain_rule": _chain_rule,
    "real": lambda f, args: args[0],
    "detach": lambda f, args: args[0],
    "starting_from": lambda f, args: args[0],
    "arrived": lambda f, args: args[0],
    "continuous": lambda f, args: args[0],
} | {name: _function(name) for name in vecmath.FUNCTIONS}

_COMPARISONS = {"lt", "le", "gt", "ge", "eq", "ne"}
_LOGIC = {"and", "or", "not"}
_KEEP = {"detach", "where"}


@dataclass(frozen=True)
class Formats:
    """The machine types of a program's numbers: ``double`` or ``float`` for reals."""

    real: str

    def of(self, kind: str) -> str:
        """The type of a value: i64 for integers, i1 for truth values."""
        return {"real": self.real, "int": "i64", "bool": "i1"}[kind]

    def stored(self, kind: str) -> str:
        """The type in memory, where a truth value takes a byte."""
        return "i8" if kind == "bool" else self.of(kind)

    def bytes(self, kind: str) -> int:
        """The size in memory."""
        return {"double": 8, "float": 4, "i64": 8, "i8": 1}[self.stored(kind)]


def emit(f: Function, formats: Formats, node: Call, args: Sequence[Value]) -> Value:
    """One component of an element-wise `Call`, its operands' components given.

    Raises:
        KeyError: the op has no element-wise rule.
    """
    rule = RULES[node.op]
    width = max(width_of(a.type) for a in args)
    kinds = [a.type.kind for a in node.args]
    if node.op in _LOGIC:
        wanted = ["i1"] * len(args)
    elif node.op in _COMPARISONS:
        wanted = [formats.of("real" if "real" in kinds else "int")] * len(args)
    elif node.op == "where":
        wanted = ["i1", *[formats.of(node.type.kind)] * 2]
    else:
        wanted = [formats.of(node.type.kind)] * len(args)
    ready = [f.splat(convert(f, a, w), width) for a, w in zip(args, wanted, strict=True)]
    if node.op == "pow":
        exponent = node.args[1]
        if isinstance(exponent, Const) and exponent.shape == ():
            return power(f, ready[0], float(exponent.value), ready[1])
    if node.op == "where" and width == 1 and node.shape == () and _is_tie(node.args[0]):
        return f.select_rarely(*ready)
    return rule(f, ready)


def _is_tie(e: Expr) -> bool:
    """Whether a condition is that two reals are equal, which they hardly ever are. (Components of a
    vector are left to LLVM, which computes several at once.)"""
    return isinstance(e, Call) and e.op == "eq" and "real" in [a.type.kind for a in e.args]


def convert(f: Function, a: Value, scalar: str) -> Value:
    """A value in another number format, lane by lane."""
    have = scalar_of(a.type)
    if have == scalar:
        return a
    if scalar in ("double", "float"):
        known = number_of(a) if have == "i64" else None
        if known is not None:
            return real(float(known), vector(scalar, width_of(a.type)))
        return f.convert("uitofp" if have in ("i1", "i8") else "sitofp", a, scalar)
    if have == "i1":
        return f.convert("zext", a, scalar)
    if have == "i8" and scalar == "i1":
        return f.compare("icmp ne", a, integer(0, a.type))
    raise TypeError(f"no conversion from {have} to {scalar}")


def power(f: Function, x: Value, n: float, exponent: Value) -> Value:
    """``x ** n`` for a constant exponent: multiplications where n is a small whole number, and a
    root of x besides where it lies between two of them."""
    if n == 0.5:
        return f.intrinsic("llvm.sqrt", x)
    if not math.isfinite(n) or 2 * n != int(2 * n) or abs(n) > 16:
        return vecmath.emit(f, "pow", x, exponent)
    if n == 0:
        return real(1.0, x.type)
    count, square, result = int(abs(n)), x, None
    if n != int(n):
        # A power that is no whole one has no sign: that of -0 and -infinity is 0 and infinity.
        infinite = f.compare("fcmp oeq", x, real(-math.inf, x.type))
        square = f.select(infinite, real(math.inf, x.type), f.binary("fadd", x, real(0.0, x.type)))
        result = f.intrinsic("llvm.sqrt", square)
    while count:
        if count & 1:
            result = square if result is None else f.binary(f"fmul {_FAST}", result, square)
        count >>= 1
        if count:
            square = f.binary(f"fmul {_FAST}", square, square)
    assert result is not None
    return f.binary("fdiv", real(1.0, x.type), result) if n < 0 else result
