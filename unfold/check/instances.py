"""Stage 2: models inside models.

`enc = gru(x, H)` makes every variable `v` of the model `gru` known here as `enc.v`; what it is
given is bound by `unfold.check.binding`. `layer[l] = gru(layer[l-1], H) for l in 1..3` makes
`layer.1`, `layer.2` and `layer.3`; a base `layer[0] = x` is another name for `x`. Those are made
first that others are given.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..poly import Poly
from ..program import Program
from ..syntax import tree as t
from .binding import bind, free_indices, make_members, new_variable
from .claims import defined_twice, where_defined
from .functions import is_function
from .layers import add_layer, given_name, number_of, numbers
from .report import Failed, listed, nearest
from .scope import Definition, Instance, Scope


@dataclass(frozen=True)
class _Request:
    """One sub-model that is still to be made: its name, the call, numbers of the stack's index."""

    name: str
    equation: t.Equation
    env: dict[str, Poly]


def instantiate(scope: Scope) -> None:
    """Make all sub-models, those first that others are given."""
    requests: list[_Request] = []
    for eq in scope.calls:
        try:
            requests += _requests(scope, eq)
        except Failed:
            _mark_broken(scope, eq)
    for eq in scope.bases:
        try:
            _base(scope, eq)
        except Failed:
            _mark_broken(scope, eq)
    for request in requests:
        _open(scope, request)
    waiting = [i for i in scope.instances.values() if not i.broken]
    while waiting:
        done = [i for i in waiting if i.broken or _ready(scope, i)]
        if not done:
            _circles(scope, waiting)
            return
        for instance in done:
            try:
                if not instance.broken:
                    bind(scope, instance)
            except Failed:
                instance.broken = True
            make_members(scope, instance)
        waiting = [i for i in waiting if i not in done]
    for instance in scope.instances.values():
        if instance.broken:
            make_members(scope, instance)


def _mark_broken(scope: Scope, eq: t.Equation) -> None:
    for target in eq.targets:
        name = target.text if isinstance(target, t.Name) else str(getattr(target.base, "text", ""))
        if name not in scope.definitions and name not in scope.instances:
            scope.definitions[name] = Definition(name, "variable", eq.span, broken=True)


def _requests(scope: Scope, eq: t.Equation) -> list[_Request]:
    if len(eq.targets) != 1:
        raise scope.report.error(
            "E0207",
            "a sub-model has one name",
            (eq.targets[0].span.to(eq.targets[-1].span), f"{len(eq.targets)} names"),
            helps=["its variables are read as `enc.h[t]`, `enc.c[t]`"],
        )
    (target,) = eq.targets
    if isinstance(target, t.Name):
        if eq.clauses:
            raise scope.report.error(
                "E0207",
                "a single sub-model takes no `for`",
                (eq.clauses[0].span.to(eq.clauses[-1].span), "for which ones?"),
                helps=[f"a stack has a number: `{target.text}[l] = …  for l in 1..3`"],
            )
        before = where_defined(scope, target.text)
        if before is not None or target.text in scope.instances:
            first = before or scope.instances[target.text].span
            raise defined_twice(scope, target.text, target.span, first)
        return [_Request(target.text, eq, {})]
    assert isinstance(target.base, t.Name)
    stack = target.base.text
    before = where_defined(scope, stack)
    if before is not None:
        raise defined_twice(scope, stack, target.span, before)
    if len(target.items) != 1 or isinstance(target.items[0], t.Slice):
        raise scope.report.error(
            "E0208",
            f"the layers of `{stack}` have one number each",
            (target.span, f"expected `{stack}[1]` or `{stack}[l]`"),
            helps=["time stands in the model itself: a sub-model runs over all of it"],
        )
    made: list[_Request] = []
    for env in numbers(scope, eq, target):
        number = number_of(scope, target.items[0], env, stack)
        name = add_layer(scope, stack, number, target.span)
        scope.stacks[stack][number] = name
        made.append(_Request(name, eq, env))
    return made


def _base(scope: Scope, eq: t.Equation) -> None:
    """`layer[0] = x`: another name for a variable, or a variable of its own."""
    (target,) = eq.targets if len(eq.targets) == 1 else (None,)
    if not isinstance(target, t.Subscript) or not isinstance(target.base, t.Name):
        name = eq.targets[0].span.text
        raise scope.report.error(
            "E0202",
            f"`{name}` is a stack of sub-models, and defined otherwise here",
            (eq.span, "expected a base such as `layer[0] = x`"),
        )
    stack = target.base.text
    if len(target.items) != 1 or isinstance(target.items[0], t.Slice) or eq.clauses:
        raise scope.report.error(
            "E0208",
            f"the base of the stack `{stack}` has one number",
            (target.span, f"expected `{stack}[0]`"),
            helps=[f"write `{stack}[0] = x`; an expression may use its indices: "
                   f"`{stack}[0] = E[x[t]]`"],
        )  # fmt: skip
    number = number_of(scope, target.items[0], {}, stack)
    name = add_layer(scope, stack, number, target.span)
    scope.stacks[stack][number] = name
    if isinstance(eq.value, t.Name) and eq.value.text not in scope.lets:
        known = eq.value.text
        if known not in scope.definitions and known not in scope.instances:
            if known not in scope.lost:
                near = nearest(known, {*scope.definitions, *scope.instances})
                raise scope.report.error(
                    "E0201",
                    f"there is no `{known}`",
                    (eq.value.span, "unknown name"),
                    helps=[f"did you mean `{near}`?"] if near else (),
                )
            raise Failed
        scope.aliases[name] = known
        scope.used.add(known)
        return
    indices = free_indices(scope, eq.value, {})
    new_variable(scope, name, indices, eq.value, {}, target.span, eq.span)


def _open(scope: Scope, request: _Request) -> None:
    value = request.equation.value
    reverse = value.span if isinstance(value, t.Reverse) else None
    call = value.call if isinstance(value, t.Reverse) else value
    assert isinstance(call, t.Call)
    name = call.function.text
    make = scope.models.get(name)
    program = make() if make is not None else None
    if make is None:
        near = nearest(name, scope.models)
        helps = [f"did you mean `{near}`?"] if near else [
            f"models come from above in this file, or from a library: `from cells use {name}`"
        ]  # fmt: skip
        what = f"there is no model `{name}`"
        if is_function(name):
            what = f"`{name}` is a function, and only a model can be reversed"
            helps = ["elements in reverse order are read by their position: `x[T+1-t]`"]
        scope.report.error("E0206", what, (call.function.span, "not a model"), helps=helps)
    if program is None:
        program = Program(name, (), {}, {}, (), ())
    instance = Instance(request.name, call, program, request.equation.targets[0].span, reverse)
    instance.env = request.env
    instance.broken = make is None or make() is None
    scope.instances[request.name] = instance


def _ready(scope: Scope, instance: Instance) -> bool:
    """Whether every sub-model that is given by name has its variables already."""
    for node in _actuals(instance):
        try:
            name = given_name(scope, node, instance.env)
        except Failed:
            instance.broken = True
            return True
        owner = (name or "").rpartition(".")[0]
        for needed in (name, owner):
            other = scope.instances.get(needed or "")
            if other is not None and not other.broken and f"{other.name}." not in scope.declared:
                return False
    return True


def _actuals(instance: Instance) -> list[t.Expr]:
    return [*instance.call.arguments, *(k.value for k in instance.call.keywords)]


def _circles(scope: Scope, waiting: list[Instance]) -> None:
    """Sub-models that are given each other as a whole."""
    import networkx as nx

    needs: nx.DiGraph[str] = nx.DiGraph()
    for instance in waiting:
        needs.add_node(instance.name)
        for node in _actuals(instance):
            given = given_name(scope, node, instance.env) or ""
            for name in (given, given.rpartition(".")[0]):
                if name in scope.instances:
                    needs.add_edge(instance.name, name)
    for members in nx.strongly_connected_components(needs):
        if len(members) == 1 and not needs.has_edge(*members, *members):
            continue
        circle = [i for i in waiting if i.name in members]
        scope.report.error(
            "E0211",
            f"the sub-models {listed(i.name for i in circle)} are given each other"
            if len(circle) > 1
            else f"the sub-model `{circle[0].name}` is given itself",
            *((i.call.span, "") for i in circle),
            helps=["to feed something back, take it from the step before: "
                   "`dec = gru([x[t]; dec.h[t-1]], H)`"],
        )  # fmt: skip
    for instance in waiting:
        instance.broken = True
        make_members(scope, instance)
