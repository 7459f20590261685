"""What a sub-model is given: arguments become variables, sizes, lengths and indices.

Inputs are bound in order, then the sizes that the inputs do not tell; keywords bind anything by
name, `h0 = …` also the start of a state, in the place of the equation `h[0] = 0`. What is given is
either the name of a variable, which is read directly, or an expression, which becomes a variable
`enc.x` of its own.
"""

from __future__ import annotations

from ..domain import Domain
from ..expr import fresh
from ..poly import Poly
from ..program import Program, Var
from ..syntax import tree as t
from ..syntax.span import Span
from . import sizes
from .layers import given_name
from .report import Failed, listed, nearest, plural
from .scope import Definition, Instance, Piece, Scope


def bind(scope: Scope, instance: Instance) -> None:
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
                helps=[
                    f"did you mean `{near}`?" if near else f"it is used as `{signature(program)}`"
                ],
            )
            failed = True
            continue
        actuals[name] = keyword.value
    inputs = [v.name for v in _data(program) if v.name not in actuals]
    positional = list(call.arguments)
    actuals.update(zip(inputs, positional, strict=False))
    bound_inputs = {v.name for v in _data(program) if v.name in actuals}
    open_sizes = [s for s in _untold(program, bound_inputs) if s not in actuals]
    rest = positional[len(inputs) :]
    if len(rest) > len(open_sizes):
        raise scope.report.error(
            "E0210",
            f"`{program.name}` takes "
            f"{plural(len(inputs) + len(open_sizes), 'argument')} by position"
            f", here are {len(positional)}",
            (rest[len(open_sizes)].span, "one too many"),
            helps=[f"it is used as `{signature(program)}`"],
        )
    actuals.update(zip(open_sizes, rest, strict=False))
    missing = [v.name for v in _data(program) if v.name not in actuals]
    size = next(
        (
            node
            for name, node in actuals.items()
            if isinstance(node, t.Name)
            and node.text in scope.sizes
            and name not in program.sizes
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


def signature(program: Program) -> str:
    """`gru(x, H)`: the inputs in order, then the sizes that they do not tell."""
    names = [v.name for v in _data(program)] + _untold(program, {v.name for v in _data(program)})
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


def _data(program: Program) -> list[Var]:
    """The inputs that a caller gives; random draws are not among them."""
    return [v for v in program.inputs if not v.noise]


def _untold(program: Program, inputs: set[str]) -> list[str]:
    """The sizes that do not stand alone in the shape or bound of a bound variable."""
    told: set[str | None] = set()
    for name in inputs:
        v = program.vars[name]
        told |= {n.as_symbol for n in v.shape}
        if v.type.bound is not None:
            told.add(v.type.bound.as_symbol)
    return [s for s in program.sizes if s not in told]


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
        free = free_indices(scope, node, instance.env)
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
        new_variable(scope, name, free, node, instance.env, node.span, node.span)
    d = scope.definitions[name]
    instance.bound[v.name] = name
    if d.broken:
        raise Failed
    for axis, index in zip(v.axes, d.axes, strict=True):
        _unify_axis(scope, instance, axis.index, index, node.span)


def _plain(scope: Scope, instance: Instance, v: Var, node: t.Expr) -> str | None:
    """The variable that the argument names as a whole."""
    name = given_name(scope, node, instance.env)
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


def free_indices(scope: Scope, node: t.Expr, env: dict[str, Poly]) -> tuple[str, ...]:
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


def new_variable(
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
    unsolved = set(program.sizes) - set(instance.symbols)
    for index, (lo, hi) in program.indices.items():
        if index in instance.indices:
            continue
        if (lo.symbols | hi.symbols) & unsolved:
            # Named for now; `settle_indices` knows the range once the sizes are known.
            name = f"{instance.name}.{index}"
            scope.indices[name] = (lo, Poly.symbol(f"?{name}"))
            instance.own.add(index)
            instance.indices[index] = name
        else:
            _name_index(scope, instance, index)


def _name_index(scope: Scope, instance: Instance, index: str) -> None:
    """Let an index of a sub-model be one of the same range here, or make one."""
    lo, hi = instance.program.indices[index]
    bounds = (lo.subs(instance.symbols), hi.subs(instance.symbols))
    taken = set(instance.indices.values())
    same = [i for i, b in scope.indices.items() if b == bounds and i not in taken]
    if index in same:
        name = index
    elif same:
        name = same[0]
    else:
        name = fresh(index, {*scope.indices, *scope.definitions, *taken})
        scope.indices[name] = bounds
    instance.indices[index] = name


def settle_indices(scope: Scope) -> None:
    """Name the indices of sub-models whose ranges depend on sizes that were not known before."""
    for instance in scope.instances.values():
        for index in sorted(instance.own):
            placeholder = instance.indices.pop(index)
            del scope.indices[placeholder]
            _name_index(scope, instance, index)
            for d in scope.definitions.values():
                if d.instance == instance.name:
                    d.axes = tuple(
                        instance.indices[index] if a == placeholder else a for a in d.axes
                    )
        instance.own.clear()


def make_members(scope: Scope, instance: Instance) -> None:
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
        d.noise = v.noise
        d.broken = instance.broken
        needed = {s for n in v.shape for s in n.symbols}
        if not needed and v.type.bound is None:
            d.shape, d.type = v.shape, v.type
        scope.definitions[name] = d
