"""Stage 1: who is who. Every statement of a model goes into the tables of its `Scope`.

Nothing is evaluated yet but what sizes, lengths and ranges are; equations are only sorted: those
that use a sub-model, the bases of stacks (`layer[0] = x`), and all others.
"""

from __future__ import annotations

from collections.abc import Callable

import networkx as nx

from ..expr import Type
from ..ops import DEFINITIONS, OPS
from ..poly import Poly
from ..program import Init, Program
from ..syntax import tree as t
from ..syntax.span import Span
from . import sizes, solving
from .report import Failed, Report, listed, plural
from .scope import Definition, Scope
from .spelling import CONSTANTS, SUGAR

LATER = {t.Random: "random draws", t.Flow: "`flow`"}


def declare(
    model: t.Model, models: dict[str, Callable[[], Program | None]], report: Report
) -> Scope:
    """The tables of a model."""
    scope = Scope(model, report, models, lost=model.broken_names())
    scope.indices["t"] = (Poly.const(1), Poly.symbol("T"))
    scope.lengths["T"] = model.name.span
    scope.used |= model.broken_mentions()
    _formals(scope)
    for kind in (t.Const, t.Let, t.Axis, t.Input, t.Param, (t.Equation, t.Solve)):
        for statement in model.body:
            if isinstance(statement, kind):
                _statement(scope, statement)
    for statement in model.body:
        if type(statement) in LATER:
            _later(scope, statement)
    return scope


def lose(scope: Scope) -> None:
    """Names that a line with a syntax error may have defined are known, and nothing about them."""
    for name in scope.lost:
        scope.lets.pop(name, None)
        scope.constants.pop(name, None)
        if name in scope.definitions:
            scope.definitions[name].broken = True
        elif name not in scope.known_names():
            span = scope.model.name.span
            scope.definitions[name] = Definition(name, "variable", span, broken=True)


def forbid_circles(scope: Scope) -> None:
    """Report constants and shorthands that are defined by themselves."""
    inlined: dict[str, t.Const | t.Let] = {**scope.constants, **scope.lets}
    needs: nx.DiGraph[str] = nx.DiGraph()
    for name, statement in inlined.items():
        for node in t.walk(statement.value):
            if isinstance(node, t.Name) and node.text in inlined:
                needs.add_edge(name, node.text)
    for members in nx.strongly_connected_components(needs):
        if len(members) == 1 and not needs.has_edge(*members, *members):
            continue
        circle = [n for n in inlined if n in members]
        recurrent = any(isinstance(inlined[n], t.Let) and inlined[n].name.indices for n in circle)  # type: ignore[union-attr]
        scope.lost |= members
        scope.report.error(
            "E0211",
            f"{listed(circle)} {'is' if len(circle) == 1 else 'are'} defined by "
            + ("itself" if len(circle) == 1 else "each other"),
            *((inlined[n].name.span, "put in place of its name, again and again" if k == 0 else "")
              for k, n in enumerate(circle)),
            helps=[f"a recurrence is an equation, without `let`: `{circle[0]}[t] = …`"]
            if recurrent else (),
        )  # fmt: skip


def where_defined(scope: Scope, name: str) -> Span | None:
    """The place of a name's first definition, if it has one."""
    for table in (scope.sizes, scope.declared):
        if name in table:
            return table[name]
    if name in scope.definitions:
        return scope.definitions[name].span
    if name in scope.lets:
        return scope.lets[name].name.span
    if name in scope.constants:
        return scope.constants[name].name.span
    if name in scope.lengths and name != "T":
        return scope.lengths[name]
    return None


def _statement(scope: Scope, statement: t.Statement) -> None:
    if isinstance(statement, t.Axis):
        _axis(scope, statement)
    elif isinstance(statement, t.Const):
        if _is_free(scope, statement.name):
            scope.constants[statement.name.text] = statement
    elif isinstance(statement, t.Let):
        if _is_free(scope, statement.name.name):
            scope.lets[statement.name.name.text] = statement
    elif isinstance(statement, (t.Input, t.Param)):
        _declaration(scope, statement)
    elif isinstance(statement, t.Equation):
        _equation(scope, statement)
    elif isinstance(statement, t.Solve):
        _solve(scope, statement)


def _is_free(scope: Scope, name: t.Name) -> bool:
    """Whether a name is not taken yet; says so if it is."""
    text = name.text
    if text in CONSTANTS:
        scope.report.error(
            "E0202", f"`{text}` is a constant of the language", (name.span, "choose another name")
        )
        return False
    if text == "T" or text in scope.lengths:
        scope.report.error(
            "E0202",
            f"`{text}` is the length of an axis, known when the model is called",
            (name.span, "choose another name"),
            helps=["the length `T` of `t` is there from the start"] if text == "T" else (),
        )
        return False
    before = where_defined(scope, text)
    if before is not None:
        defined_twice(scope, text, name.span, before)
        return False
    return True


def defined_twice(scope: Scope, name: str, one: Span, other: Span) -> Failed:
    """Report two definitions of a name; nothing is said of its uses then."""
    if name not in scope.sizes:
        scope.lost |= {name}
    first, again = sorted((one, other), key=lambda span: span.start)
    return scope.report.error(
        "E0202",
        f"`{name}` is defined twice",
        (again, "here again"),
        (first, "first here"),
        helps=["give one of them another name"],
    )


def _formals(scope: Scope) -> None:
    for formal in scope.model.formals:
        name = formal.name.text
        if not _is_free(scope, formal.name):
            continue
        if name[0].isupper():
            scope.sizes[name] = formal.name.span
            if formal.default is not None:
                scope.report.error(
                    "E0212",
                    f"the size `{name}` cannot have a default",
                    (formal.span, "an upper-case name in a model's head is a size"),
                    helps=["sizes are given when the model is compiled: "
                           f"unfold.compile(model, {name} = …); "
                           f"a real constant has a lower-case name: `{name.lower()}`"],
                )  # fmt: skip
            continue
        d = Definition(name, "const", formal.name.span, shape=(), type=Type("real"))
        scope.definitions[name] = d
        if formal.default is None:
            scope.report.error(
                "E0212",
                f"the constant `{name}` needs a default",
                (formal.name.span, "a lower-case name in a model's head is a real constant"),
                helps=[f"write `{name} = 0.1`, or an upper-case name for a size"],
            )
            continue
        try:
            value = sizes.number(scope, formal.default)
            if isinstance(value, tuple):
                raise scope.report.error(
                    "E0212", f"the constant `{name}` is one number", (formal.default.span, "a list")
                )
            d.default = float(value)
        except Failed:
            d.broken = True


def _axis(scope: Scope, axis: t.Axis) -> None:
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
        elif not _is_free(scope, name):
            continue
        scope.indices[name.text] = bounds
        scope.declared[name.text] = name.span


def _declaration(scope: Scope, statement: t.Input | t.Param) -> None:
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
        if not _is_free(scope, declared.name):
            continue
        axes, known = _indices(scope, declared)
        d = Definition(name, role, declared.name.span, axes, shape, kind, init)
        d.broken = broken or not known
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


def _equation(scope: Scope, eq: t.Equation) -> None:
    value = eq.value
    call = value.call if isinstance(value, t.Reverse) else value
    is_model = isinstance(call, t.Call) and call.function.text in scope.models
    if isinstance(value, t.Reverse) or is_model:
        scope.calls.append(eq)
        for target in eq.targets:
            if isinstance(target, t.Subscript):
                assert isinstance(target.base, t.Name)
                scope.stacks.setdefault(target.base.text, {})
        return
    scope.equations.append(eq)


def _solve(scope: Scope, block: t.Solve) -> None:
    """The equations of a `solve` block stand beside all others."""
    for statement in solving.declare(scope, block):
        if isinstance(statement, t.Let):
            _statement(scope, statement)
        else:
            scope.equations.append(statement)


def sort_equations(scope: Scope) -> None:
    """Put the bases of stacks apart (once all stacks are known) and name all other variables."""
    plain = []
    for eq in scope.equations:
        names = [_target(target) for target in eq.targets]
        if any(name.text in scope.stacks for name in names):
            scope.bases.append(eq)
            continue
        plain.append(eq)
        for name in names:
            _variable(scope, name)
    scope.equations = plain


def _variable(scope: Scope, name: t.Name) -> None:
    known = scope.definitions.get(name.text)
    if known is not None and known.role == "variable":
        return
    if known is not None and known.role == "input" and known.axes:
        if name.text not in scope.extended:
            extension = f"{name.text}_ext"
            while where_defined(scope, extension) is not None:
                extension += "_"
            scope.extended[name.text] = extension
            d = Definition(extension, "variable", name.span, known.axes, known.shape, known.type)
            d.broken = known.broken
            d.generated = True
            scope.definitions[extension] = d
        return
    if known is not None and known.role == "input" and not known.broken:
        scope.report.error(
            "E0202",
            f"`{name.text}` is an input, and cannot have an equation as well",
            (name.span, "defined here"),
            (known.span, "declared as data here"),
            helps=["an input with an index may be extended beyond its range; this one has none"],
        )
        return
    if known is not None and known.broken and name.text in scope.lost:
        return
    if _is_free(scope, name):
        scope.definitions[name.text] = Definition(name.text, "variable", name.span)


def _target(target: t.Name | t.Subscript) -> t.Name:
    if isinstance(target, t.Name):
        return target
    assert isinstance(target.base, t.Name)
    return target.base


def _later(scope: Scope, statement: t.Statement) -> None:
    """Statements of the language that this compiler cannot elaborate yet."""
    what = LATER[type(statement)]
    scope.report.error(
        "E0901", f"{what} cannot be compiled yet", (statement.span, "not in this version")
    )
    names: list[t.Name] = []
    if isinstance(statement, t.Random):
        names = [d.name for d in statement.names]
    elif isinstance(statement, t.Flow):
        names = [_target(target) for target in statement.targets]
    for name in names:
        if where_defined(scope, name.text) is None:
            d = Definition(name.text, "variable", name.span, broken=True)
            scope.definitions[name.text] = d


def is_function(name: str) -> bool:
    """Whether a name is a function of the language."""
    return name in OPS or name in DEFINITIONS or name in SUGAR
