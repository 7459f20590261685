"""`output gradient(W_bar, W)`: results that are the gradient in a variable.

What a text computes is the same without the word. But a gradient in a parameter is summed over the
sequences of a batch, as the losses are, and one in anything else is zero behind the end of a
sequence; neither can be seen from equations.
"""

from __future__ import annotations

from ..poly import show_shape
from ..syntax import tree as t
from .report import Failed
from .scope import Definition, Scope

WORD = "gradient"


def is_gradient(item: t.Expr) -> bool:
    """Whether an output is said to be a gradient."""
    return isinstance(item, t.Call) and item.function.text == WORD


def arguments(scope: Scope, item: t.Call) -> tuple[t.Expr, t.Expr]:
    """The gradient, and the variable that it is the gradient in."""
    if len(item.arguments) != 2 or item.keywords:
        raise scope.report.error(
            "E0605",
            f"`{WORD}` stands around a result and the variable that it is the gradient in",
            (item.span, "expected two names"),
            helps=[f"as in `output {WORD}(W_bar, W)`"],
        )
    bar, of = item.arguments
    return bar, of


def check(scope: Scope) -> None:
    """Whether every gradient is as large as what it is the gradient in, and both are real."""
    for name, (of, call) in scope.gradients.items():
        bar, source = scope.definitions[name], scope.definitions[of]
        try:
            _differentiable(scope, source, call.arguments[1])
            if bar.role != "variable":
                raise _no_gradient(scope, bar, call.arguments[0], f"declared as {_kind(bar)}")
            if not (bar.broken or source.broken):
                _alike(scope, bar, source, call)
        except Failed:
            continue


def _differentiable(scope: Scope, d: Definition, node: t.Expr) -> None:
    if d.role == "const":
        raise _no_gradient(scope, d, node, "declared as a constant")
    if d.type is not None and d.type.kind != "real":
        raise scope.report.error(
            "E0605",
            f"`{d.name}` is not real, and there is no gradient in it",
            (node.span, str(d.type)),
            helps=["an integer or a truth value does not change smoothly"],
        )


def _alike(scope: Scope, bar: Definition, source: Definition, call: t.Call) -> None:
    node = call.arguments[0]
    if bar.type is not None and bar.type.kind != "real":
        raise _no_gradient(scope, bar, node, str(bar.type))
    if len(bar.axes) != len(source.axes):
        raise scope.report.error(
            "E0605",
            f"`{bar.name}` is no gradient in `{source.name}`: it has other indices",
            (node.span, _indices(bar)),
            (call.arguments[1].span, _indices(source)),
            helps=["a gradient has a number for each number of what is differentiated in"],
        )
    if bar.shape is None or source.shape is None or bar.shape == source.shape:
        return
    raise scope.report.error(
        "E0605",
        f"`{bar.name}` is no gradient in `{source.name}`: it has another shape",
        (node.span, f"real{show_shape(bar.shape)}"),
        (call.arguments[1].span, f"real{show_shape(source.shape)}"),
        helps=["a gradient has a number for each number of what is differentiated in"],
    )


def _no_gradient(scope: Scope, d: Definition, node: t.Expr, why: str) -> Failed:
    return scope.report.error(
        "E0605", f"`{d.name}` is no gradient", (node.span, why),
        helps=[f"`{WORD}(W_bar, W)` names an equation's real result, and a real variable"],
    )  # fmt: skip


def _kind(d: Definition) -> str:
    return "an input" if d.role == "input" else f"a {d.role}"


def _indices(d: Definition) -> str:
    return f"one for each {', '.join(d.axes)}" if d.axes else "only one"
