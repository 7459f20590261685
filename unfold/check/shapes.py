"""Stage 4: shapes and types, by a least fixpoint.

The shape of a variable is the common (broadcast) shape of its pieces, and pieces may depend on the
variable itself: `h[0] = 0`, `h[t] = tanh(W @ x[t] + U @ h[t-1])`. So all begins unknown; each round
reads the pieces with what is known so far, where an unknown operand (`operands.Hole`) counts for
nothing, until nothing changes; a variable is read again only when one that it reads has changed.
The sizes of sub-models are found on the way, from the shapes of
what they are given. What is still unknown then is guessed in two steps: beside a matrix stands a
vector, and a variable that is nothing but numbers is a scalar.
"""

from __future__ import annotations

from ..expr import INT, REAL, Const, Type
from ..poly import Poly, ShapeError, broadcast
from . import sizes
from .matching import solve_sizes
from .operands import Hole, Value, is_literal
from .report import Failed
from .scope import Definition, Env, Piece, Scope
from .values import Reader


def infer(scope: Scope) -> None:
    """Find the shape and type of every variable, and the sizes of every sub-model."""
    scope.report.muted += 1
    rounds, level = _Rounds(scope), 0
    while level <= LITERALS:
        # A guess about one variable may settle many: begin again from what is certain.
        level = 0 if rounds.run(level) else level + 1
    scope.report.muted -= 1


#: How daring a round is: nothing is guessed; what stands beside a matrix is a vector; what has met
#: nothing but scalars is one; what is nothing but literals is a real scalar.
CERTAIN, VECTORS, SCALARS, LITERALS = range(4)


class _Rounds:
    """Rounds in which nothing is read again of which nothing new is known."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.stale = set(scope.definitions)
        # The variables that a variable's pieces were seen to read.
        self.read: dict[str, set[str]] = {}

    def run(self, level: int) -> bool:
        """Read everything once; whether anything new was learnt. A guess ends the round."""
        scope, changed = self.scope, False
        for instance in scope.instances.values():
            broken = instance.broken
            changed |= solve_sizes(scope, instance)
            if changed or instance.broken != broken:
                self.stale |= set(scope.definitions)
        for d in list(scope.definitions.values()):
            if d.role != "variable" or d.instance is not None or d.broken:
                continue
            if level == CERTAIN:
                if d.name not in self.stale:
                    continue
                self.stale.discard(d.name)
            if self.grow(d, level):
                changed = True
                if level:
                    break
        return changed

    def grow(self, d: Definition, level: int) -> bool:
        met = self.read.setdefault(d.name, set())
        if not _grow(self.scope, d, level, met):
            return False
        self.stale |= {name for name, read in self.read.items() if d.name in read}
        return True


def _grow(scope: Scope, d: Definition, level: int, met: set[str]) -> bool:
    """Read all pieces of a variable; whether its shape or type has grown. ``met``: takes the
    variables that are read."""
    values: list[Value] = []
    for piece in d.pieces:
        if piece.copy_of is not None:
            continue
        try:
            reader = Reader(scope, final=False, guess=level >= VECTORS, met=met)
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
        d.type = _holding(join(types), [v for v in values if is_literal(v)])
    return (d.shape, d.type) != before


def _holding(kind: Type, literals: list[Value]) -> Type:
    """The type with the numbers of the text as values: 7 is no `int<4>`. Beside a size that is not
    known yet, a number is taken on trust until it is (`fixed.check_fixed`)."""
    if kind.kind != "int" or kind.bound is None:
        return kind
    numbers = [n for v in literals if isinstance(v, Const) for n in numbers_of(v.value)]
    if any(n < 0 for n in numbers):
        return INT
    bound = kind.bound.constant
    if bound is None or all(n < bound for n in numbers):
        return kind
    return Type("int", Poly.const(int(max(numbers)) + 1))


def numbers_of(value: object) -> list[float]:
    """The numbers of a constant."""
    if isinstance(value, tuple):
        return [n for part in value for n in numbers_of(part)]
    assert isinstance(value, (int, float))
    return [value]


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
    lo, hi = size * k, size * (k + 1)
    return reader.apply("slice", [value], piece.value, [piece.value], axis=0, lo=lo, hi=hi)
