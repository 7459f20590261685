"""Loops as `lax.scan`.

What does not depend on the steps before is computed for all steps at once, before the loop, and
comes as a row of an array. A read ``k`` steps back is the ``k``-th of the values carried along. Of
what the loop computes, only what is read later is kept, and where that is the last step, no more
than this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from unfold.expr import reads
from unfold.poly import Poly
from unfold.program import Equation

from .arrays import Array
from .expressions import Scope
from .ops import number
from .order import Loop
from .pieces import Piece, Untranslated, whole
from .solving import solved
from .steps import LoopScope, Member, loops_around


def run(scope: Scope, what: Equation | Loop, readers: tuple[Equation, ...]) -> None:
    """Write an equation or a loop; ``readers`` are all equations of the program."""
    if isinstance(what, Loop):
        loop(scope, what, readers)
    else:
        equation(scope, what)


def equation(scope: Scope, eq: Equation) -> None:
    """Write one equation, all its elements at once that no loop around it counts."""
    wide = dict(loops_around(scope))
    indices = tuple(i for i in eq.indices if i not in wide)
    ranges = scope.box(indices, eq.domain, wide) if indices else {}
    if any(not r for r in ranges.values()):
        return
    shape = (*(len(ranges[i]) for i in indices), *number(scope.program.vars[eq.name].shape))
    if eq.solver is not None:
        found = solved(scope, eq, indices, ranges, shape)
    else:
        found = scope.value(eq.rhs, ranges)
    mask = scope.mask(eq.domain, ranges)
    zero = found.known is not None and not np.any(found.known)
    if mask is not None and not zero:
        found = scope.chosen(mask, found, 0.0)
    box = tuple(ranges[i] for i in indices)
    piece = Piece(box, found, indices, shape[len(indices) :], scope.src, zero)
    scope.pieces.setdefault(eq.name, []).append(piece)
    if (
        isinstance(scope, LoopScope)
        and (eq.name, 1) in scope.carried
        and box not in scope.boxes[eq.name]
    ):
        raise Untranslated(f"{eq.name} is carried in another shape")


def loop(scope: Scope, what: Loop, readers: tuple[Equation, ...]) -> None:
    """Write a scan."""
    enclosing = [i for i, _ in loops_around(scope)]
    inner = LoopScope(
        scope.program, scope.src.block(), scope.lengths, around=scope, index=what.index,
        direction=what.direction,
    )  # fmt: skip
    steps: set[range] = set()
    wide = dict(loops_around(scope))
    for eq in what.equations:
        if what.index not in eq.indices:
            raise Untranslated(f"{eq.name} has no index {what.index}")
        steps.add(scope.box((what.index,), eq.domain, wide)[what.index])
    if len(steps) > 1:
        raise Untranslated(f"the pieces of the loop over {what.index} have ranges {steps}")
    (inner.steps,) = steps
    if not inner.steps:
        return
    full = {**wide, what.index: inner.steps}
    for eq in what.equations:
        outer = tuple((eq.indices.index(i), i) for i in enclosing if i in eq.indices)
        known = inner.members.get(eq.name)
        mine = Member(eq.indices.index(what.index), outer, (eq,))
        if known is not None:
            if (known.axis, known.outer) != (mine.axis, mine.outer):
                raise Untranslated(f"{eq.name} takes part in a loop in two ways")
            mine = replace(mine, equations=(*known.equations, eq))
        inner.members[eq.name] = mine
        own = tuple(i for i in eq.indices if i not in full)
        box = scope.box(own, eq.domain, full) if own else {}
        inner.boxes.setdefault(eq.name, []).append(tuple(box[i] for i in own))
    for b in what.body:
        run(inner, b, readers)
    _finish(scope, inner, readers)


def _finish(scope: Scope, inner: LoopScope, readers: tuple[Equation, ...]) -> None:
    """Write the function of a step and the call of `lax.scan`, and take what it gives."""
    last = inner.steps[-1] if inner.direction > 0 else inner.steps[0]
    kept: list[tuple[str, Piece]] = []
    final: list[tuple[str, Piece]] = []
    for name in inner.members:
        ways = set(_ways(inner, name, readers, last))
        for piece in inner.pieces.get(name, []):
            if "all" in ways:
                kept.append((name, piece))
            elif "last" in ways:
                if (name, 1) in inner.carried:
                    final.append((name, piece))
                else:
                    kept.append((name, piece))
    slots = sorted(inner.carried)
    starts = [inner.start(n, back, _box(inner, n)) for n, back in slots]
    news = [_now(inner, n).array.code if back == 1 else inner.carried[n, back - 1].code
            for n, back in slots]  # fmt: skip
    src, step = scope.src, scope.src.fresh("step")
    body = inner.src
    lines = [f"({''.join(inner.carried[s].code + ', ' for s in slots)}) = carry"] if slots else []
    if inner.rows:
        lines.append(f"({''.join(r.code + ', ' for r in inner.rows.values())}) = row")
    body.lines[:0] = lines
    outs = "".join(p.array.code + ", " for _, p in kept)
    body.lines.append(f"return ({''.join(n + ', ' for n in news)}), ({outs})")
    src.lines.append(f"def {step}(carry, row):")
    src.include(body)
    given = "".join(a.code + ", " for a in starts)
    rows = f"({''.join(code + ', ' for code in inner.rows)})" if inner.rows else "None"
    end, every = src.fresh("end"), src.fresh("every")
    way = ", reverse=True" if inner.direction < 0 else ""
    src.lines.append(
        f"{end}, {every} = lax.scan({step}, ({given}), {rows}, length={len(inner.steps)}{way})"
    )
    for k, (name, piece) in enumerate(kept):
        shape = (len(inner.steps), *piece.array.shape)
        _store(scope, inner, name, piece, src.let(f"{every}[{k}]", (), shape, name), inner.steps)
    for name, piece in final:
        k = slots.index((name, 1))
        found = src.let(f"{end}[{k}]", (), piece.array.shape, name)
        if piece.box:
            found = src.let(f"lax.expand_dims({found.code}, [0])", (), (1, *found.shape))
            _store(scope, inner, name, piece, found, range(last, last + 1))
        else:
            only = Piece((range(last, last + 1),), found, ("step",), found.shape, src)
            scope.pieces.setdefault(name, []).append(only)


def _box(inner: LoopScope, name: str) -> tuple[range, ...]:
    boxes = inner.boxes[name]
    if len(boxes) > 1:
        raise Untranslated(f"{name} is carried and has several pieces in a loop")
    return boxes[0]


def _now(inner: LoopScope, name: str) -> Piece:
    return inner.pieces[name][0]


def _store(
    scope: Scope, inner: LoopScope, name: str, piece: Piece, found: Array, steps: range
) -> None:
    """Put what a loop gave among the pieces of the variable, its axes in their order."""
    member = inner.members[name]
    place = member.axis - sum(k < member.axis for k, _ in member.outer)
    box = (*piece.box[:place], steps, *piece.box[place:])
    if place:
        shape = [*found.shape[1 : place + 1], found.shape[0], *found.shape[place + 1 :]]
        found = scope.src.let(f"jnp.moveaxis({found.code}, 0, {place})", (), shape)
    scope.pieces.setdefault(name, []).append(whole(scope.src, box, found))


def _ways(inner: LoopScope, name: str, readers: tuple[Equation, ...], last: int) -> Iterator[str]:
    """How equations read what a loop computes from outside of it: all steps, or the last one."""
    member = inner.members[name]
    own = [eq for m in inner.members.values() for eq in m.equations]
    for eq in readers:
        mine = any(eq is o for o in own)
        for r in reads(eq.rhs):
            if r.ref.name != name:
                continue
            at = [inner.numbers(p) for p in r.ref.index]
            if mine and all(at[k] == Poly.symbol(i) for k, i in member.outer):
                continue
            where = at[member.axis].constant
            if where is None:
                yield "all"
            elif where == last:
                yield "last"
            elif where in inner.steps:
                yield "all"
