"""A program as `.rec` text that can be read on a slide, and by the compiler.

model elman(D, H):
    input  x[t]: real[D]
    param  W: real[H, D]  ~ glorot
    param  b: real[H]     = 0

    h[0] = 0
    h[t] = tanh(W @ x[t] + b)

    output h[t]
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ..domain import Domain
from ..expr import Const, Expr, subs_positions
from ..implicit import parts
from ..poly import Poly, show_shape
from ..program import Axis, Equation, Init, Output, Program, Solver
from .domains import comparisons, range_of
from .expressions import Scope, constant, expression, number
from .order import sections
from .shapes import broadcast_again, shapes_to_say, without_broadcast
from .wrap import WIDTH, wrapped

INDENT = "    "
#: Indices that only the text needs, with their ranges.
Extra: TypeAlias = "dict[str, tuple[Poly, Poly]]"


def to_rec(program: Program) -> str:
    """The program as text, ending in a line end; it elaborates to the same program again.

    >>> from unfold.domain import Domain
    >>> from unfold.program import Axis, Output, Program, Var, equation
    >>> t, T = Poly.symbol("t"), Poly.symbol("T")
    >>> one, axis = Poly.const(1), Axis("t", Poly(), T)
    >>> n = Var("n", "variable", (axis,))
    >>> p = Program("count", (), {"t": (one, T)}, {"n": n}, (), (Output("n", ((one, T),)),))
    >>> first = equation("n", ("t",), Domain.point("t", 0), Const(0.0))
    >>> later = equation("n", ("t",), Domain.range("t", 1, T), p.ref("n", t - 1) + 1.0)
    >>> print(to_rec(p.with_(equations=(first, later))), end="")
    model count:
        n[0] = 0
        n[t] = n[t-1] + 1
    <BLANKLINE>
        output n[t]
    """
    extra: Extra = {}
    inputs = _declarations(program, "input", extra)
    params = _declarations(program, "param", extra)
    said = shapes_to_say(program)
    body: list[str] = []
    for section in sections(program):
        body.append("")
        if section.title:
            body.append(f"# {section.title}")
        for eq in section.equations:
            body += _lines(program, eq, extra, said)
    outputs = [_output(program, out, extra) for out in program.outputs]
    ends = _filled("output ", outputs)
    if program.losses:
        ends += [f"minimize {name}" for name in program.losses]
    lines = [*_axes(program, extra), *inputs, *params, *body, "", *ends]
    while lines and not lines[0]:
        del lines[0]
    text = "\n".join((INDENT + line) if line else "" for line in lines).rstrip()
    return f"{_head(program)}\n{text}\n"


# --- declarations -----------------------------------------------------------------------------


def _head(program: Program) -> str:
    constants = [
        v.name if v.default is None else f"{v.name} = {number(float(v.default))}"
        for v in program.role("const")
    ]
    formals = ", ".join([*program.sizes, *constants])
    return f"model {program.name}({formals}):" if formals else f"model {program.name}:"


def _axes(program: Program, extra: Extra) -> list[str]:
    """`axis s: S`, one line for each range; `t: T` is there from the start."""
    groups: dict[tuple[Poly, Poly], list[str]] = {}
    for name, bounds in {**program.indices, **extra}.items():
        if name != "t" or bounds != (Poly.const(1), Poly.symbol("T")):
            groups.setdefault(bounds, []).append(name)
    return [
        f"axis   {', '.join(names)}: "
        + (hi.compact() if lo == Poly.const(1) else f"{lo.compact()}..{hi.compact()}")
        for (lo, hi), names in groups.items()
    ]


def _index_names(program: Program, axes: tuple[Axis, ...], extra: Extra) -> str:
    """`[t, s]`: for each axis an index that is declared to run over exactly its range."""
    chosen: list[str] = []
    for axis in axes:
        bounds = (axis.lo, axis.hi)
        known = {**program.indices, **extra}
        fits = [axis.index, *known]
        name = next((n for n in fits if known.get(n) == bounds and n not in chosen), None)
        if name is None:
            stem = axis.index
            name = next(
                n
                for n in (stem, *(f"{stem}_{k}" for k in range(1, 99)))
                if n not in known and n not in program.vars
            )
            extra[name] = bounds
        chosen.append(name)
    return f"[{', '.join(chosen)}]" if chosen else ""


def _declarations(program: Program, role: str, extra: Extra) -> list[str]:
    """One line for each run of variables that differ in nothing but their name."""
    rows: list[tuple[list[str], str, str]] = []
    for v in program.role(role):
        kind, start = f"{v.type}{show_shape(v.shape)}", _init(v.init)
        if v.noise:
            start = f"~ {v.noise}"
        name = v.name + _index_names(program, v.axes, extra)
        if rows and rows[-1][1:] == (kind, start) and len(", ".join(rows[-1][0])) < 48:
            rows[-1][0].append(name)
        else:
            rows.append(([name], kind, start))
    # Of all inputs only those that are drawn have a `~`.
    heads = [
        f"{'random' if role == 'input' and start else role:6} {', '.join(names)}: {kind}"
        for names, kind, start in rows
    ]
    width = max((len(h) for h, (_, _, start) in zip(heads, rows, strict=True) if start), default=0)
    return [
        f"{head.ljust(width)}  {start}" if start else head
        for head, (_, _, start) in zip(heads, rows, strict=True)
    ]


def _init(init: Init | None) -> str:
    if init is None:
        return ""
    if init.kind != "constant":
        argument = f"({number(float(init.value))})" if init.kind in ("normal", "uniform") else ""
        return f"~ {init.kind}{argument}"
    if isinstance(init.value, tuple):
        return "= " + constant(Const(init.value, (Poly(),)), False)[0]
    return f"= {number(float(init.value))}"


def _output(program: Program, out: Output, extra: Extra) -> str:
    chosen: list[str] = []
    known = {**program.indices, **extra}
    for axis, bounds in zip(program.vars[out.name].axes, out.ranges, strict=True):
        taken = {c.split()[0] for c in chosen}
        fits = [n for n in (axis.index, *known) if known.get(n) == bounds and n not in taken]
        if fits:
            chosen.append(fits[0])
        else:
            index = next(n for n in (axis.index, *known) if n not in taken)
            chosen.append(f"{index} in {bounds[0].compact()}..{bounds[1].compact()}")
    text = f"{out.name}[{', '.join(chosen)}]" if chosen else out.name
    # Equations do not tell that a batch's gradients are summed, and zero behind a sequence's end.
    of = program.vars[out.name].adjoint_of
    return f"gradient({text}, {of})" if of in program.vars else text


def _filled(word: str, items: Iterable[str]) -> list[str]:
    """Items behind a word, on as many lines as it takes."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + len(item) < 84:
            lines[-1] += f", {item}"
        else:
            lines.append(word + item)
    return lines


# --- equations --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Head:
    """How a piece begins and ends: ``h[0]``, and the clauses after ``for``; ``pinned`` are the
    indices that its left-hand side does not have, and the positions in their place."""

    left: str
    clauses: tuple[str, ...]
    scope: Scope
    pinned: Mapping[str, Poly]


def head(program: Program, eq: Equation, extra: Extra) -> Head:
    """The left-hand side of a piece: pinned positions, and the clauses that the declared ranges
    of its indices do not imply."""
    given = program.given
    pinned: dict[str, Poly] = {}
    for i in eq.indices:
        at = eq.domain.fixed(i, given)
        if at is not None and not at.symbols & set(eq.indices):
            pinned[i] = at
    free = tuple(i for i in eq.indices if i not in pinned)
    domain = eq.domain.subs(pinned)
    scope = Scope(program, free, eq.domain, extra)
    known = given
    members: list[str] = []
    for i in free:
        default = scope.default(i)
        if default.constraints and domain.subset(default, given):
            known = known & default
            continue
        found = range_of(i, domain, given)
        if found is None:
            continue
        members.append(f"{i} in {found[0].compact()}..{found[1].compact()}")
        known = known & Domain.range(i, *found)
    conditions = comparisons(domain, known, scope.order)
    index = ", ".join(pinned[i].compact() if i in pinned else i for i in eq.indices)
    left = f"{eq.name}[{index}]" if eq.indices else eq.name
    return Head(left, (*members, *conditions), scope, pinned)


def _lines(program: Program, eq: Equation, extra: Extra, said: Collection[Equation]) -> list[str]:
    """An equation; an implicit one as a block."""
    shown = _equation(program, eq, extra, said)
    if eq.solver is None:
        return wrapped(*shown)
    h = head(program, eq, extra)
    start = parts(eq.rhs)[1]
    begin = "" if start is None else f" from {_start(start, h)}"
    inside = wrapped(*shown, width=WIDTH - len(INDENT))
    return [f"solve {h.left}{begin} by {method(eq.solver)}:", *(INDENT + line for line in inside)]


def equation_lines(program: Program, eq: Equation) -> list[str]:
    """One equation as `to_rec` writes it, on as many lines as it takes; an implicit one as a
    block."""
    return _lines(program, eq, {}, set())


def _start(e: Expr, h: Head) -> str:
    return expression(subs_positions(without_broadcast(e), h.pinned), h.scope)


def method(solver: Solver) -> str:
    """`newton(tol = 1e-12)`: a method, with the options that differ from their default."""
    plain = Solver(solver.method)
    options = [
        f"{name} = {number(getattr(solver, name))}"
        for name in ("tol", "max_steps")
        if getattr(solver, name) != getattr(plain, name)
    ]
    return f"{solver.method}({', '.join(options)})" if options else solver.method


def _equation(
    program: Program, eq: Equation, extra: Extra, said: Collection[Equation]
) -> tuple[str, str, str]:
    """What stands before, in and after the right-hand side; ``said`` are the equations that have
    to tell their shape."""
    h = head(program, eq, extra)
    whole = parts(eq.rhs)[0] if eq.solver else eq.rhs
    rhs = broadcast_again(whole) if eq in said else without_broadcast(whole)
    rhs = subs_positions(rhs, h.pinned)
    v = program.vars[eq.name]
    if isinstance(rhs, Const) and not rhs.shape and v.type.kind == "int":
        text = constant(rhs, integers=False)[0]
    else:
        text = expression(rhs, h.scope)
    tail = f" for {', '.join(h.clauses)}" if h.clauses else ""
    return f"{h.left} = ", text, tail


def equation_text(program: Program, eq: Equation) -> str:
    """One equation on one line."""
    return "".join(_equation(program, eq, {}, set()))
