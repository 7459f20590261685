"""`solve` blocks: implicit equations, from the tree to the tables of a model.

    solve z[t] from z[t-1] by newton(tol = 1e-12):
        z[t] = x[t] + dt * f(z[t])

An equation of a block is an equation like any other, marked as `Implicit`. Inside the block an
unknown may be written without its index.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from ..program import Solver
from ..syntax import tree as t
from . import sizes
from .report import Failed, listed, nearest
from .scope import Block, Implicit, Scope

METHODS = ("picard", "anderson", "newton")
OPTIONS = ("tol", "max_steps")

N = TypeVar("N", bound=t.Node)


def declare(scope: Scope, block: t.Solve) -> list[t.Equation | t.Let]:
    """The equations of a block, as statements of the model; `Scope.implicit` marks them."""
    solver = _solver(scope, block.method)
    heads = {_name(head).text: head for head in block.targets}
    if len(heads) < len(block.targets):
        names = [_name(head) for head in block.targets]
        again = next(n for k, n in enumerate(names) if n in names[:k])
        scope.report.error(
            "E0704", f"`{again.text}` is an unknown of this block twice", (again.span, "again")
        )
    scope.used |= set(heads)
    owner = Block(solver, tuple(heads))
    found: list[t.Equation | t.Let] = []
    solved: dict[str, t.Equation] = {}
    wrong = False
    for statement in block.body:
        if isinstance(statement, t.Let):
            found.append(replace(statement, value=_indexed(statement.value, heads)))
            continue
        eq = _equation(scope, statement, heads, solved)
        if eq is None:
            wrong = True
        else:
            solved[_name(eq.targets[0]).text] = eq
    starts = dict(zip(heads, block.start, strict=False))
    for name, head in heads.items():
        if name in solved:
            eq = solved[name]
            start = _indexed(starts[name], heads) if name in starts else None
            scope.implicit[id(eq)] = Implicit(owner, start, head.span)
            found.append(eq)
            continue
        scope.lost |= {name}
        if not wrong:
            scope.report.error(
                "E0704",
                f"nothing is said about the unknown `{name}`",
                (head.span, "has no equation in this block"),
                helps=[f"add `{head.span.text} = …`, with {listed(heads)} on the right"],
            )
    return found


def _name(target: t.Expr) -> t.Name:
    base = target.base if isinstance(target, t.Subscript) else target
    assert isinstance(base, t.Name)
    return base


def _equation(
    scope: Scope,
    statement: t.Derivative | t.Equation,
    heads: Mapping[str, t.Name | t.Subscript],
    solved: Mapping[str, t.Equation],
) -> t.Equation | None:
    """An equation of the body with every unknown written out; ``None`` if something is wrong."""
    assert isinstance(statement, t.Equation)
    if len(statement.targets) > 1:
        scope.report.error(
            "E0704",
            "an unknown has an equation of its own",
            (statement.targets[0].span.to(statement.targets[-1].span), "several at once"),
            helps=["a `let` may name what they share"],
        )
        return None
    (target,) = statement.targets
    name = _name(target).text
    head = heads.get(name)
    if head is None:
        scope.lost |= {name}
        near = nearest(name, heads)
        first = next(iter(heads.values())).span.text
        scope.report.error(
            "E0704",
            f"this block solves for {listed(heads)}, not for `{name}`",
            (target.span, "no unknown of it"),
            (next(iter(heads.values())).span, "the unknown" if len(heads) == 1 else "the unknowns"),
            helps=[f"did you mean `{near}`?" if near else
                   "an equation for something else stands outside of the block; to solve for both, "
                   f"write `solve {first}, {target.span.text} by …:`"],
        )  # fmt: skip
        return None
    if isinstance(target, t.Subscript) and target != head:
        scope.report.error(
            "E0704",
            f"this block solves for `{head.span.text}`, not for `{target.span.text}`",
            (target.span, "another element"),
            (head.span, "the unknown"),
            helps=["where an equation holds is said behind it: "
                   f"`{head.span.text} = … for t >= 2`"],
        )  # fmt: skip
        return None
    if name in solved:
        scope.report.error(
            "E0704",
            f"`{name}` has two equations in this block",
            (target.span, "again"),
            (solved[name].targets[0].span, "first here"),
            helps=["pieces of a variable stand in blocks of their own"],
        )
        return None
    own = replace(head, span=target.span)
    return replace(statement, targets=(own,), value=_indexed(statement.value, heads))


def _indexed(node: N, heads: Mapping[str, t.Name | t.Subscript]) -> N:
    """``z[t]`` for every bare ``z``."""

    def go(value: Any) -> Any:
        if isinstance(value, t.Name) and value.text in heads:
            return replace(heads[value.text], span=value.span)
        if isinstance(value, tuple):
            return tuple(go(item) for item in value)
        if not isinstance(value, t.Node):
            return value
        kept = {"span"}
        if isinstance(value, t.Subscript):
            kept.add("base") if isinstance(value.base, t.Name) else None
        elif isinstance(value, (t.Call, t.Reduction)):
            kept.add("function")
        elif isinstance(value, (t.Keyword, t.Member)):
            kept |= {"name", "index"}
        changes = {
            each.name: go(getattr(value, each.name))
            for each in fields(value)
            if each.name not in kept
        }
        return replace(value, **changes)

    result: N = go(node)
    return result


def _solver(scope: Scope, method: t.Call) -> Solver:
    """The method and its options; what is wrong is reported and left at its default."""
    name = method.function.text
    if name not in METHODS:
        near = nearest(name, METHODS)
        flow = name in ("euler", "midpoint", "rk4", "dopri5")
        scope.report.error(
            "E0701",
            f"there is no method `{name}` to solve an equation",
            (method.function.span, "unknown"),
            helps=[f"did you mean `{near}`?" if near else
                   "`by picard`, `by anderson` or `by newton`"
                   + ("; a differential equation is a `flow`" if flow else "")],
        )  # fmt: skip
        name = near or Solver().method
    for argument in method.arguments:
        scope.report.error(
            "E0702",
            "the options of a method have names",
            (argument.span, "which option?"),
            helps=[f"write `{name}(tol = 1e-10, max_steps = 200)`, or just `{name}`"],
        )
    given: dict[str, Any] = {}
    for keyword in method.keywords:
        option = keyword.name.text
        if option not in OPTIONS:
            near = nearest(option, OPTIONS)
            scope.report.error(
                "E0702",
                f"`{name}` has no option `{option}`",
                (keyword.name.span, "unknown"),
                helps=[f"did you mean `{near}`?" if near else f"it has {listed(OPTIONS)}"],
            )
        else:
            given[option] = _option(scope, keyword)
    return Solver(name, **{k: v for k, v in given.items() if v is not None})


def _option(scope: Scope, keyword: t.Keyword) -> float | int | None:
    """The value of an option, ``None`` if it is wrong."""
    try:
        value = sizes.number(scope, keyword.value)
    except Failed:
        return None
    if keyword.name.text == "tol":
        if isinstance(value, tuple) or not 0.0 < value < 1.0:
            scope.report.error(
                "E0703",
                "`tol` is a number between 0 and 1",
                (keyword.value.span, "not one"),
                helps=["it bounds the last change of a component, relative to its size: "
                       "`tol = 1e-10`"],
            )  # fmt: skip
            return None
        return float(value)
    if isinstance(value, tuple) or value != int(value) or not 1 <= value <= 10**9:
        scope.report.error(
            "E0703",
            "`max_steps` is a whole number of steps, at least 1",
            (keyword.value.span, "not one"),
            helps=["more steps than this without a solution are an error: `max_steps = 200`"],
        )
        return None
    return int(value)


__all__ = ["METHODS", "declare"]
