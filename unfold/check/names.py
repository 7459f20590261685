"""Stage 1: who is who. Every statement of a model goes into the tables of its `Scope`.

Nothing is evaluated yet but what sizes, lengths and ranges are; equations are only sorted: those
that use a sub-model, the bases of stacks (`layer[0] = x`), and all others.
"""

from __future__ import annotations

from collections.abc import Callable

from ..expr import Type
from ..poly import Poly
from ..program import Program
from ..syntax import tree as t
from . import sizes, solving
from .claims import is_free, where_defined
from .declarations import axis, declaration
from .report import Failed, Report
from .scope import Definition, Scope


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


def _statement(scope: Scope, statement: t.Statement) -> None:
    if isinstance(statement, t.Axis):
        axis(scope, statement)
    elif isinstance(statement, t.Const):
        if is_free(scope, statement.name):
            scope.constants[statement.name.text] = statement
    elif isinstance(statement, t.Let):
        if is_free(scope, statement.name.name):
            scope.lets[statement.name.name.text] = statement
    elif isinstance(statement, (t.Input, t.Param)):
        declaration(scope, statement)
    elif isinstance(statement, t.Equation):
        _equation(scope, statement)
    elif isinstance(statement, t.Solve):
        _solve(scope, statement)


def _formals(scope: Scope) -> None:
    lines = [s for s in scope.model.body if isinstance(s, (t.Input, t.Param))]
    declared = {name.name.text for line in lines for name in line.names}
    for formal in scope.model.formals:
        name = formal.name.text
        if not is_free(scope, formal.name):
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
            cure = f"write `{name} = 0.1`, or an upper-case name for a size"
            if name in declared:
                # Its own declaration stands; that it is there twice need not be said.
                del scope.definitions[name]
                cure = (
                    f"leave `{name}` out here, its line in the model declares it; where "
                    f"`{scope.model.name.text}` is used, inputs are given by their place or name"
                )
            scope.report.error(
                "E0212",
                f"the constant `{name}` needs a default",
                (formal.name.span, "a lower-case name in a model's head is a real constant"),
                helps=[cure],
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
        names = [target_name(target) for target in eq.targets]
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
    if is_free(scope, name):
        scope.definitions[name.text] = Definition(name.text, "variable", name.span)


def target_name(target: t.Name | t.Subscript) -> t.Name:
    if isinstance(target, t.Name):
        return target
    assert isinstance(target.base, t.Name)
    return target.base
