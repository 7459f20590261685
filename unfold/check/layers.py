"""Stacks of sub-models: which numbers there are, and what `layer[2]` stands for."""

from __future__ import annotations

from ..poly import Poly
from ..syntax import tree as t
from ..syntax.span import Span
from . import sizes
from .report import listed
from .scope import Env, Scope
from .subscripts import affine
from .values import Reader


def add_layer(scope: Scope, stack: str, number: int, span: Span) -> str:
    if number in scope.stacks[stack]:
        raise scope.report.error(
            "E0401",
            f"`{stack}[{number}]` is defined twice",
            (span, f"gives `{stack}[{number}]` again"),
        )
    return f"{stack}.{number}"


def numbers(scope: Scope, eq: t.Equation, target: t.Subscript) -> list[dict[str, Poly]]:
    """For each layer that an equation defines: what its index stands for."""
    index = target.items[0]
    members = [c for c in eq.clauses if isinstance(c, t.Member)]
    if len(members) != len(eq.clauses) or len(members) > 1:
        raise scope.report.error(
            "E0207",
            "the layers of a stack are counted by `for l in 1..3`",
            (eq.clauses[0].span.to(eq.clauses[-1].span), "expected one range"),
        )
    if not members:
        names = [
            n for n in t.walk(index) if isinstance(n, t.Name) and n.text not in scope.constants
        ]
        if names:
            raise scope.report.error(
                "E0207",
                "how many layers does this stack have?",
                (target.span, f"for which {names[0].text}?"),
                helps=[f"write `for {names[0].text} in 1..3` behind it"],
            )
        return [{}]
    member = members[0]
    ends = []
    for end in (member.range.start, member.range.stop):
        value = sizes.size(scope, end).constant
        if value is None:
            raise scope.report.error(
                "E0307",
                "the number of layers must be a number",
                (end.span, "known only when the model is compiled"),
                helps=["write it out: `1..3`"],
            )
        ends.append(value)
    scope.used.add(member.index.text)
    return [{member.index.text: Poly.const(k)} for k in range(ends[0], ends[1] + 1)]


def number_of(scope: Scope, node: t.Expr, env: dict[str, Poly], stack: str) -> int:

    reader = Reader(scope, final=False)
    poly = affine(reader, node, Env(env), f"the number of a layer of `{stack}`")
    value = poly.constant
    if value is None:
        raise scope.report.error(
            "E0307", "the number of a layer must be a number", (node.span, "not a number")
        )
    return value


def given_name(scope: Scope, node: t.Expr, env: dict[str, Poly]) -> str | None:
    """The variable or sub-model that an argument names as a whole, if it does."""
    if isinstance(node, t.Name):
        return scope.aliases.get(node.text, node.text)
    if isinstance(node, t.Part):
        layer = given_name(scope, node.base, env)
        return None if layer is None else f"{layer}.{node.part}"
    if isinstance(node, t.Subscript) and isinstance(node.base, t.Name):
        if node.base.text in scope.stacks and len(node.items) == 1:
            if isinstance(node.items[0], t.Slice):
                return None
            number = number_of(scope, node.items[0], env, node.base.text)
            layer = scope.stacks[node.base.text].get(number)
            if layer is None:
                known = listed(map(str, sorted(scope.stacks[node.base.text])))
                raise scope.report.error(
                    "E0402",
                    f"`{node.base.text}[{number}]` is not defined",
                    (node.span, f"needed for `{node.base.text}[{number + 1}]`"
                     if env else "not a layer of this stack"),
                    notes=[f"`{node.base.text}` has {known}"],
                    helps=[f"a stack begins with its base: `{node.base.text}[{number}] = x`"],
                )  # fmt: skip
            return scope.aliases.get(layer, layer)
    return None
