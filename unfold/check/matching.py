"""The sizes of sub-models: what they declare, matched against what they are given."""

from __future__ import annotations

from ..expr import Type
from ..poly import Poly, Shape, ShapeError, broadcast, show_shape
from . import sizes
from .binding import formal_of
from .report import Failed
from .scope import Definition, Instance, Scope


def solve_sizes(scope: Scope, instance: Instance) -> bool:
    """Match what a sub-model declares against what it is given."""
    if instance.broken:
        return False
    changed = False
    for size, text in instance.explicit.items():
        if size not in instance.symbols:
            try:
                instance.symbols[size] = sizes.size(scope, text)
                changed = True
            except sizes.Unsolved:
                continue
            except Failed:
                instance.broken = True
    for formal, actual in instance.bound.items():
        v = formal_of(instance, formal)
        d = scope.definitions.get(actual)
        if d is None or d.shape is None or d.type is None:
            continue
        if len(d.shape) == len(v.shape):
            for want, have in zip(v.shape, d.shape, strict=True):
                changed |= _match(instance, want, have)
        if v.type.bound is not None and d.type.bound is not None:
            changed |= _match(instance, v.type.bound, d.type.bound)
    if not changed:
        return False
    for d in scope.definitions.values():
        if d.instance == instance.name and d.shape is None:
            _shape_of_member(instance, d)
    return True


def _match(instance: Instance, want: Poly, have: Poly) -> bool:
    """Solve `want = have` for the one size in it that is not known yet."""
    want = want.subs(instance.symbols)
    unknown = [s for s in want.symbols if s in instance.program.sizes and s not in instance.symbols]
    if len(unknown) != 1:
        return False
    (size,) = unknown
    coef = want.coefficient(size)
    rest = want - Poly.symbol(size) * coef
    if coef == 0 or size in rest.symbols:
        return False
    solved = (have - rest).divided(coef)
    if solved is None:
        return False
    instance.symbols[size] = solved
    return True


def _shape_of_member(instance: Instance, d: Definition) -> None:
    """The shape of a sub-model's variable, once all sizes in it are known."""
    v = instance.program.vars[d.name.removeprefix(instance.name + ".")]
    needed = {s for n in v.shape for s in n.symbols}
    if v.type.bound is not None:
        needed |= v.type.bound.symbols
    if needed <= set(instance.symbols):
        d.shape = tuple(n.subs(instance.symbols) for n in v.shape)
        bound = v.type.bound
        d.type = v.type if bound is None else Type(v.type.kind, bound.subs(instance.symbols))


def missing_sizes(scope: Scope, instance: Instance) -> None:
    program = instance.program
    missing = [s for s in program.sizes if s not in instance.symbols]
    if not missing:
        return
    for formal, actual in instance.bound.items():
        d = scope.definitions.get(actual)
        if d is not None and d.shape is not None and d.type is not None:
            v = formal_of(instance, formal)
            if len(d.shape) > len(v.shape) or (v.role == "input" and len(d.shape) < len(v.shape)):
                _misfit(scope, instance, formal, d)
            elif not _kinds_fit(v.type, d.type):
                _misfit(scope, instance, formal, d)
    if instance.broken:
        return
    instance.broken = True
    waiting = any(
        (d := scope.definitions.get(a)) is None or d.unusable or d.shape is None
        for a in instance.bound.values()
    )
    if waiting and scope.report.errors:
        return
    for size in missing:
        scope.report.error(
            "E0210",
            f"the size `{size}` of `{program.name}` cannot be found",
            (instance.call.span, "not given, and not told by the inputs"),
            helps=[f"give it: `{program.name}(…, {size} = …)`"],
        )


def check_arguments(scope: Scope, instance: Instance) -> None:
    """Whether what a sub-model is given has the shape and type that it declares."""
    if instance.broken:
        return
    for formal, actual in instance.bound.items():
        v = formal_of(instance, formal)
        d = scope.definitions.get(actual)
        if d is None or d.unusable or d.shape is None or d.type is None:
            continue
        want = tuple(n.subs(instance.symbols) for n in v.shape)
        bound = v.type.bound
        kind = v.type if bound is None else Type(v.type.kind, bound.subs(instance.symbols))
        if not _fits(d, want, kind):
            _misfit(scope, instance, formal, d)


def _misfit(scope: Scope, instance: Instance, formal: str, d: Definition) -> None:
    """An argument of another shape or type than the sub-model declares."""
    assert d.shape is not None
    assert d.type is not None
    v = formal_of(instance, formal)
    want = tuple(n.subs(instance.symbols) for n in v.shape)
    bound = v.type.bound
    kind = v.type if bound is None else Type(v.type.kind, bound.subs(instance.symbols))
    declared, wanted = f"{v.type}{show_shape(v.shape)}", f"{kind}{show_shape(want)}"
    scope.report.error(
        "E0304" if d.type.kind == kind.kind else "E0601",
        f"the argument `{formal}` of `{instance.program.name}` does not fit",
        (instance.arguments.get(formal, instance.call.span), f"{d.type}{show_shape(d.shape)}"),
        notes=[f"`{formal}` is declared as {declared}"
               + (f", which is {wanted} here" if wanted != declared else "")],
    )  # fmt: skip
    instance.broken = True


def _kinds_fit(want: Type, have: Type) -> bool:
    """Integers are reals where those are asked for."""
    return want.kind == have.kind or (want.kind == "real" and have.kind == "int")


def _fits(d: Definition, want: Shape, kind: Type) -> bool:
    assert d.shape is not None
    assert d.type is not None
    try:
        if broadcast(d.shape, want) != want:
            return False
    except ShapeError:
        return False
    if kind.kind == "int" and kind.bound is not None:
        return d.type.kind == "int" and d.type.bound == kind.bound
    return _kinds_fit(kind, d.type)
