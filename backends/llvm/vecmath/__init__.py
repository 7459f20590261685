"""Elementary functions for scalars and vectors of float and double, as LLVM IR.

No function calls the C library, none branches on the values of single lanes (but for a rare path
of sin, cos and tan), all are right for infinities, NaN, signed zeros and subnormal numbers.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from ..body import Body, Value, define, type_of

Rule = Callable[..., Value]


def emit(builder: ir.IRBuilder, name: str, *values: ir.Value) -> ir.Value:
    """Call a function of the table `FUNCTIONS` where the builder stands.

    Args:
        builder: an `llvmlite.ir.IRBuilder`; the function is added to its module when first used,
            once for each type, as an internal function.
        name: ``exp``, ``log``, ``pow``, ``maximum``…, as in `unfold.ops`.
        values: as many operands as the function has, all of one type: float, double or a vector
            of these of any length. `maximum`, `minimum`, `mod`, `floordiv`, `abs` and `sign` take
            i64 as well.

    Returns:
        a value of the type of the operands.

    Raises:
        KeyError: there is no function of that name.
    """
    kind = type_of(values[0].type)
    rule = FUNCTIONS[name]

    def write(body: Body) -> Value:
        return rule(body, *body.args)

    function = define(
        builder.module, f"unfold.{name}.{kind.suffix}", kind, [kind] * len(values), write
    )
    return builder.call(function, values)


def _libm(name: str) -> Rule:
    return lambda b, *args: b.intrinsic(name, *args)


def _expm1(b: Body, x: Value) -> Value:
    return b.intrinsic("exp", x) - 1.0


def _log1p(b: Body, x: Value) -> Value:
    return b.intrinsic("log", x + 1.0)


def _sigmoid(b: Body, x: Value) -> Value:
    return 1.0 / (b.intrinsic("exp", -x) + 1.0)


def _softplus(b: Body, x: Value) -> Value:
    small = b.intrinsic("log", b.intrinsic("exp", -b.intrinsic("fabs", x)) + 1.0)
    return small + x.lt(0.0).select(0.0, x)


def _maximum(b: Body, x: Value, y: Value) -> Value:
    return b.intrinsic("maximum" if x.type.is_float else "smax", x, y)


def _minimum(b: Body, x: Value, y: Value) -> Value:
    return b.intrinsic("minimum" if x.type.is_float else "smin", x, y)


def _abs(b: Body, x: Value) -> Value:
    return b.intrinsic("fabs", x) if x.type.is_float else x.lt(0).select(-x, x)


def _sign(b: Body, x: Value) -> Value:
    one = 1.0 if x.type.is_float else 1
    zero = x * one if x.type.is_float else b.const(x.type, 0)
    return x.gt(0).select(b.const(x.type, 1), x.lt(0).select(b.const(x.type, -1), zero))


def _floordiv(b: Body, x: Value, y: Value) -> Value:
    if x.type.is_float:
        return b.intrinsic("floor", x / y)
    safe = y.eq(0).select(1, y)
    q = x / safe
    back = (x.srem(safe)).ne(0) & ((x ^ safe).lt(0))
    return y.eq(0).select(0, back.select(q - 1, q))


def _mod(b: Body, x: Value, y: Value) -> Value:
    safe = y if x.type.is_float else y.eq(0).select(1, y)
    r = x.srem(safe)
    zero = 0.0 if x.type.is_float else 0
    wrong = r.ne(zero) & (r.lt(zero) ^ safe.lt(zero))
    r = wrong.select(r + safe, r)
    return r if x.type.is_float else y.eq(0).select(0, r)


def _erf(b: Body, x: Value) -> Value:
    total = b.const(x.type, 0.0)
    power = x
    for n in range(20):
        total = total + power * (1.0 / (2 * n + 1))
        power = power * x * x * (-1.0 / (n + 1))
    return total * 1.1283791670955126


#: name -> what writes the function; one parameter for each operand, after the body.
FUNCTIONS: dict[str, Rule] = {
    "exp": _libm("exp"),
    "expm1": _expm1,
    "log": _libm("log"),
    "log1p": _log1p,
    "tanh": _libm("tanh"),
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "sqrt": _libm("sqrt"),
    "sin": _libm("sin"),
    "cos": _libm("cos"),
    "tan": _libm("tan"),
    "sinh": _libm("sinh"),
    "cosh": _libm("cosh"),
    "asin": _libm("asin"),
    "acos": _libm("acos"),
    "atan": _libm("atan"),
    "erf": _erf,
    "pow": _libm("pow"),
    "floor": _libm("floor"),
    "ceil": _libm("ceil"),
    "round": _libm("rint"),
    "abs": _abs,
    "sign": _sign,
    "mod": _mod,
    "floordiv": _floordiv,
    "maximum": _maximum,
    "minimum": _minimum,
}
