"""Elementary functions for scalars and vectors of float and double, as LLVM IR.

No function calls the C library, none branches on the values of single lanes (but for a rare path
of sin, cos and tan), all are right for infinities, NaN, signed zeros and subnormal numbers.
"""

from __future__ import annotations

from collections.abc import Callable

from .. import ir
from ..body import Body, Value, define, type_of
from .error_function import erf
from .exponential import cosh, exp, expm1, sigmoid, sinh, tanh
from .inverse import acos, asin, atan
from .logarithm import log, log1p, softplus
from .powers import power
from .steps import absolute, floordiv, maximum, minimum, mod, sign
from .trigonometric import cos, sin, tan

Rule = Callable[..., Value]


def emit(f: ir.Function, name: str, *values: ir.Value) -> ir.Value:
    """Call a function of the table `FUNCTIONS` where ``f`` stands.

    Args:
        f: the function under construction. The one that is called is added to its module when
            first used, once for each type.
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
    if name in SHORT or (name in OVERLAPPING and kind.lanes > 1):
        body = Body(f)
        return rule(body, *map(body.wrap, values))

    def write(b: Body) -> Value:
        return rule(b, *b.args)

    full = define(f.module, f"unfold.{name}.{kind.suffix}", kind, [kind] * len(values), write)
    return f.call(str(kind), full, *values)


def _direct(intrinsic: str) -> Rule:
    """A function that the machine has, rounded correctly."""
    return lambda b, x: b.intrinsic(intrinsic, x)


def _relu(b: Body, x: Value) -> Value:
    """max(x, 0); NaN stays NaN."""
    return x.le(0.0).select(0.0, x)


def _exp_diff(b: Body, x: Value, y: Value) -> Value:
    """exp(x - y), and 0 where x is -infinity, whatever y is."""
    return x.eq(-float("inf")).select(0.0, exp(b, x - y))


#: name -> what writes the function; one parameter for each operand, after the body.
FUNCTIONS: dict[str, Rule] = {
    "exp": exp,
    "expm1": expm1,
    "exp_diff": _exp_diff,
    "log": log,
    "log1p": log1p,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "relu": _relu,
    "sqrt": _direct("sqrt"),
    "sin": sin,
    "cos": cos,
    "tan": tan,
    "sinh": sinh,
    "cosh": cosh,
    "asin": asin,
    "acos": acos,
    "atan": atan,
    "erf": erf,
    "pow": power,
    "floor": _direct("floor"),
    "ceil": _direct("ceil"),
    "round": _direct("rint"),
    "abs": absolute,
    "sign": sign,
    "mod": mod,
    "floordiv": floordiv,
    "maximum": maximum,
    "minimum": minimum,
}

#: Those of a few instructions, which are written in place.
SHORT = frozenset(("relu", "sqrt", "floor", "ceil", "round", "abs", "sign", "maximum", "minimum"))
#: Those that are written in place for vectors: often the one long chain in a loop (a softmax, say),
#: which then overlaps with that of the next vector, and finds its constants in registers.
OVERLAPPING = frozenset(("exp", "exp_diff"))
