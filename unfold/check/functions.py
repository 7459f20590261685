"""Calls: the functions of the language, and what to say when one is called wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..expr import INT, REAL, Const, Expr
from ..ops import DEFINITIONS, OPS
from ..poly import Poly, ShapeError
from ..schemes import SCHEMES
from ..syntax import tree as t
from . import conditions, sizes
from .diagonals import diag, eye
from .misfits import misfit
from .operands import Hole, Value, as_type, is_literal, settled
from .report import Failed, nearest, plural
from .scope import Env
from .spelling import ALIASES, CALLS, FORMS, INTERNAL, REDUCTIONS, SUGAR

if TYPE_CHECKING:
    from .values import Reader

#: Functions along an axis of components.
ALONG = frozenset("sum max min argmax logsumexp softmax log_softmax mean var norm".split())
#: The name that people may know a function by.
FOREIGN = {
    "ln": "log", "sin": "sin", "arctan": "atan", "arcsin": "asin", "arccos": "acos",
    "logistic": "sigmoid", "sigma": "sigmoid", "power": "pow", "cat": "concat",
    "concatenate": "concat", "one_hot": "onehot", "stop_gradient": "detach", "std": "var",
    "fabs": "abs", "swish": "silu", "average": "mean", "prod": "sum", "stack": "stack",
    "det": "logdet", "slogdet": "logdet", "inverse": "inv", "chol": "cholesky", "linsolve": "solve",
}  # fmt: skip


def is_function(name: str) -> bool:
    """Whether a name is a function of the language."""
    return name in CALLS or name in DEFINITIONS or name in SUGAR or name in ALIASES


def call(reader: Reader, node: t.Call, env: Env) -> Value:
    """The value of `name(arguments, keywords)`."""
    name = node.function.text
    if name in reader.scope.models:
        raise reader.report.error(
            "E0207",
            "a model is used by giving it a name",
            (node.span, f"`{name}` is a model"),
            helps=[f"write `enc = {node.span.text}`, and then `enc.h[t]`, with the name of one of "
                   "its variables"],
        )  # fmt: skip
    if not is_function(name):
        if nearest(name, reader.scope.models) is None:
            _quietly(reader, node, env)
        raise _unknown(reader, node.function)
    if name in ("max", "min") and len(node.arguments) > 1:
        _keywords(reader, node, ())
        return _fold(reader, f"{name}imum", node, env)
    if name == "where":
        _count(reader, node, 3)
        condition, yes, no = node.arguments
        return conditions.choice(reader, condition, yes, no, node, env)
    if name in ("eye", "diag"):
        return _diagonal(reader, name, node, env)
    if name in ("reshape", "broadcast", "col", "row"):
        return _shaped(reader, name, node, env)
    if name in ("onehot", "scatter", "pad"):
        return _sized(reader, name, node, env)
    if name == "continuous":
        return _continuous(reader, node, env)
    if name == "int":
        return _integer(reader, node, env)
    if name == "split":
        raise reader.report.error(
            "E0207",
            "`split` gives several values",
            (node.span, "stands alone on the right of an equation"),
            helps=["write `a, b = split(v, 2)`, or take a slice: `v[0:H]`"],
        )
    if name in ALONG and _are_several(node):
        several = t.Stack(node.arguments, span=node.span)
        return call(reader, replace(node, arguments=(several,)), env)
    if name in DEFINITIONS:
        return _definition(reader, name, node, env)
    if name == "concat":
        axis = _axis(reader, node)
        values = reader.all(node.arguments, env)
        return reader.apply("concat", values, node, node.arguments, axis=axis or 0)
    op = ALIASES.get(name, name)
    if op in ALONG:
        _count(reader, node, 1, keywords=("axis",))
        return _along(reader, op, node, env)
    arity = OPS[op].arity
    if arity is not None:
        _count(reader, node, arity)
    _keywords(reader, node, ())
    return reader.apply(op, reader.all(node.arguments, env), node, node.arguments)


def _are_several(node: t.Call) -> bool:
    """Whether a reduction is given scalars, and no number of an axis, as in `sum(M, 0)`."""
    return (
        len(node.arguments) > 1
        and not node.keywords
        and not isinstance(node.arguments[1], (t.Number, t.Unary))
    )


def _continuous(reader: Reader, node: t.Call, env: Env) -> Value:
    """`continuous(0, rk4, 1, value, step, start, slope)`: how a flow with `adjoint = continuous` is
    written out."""
    _keywords(reader, node, ())
    state, scheme, substeps = (*node.arguments[:3], None, None, None)[:3]
    rest = node.arguments[3:]
    fits = (
        isinstance(state, t.Number)
        and isinstance(scheme, t.Name)
        and scheme.text in SCHEMES
        and isinstance(substeps, t.Number)
        and len(rest) >= 4
    )
    if not fits:
        raise reader.report.error(
            "E0207",
            "`continuous` is what the compiler writes for a flow",
            (node.span, "not of that form"),
            helps=["write `flow h[t] from h[t-1] by rk4(dt[t], adjoint = continuous):`"],
        )
    assert isinstance(state, t.Number)
    assert isinstance(scheme, t.Name)
    assert isinstance(substeps, t.Number)
    return reader.apply(
        "continuous", reader.all(rest, env), node, rest,
        state=int(state.value), scheme=scheme.text, substeps=int(substeps.value),
    )  # fmt: skip


def _unknown(reader: Reader, function: t.Name) -> Failed:
    name = function.text
    known = {*CALLS, *DEFINITIONS, *SUGAR, *reader.scope.models}
    near = FOREIGN.get(name) or nearest(name, known)
    helps = [f"did you mean `{near}`?"] if near else []
    if name in reader.scope.definitions or name in reader.scope.lets:
        return reader.report.error(
            "E0205",
            f"`{name}` is not a function",
            (function.span, "called like one"),
            helps=[_product_or_element(reader, name)],
        )
    if name in reader.scope.lost:
        return Failed()
    if not near:
        known = {*CALLS, *DEFINITIONS, *SUGAR} - INTERNAL
        helps = ["the functions are " + ", ".join(sorted(known))]
    return reader.report.error(
        "E0205", f"there is no function or model `{name}`", (function.span, "unknown"), helps=helps
    )


def _product_or_element(reader: Reader, name: str) -> str:
    d = reader.scope.definitions.get(name)
    if d is None or d.axes:
        return f"elements are read with brackets, `{name}[t]`; a product needs its sign"
    return f"a product needs its sign: `{name} @ (…)` for matrices, `{name} * (…)` for all else"


def _quietly(reader: Reader, node: t.Call, env: Env) -> None:
    """Report what is wrong with the arguments of a wrong call."""
    try:
        reader.all([*node.arguments], env)
    except Failed:
        pass


def _count(
    reader: Reader, node: t.Call, least: int, most: int | None = None, keywords: Sequence[str] = ()
) -> None:
    most = least if most is None else most
    have = len(node.arguments)
    if not least <= have <= most:
        want = str(least) if least == most else f"{least} to {most}"
        name = node.function.text
        form, meaning = FORMS.get(name, (CALLS.get(name, ""), ""))
        for k, letter in enumerate(("a", "b", "c")):
            form = form.replace(f"{{{k}}}", letter)
        if name in ("max", "min"):
            form, want, meaning = f"{name}(a, b)` or `{name}(v)", "1 or more", ""
        helps = [f"it is written `{form}`"] if form and "{" not in form else []
        if helps and meaning:
            helps = [f"{helps[0]}: {meaning}"]
        raise reader.report.error(
            "E0209",
            f"`{name}` takes {want} argument{'' if want == '1' else 's'}, here "
            + (f"is {have}" if have == 1 else f"are {have}"),
            node.span,
            helps=helps,
        )
    _keywords(reader, node, keywords)


def _keywords(reader: Reader, node: t.Call, known: Sequence[str]) -> None:
    for keyword in node.keywords:
        if keyword.name.text not in known:
            raise reader.report.error(
                "E0209",
                f"`{node.function.text}` has no keyword `{keyword.name.text}`",
                (keyword.span, "unknown"),
                helps=[f"it knows `{known[0]} = …`"] if known else (),
            )


def _axis(reader: Reader, node: t.Call) -> int | None:
    """The keyword `axis`, a number; ``None`` if it is not given."""
    for keyword in node.keywords:
        if keyword.name.text == "axis":
            if isinstance(keyword.value, t.Name) and keyword.value.text == "None":
                return None
            value = sizes.literal(reader.scope, keyword.value)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
            raise reader.report.error(
                "E0209",
                "`axis` is the number of an axis of components, counted from 0",
                (keyword.value.span, "not a number"),
                helps=["to reduce over an index write it in brackets: `sum[t](…)`"],
            )
    return None


def _from_front(reader: Reader, value: Value, axis: int | None, node: t.Call) -> int | None:
    """An axis counted from the front; -1 is the last."""
    if axis is None or value.shape is None:
        return axis
    rank = len(value.shape)
    if -rank <= axis < rank:
        return axis % rank
    raise reader.report.error(
        "E0303",
        f"there is no axis {axis}",
        (node.span, f"`{node.arguments[0].span.text}` has {plural(rank, 'axis')} of components"),
    )


def _along(reader: Reader, op: str, node: t.Call, env: Env) -> Value:
    value = reader.value(node.arguments[0], env)
    axis = _from_front(reader, value, _axis(reader, node), node)
    if op in ("softmax", "log_softmax") and axis is None and value.shape is not None:
        if len(value.shape) > 1 and not node.keywords:
            raise reader.report.error(
                "E0303",
                f"along which axis is this `{op}`?",
                (node.arguments[0].span, f"has {len(value.shape)} axes"),
                helps=[f"`{op}(…, axis = 1)` normalises each row, `axis = 0` each column"],
            )
        axis = 0 if len(value.shape) < 2 else None
    _scalar_misuse(reader, op, value, node)
    return reader.apply(op, [value], node, node.arguments, axis=axis)


def _scalar_misuse(reader: Reader, op: str, value: Value, node: t.Call) -> None:
    """`sum(x[t])` of a scalar: a reduction over the index was probably meant."""
    if isinstance(value, Expr) and value.shape == () and op in REDUCTIONS:
        index = next(
            (
                n.text
                for n in t.walk(node)
                if isinstance(n, t.Name) and n.text in reader.scope.indices
            ),
            "t",
        )
        raise reader.report.error(
            "E0303",
            f"`{op}` over the components of a scalar",
            (node.arguments[0].span, "has no components"),
            helps=[f"over an index it is `{op}[{index}](…)`"],
        )


def _fold(reader: Reader, op: str, node: t.Call, env: Env) -> Value:
    values = reader.all(node.arguments, env)
    result = values[0]
    for k, value in enumerate(values[1:], 1):
        pair = (node.arguments[0] if k == 1 else node, node.arguments[k])
        result = reader.apply(op, [result, value], node, pair)
    return result


def _vector(reader: Reader, name: str, node: t.Call, env: Env) -> Value:
    """The only argument of a function of one vector."""
    _count(reader, node, 1)
    value = reader.value(node.arguments[0], env)
    if value.shape is None:
        return Hole(None, value.type)
    if len(value.shape) != 1:
        raise reader.report.error(
            "E0303",
            f"`{name}` takes a vector",
            (
                node.arguments[0].span,
                f"has {plural(len(value.shape), 'axis')}" if value.shape else "a scalar",
            ),
        )
    return value


def _diagonal(reader: Reader, name: str, node: t.Call, env: Env) -> Value:
    """`eye(n)`, `diag(v)`."""
    if name == "diag":
        value = settled(_vector(reader, name, node, env))
        if isinstance(value, Expr):
            return diag(value)
        return Hole(None if value.shape is None else value.shape * 2, REAL)
    _count(reader, node, 1)
    try:
        return eye(sizes.size(reader.scope, node.arguments[0]))
    except sizes.Unsolved:
        return Hole(None, REAL)


def _shaped(reader: Reader, name: str, node: t.Call, env: Env) -> Value:
    """`reshape(v, [h, d])`, `broadcast(a, [H, D])`, `col(v)`, `row(v)`."""
    if name in ("col", "row"):
        value = _vector(reader, name, node, env)
        if value.shape is None:
            return value
        one = Poly.const(1)
        n = value.shape[0]
        matrix = (n, one) if name == "col" else (one, n)
        return reader.apply("reshape", [value], node, node.arguments, shape=matrix)
    _count(reader, node, 2)
    value = reader.value(node.arguments[0], env)
    wanted = node.arguments[1]
    if not isinstance(wanted, t.Stack):
        raise reader.report.error(
            "E0209",
            f"`{name}` takes a shape in brackets",
            (wanted.span, "expected a list such as `[H, D]`"),
        )
    try:
        shape = tuple(sizes.size(reader.scope, item) for item in wanted.items)
    except sizes.Unsolved:
        return Hole(None, value.type)
    return reader.apply(name, [value], node, node.arguments[:1], shape=shape)


def _sized(reader: Reader, name: str, node: t.Call, env: Env) -> Value:
    """`onehot(i, K)`, `scatter(g, i, n, axis = 0)`, `pad(v, before, after, axis = 0)`."""
    count = {"onehot": 1, "scatter": 2, "pad": 1}[name]
    extra = 2 if name == "pad" else 1
    _count(reader, node, count + extra, keywords=() if name == "onehot" else ("axis",))
    operands, rest = node.arguments[:count], node.arguments[count:]
    values = reader.all(operands, env)
    try:
        counted = [sizes.size(reader.scope, r) for r in rest]
    except sizes.Unsolved:
        return Hole(None, values[0].type)
    if name == "onehot":
        return reader.apply("onehot", values, node, operands, size=counted[0])
    axis = _axis(reader, node) or 0
    if name == "scatter":
        return reader.apply("scatter", values, node, operands, axis=axis, size=counted[0])
    before, after = counted
    return reader.apply("pad", values, node, operands, axis=axis, before=before, after=after)


def _integer(reader: Reader, node: t.Call, env: Env) -> Value:
    _count(reader, node, 1)
    value = reader.value(node.arguments[0], env)
    if isinstance(value, Const) and is_literal(value):
        return as_type(value, INT)
    if isinstance(value, Hole) or value.type.kind == "int":
        return value
    raise reader.report.error(
        "E0602",
        "`int` makes an integer of a literal only",
        (node.arguments[0].span, "not an integer literal"),
        helps=["to compare with a threshold write a condition; `argmax` gives an integer"],
    )


def _definition(reader: Reader, name: str, node: t.Call, env: Env) -> Value:
    """A function that is a composition of ops."""
    function, least, most, along = DEFINITIONS[name]
    _count(reader, node, least, most, ("axis",) if along else ())
    values = [settled(v) for v in reader.all(node.arguments, env)]
    axis = _axis(reader, node) if along else None
    if any(isinstance(v, Hole) for v in values):
        if along:
            return Hole(() if axis is None else None, REAL)
        shapes = [v.shape for v in values if v.shape is not None]
        return Hole(shapes[0] if shapes else None, REAL)
    known = [v for v in values if isinstance(v, Expr)]
    if along:
        axis = _from_front(reader, known[0], axis, node)
        _scalar_misuse(reader, name, known[0], node)
    try:
        return function(*known, **({"axis": axis} if along and axis is not None else {}))
    except ShapeError as error:
        raise misfit(reader, name, error, known, node, node.arguments) from None
