"""Declarations: `axis`, `input` and `param`, with types and initial values."""

from __future__ import annotations

from ..expr import Type
from ..poly import Poly
from ..program import Init
from ..syntax import tree as t
from . import sizes
from .claims import is_free
from .report import Failed, plural
from .scope import Definition, Scope


def axis(scope: Scope, axis: t.Axis) -> None:
    try:
        if isinstance(axis.extent, t.Range):
            bounds = (
                sizes.extent(scope, axis.extent.start),
                sizes.extent(scope, axis.extent.stop),
            )
        else:
            bounds = (Poly.const(1), sizes.extent(scope, axis.extent))
    except Failed:
        bounds = (Poly.const(1), Poly.symbol("?"))
    for name in axis.indices:
        if name.text == "t" and "t" not in scope.declared:
            scope.declared["t"] = name.span
        elif not is_free(scope, name):
            continue
        scope.indices[name.text] = bounds
        scope.declared[name.text] = name.span


def declaration(scope: Scope, statement: t.Input | t.Param) -> None:
    role = "input" if isinstance(statement, t.Input) else "param"
    broken = False
    shape: tuple[Poly, ...] = ()
    kind = Type("real")
    init = None
    try:
        kind, shape = _type(scope, statement.type)
        if isinstance(statement, t.Param):
            init = _initial(scope, statement, shape)
            if kind.kind != "real":
                scope.report.error(
                    "E0601",
                    "a parameter is real, for it has a derivative",
                    (statement.type.span, f"{kind}"),
                    helps=[f"what is not learnt is an input: `input {statement.names[0].name.text}:"
                           f" {kind}`"],
                )  # fmt: skip
                broken = True
    except Failed:
        broken = True
    for declared in statement.names:
        name = declared.name.text
        if not is_free(scope, declared.name):
            continue
        axes, known = _indices(scope, declared)
        d = Definition(name, role, declared.name.span, axes, shape, kind, init)
        d.broken = broken or not known
        d.noise = (statement.noise or None) if isinstance(statement, t.Input) else None
        if known:
            d.ranges = tuple(scope.indices[i] for i in axes)
        scope.definitions[name] = d


def _indices(scope: Scope, declared: t.Declared) -> tuple[tuple[str, ...], bool]:
    known = True
    seen: set[str] = set()
    for index in declared.indices:
        if index.text not in scope.indices:
            unknown_index(scope, index)
            known = False
        elif index.text in seen:
            scope.report.error(
                "E0203",
                f"`{declared.name.text}` has the index `{index.text}` twice",
                (index.span, "again"),
                helps=[f"a second index on the same axis is declared `axis s, {index.text}: "
                       f"{scope.indices[index.text][1]}`"],
            )  # fmt: skip
            known = False
        seen.add(index.text)
    return tuple(i.text for i in declared.indices), known


def unknown_index(scope: Scope, index: t.Name) -> Failed:
    """Report a name in the place of an index that is none."""
    name = index.text
    if name in scope.lost:
        return Failed()
    if name in scope.sizes or name in scope.definitions:
        what = "a size" if name in scope.sizes else "no index"
        return scope.report.error(
            "E0203",
            f"`{name}` is {what}, and here stands the name of an index",
            (index.span, "expected an index such as `t`"),
            helps=["components are not indexed in a declaration: their number stands in the type, "
                   "`x[t]: real[D]`"],
        )  # fmt: skip
    return scope.report.error(
        "E0203",
        f"there is no index `{name}`",
        (index.span, "not declared"),
        helps=[f"declare it: `axis {name}: N` runs over 1..N, `axis {name}: T` over the steps"],
    )


def _type(scope: Scope, node: t.Type) -> tuple[Type, tuple[Poly, ...]]:
    failed = False
    bound = None
    shape = []
    if node.bound is not None:
        try:
            bound = sizes.size(scope, node.bound)
        except Failed:
            failed = True
    for each in node.shape:
        try:
            shape.append(sizes.size(scope, each))
        except Failed:
            failed = True
    if failed:
        raise Failed
    return Type(node.kind, bound), tuple(shape)


INITIALISERS = {"glorot": 0, "orthogonal": 0, "normal": 1, "uniform": 1}


def _initial(scope: Scope, param: t.Param, shape: tuple[Poly, ...]) -> Init:
    """How a parameter starts; matrices by glorot and all else at zero if nothing is said."""
    given = param.initial
    if given is None:
        return Init("glorot", None) if len(shape) >= 2 else Init("constant", 0.0)
    if not isinstance(given, t.Draw):
        value = sizes.number(scope, given)
        lengths = _lengths(value)
        if lengths and (
            len(lengths) != len(shape)
            or any(n.constant not in (None, k) for n, k in zip(shape, lengths, strict=True))
        ):
            raise scope.report.error(
                "E0304",
                "the initial value does not have the parameter's shape",
                (given.span, f"real{list(lengths)}"),
                (param.type.span, "declared"),
            )
        return Init("constant", value)
    call = given.distribution
    name = call.function.text
    if name not in INITIALISERS:
        raise scope.report.error(
            "E0205",
            f"there is no initialiser `{name}`",
            (call.function.span, "unknown"),
            helps=["use `glorot`, `orthogonal`, `normal(0.1)`, `uniform(0.1)` or `= 0`"],
        )
    if len(call.arguments) != INITIALISERS[name] or call.keywords:
        raise scope.report.error(
            "E0209",
            f"`{name}` takes " + ("one number" if INITIALISERS[name] else "no argument"),
            (call.span, f"expected `{name}(0.1)`" if INITIALISERS[name] else f"write `~ {name}`"),
        )
    if name == "orthogonal" and len(shape) != 2:
        raise scope.report.error(
            "E0303",
            "only a matrix can be orthogonal",
            (param.type.span, plural(len(shape), "axis") if shape else "a scalar"),
            (call.span, "asks for a matrix"),
            helps=["use `~ normal(0.1)` or `= 0`"],
        )
    if not call.arguments:
        return Init(name, None)
    value = sizes.number(scope, call.arguments[0])
    if isinstance(value, tuple) or value < 0:
        raise scope.report.error(
            "E0212", f"`{name}` takes one positive number", (call.arguments[0].span, "not one")
        )
    return Init(name, float(value))


def _lengths(value: object) -> tuple[int, ...]:
    return (len(value), *_lengths(value[0])) if isinstance(value, tuple) and value else ()
