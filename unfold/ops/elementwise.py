"""Arithmetic and functions of components: a table of partial derivatives.

Where a function has no derivative, or the formula of it has no value, these are taken:

====================== ==========================================================================
``relu``, ``abs``      slope 0 at 0
``max``, ``min``       equal operands, or components, share the derivative equally
``where``              the branch not taken has slope 0, whatever its own is; so has what `max`,
                       `min` and ``relu`` leave out
``floor``, ``sign`` …  slope 0 everywhere; comparisons and integers have no derivative
``mod(a, b)``          slope 1 in ``a``, ``-floor(a / b)`` in ``b``, at the jumps as well
``x ** n``             in ``x``: 0 for ``n = 0``, at ``x = 0`` as well; for a negative ``x`` a
                       number if ``n`` is whole. In ``n``: 0 where ``x ** n`` is 0, NaN for a
                       negative ``x``
``logsumexp``          a term that is -inf has slope 0; if all are, all have
``softmax``            an entry that is -inf has the weight 0 and slope 0; all of them likewise
``sqrt``, ``log``, …   infinite at 0; so is that of a quotient. `norm`, the root of a sum of
                       squares, has no slope at 0: NaN. Say what is to stand there:
                       ``where(x > 0, sqrt(x), 0)``
====================== ==========================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..expr import INT, Call, Const, Expr, Position, Type, names
from ..poly import Poly, Shape, ShapeError, broadcast
from .record import (
    Args,
    Attrs,
    Example,
    Op,
    Partial,
    add_all,
    broadcast_to,
    chain_rule,
    compare,
    fn,
    numeric,
    real_valued,
    sum_to,
    times,
    where,
)

Array = NDArray[Any]
ANY = (-3.0, 3.0)
POSITIVE = (0.2, 4.0)


def _unary(domain: tuple[float, float]) -> tuple[Example, ...]:
    return (Example(((),), (domain,)), Example(((4,),), (domain,)), Example(((2, 3),), (domain,)))


def _binary(a: Any = ANY, b: Any = ANY) -> tuple[Example, ...]:
    shapes: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
        ((), ()), ((3,), (3,)), ((), (3,)), ((2, 3), (3,)), ((2, 1), (2, 3)),
    )  # fmt: skip
    return tuple(Example(s, (a, b)) for s in shapes)


def _of_reads(args: Args) -> bool:
    """Sizes and numbers are known to be harmless, values of the model are not."""
    return any(names(a) for a in args)


def _function(
    name: str,
    numpy: Callable[..., Any],
    partial: Partial,
    domain: tuple[float, float] = ANY,
    latex: str | None = None,
    **more: Any,
) -> Op:
    form = latex or rf"\operatorname{{{{{name}}}}}\left({{0}}\right)"
    return Op(name, 1, numpy, form, _unary(domain), real_valued, (partial,), **more)


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def _erf(x: Any) -> Any:
    return np.vectorize(math.erf, otypes=[float])(x) if np.ndim(x) else np.float64(math.erf(x))


def _pow(x: Array, n: Array) -> Array:
    return np.power(np.asarray(x, dtype=float), n)


def _integer_pow(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    return numeric(args, attrs)[0], Type("real")


def _mod_shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    shape, kind = numeric(args, attrs)
    if kind.kind == "int":
        divisor = args[1]
        if isinstance(divisor, Position):
            return shape, Type("int", divisor.poly)
        if isinstance(divisor, Const) and divisor.shape == ():
            return shape, Type("int", Poly.const(int(divisor.value)))
    return shape, kind


def _share(y: Expr, a: Expr, b: Expr, op: str) -> Expr:
    """1 where ``a`` wins, 1/2 where both are equal, else 0."""
    return where(compare(op, a, b), 1.0, where(compare("eq", a, b), 0.5, 0.0))


def _div(a: Array, b: Array) -> Array:
    return np.true_divide(a, b)


def _by_zero(args: Args) -> bool:
    """Whether a divisor is a value of the model, or the number 0."""
    divisor = args[1]
    return bool(names(divisor)) or (isinstance(divisor, Const) and divisor.value == 0)


def _not_whole(args: Args) -> bool:
    """Whether an exponent is anything but a whole number from 0 up."""
    n = args[1]
    return not (isinstance(n, Const) and n.shape == () and n.value >= 0 and n.value == int(n.value))


def _power_slope(y: Expr, x: Expr, n: Expr) -> Expr:
    """``n x ** (n - 1)``, and 0 for ``n = 0``."""
    if isinstance(n, Const):
        return n * x ** (n - 1.0) if n.value else broadcast_to(Const(0.0), y.shape)
    return chain_rule(n, x ** (n - 1.0))


def _chain_rule(g: Array, p: Array) -> Array:
    gone = np.equal(g, 0.0)
    return np.where(gone, 0.0, np.multiply(g, np.where(gone, 1.0, p)))


def _chain_rule_slope(g: Expr, p: Expr) -> Expr:
    """The derivative of a product by the chain rule in ``g``: the slope ``p`` itself, also where
    ``g`` is 0 by chance, but not where only that 0 kept an infinite slope away."""
    known = compare("lt", fn("abs", p), math.inf)
    moves = compare("ne", g, 0.0)
    either = Call("or", (moves, known), (), broadcast(g.shape, p.shape), known.type)
    return where(either, p, 0.0)


def _chain_rule_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    a, p = args
    return (sum_to(times(g, _chain_rule_slope(a, p)), a.shape), sum_to(times(g, a), p.shape))


def _chain_rule_jvp(
    tangents: tuple[Expr | None, ...], y: Expr, args: Args, attrs: Attrs
) -> Expr | None:
    (a, p), (da, dp) = args, tangents
    terms = [] if da is None else [broadcast_to(times(da, _chain_rule_slope(a, p)), y.shape)]
    if dp is not None:
        terms.append(broadcast_to(chain_rule(a, dp), y.shape))
    return add_all(terms)


def _exp_diff(a: Array, b: Array) -> Array:
    gone = np.isneginf(a)
    return np.where(gone, 0.0, np.exp(np.where(gone, 0.0, a) - np.where(gone, 0.0, b)))


ARITHMETIC: tuple[Op, ...] = (
    Op("add", 2, np.add, "{0} + {1}", _binary(), numeric,
       (lambda y, a, b: 1.0, lambda y, a, b: 1.0)),
    Op("sub", 2, np.subtract, "{0} - {1}", _binary(), numeric,
       (lambda y, a, b: 1.0, lambda y, a, b: -1.0)),
    Op("mul", 2, np.multiply, r"{0} \odot {1}", _binary(), numeric,
       (lambda y, a, b: b, lambda y, a, b: a)),
    Op("div", 2, _div, r"\frac{{{0}}}{{{1}}}", _binary(ANY, POSITIVE), real_valued,
       (lambda y, a, b: 1.0 / b, lambda y, a, b: -y / b), diverges=_by_zero),
    Op("pow", 2, _pow, "{{{0}}}^{{{1}}}", _binary(POSITIVE, ANY), _integer_pow,
       (_power_slope, lambda y, x, n: chain_rule(y, fn("log", x))),
       diverges=_not_whole),
    Op("neg", 1, np.negative, "-{0}", _unary(ANY), numeric, (lambda y, x: -1.0,)),
    Op("maximum", 2, np.maximum, r"\max\left({0}, {1}\right)", _binary(), numeric,
       (lambda y, a, b: _share(y, a, b, "gt"), lambda y, a, b: _share(y, b, a, "gt")),
       selects=True),
    Op("minimum", 2, np.minimum, r"\min\left({0}, {1}\right)", _binary(), numeric,
       (lambda y, a, b: _share(y, a, b, "lt"), lambda y, a, b: _share(y, b, a, "lt")),
       selects=True),
    # exp(a - b), and 0 where a = -inf whatever b is: the weight of a log-probability in a sum.
    Op("exp_diff", 2, _exp_diff, r"\exp\left({0} - {1}\right)", _binary(), real_valued,
       (lambda y, a, b: y, lambda y, a, b: -y), diverges=_of_reads),
    # A cotangent times a slope, and 0 where the cotangent is 0: what was not selected.
    Op("chain_rule", 2, _chain_rule, r"{0} \odot {1}", _binary(), real_valued, (),
       _chain_rule_vjp, _chain_rule_jvp, selects=True),
    Op("mod", 2, np.mod, r"{0} \bmod {1}", _binary(ANY, POSITIVE), _mod_shape,
       (lambda y, a, b: 1.0, lambda y, a, b: -fn("floor", a / b)),
       diverges=_by_zero),
    Op("floordiv", 2, np.floor_divide, r"\left\lfloor {0} / {1} \right\rfloor",
       _binary(ANY, POSITIVE), numeric, ()),
)  # fmt: skip

FUNCTIONS: tuple[Op, ...] = (
    _function("exp", np.exp, lambda y, x: y, latex=r"\exp\left({0}\right)", diverges=_of_reads),
    _function("log", np.log, lambda y, x: 1.0 / x, POSITIVE, r"\log\left({0}\right)",
              diverges=_of_reads),
    _function("log1p", np.log1p, lambda y, x: 1.0 / (1.0 + x), POSITIVE, diverges=_of_reads),
    _function("expm1", np.expm1, lambda y, x: y + 1.0, diverges=_of_reads),
    _function("sqrt", np.sqrt, lambda y, x: 0.5 / y, POSITIVE, r"\sqrt{{{0}}}", diverges=_of_reads),
    _function("tanh", np.tanh, lambda y, x: 1.0 - y**2.0, latex=r"\tanh\left({0}\right)"),
    _function("sigmoid", _sigmoid, lambda y, x: y * (1.0 - y), latex=r"\sigma\left({0}\right)"),
    _function("softplus", lambda x: np.logaddexp(0.0, x), lambda y, x: fn("sigmoid", x)),
    _function("relu", lambda x: np.maximum(x, 0.0),
              lambda y, x: where(compare("gt", x, 0.0), 1.0, 0.0), selects=True),
    _function("abs", np.abs, lambda y, x: fn("sign", x), latex=r"\left|{0}\right|",
              selects=True),
    _function("sin", np.sin, lambda y, x: fn("cos", x), latex=r"\sin\left({0}\right)"),
    _function("cos", np.cos, lambda y, x: -fn("sin", x), latex=r"\cos\left({0}\right)"),
    _function("tan", np.tan, lambda y, x: 1.0 + y**2.0, (-1.2, 1.2), r"\tan\left({0}\right)",
              diverges=_of_reads),
    _function("sinh", np.sinh, lambda y, x: fn("cosh", x), latex=r"\sinh\left({0}\right)",
              diverges=_of_reads),
    _function("cosh", np.cosh, lambda y, x: fn("sinh", x), latex=r"\cosh\left({0}\right)",
              diverges=_of_reads),
    _function("asin", np.arcsin, lambda y, x: 1.0 / fn("sqrt", 1.0 - x**2.0), (-0.9, 0.9),
              diverges=_of_reads),
    _function("acos", np.arccos, lambda y, x: -1.0 / fn("sqrt", 1.0 - x**2.0), (-0.9, 0.9),
              diverges=_of_reads),
    _function("atan", np.arctan, lambda y, x: 1.0 / (1.0 + x**2.0)),
    _function("erf", _erf, lambda y, x: (2.0 / math.sqrt(math.pi)) * fn("exp", -(x**2.0))),
)  # fmt: skip


def _constant_function(name: str, numpy: Callable[..., Any], latex: str) -> Op:
    return Op(name, 1, numpy, latex, _unary((0.1, 0.9)), real_valued, (lambda y, x: 0.0,))


STEPS: tuple[Op, ...] = (
    _constant_function("floor", np.floor, r"\left\lfloor {0} \right\rfloor"),
    _constant_function("ceil", np.ceil, r"\left\lceil {0} \right\rceil"),
    _constant_function("round", np.round, r"\operatorname{{round}}\left({0}\right)"),
    _constant_function("sign", np.sign, r"\operatorname{{sign}}\left({0}\right)"),
)


def _comparison(name: str, numpy: Callable[..., Any], latex: str) -> Op:
    def shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
        return numeric(args, attrs)[0], Type("bool")

    return Op(name, 2, numpy, latex, _binary(), shape)


def _truth(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    for position, a in enumerate(args):
        if a.type.kind != "bool":
            raise ShapeError("a truth value is needed here, not a number", (position,))
    return broadcast(*(a.shape for a in args)), Type("bool")


_BOOLS = (Example(((3,), (3,)), ("bool", "bool")), Example(((), (3,)), ("bool", "bool")))

LOGIC: tuple[Op, ...] = (
    _comparison("lt", np.less, "{0} < {1}"),
    _comparison("le", np.less_equal, r"{0} \le {1}"),
    _comparison("gt", np.greater, "{0} > {1}"),
    _comparison("ge", np.greater_equal, r"{0} \ge {1}"),
    _comparison("eq", np.equal, "{0} = {1}"),
    _comparison("ne", np.not_equal, r"{0} \ne {1}"),
    Op("and", 2, np.logical_and, r"{0} \land {1}", _BOOLS, _truth),
    Op("or", 2, np.logical_or, r"{0} \lor {1}", _BOOLS, _truth),
    Op("not", 1, np.logical_not, r"\lnot {0}", (Example(((3,),), ("bool",)),), _truth),
)


def _where_shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    condition, a, b = args
    if condition.type.kind != "bool":
        raise ShapeError("the condition must be a truth value, such as `x > 0`", (0,))
    if a.type.kind == b.type.kind == "bool":
        kind = a.type
    else:
        kind = numeric((a, b), attrs)[1]
        if kind == INT and a.type.bound is not None and a.type == b.type:
            kind = a.type
    return broadcast(condition.shape, a.shape, b.shape), kind


def _where_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    c, a, b = args
    return None, sum_to(where(c, g, 0.0), a.shape), sum_to(where(c, 0.0, g), b.shape)


def _where_jvp(tangents: tuple[Expr | None, ...], y: Expr, args: Args, attrs: Attrs) -> Expr | None:
    _, da, db = tangents
    if da is None and db is None:
        return None
    chosen = where(args[0], 0.0 if da is None else da, 0.0 if db is None else db)
    return broadcast_to(chosen, y.shape)


def _starting_shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    value, start = args
    if value.shape != start.shape:
        raise ShapeError("the start has another shape than the unknown", (1,))
    return value.shape, Type("real")


def _arrived_shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    for position, a in enumerate(args[1:], 1):
        if a.shape:
            raise ShapeError("how much is done is one number", (position,))
    if args[0].type.kind == "bool":
        raise ShapeError("numbers are needed here, not a truth value", (0,))
    return args[0].shape, Type("real")


def _continuous_shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    if len(args) < 4 or len(args) % 2 or attrs["state"] >= len(args) // 2 - 1:
        raise ShapeError("a value, the step, and the start and slope of every state")
    if args[1].shape:
        raise ShapeError("the step is one number", (1,))
    return args[0].shape, Type("real")


def _first_vjp(g: Expr, y: Expr, args: Args, attrs: Attrs) -> tuple[Expr | None, ...]:
    return g, *(None for _ in args[1:])


def _first_jvp(tangents: tuple[Expr | None, ...], y: Expr, args: Args, attrs: Attrs) -> Expr | None:
    return tangents[0]


def _cast_shape(args: Args, attrs: Attrs) -> tuple[Shape, Type]:
    return args[0].shape, Type("real")


SELECTION: tuple[Op, ...] = (
    Op("where", 3, np.where, r"\begin{{cases}} {1} & {0} \\ {2} & \text{{else}} \end{{cases}}",
       (Example(((3,), (3,), (3,)), ("bool", ANY, ANY)),
        Example(((), (3,), ()), ("bool", ANY, ANY)), Example(((3,), (), (3,)), ("bool", ANY, ANY))),
       _where_shape, (), _where_vjp, _where_jvp, selects=True),
    Op("real", 1, lambda x: np.asarray(x, dtype=float), "{0}",
       (Example(((3,),), (("int", 4),)), Example(((3,),), ("bool",))), _cast_shape),
    Op("detach", 1, lambda x: x, r"\operatorname{{detach}}\left({0}\right)", _unary(ANY),
       lambda args, attrs: (args[0].shape, args[0].type)),
    # The first operand. At the root of an implicit equation the second one says where the search
    # for its solution begins; the solution does not depend on it.
    Op("starting_from", 2, lambda value, start: np.asarray(value), "{0}",
       (Example(((), ()), (ANY, ANY)), Example(((3,), (3,)), (ANY, ANY))), _starting_shape, (),
       _first_vjp, _first_jvp),
    # The first operand, the end of a step that was integrated in pieces. A call raises an error
    # unless the second one, how much of the step is done, is 1; the others are how many attempts
    # there were and their relative tolerance.
    Op("arrived", 4, lambda value, *done: np.asarray(value, dtype=float), "{0}",
       (Example(((), (), (), ()), (ANY,) * 4), Example(((3,), (), (), ()), (ANY,) * 4)),
       _arrived_shape, (), _first_vjp, _first_jvp, elementwise=False),
    # The first operand, one state of a flow at the end of a step. The others say how to integrate
    # its costate backward: see `unfold.transform.continuous`.
    Op("continuous", None, lambda value, *others, **how: np.asarray(value, dtype=float), "{0}",
       (Example(((3,), (), (3,), (3,)), (ANY,) * 4,
                (("scheme", "rk4"), ("state", 0), ("substeps", 1))),),
       _continuous_shape, (), _first_vjp, _first_jvp, elementwise=False),
)  # fmt: skip

OPS: tuple[Op, ...] = ARITHMETIC + FUNCTIONS + STEPS + LOGIC + SELECTION
