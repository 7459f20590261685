"""Functions of one real number (and the power), for scalars and vectors."""

from __future__ import annotations

from .ir import Function, Value, real, scalar_of, width_of

#: Functions that `emit` knows beside ``pow``.
NAMES = (
    "exp", "log", "log1p", "expm1", "tanh", "sigmoid", "softplus", "sin", "cos", "tan", "sinh",
    "cosh", "asin", "acos", "atan", "erf",
)  # fmt: skip


def emit(f: Function, name: str, *args: Value) -> Value:
    """The value of a function, lane by lane."""
    if name == "sigmoid":
        return _sigmoid(f, args[0])
    if name == "softplus":
        return _softplus(f, args[0])
    width = width_of(args[0].type)
    if width == 1:
        return _libm(f, name, *args)
    result = Value(args[0].type, "poison")
    for k in range(width):
        result = f.with_lane(result, _libm(f, name, *(f.lane(a, k) for a in args)), k)
    return result


def _libm(f: Function, name: str, *args: Value) -> Value:
    kind = args[0].type
    symbol = name + ("f" if scalar_of(kind) == "float" else "")
    f.module.declare(symbol, kind, [kind] * len(args), "nounwind willreturn memory(none)")
    return f.call(kind, symbol, *args)


def _sigmoid(f: Function, x: Value) -> Value:
    e = emit(f, "exp", f.op(x.type, f"fneg {f.intrinsic('llvm.fabs', x)}"))
    one = real(1.0, x.type)
    top = f.select(f.compare("fcmp oge", x, real(0.0, x.type)), one, e)
    return f.binary("fdiv", top, f.binary("fadd", one, e))


def _softplus(f: Function, x: Value) -> Value:
    e = emit(f, "exp", f.op(x.type, f"fneg {f.intrinsic('llvm.fabs', x)}"))
    return f.binary("fadd", f.intrinsic("llvm.maximum", x, real(0.0, x.type)), emit(f, "log1p", e))
