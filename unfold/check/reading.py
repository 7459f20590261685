"""Stage 5: the last reading. All shapes are known, and whatever does not fit is reported."""

from __future__ import annotations

from ..expr import INT, REAL, Const, Expr
from ..ops import call
from ..poly import ShapeError, broadcast, show_shape
from . import matching, sizes, unknowns
from .binding import settle_indices
from .operands import Hole, settled
from .report import Failed, listed
from .scope import Definition, Piece, Scope
from .shapes import piece_value
from .values import Reader


def settle_shapes(scope: Scope) -> list[Piece]:
    """Report sizes and shapes that could not be found; what needs them is silent from now on.

    Returns the pieces in which there is a mistake whatever the unknown shapes are.
    """
    settle_indices(scope)
    for instance in scope.instances.values():
        if not instance.broken:
            matching.missing_sizes(scope, instance)
    unknown = []
    for d in scope.definitions.values():
        if d.role == "variable" and not d.broken and (d.shape is None or d.type is None):
            if d.instance is None and d.pieces:
                unknown.append(d)
            else:
                d.shapeless = True
    scope.report.muted += 1
    mistaken = [p for d in unknown for p in d.pieces if _is_mistaken(scope, p)]
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
    return mistaken


def _has_mistake(scope: Scope, d: Definition) -> bool:
    return any(_is_mistaken(scope, piece) for piece in d.pieces)


def _is_mistaken(scope: Scope, piece: Piece) -> bool:
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


def read_all(scope: Scope, mistaken: list[Piece]) -> None:
    """Read every right-hand side with all shapes known, and report what does not fit.

    Of what is ``mistaken`` something is said in any case.
    """
    for instance in scope.instances.values():
        matching.check_arguments(scope, instance)
    for d in list(scope.definitions.values()):
        if d.role != "variable" or d.instance is not None:
            continue
        for piece in d.pieces:
            if piece.copy_of is None:
                before = len(scope.report.found)
                _read(scope, d, piece)
                if len(scope.report.found) == before and any(p is piece for p in mistaken):
                    _read_with_holes(scope, piece)


def _read_with_holes(scope: Scope, piece: Piece) -> None:
    """Report a mistake that a last reading does not come to, because the piece reads what is of
    unknown shape: in `W * x[t] + U @ h[t-1] + b` its own variable, whose shape the mistake hides.
    """
    silent = [d for d in scope.definitions.values() if d.shapeless]
    for d in silent:
        d.shapeless = False
    try:
        piece_value(Reader(scope, final=False), piece)
    except (Failed, sizes.Unsolved):
        pass
    finally:
        for d in silent:
            d.shapeless = True


def _read(scope: Scope, d: Definition, piece: Piece) -> None:
    reader = Reader(scope, final=True)
    # What could be read of a wrong equation counts: its other reads are checked all the same.
    piece.sites, piece.choices = reader.sites, reader.choices
    try:
        value = piece_value(reader, piece)
        unknowns.finish(scope, d, piece, reader)
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
