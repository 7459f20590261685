"""Which equations have to say how many components they have.

A text declares no shapes of computed variables: whoever reads it finds them, as the least that fit
what is declared (`unfold.check.shapes`). Programs that were derived from others may have lost the
equation that told: `h[0] = 0`, `h[t] = 0.5 * h[t-1]` could be anything. Here the reader's rule is
followed, and where it ends short, an equation is printed as `h[0] = broadcast(0, [H])`.
"""

from __future__ import annotations

from ..expr import Call, Const, Expr, Guard, Position, Reduce, Ref
from ..implicit import parts
from ..ops import OPS
from ..poly import Shape, ShapeError, broadcast
from ..program import Equation, Program


def without_broadcast(e: Expr) -> Expr:
    """``0`` for ``broadcast(0, [H])``."""
    if isinstance(e, Call) and e.op == "broadcast" and not e.args[0].shape:
        return e.args[0]
    return e


def broadcast_again(e: Expr) -> Expr:
    """An expression that says its shape."""
    if isinstance(e, Call) and e.op == "broadcast":
        return e
    return Call("broadcast", (e,), (("shape", e.shape),), e.shape, e.type)


def shapes_to_say(program: Program) -> list[Equation]:
    """One equation of each variable whose shape a reader would not find; none, as a rule."""
    pieces: dict[str, list[Equation]] = {}
    for eq in program.equations:
        pieces.setdefault(eq.name, []).append(eq)
    said: list[Equation] = []
    while True:
        found = _found(program, pieces, said)
        lost = [n for n in pieces if program.vars[n].shape and found[n] != program.vars[n].shape]
        if not lost:
            return said
        # Rather at a boundary value, `h[0] = broadcast(0, [H])`, than around a long expression.
        eqs = [eq for eq in pieces[lost[0]] if eq not in said]
        said.append(next((eq for eq in eqs if without_broadcast(eq.rhs) is not eq.rhs), eqs[0]))


def _found(
    program: Program, pieces: dict[str, list[Equation]], said: list[Equation]
) -> dict[str, Shape | None]:
    """The shapes that a reader finds: unknown at first, each round the common shape of what is
    known of the pieces."""
    known: dict[str, Shape | None] = {
        n: None if v.role == "variable" else v.shape for n, v in program.vars.items()
    }
    changed = True
    while changed:
        changed = False
        for name, eqs in pieces.items():
            shapes = [
                eq.rhs.shape if eq in said else _least(parts(eq.rhs)[0], known, True) for eq in eqs
            ]
            shape = _common([known[name], *shapes])
            if shape != known[name]:
                known[name] = shape
                changed = True
    return known


def _common(shapes: list[Shape | None]) -> Shape | None:
    told = [s for s in shapes if s is not None]
    try:
        return broadcast(*told) if told else None
    except ShapeError:
        return max(told, key=len)


def _least(e: Expr, known: dict[str, Shape | None], whole: bool = False) -> Shape | None:
    """What is sure of the shape of ``e``; ``whole`` right-hand sides lose their `broadcast`."""
    if whole:
        e = without_broadcast(e)
    if isinstance(e, Const):
        return e.shape or None
    if isinstance(e, Position):
        return ()
    if isinstance(e, Ref):
        return known.get(e.name)
    if isinstance(e, (Reduce, Guard)):
        return _least(e.body, known)
    assert isinstance(e, Call)
    if e.op in ("broadcast", "reshape", "onehot") or (not e.shape and not OPS[e.op].elementwise):
        return e.shape
    shapes = [_least(a, known) for a in e.args]
    if OPS[e.op].elementwise:
        return _common(shapes[1:] if e.op == "where" else shapes)
    if e.op == "matmul":
        left, right = shapes
        # Beside a matrix stands a vector, as long as nothing else is known.
        if right is None and left is not None and len(left) == 2:
            return left[:1]
        if left is None and right is not None and len(right) == 2:
            return right[1:]
    pairs = zip(shapes, e.args, strict=True)
    complete = all(s == a.shape or isinstance(a, Const) for s, a in pairs)
    return e.shape if complete else None
