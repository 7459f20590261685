"""Stage 4: shapes and types, by a least fixpoint.

The shape of a variable is the common (broadcast) shape of its pieces, and pieces may depend on the
variable itself: `h[0] = 0`, `h[t] = tanh(W @ x[t] + U @ h[t-1])`. So all begins unknown; each round
reads every piece with what is known so far, where an unknown operand (`operands.Hole`) counts for
nothing, until nothing changes. The sizes of sub-models are found on the way, from the shapes of
what they are given. What is still unknown then is guessed in two steps: beside a matrix stands a
vector, and a variable that is nothing but numbers is a scalar.

In the end every right-hand side is read once more, with all shapes known, and misfits are reported.
"""

from __future__ import annotations

from ..expr import INT, REAL, Const, Expr, Type
from ..ops import call
from ..poly import Poly, Shape, ShapeError, broadcast, show_shape
from . import sizes, solving
from .instances import formal_of
from .operands import Hole, Value, is_literal, settled
from .report import Failed, listed
from .scope import Definition, Env, Instance, Piece, Scope
from .values import Reader


def infer(scope: Scope) -> None:
    """Find the shape and type of every variable, and the sizes of every sub-model."""
    scope.report.muted += 1
    level = 0
    while level <= LITERALS:
        # A guess about one variable may settle many: begin again from what is certain.
        level = 0 if _round(scope, level) else level + 1
    scope.report.muted -= 1


#: How daring a round is: nothing is guessed; what stands beside a matrix is a vector; what has met
#: nothing but scalars is one; what is nothing but literals is a real scalar.
CERTAIN, VECTORS, SCALARS, LITERALS = range(4)


def _round(scope: Scope, level: int) -> bool:
    """Read everything once; whether anything new was learnt. A guess ends the round."""
    changed = False
    for instance in scope.instances.values():
        changed |= _solve_sizes(scope, instance)
    for d in list(scope.definitions.values()):
        if d.role == "variable" and d.instance is None and not d.broken:
            if _grow(scope, d, level):
                changed = True
                if level:
                    break
    return changed


def _grow(scope: Scope, d: Definition, level: int) -> bool:
    """Read all pieces of a variable; whether its shape or type has grown."""
    values: list[Value] = []
    for piece in d.pieces:
        if piece.copy_of is not None:
            continue
        try:
            reader = Reader(scope, final=False, guess=level >= VECTORS)
            values.append(piece_value(reader, piece))
        except (Failed, sizes.Unsolved):
            if level >= SCALARS:
                # There is a mistake in it: no guess, which would only be a source of more.
                return False
    before = d.shape, d.type
    shapes = [v.shape for v in values if v.shape is not None and not _is_number(v)]
    if d.shape is not None:
        shapes.append(d.shape)
    elif not shapes and level >= SCALARS and any(isinstance(v, Hole) and v.scalar for v in values):
        shapes.append(())
    elif not shapes and level >= LITERALS and any(_is_number(v) for v in values):
        shapes.append(())
    try:
        if shapes:
            d.shape = broadcast(*shapes)
    except ShapeError:
        # The last reading says which pieces do not fit; the others decide until then.
        d.shape = d.shape if d.shape is not None else max(shapes, key=len)
    types = [v.type for v in values if v.type is not None and not is_literal(v)]
    if d.type is not None:
        types.append(d.type)
    elif not types and level >= LITERALS and values:
        types.append(REAL)
    if types:
        d.type = join(types)
    return (d.shape, d.type) != before


def _is_number(value: Value) -> bool:
    """Whether a value is a number in the text, which fits any shape."""
    return isinstance(value, Const) and value.shape == ()


def join(types: list[Type]) -> Type:
    """The type that holds values of all these types."""
    kinds = {k.kind for k in types}
    if "bool" in kinds:
        return Type("bool")
    if "real" in kinds:
        return REAL
    bounds = {k.bound for k in types}
    if len(bounds) == 1:
        return types[0]
    known = [b.constant for b in bounds if b is not None]
    if len(known) == len(bounds) and None not in known:
        return Type("int", Poly.const(max(k for k in known if k is not None)))
    return INT


def piece_value(reader: Reader, piece: Piece) -> Value:
    """The value of a piece's right-hand side, as it is read."""
    assert piece.value is not None
    reader.piece = piece
    env = Env(
        piece.env,
        domain=piece.domain,
        taken=frozenset(piece.indices) | frozenset(piece.env),
    )
    value = reader.value(piece.value, env)
    if piece.part is None:
        return value
    return _part(reader, piece, value)


def _part(reader: Reader, piece: Piece, value: Value) -> Value:
    """One of the equal parts of `split`."""
    assert piece.part is not None
    assert piece.value is not None
    k, count = piece.part
    if value.shape is None:
        return Hole(None, value.type)
    if not value.shape:
        raise reader.report.error("E0303", "a scalar cannot be split", (piece.value.span, "scalar"))
    size = value.shape[0].divided(count)
    if size is None:
        raise reader.report.error(
            "E0303",
            f"{value.shape[0]} components cannot be split into {count} equal parts",
            (piece.value.span, f"has {value.shape[0]}"),
        )
    bounds = {"lo": size * k, "hi": size * (k + 1)}
    return reader.apply("slice", [value], piece.value, [piece.value], axis=0, **bounds)


# --- sizes of sub-models ----------------------------------------------------------------------


def _solve_sizes(scope: Scope, instance: Instance) -> bool:
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


# --- the last reading -------------------------------------------------------------------------


def settle_shapes(scope: Scope) -> None:
    """Report sizes and shapes that could not be found; what needs them is silent from now on."""
    for instance in scope.instances.values():
        if not instance.broken:
            _missing_sizes(scope, instance)
    unknown = []
    for d in scope.definitions.values():
        if d.role == "variable" and not d.broken and (d.shape is None or d.type is None):
            if d.instance is None and d.pieces:
                unknown.append(d)
            else:
                d.shapeless = True
    scope.report.muted += 1
    failed = True
    while failed:
        # A mistake in an equation explains an unknown shape, and those that follow from it.
        failed = False
        for d in [d for d in unknown if not d.shapeless and _has_mistake(scope, d)]:
            d.shapeless = failed = True
    scope.report.muted -= 1
    left = [d for d in unknown if not d.shapeless]
    if left:
        _no_shape(scope, left)


def _has_mistake(scope: Scope, d: Definition) -> bool:
    for piece in d.pieces:
        if piece.copy_of is None:
            try:
                piece_value(Reader(scope, final=False), piece)
            except (Failed, sizes.Unsolved):
                return True
    return False


def _no_shape(scope: Scope, unknown: list[Definition]) -> None:
    for d in unknown:
        d.shapeless = True
    first = unknown[0]
    names = listed(d.name for d in unknown)
    scope.report.error(
        "E0305",
        f"the shape of `{first.name}` cannot be found",
        *((d.pieces[0].target, "" if k else "nothing says how many components it has")
          for k, d in enumerate(unknown)),
        notes=[f"{names} {'is' if len(unknown) == 1 else 'are'} defined by "
               f"{'itself' if len(unknown) == 1 else 'each other'} alone"],
        helps=[f"say where it begins: `{_beginning(first)} = broadcast(0, [H])` for a vector, "
               "`= 0` for a scalar"],
    )  # fmt: skip


def _beginning(d: Definition) -> str:
    """`h[0]`, for the first position of a variable."""
    return f"{d.name}[{', '.join(['0', *d.axes[1:]])}]" if d.axes else d.name


def _missing_sizes(scope: Scope, instance: Instance) -> None:
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
            elif v.type.kind != d.type.kind and not (v.type.kind, d.type.kind) == ("real", "int"):
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


def read_all(scope: Scope) -> None:
    """Read every right-hand side with all shapes known, and report what does not fit."""
    for instance in scope.instances.values():
        _check_arguments(scope, instance)
    for d in list(scope.definitions.values()):
        if d.role != "variable" or d.instance is not None:
            continue
        for piece in d.pieces:
            if piece.copy_of is None:
                _read(scope, d, piece)
        # A variable some of whose pieces failed is still known; its readers are not disturbed.


def _read(scope: Scope, d: Definition, piece: Piece) -> None:
    reader = Reader(scope, final=True)
    # What could be read of a wrong equation counts: its other reads are checked all the same.
    piece.sites, piece.choices = reader.sites, reader.choices
    try:
        value = piece_value(reader, piece)
        solving.finish(scope, d, piece, reader)
    except (Failed, sizes.Unsolved):
        return
    if d.unusable or d.shape is None or d.type is None or isinstance(value, Hole):
        return
    try:
        piece.rhs = fit(scope, d, piece, value)
    except Failed:
        return


def fit(scope: Scope, d: Definition, piece: Piece, value: Expr) -> Expr:
    """A right-hand side in the shape and type of its variable."""
    assert d.shape is not None
    assert d.type is not None
    value_ = settled(value, INT if d.type.kind == "int" else REAL)
    assert isinstance(value_, Expr)
    value = value_
    if (value.type.kind == "bool") != (d.type.kind == "bool"):
        others = next((p for p in d.pieces if p is not piece), None)
        raise scope.report.error(
            "E0601",
            f"`{d.name}` is a truth value in one equation and a number in another",
            (piece.value.span if piece.value else piece.span, str(value.type)),
            *([(others.span, "differs from this")] if others else []),
        )
    if value.type.kind == "int" and d.type.kind == "real":
        value = Const(float(value.value)) if isinstance(value, Const) and not value.shape else call(
            "real", value
        )  # fmt: skip
    if value.shape == d.shape:
        return value
    try:
        if broadcast(value.shape, d.shape) == d.shape:
            return call("broadcast", value, shape=d.shape)
    except ShapeError:
        pass
    assert piece.value is not None
    other = next((p for p in d.pieces if p is not piece and p.rhs is not None), None)
    if other is None:
        other = next((p for p in d.pieces if p is not piece), None)
    there = [] if other is None else [(other.target, f"elsewhere {d.type}{show_shape(d.shape)}")]
    raise scope.report.error(
        "E0304",
        f"the equations of `{d.name}` do not have the same shape",
        (piece.value.span, f"{value.type}{show_shape(value.shape)}"),
        *there,
        helps=["all elements of a variable have one shape; a scalar such as `0` fits any"],
    )


def _check_arguments(scope: Scope, instance: Instance) -> None:
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
    if kind.kind == "real":
        return d.type.kind in ("real", "int")
    return d.type.kind == kind.kind


__all__ = ["infer", "read_all", "settle_shapes"]
