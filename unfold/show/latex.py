r"""Programs as LaTeX: one ``align*`` environment, for amsmath and amssymb.

Every op has its form in its record (`unfold.ops.Op.latex`); here stand the brackets, the letters
and what has a notation of its own: products, powers, components, pieces.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..domain import Domain
from ..expr import Call, Const, Expr, Guard, Position, Reduce, Ref, subs_positions
from ..implicit import parts
from ..ops import OPS
from ..poly import Poly
from ..program import Equation, Program
from .domains import LATEX, comparisons
from .expressions import Scope, alternatives, number
from .order import sections
from .program import head
from .shapes import without_broadcast
from .symbols import symbol

ANY, TRUTH, RELATION, SUM, PRODUCT, FACTOR, POWER, ATOM = 0, 2, 4, 5, 6, 7, 8, 10

#: Binding of the result and of each operand, for ops whose form has no brackets of its own.
LEVELS: dict[str, tuple[int, tuple[int, ...]]] = {
    "add": (SUM, (SUM, SUM)),
    "sub": (SUM, (SUM, PRODUCT)),
    "neg": (SUM, (PRODUCT,)),
    "mul": (PRODUCT, (PRODUCT, PRODUCT)),
    "chain_rule": (PRODUCT, (PRODUCT, PRODUCT)),
    "div": (PRODUCT, (ANY, ANY)),
    "matmul": (PRODUCT, (PRODUCT, PRODUCT)),
    "outer": (PRODUCT, (POWER, POWER)),
    "transpose": (POWER, (ATOM,)),
    "solve": (PRODUCT, (ATOM, FACTOR)),
    "inv": (POWER, (ATOM,)),
    "pow": (POWER, (ATOM, ANY)),
    "mod": (PRODUCT, (FACTOR, FACTOR)),
    "exp_diff": (PRODUCT, (SUM, PRODUCT)),
    "floordiv": (ATOM, (FACTOR, FACTOR)),
    "sum": (PRODUCT, (PRODUCT,)),
    "max": (PRODUCT, (FACTOR,)),
    "min": (PRODUCT, (FACTOR,)),
    "argmax": (PRODUCT, (FACTOR,)),
    "scatter": (PRODUCT, (FACTOR, ANY)),
    "and": (TRUTH, (TRUTH, TRUTH)),
    "or": (1, (1, TRUTH)),
    "not": (TRUTH, (RELATION,)),
} | dict.fromkeys(("lt", "le", "gt", "ge", "eq", "ne"), (RELATION, (SUM, SUM)))

#: Ops that leave no trace in a formula.
SILENT = frozenset({"real", "broadcast"})

_PI = {math.pi: r"\pi", -math.pi: r"-\pi", 2 * math.pi: r"2 \pi", -2 * math.pi: r"-2 \pi"}

REDUCTIONS = {"sum": r"\sum", "max": r"\max", "min": r"\min",
              "logsumexp": r"\operatorname*{logsumexp}"}  # fmt: skip


class Latex(str):
    """LaTeX as text, which a notebook shows as formulas."""

    __slots__ = ()

    def _repr_latex_(self) -> str:
        return str(self)


def to_latex(program: Program) -> Latex:
    r"""The equations of a program as an ``align*`` environment, ending in a line end.

    Boundary values come first and the adjoint under a heading of its own, as in `to_rec`.
    """
    rows: list[str] = []
    for section in sections(program):
        if section.title:
            # `\intertext` would be nicer, but notebooks (MathJax, KaTeX) do not know it.
            rows.append(rf"&\textit{{{section.title.capitalize()}}} \\")
        rows += [_equation(program, eq) + r" \\" for eq in section.equations]
    if rows:
        rows[-1] = rows[-1].removesuffix(r" \\")
    lines = [r"\begin{align*}", *(f"  {row}" for row in rows), r"\end{align*}", ""]
    return Latex("\n".join(lines))


def _equation(program: Program, eq: Equation) -> str:
    shown = head(program, eq, {})
    v = program.vars[eq.name]
    left = _symbol(program, eq.name, len(v.shape), [p.compact() for p in eq.element])
    rhs = parts(eq.rhs)[0] if eq.solver else eq.rhs
    right = formula(subs_positions(without_broadcast(rhs), shown.pinned), shown.scope)
    if isinstance(eq.rhs, Call) and eq.rhs.op == "broadcast" and right in ("0", "1"):
        right = rf"\mathbf{{{right}}}"
    where = _where(program, eq, shown.scope)
    if eq.solver is not None:
        where = rf"\text{{solved for }} {left}" + (rf",\ {where}" if where else "")
    return f"{left} &= {right}" + (rf" && {where}" if where else "")


def _where(program: Program, eq: Equation, scope: Scope) -> str:
    """For which indices the equation holds, pinned ones left out."""
    free = [i for i in eq.indices if eq.domain.fixed(i, program.given) is None]
    pinned = {i: p for i in eq.indices if (p := eq.domain.fixed(i, program.given)) is not None}
    domain = eq.domain.subs(pinned)
    texts = comparisons(domain, program.given, tuple(reversed(free)), signs=LATEX)
    return r",\ ".join(texts)


def _symbol(program: Program, name: str, rank: int, index: Sequence[str]) -> str:
    """The formula for a variable; a parameter `h0` beside a sequence `h` is not its element 0."""
    path, dot, last = name.rpartition(".")
    base, *parts = last.split("_")
    other = program.vars.get(path + dot + "_".join([base.rstrip("0123456789"), *parts]))
    return symbol(name, rank, index, whole=other is not None and bool(other.axes))


def formula(e: Expr, scope: Scope, least: int = ANY) -> str:
    """``e`` as a formula, in brackets if it binds looser than ``least``."""
    text, level = _spell(e, scope)
    return rf"\left({text}\right)" if level < least else text


def _spell(e: Expr, scope: Scope) -> tuple[str, int]:
    if isinstance(e, Const):
        return _constant(e)
    if isinstance(e, Position):
        return _position(e.poly)
    if isinstance(e, Ref):
        at = [p.compact() for p in e.index]
        return _symbol(scope.program, e.name, len(e.shape), at), ATOM
    if isinstance(e, Reduce):
        inner = scope.under(e)
        return rf"{_under(e, scope)} {formula(e.body, inner, PRODUCT)}", PRODUCT
    if isinstance(e, Guard):
        return rf"\left[{_condition(e.domain, scope)}\right] " + formula(
            e.body, scope.under(e), PRODUCT
        ), PRODUCT
    assert isinstance(e, Call)
    branches = alternatives(e, scope)
    if branches is not None:
        rows = [
            f"{formula(b.body, scope.under(b))} & {_condition(b.domain, scope)}" for b in branches
        ]
        return r"\begin{cases} " + r" \\ ".join(rows) + r" \end{cases}", ATOM
    return _call(e, scope)


def _constant(e: Const) -> tuple[str, int]:
    if isinstance(e.value, tuple):
        return _array(e.value), ATOM
    value = float(e.value)
    if value in (float("inf"), -float("inf")):
        return (r"\infty" if value > 0 else r"-\infty"), ATOM if value > 0 else SUM
    if value in _PI:
        return _PI[value], ATOM if value > 0 else SUM
    text = number(value)
    if "e" in text:
        digits, _, power = text.partition("e")
        factor = "" if digits == "1" else rf"{digits} \cdot "
        return rf"{factor}10^{{{int(power)}}}", PRODUCT if value > 0 else SUM
    return text, ATOM if value >= 0 else SUM


def _array(value: object) -> str:
    if not isinstance(value, tuple):
        assert isinstance(value, (bool, int, float))
        return number(value)
    if any(isinstance(v, tuple) for v in value):
        rows = [" & ".join(map(_array, v if isinstance(v, tuple) else (v,))) for v in value]
        return r"\begin{bmatrix} " + r" \\ ".join(rows) + r" \end{bmatrix}"
    return r"\left(" + ", ".join(map(_array, value)) + r"\right)"


def _position(p: Poly) -> tuple[str, int]:
    text = str(p).replace("*", " ")
    if len(p.terms) > 1 or text.startswith("-"):
        return text, SUM
    return text, ATOM if p.as_symbol or p.constant is not None else PRODUCT


def _condition(domain: Domain, scope: Scope) -> str:
    context = scope.domain & scope.program.given
    order = scope.order
    texts = comparisons(domain, context, order, strict=True, signs=LATEX)
    return r",\ ".join(texts or comparisons(domain, Domain(), order, strict=True, signs=LATEX))


def _under(e: Reduce, scope: Scope) -> str:
    """The sign of a reduction and what it runs over: ``\\sum_{t=1}^{T}``, ``\\sum_{s \\le t}``."""
    sign = REDUCTIONS[e.op]
    context = scope.domain & scope.program.given
    if len(e.indices) == 1:
        (i,) = e.indices
        try:
            low, high = e.domain.gist(context).bounds(i)
        except ValueError:
            low, high = (), ()
        if len(low) == len(high) == 1 and not (low[0].symbols | high[0].symbols) & set(
            scope.indices
        ):
            return f"{sign}_{{{i}={low[0].compact()}}}^{{{high[0].compact()}}}"
    known = context
    for i in e.indices:
        default = scope.default(i)
        if e.domain.subset(default, context):
            known = known & default
    order = (*reversed(e.indices), *scope.order)
    texts = comparisons(e.domain, known, order, strict=True, signs=LATEX)
    said = " ".join(texts)
    alone = [i for i in e.indices if i not in said.replace("\\le", "").split()]
    return f"{sign}_{{{', '.join([*alone, *texts])}}}"


def _call(e: Call, scope: Scope) -> tuple[str, int]:
    if e.op in SILENT:
        return _spell(e.args[0], scope)
    if e.op == "mul":
        return _product(e, scope), PRODUCT
    if e.op == "matmul":
        left, right = (formula(a, scope, PRODUCT) for a in e.args)
        if len(e.args[0].shape) == 1:
            left = _raised(formula(e.args[0], scope, ATOM), r"\top")
        return rf"{left}\, {right}", PRODUCT
    if e.op == "transpose":
        return _raised(formula(e.args[0], scope, ATOM), r"\top"), POWER
    if e.op == "outer":
        left, right = (formula(a, scope, ATOM) for a in e.args)
        return left + r"\, " + _raised(right, r"\top"), PRODUCT
    if e.op == "pow":
        power = formula(e.args[1], scope)
        if e.shape:
            power = rf"\odot {power}"
        return _raised(formula(e.args[0], scope, ATOM), power), POWER
    if e.op in ("take", "slice"):
        return _component(e, scope), ATOM
    if e.op in ("concat", "stack"):
        rows = r" \\ ".join(formula(a, scope) for a in e.args)
        return rf"\begin{{bmatrix}} {rows} \end{{bmatrix}}", ATOM
    if e.op == "div" and _is_total(e.args[0]) and isinstance(e.args[1], (Position, Const)):
        share = rf"\frac{{1}}{{{formula(e.args[1], scope)}}}"
        return rf"{share} {formula(e.args[0], scope, PRODUCT)}", PRODUCT
    if e.op == "sum" and (vectors := _inner(e.args[0])):
        row, column = vectors
        lying = _raised(formula(row, scope, ATOM), r"\top")
        return rf"{lying}\, {formula(column, scope, PRODUCT)}", PRODUCT
    if (square := _squared(e)) is not None:
        norm = rf"\left\lVert {formula(square, scope)} \right\rVert"
        return norm + ("^{2}" if len(square.shape) == 1 else "_{F}^{2}"), POWER
    level, least = LEVELS.get(e.op, (ATOM, (ANY,) * len(e.args)))
    args = [formula(a, scope, k) for a, k in zip(e.args, least, strict=True)]
    return OPS[e.op].latex.format(*args), level


def _is_total(e: Expr) -> bool:
    """Whether an expression is spelled with a sign of summation, which a mean stands before."""
    if isinstance(e, Call) and e.op == "sum":
        return _squared(e) is None and not _inner(e.args[0])
    return isinstance(e, Reduce) and e.op == "sum"


def _inner(e: Expr) -> tuple[Expr, Expr] | None:
    """The two vectors that are multiplied component by component, if it is so."""
    if isinstance(e, Call) and e.op == "mul" and all(len(a.shape) == 1 for a in e.args):
        return e.args[0], e.args[1]
    return None


def _squared(e: Expr) -> Expr | None:
    """The vector or matrix whose squared norm an expression is, if it is one."""
    if not isinstance(e, Call) or e.op != "sum" or e.shape:
        return None
    power = e.args[0]
    if not isinstance(power, Call) or power.op != "pow" or power.args[1] != Const(2.0):
        return None
    return power.args[0] if 1 <= len(power.args[0].shape) <= 2 else None


def _product(e: Call, scope: Scope) -> str:
    """``2\\, h``, ``a \\cdot 2``, and ``\\odot`` between vectors."""
    left, right = (formula(a, scope, PRODUCT) for a in e.args)
    if e.args[0].shape and e.args[1].shape:
        return rf"{left} \odot {right}"
    if right[:1].isdigit():
        return rf"{left} \cdot {right}"
    return rf"{left}\, {right}"


def _raised(base: str, power: str) -> str:
    """A superscript; a base that has one already goes into braces."""
    return f"{{{base}}}^{{{power}}}" if "^" in base else f"{base}^{{{power}}}"


def _component(e: Call, scope: Scope) -> str:
    """Components as further subscripts: ``v_{k}``, ``h_{t,0}``, ``B_{:,k}``."""
    if e.op == "take":
        chosen = formula(e.args[1], scope)
    else:
        chosen = f"{e.attr('lo').compact()}:{e.attr('hi').compact()}"
    index = [":"] * e.attr("axis") + [chosen]
    base = e.args[0]
    if isinstance(base, Ref):
        positions = [p.compact() for p in base.index]
        rank = len(base.shape) if e.op == "slice" else len(base.shape) - 1
        return _symbol(scope.program, base.name, rank, [*positions, *index])
    return rf"{formula(base, scope, ATOM + 1)}_{{{','.join(index)}}}"
