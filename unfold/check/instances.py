"""Stage 2: models inside models.

`enc = gru(x, H)` makes every variable `v` of the model `gru` known here as `enc.v`. Inputs are bound
in order, then the sizes that the inputs do not tell; keywords bind anything by name, `h0 = …` also
the start of a state, in the place of the equation `h[0] = 0`. What is given
is either the name of a variable, which is read directly, or an expression, which becomes a
variable `enc.x` of its own. `layer[l] = gru(layer[l-1], H) for l in 1..3` makes `layer.1`, `layer.2`
and `layer.3`; a base `layer[0] = x` is another name for `x`.
"""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx

from ..domain import Domain
from ..expr import fresh
from ..poly import Poly
from ..program import Program, Var
from ..syntax import tree as t
from ..syntax.span import Span
from . import sizes
from .names import defined_twice, is_function, where_defined
from .report import Failed, listed, nearest, plural
from .scope import Definition, Instance, Piece, Scope


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
                    _bind(scope, instance)
            except Failed:
                instance.broken = True
            _members(scope, instance)
        waiting = [i for i in waiting if i not in done]
    for instance in scope.instances.values():
        if instance.broken:
            _members(scope, instance)


def _mark_broken(scope: Scope, eq: t.Equation) -> None:
    for target in eq.targets:
        name = target.text if isinstance(target, t.Name) else str(getattr(target.base, "text", ""))
        if name not in scope.definitions and name not in scope.instances:
            scope.definitions[name] = Definition(name, "variable", eq.span, broken=True)


# --- which sub-models there are ---------------------------------------------------------------


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
    for env in _numbers(scope, eq, target):
        number = _number(scope, target.items[0], env, stack)
        name = _layer(scope, stack, number, target.span)
        scope.stacks[stack][number] = name
        made.append(_Request(name, eq, env))
    return made


def _layer(scope: Scope, stack: str, number: int, span: Span) -> str:
    if number in scope.stacks[stack]:
        raise scope.report.error(
            "E0401", f"`{stack}[{number}]` is defined twice", (span, f"gives `{stack}[{number}]` again")
        )
    return f"{stack}.{number}"


def _numbers(scope: Scope, eq: t.Equation, target: t.Subscript) -> list[dict[str, Poly]]:
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
        names = [n for n in t.walk(index) if isinstance(n, t.Name) and n.text not in scope.constants]
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


def _number(scope: Scope, node: t.Expr, env: dict[str, Poly], stack: str) -> int:
    from .scope import Env
    from .subscripts import affine
    from .values import Reader

    reader = Reader(scope, final=False)
    poly = affine(reader, node, Env(env), f"the number of a layer of `{stack}`")
    value = poly.constant
    if value is None:
        raise scope.report.error(
            "E0307", "the number of a layer must be a number", (node.span, "not a number")
        )
    return value


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
    number = _number(scope, target.items[0], {}, stack)
    name = _layer(scope, stack, number, target.span)
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
    indices = _free_indices(scope, eq.value, {})
    _new_variable(scope, name, indices, eq.value, {}, target.span, eq.span)


# --- opening ----------------------------------------------------------------------------------


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
            name = _given_name(scope, node, instance.env)
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


def _given_name(scope: Scope, node: t.Expr, env: dict[str, Poly]) -> str | None:
    """The variable or sub-model that an argument names as a whole, if it does."""
    if isinstance(node, t.Name):
        return scope.aliases.get(node.text, node.text)
    if isinstance(node, t.Part):
        layer = _given_name(scope, node.base, env)
        return None if layer is None else f"{layer}.{node.part}"
    if isinstance(node, t.Subscript) and isinstance(node.base, t.Name):
        if node.base.text in scope.stacks and len(node.items) == 1:
            if isinstance(node.items[0], t.Slice):
                return None
            number = _number(scope, node.items[0], env, node.base.text)
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


def _circles(scope: Scope, waiting: list[Instance]) -> None:
    """Sub-models that are given each other as a whole."""
    needs: nx.DiGraph[str] = nx.DiGraph()
    for instance in waiting:
        needs.add_node(instance.name)
        for node in _actuals(instance):
            given = _given_name(scope, node, instance.env) or ""
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
        _members(scope, instance)


# --- binding ----------------------------------------------------------------------------------


def signature(program: Program) -> str:
    """`gru(x, H)`: the inputs in order, then the sizes that they do not tell."""
    names = [v.name for v in program.inputs] + _untold(program, {v.name for v in program.inputs})
    return f"{program.name}({', '.join(names)})"


def starts(program: Program) -> dict[str, Var]:
    """`h0` for each state with an equation `h[0] = …`, as a variable to be bound."""
    found = {}
    for eq in program.equations:
        v = program.vars[eq.name]
        name = f"{eq.name}0"
        if len(eq.indices) == 1 and eq.domain.fixed(eq.indices[0]) == Poly():
            if name not in program.vars and name not in program.sizes:
                found[name] = Var(name, "param", (), v.shape, v.type)
    return found


def formal_of(instance: Instance, name: str) -> Var:
    """What a bound name is declared as in the sub-model."""
    v = instance.program.vars.get(name)
    return v if v is not None else starts(instance.program)[name]


def _untold(program: Program, inputs: set[str]) -> list[str]:
    """The sizes that do not stand alone in the shape or bound of a bound variable."""
    told: set[str | None] = set()
    for name in inputs:
        v = program.vars[name]
        told |= {n.as_symbol for n in v.shape}
        if v.type.bound is not None:
            told.add(v.type.bound.as_symbol)
    return [s for s in program.sizes if s not in told]


def _bind(scope: Scope, instance: Instance) -> None:
    program, call = instance.program, instance.call
    actuals: dict[str, t.Expr] = {}
    failed = False
    for keyword in call.keywords:
        name = keyword.name.text
        known = {v.name for v in program.vars.values() if v.role != "variable"}
        known |= {*program.sizes, *starts(program)}
        if name not in known:
            near = nearest(name, known)
            scope.report.error(
                "E0210",
                f"`{program.name}` has no input, size, constant, parameter or start `{name}`",
                (keyword.name.span, "unknown"),
                helps=[f"did you mean `{near}`?" if near else f"it is used as `{signature(program)}`"],
            )
            failed = True
            continue
        actuals[name] = keyword.value
    inputs = [v.name for v in program.inputs if v.name not in actuals]
    positional = list(call.arguments)
    actuals.update(zip(inputs, positional, strict=False))
    bound_inputs = {v.name for v in program.inputs if v.name in actuals}
    open_sizes = [s for s in _untold(program, bound_inputs) if s not in actuals]
    rest = positional[len(inputs) :]
    if len(rest) > len(open_sizes):
        raise scope.report.error(
            "E0210",
            f"`{program.name}` takes {plural(len(inputs) + len(open_sizes), 'argument')} by position"
            f", here are {len(positional)}",
            (rest[len(open_sizes)].span, "one too many"),
            helps=[f"it is used as `{signature(program)}`"],
        )
    actuals.update(zip(open_sizes, rest, strict=False))
    missing = [v.name for v in program.inputs if v.name not in actuals]
    size = next(
        (
            node
            for name, node in actuals.items()
            if isinstance(node, t.Name) and node.text in scope.sizes and name not in program.sizes
            and program.vars.get(name) in program.inputs
        ),
        None,
    )
    if size is not None:
        missing = [*missing, next(n for n, node in actuals.items() if node is size)]
    if missing:
        raise scope.report.error(
            "E0210",
            f"`{program.name}` needs the input {listed(missing)}",
            (call.span, "not given") if size is None else (size.span, "a size"),
            helps=[f"it is used as `{signature(program)}`"],
        )
    if failed:
        raise Failed
    for name, node in actuals.items():
        instance.arguments[name] = node.span
        if name in program.sizes:
            instance.explicit[name] = node
        elif name not in program.vars:
            _bind_variable(scope, instance, starts(program)[name], node)
        else:
            _bind_variable(scope, instance, program.vars[name], node)
    _settle_lengths(scope, instance)


def _bind_variable(scope: Scope, instance: Instance, v: Var, node: t.Expr) -> None:
    """Bind an input, parameter or constant to a variable, or make one for the expression."""
    if v.role == "const":
        number = sizes.literal(scope, node)
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            d = Definition(f"{instance.name}.{v.name}", "const", node.span, shape=(), type=v.type)
            d.default = float(number)
            scope.definitions[d.name] = d
            instance.bound[v.name] = d.name
            return
    name = _plain(scope, instance, v, node)
    if name is None:
        free = _free_indices(scope, node, instance.env)
        if len(free) > len(v.axes):
            raise scope.report.error(
                "E0210",
                f"the argument `{v.name}` of `{instance.program.name}` has "
                + (plural(len(v.axes), "index") if v.axes else "no index"),
                (node.span, f"uses {listed(free)}"),
            )
        name = f"{instance.name}.{v.name}"
        if len(free) < len(v.axes):
            free = _complete(scope, instance, v, free)
        _new_variable(scope, name, free, node, instance.env, node.span, node.span)
    d = scope.definitions[name]
    instance.bound[v.name] = name
    if d.broken:
        raise Failed
    for axis, index in zip(v.axes, d.axes, strict=True):
        _unify_axis(scope, instance, axis.index, index, node.span)


def _plain(scope: Scope, instance: Instance, v: Var, node: t.Expr) -> str | None:
    """The variable that the argument names as a whole."""
    name = _given_name(scope, node, instance.env)
    if name is None or name in scope.lets or name in scope.constants:
        return None
    if name in scope.instances:
        scope.used.add(name)
        other = scope.instances[name]
        if other.broken:
            raise Failed
        first = other.first_output()
        if first is None:
            raise scope.report.error(
                "E0207",
                f"the model `{other.program.name}` has no output to stand for it",
                (node.span, "used as a value"),
            )
        name = first
    name = scope.extended.get(name, name)
    d = scope.definitions.get(name)
    if d is None:
        return None
    scope.used.add(name)
    if d.broken:
        raise Failed
    if len(d.axes) == len(v.axes):
        return name
    if not d.axes:
        return None
    raise scope.report.error(
        "E0210",
        f"the argument `{v.name}` of `{instance.program.name}` has "
        + (plural(len(v.axes), "index") if v.axes else "no index"),
        (node.span, f"`{d.name}` has {plural(len(d.axes), 'index')}"),
        helps=[f"one element of it is `{d.name}[{', '.join(d.axes)}]`"],
    )


def _complete(scope: Scope, instance: Instance, v: Var, free: tuple[str, ...]) -> tuple[str, ...]:
    """Indices for an argument that is the same at every position of some axis."""
    result = list(free)
    for axis in v.axes[len(free) :]:
        known = instance.indices.get(axis.index)
        candidates = [known] if known else ["t", *scope.indices]
        result.append(next(c for c in candidates if c not in result))
    return tuple(result)


def _free_indices(scope: Scope, node: t.Expr, env: dict[str, Poly]) -> tuple[str, ...]:
    """The declared indices that an expression uses and does not bind itself."""
    found: dict[str, None] = {}

    def visit(each: t.Node, bound: frozenset[str]) -> None:
        if isinstance(each, t.Name):
            if each.text in scope.indices and each.text not in bound and each.text not in env:
                found[each.text] = None
            return
        if isinstance(each, t.Reduction):
            inner = set(bound)
            for binder in each.binders:
                if isinstance(binder, t.Name):
                    inner.add(binder.text)
                elif isinstance(binder, t.Member):
                    inner.add(binder.index.text)
                else:
                    first = next(
                        (n.text for n in t.walk(binder)
                         if isinstance(n, t.Name) and n.text in scope.indices),
                        None,
                    )  # fmt: skip
                    if first is not None and first not in found:
                        inner.add(first)
            bound = frozenset(inner)
        for child in t.children(each):
            visit(child, bound)

    visit(node, frozenset())
    return tuple(found)


def _new_variable(
    scope: Scope,
    name: str,
    indices: tuple[str, ...],
    node: t.Expr,
    env: dict[str, Poly],
    target: Span,
    span: Span,
) -> None:
    """A variable that the compiler names, with one equation on all of its indices."""
    d = Definition(name, "variable", target, indices, generated=True)
    domain = Domain()
    for i in indices:
        domain = domain & scope.default(i)
    inside = {**env, **{i: Poly.symbol(i) for i in indices}}
    d.pieces.append(Piece(name, indices, inside, domain, node, target, span))
    scope.definitions[name] = d
    scope.used.add(name)


def _unify_axis(scope: Scope, instance: Instance, inner: str, outer: str, span: Span) -> None:
    """Say that an index of the sub-model is an index here: their ranges are the same."""
    lo, hi = instance.program.indices[inner]
    have_lo, have_hi = scope.indices[outer]
    length = hi.as_symbol
    known = instance.symbols.get(length or "")
    fits = hi.subs(instance.symbols) == have_hi and lo.subs(instance.symbols) == have_lo
    if length is not None and known is None and lo == have_lo:
        if length not in instance.program.sizes or have_hi.symbols <= set(scope.sizes):
            instance.symbols[length] = have_hi
            fits = True
    if fits:
        # Two indices of the sub-model stay two, though they run over the same positions here.
        if outer not in instance.indices.values():
            instance.indices.setdefault(inner, outer)
        return
    here = f"{have_lo}..{have_hi}"
    want = f"{lo.subs(instance.symbols)}..{hi.subs(instance.symbols)}"
    raise scope.report.error(
        "E0210",
        f"the arguments of `{instance.program.name}` do not run over the same axis",
        (span, f"runs over {here}, expected {want}"),
    )


def _settle_lengths(scope: Scope, instance: Instance) -> None:
    """Names for lengths that no argument tells, and for all indices."""
    program = instance.program
    for length in program.lengths:
        if length not in instance.symbols:
            name = length if length == "T" else f"{instance.name}.{length}"
            scope.lengths.setdefault(name, instance.span)
            instance.symbols[length] = Poly.symbol(name)
    taken = set(instance.indices.values())
    for index, (lo, hi) in program.indices.items():
        if index in instance.indices:
            continue
        bounds = (lo.subs(instance.symbols), hi.subs(instance.symbols))
        same = [i for i, b in scope.indices.items() if b == bounds and i not in taken]
        if index in same:
            name = index
        elif same:
            name = same[0]
        else:
            name = fresh(index, {*scope.indices, *scope.definitions, *taken})
            scope.indices[name] = bounds
            instance.own.add(index)
        instance.indices[index] = name
        taken.add(name)


def _members(scope: Scope, instance: Instance) -> None:
    """Make the variables of a sub-model known here."""
    scope.declared[f"{instance.name}."] = instance.span
    for v in instance.program.vars.values():
        if v.name in instance.bound:
            if f"{instance.name}.{v.name}" != instance.bound[v.name]:
                scope.aliases[f"{instance.name}.{v.name}"] = instance.bound[v.name]
            continue
        name = f"{instance.name}.{v.name}"
        if name in scope.definitions:
            continue
        axes = tuple(instance.indices.get(a.index, a.index) for a in v.axes)
        d = Definition(name, v.role, instance.span, axes, init=v.init, default=v.default)
        d.instance = instance.name
        d.broken = instance.broken
        needed = {s for n in v.shape for s in n.symbols}
        if not needed and v.type.bound is None:
            d.shape, d.type = v.shape, v.type
        scope.definitions[name] = d
