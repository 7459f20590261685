"""What a model returns: `output` and `minimize`."""

from __future__ import annotations

from ..domain import Domain
from ..poly import Poly
from ..syntax import tree as t
from . import gradients, subscripts
from .declarations import unknown_index
from .report import Failed, nearest
from .scope import Definition, Env, Piece, Scope
from .values import Reader


def collect(scope: Scope) -> None:
    """Look up all outputs and losses; the expression of a `minimize` gets a name."""
    for statement in scope.model.body:
        if isinstance(statement, t.Output):
            for item in statement.items:
                try:
                    if gradients.is_gradient(item):
                        _gradient(scope, item)
                    else:
                        _output(scope, item)
                except Failed:
                    continue
        elif isinstance(statement, t.Minimize):
            try:
                _loss(scope, statement)
            except Failed:
                continue


def _find(scope: Scope, node: t.Expr, text: str) -> Definition:
    """The variable of a name, a sub-model's first output for the sub-model."""
    name = scope.aliases.get(text, text)
    if name in scope.instances:
        first = scope.instances[name].first_output()
        if scope.instances[name].broken or first is None:
            raise Failed
        name = first
    d = scope.definitions.get(scope.extended.get(name, name))
    if d is None:
        if scope.is_lost(name):
            raise Failed
        near = nearest(text, {*scope.definitions, *scope.instances})
        raise scope.report.error(
            "E0201",
            f"there is no `{text}`",
            (node.span, "unknown name"),
            helps=[f"did you mean `{near}`?" if near else f"define it: `{text} = …`"],
        )
    return d


def _gradient(scope: Scope, item: t.Expr) -> None:
    """`gradient(W_bar, W)`: `W_bar` is a result, and marked as the gradient in `W`."""
    assert isinstance(item, t.Call)
    bar, of = gradients.arguments(scope, item)
    source, _ = _named(scope, of)
    if isinstance(of, t.Subscript):
        raise scope.report.error(
            "E0605",
            "a gradient is that in a whole variable, under its name",
            (of.span, "an element"),
            helps=[f"as in `output {gradients.WORD}(x_bar[t], x)`"],
        )
    d = _find(scope, source, source.text)
    if source.text in scope.extended:
        d = scope.definitions[source.text]
    scope.used.add(d.name)
    name = _output(scope, bar)
    if name is not None:
        scope.gradients[name] = (d.name, item)


def _named(scope: Scope, item: t.Expr) -> tuple[t.Name, tuple[t.Expr | t.Slice | t.Member, ...]]:
    """The name of a whole variable, and the subscripts behind it."""
    base: t.Expr = item
    items: tuple[t.Expr | t.Slice | t.Member, ...] = ()
    if isinstance(item, t.Subscript):
        base, items = item.base, item.items
    first = items[0] if items else None
    if isinstance(base, t.Name) and base.text in scope.stacks and first is not None:
        if isinstance(first, t.Member):
            raise _unnamed(scope, item)
        number = subscripts.affine(
            Reader(scope, final=False), first, Env({}), "the number of a layer"
        ).constant
        base = t.Name(f"{base.text}.{number}", span=base.span)
        items = items[1:]
    if isinstance(base, t.Part):
        base = subscripts.part_name(Reader(scope, final=False), base, Env({}))
    if not isinstance(base, t.Name):
        raise _unnamed(scope, item)
    return base, items


def _output(scope: Scope, item: t.Expr) -> str | None:
    """Take a result up; its name, unless nothing can be said about it."""
    base, items = _named(scope, item)
    d = _find(scope, base, base.text)
    scope.used.add(d.name)
    if d.broken:
        return None
    name = d.name
    if base.text in scope.extended and not any(isinstance(i, t.Member) for i in items):
        # What was put in comes out; its extension is the compiler's.
        name = base.text
        d = scope.definitions[name]
    if any(name == other for other, _, _ in scope.outputs):
        scope.report.error("E0202", f"`{name}` is an output already", (item.span, "listed twice"))
        return None
    if items and len(items) != len(d.axes):
        raise _unnamed(scope, item)
    ranges = []
    for k, index in enumerate(d.axes):
        ranges.append(_range(scope, item, items[k] if items else None, index))
    scope.outputs.append((name, tuple(ranges), item.span))
    return name


def _range(
    scope: Scope, whole: t.Expr, item: t.Expr | t.Slice | t.Member | None, index: str
) -> tuple[Poly, Poly]:
    if item is None:
        return scope.indices[index]
    if isinstance(item, t.Member):
        env = Env({})
        if item.index.text not in scope.indices:
            raise unknown_index(scope, item.index)
        reader = Reader(scope, final=False)
        return (
            subscripts.affine(reader, item.range.start, env, "the end of a range"),
            subscripts.affine(reader, item.range.stop, env, "the end of a range"),
        )
    if isinstance(item, t.Name) and item.text in scope.indices:
        return scope.indices[item.text]
    raise _unnamed(scope, whole)


def _unnamed(scope: Scope, item: t.Expr) -> Failed:
    return scope.report.error(
        "E0207",
        "an output is a whole variable, under its name",
        (item.span, "an expression"),
        helps=[f"give it a name: `last = {item.span.text}`, and `output last`"],
    )


def _loss(scope: Scope, statement: t.Minimize) -> None:
    value = statement.value
    if isinstance(value, t.Name) and value.text not in scope.lets:
        d = _find(scope, value, value.text)
        scope.used.add(d.name)
    else:
        name = "loss"
        while name in scope.known_names():
            name += "_"
        d = Definition(name, "variable", value.span)
        d.pieces.append(Piece(name, (), {}, Domain(), value, value.span, value.span))
        scope.definitions[name] = d
        scope.used.add(name)
    if any(d.name == other for other, _ in scope.losses):
        scope.report.error(
            "E0202", f"`{d.name}` is minimized already", (statement.span, "said twice")
        )
        return
    if d.role != "variable" and not d.broken:
        raise scope.report.error(
            "E0604",
            f"`{d.name}` does not depend on the parameters",
            (value.span, f"declared as {'an input' if d.role == 'input' else 'a ' + d.role}"),
        )
    scope.losses.append((d.name, value.span))


def check_losses(scope: Scope) -> None:
    """Whether every loss is one real number."""
    for name, span in scope.losses:
        d = scope.definitions[name]
        if d.broken or d.shape is None or d.type is None:
            continue
        if d.axes:
            index = d.axes[0]
            scope.report.error(
                "E0604",
                f"`{name}` is not one number",
                (span, f"there is one for each {index}"),
                helps=[
                    f"add them up: `minimize sum[{index}]({name}[{index}])`, or `mean[{index}]`"
                ],
            )
        elif d.shape:
            scope.report.error(
                "E0604",
                f"`{name}` is not one number",
                (span, f"has {d.shape[0]} components"),
                helps=[f"add them up: `minimize sum({name})`"],
            )
        elif d.type.kind != "real":
            scope.report.error(
                "E0604",
                f"`{name}` is not real, and has no derivative",
                (span, str(d.type)),
                helps=["an integer or a truth value does not change smoothly"],
            )
