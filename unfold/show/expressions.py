"""Expressions as `.rec` text, spelt by the table of `unfold.check.spelling`.

Brackets stand where Python's precedence needs them, and where `@` meets `*` or `/`, which people
read differently. Guards become `a if t < T else b`, or `(a if t == 4 else 0)` when alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..check.spelling import ATOM, BRACKETS, CALLS, CONDITIONAL, INFIX, POSTFIX, PREFIX
from ..domain import Domain
from ..expr import (
    Attr,
    Call,
    Const,
    Expr,
    Guard,
    Position,
    Reduce,
    Ref,
    fresh,
    subs_positions,
)
from ..poly import Poly
from ..program import Program
from .domains import by_symbol, comparisons, range_of

SUM, PRODUCT, FACTOR, POWER, POST = 5, 6, 7, 8, 9

#: Ops whose literals are integers when every other operand is one.
MEETING = frozenset(
    "add sub mul floordiv mod maximum minimum lt le gt ge eq ne where stack concat".split()
)


@dataclass(frozen=True)
class Scope:
    """What is known where an expression stands.

    Attributes:
        program: for the declared ranges of indices.
        indices: the bound indices, outermost first.
        domain: what holds of them there.
        extra: indices that only the text needs, with their ranges; filled while printing.
        ranges: as ``domain``, without the guards around the expression.
    """

    program: Program
    indices: tuple[str, ...]
    domain: Domain
    extra: dict[str, tuple[Poly, Poly]] = field(default_factory=dict)
    ranges: Domain | None = None

    @property
    def order(self) -> tuple[str, ...]:
        """Symbols in the order in which comparisons are solved for them: innermost first."""
        return (*reversed(self.indices), *self.program.lengths)

    def under(self, node: Guard | Reduce) -> Scope:
        """The scope of the body of a guard or a reduction."""
        ranges = self.domain if self.ranges is None else self.ranges
        if isinstance(node, Guard):
            return replace(self, domain=self.domain & node.domain, ranges=ranges)
        return replace(
            self,
            indices=self.indices + node.indices,
            domain=self.domain & node.domain,
            ranges=ranges & node.domain,
        )

    def default(self, index: str) -> Domain:
        """The declared range of an index; empty constraints if it is unknown."""
        bounds = self.program.indices.get(index) or self.extra.get(index)
        return Domain() if bounds is None else Domain.range(index, *bounds)

    def another(self, index: str) -> str:
        """An index with the range of ``index`` whose name is free here."""
        bounds = self.program.indices.get(index) or self.extra[index]
        for name, other in {**self.program.indices, **self.extra}.items():
            if other == bounds and name not in self.indices:
                return name
        name = fresh(index, {*self.program.indices, *self.extra, *self.program.vars})
        self.extra[name] = bounds
        return name


def expression(e: Expr, scope: Scope, least: int = CONDITIONAL) -> str:
    """``e`` as text, in brackets if it binds looser than ``least``."""
    text, level = _spell(e, scope)
    return f"({text})" if level < least else text


def _spell(e: Expr, scope: Scope) -> tuple[str, int]:
    if isinstance(e, Const):
        return constant(e, integers=False)
    if isinstance(e, Position):
        return position(e.poly)
    if isinstance(e, Ref):
        index = ", ".join(p.compact() for p in e.index)
        return (f"{e.name}[{index}]" if e.index else e.name), ATOM
    if isinstance(e, Reduce):
        return _reduction(e, scope), ATOM
    if isinstance(e, Guard):
        return _guard(e, scope)
    assert isinstance(e, Call)
    branches = alternatives(e, scope)
    if branches is not None:
        yes, no = branches
        then = expression(yes.body, scope.under(yes), CONDITIONAL + 1)
        otherwise = expression(no.body, scope.under(no))
        return f"{then} if {condition(yes.domain, scope)} else {otherwise}", CONDITIONAL
    return _call(e, scope)


# --- numbers and positions --------------------------------------------------------------------


def number(value: float | int | bool) -> str:
    """The shortest text that reads as the same number; no point where none is needed."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if value == float("inf") or value == -float("inf") or value != value:
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        # The sign of a negative zero must not be lost.
        return "-0.0" if str(value) == "-0.0" else str(int(value))
    return repr(value)


def constant(e: Const, integers: bool) -> tuple[str, int]:
    """A constant; ``integers`` says whether a literal without a point would be read as an int."""
    if isinstance(e.value, tuple):
        return _list(e.value, point=e.type.kind == "real"), ATOM
    if e.shape:
        shape = _shape(e.shape)
        return f"broadcast({constant(Const(e.value, (), e.type), False)[0]}, {shape})", ATOM
    if e.type.kind == "int":
        text = str(int(e.value))
        if not integers:
            return f"int({text})", ATOM
    elif e.type.kind == "bool":
        return number(bool(e.value)), ATOM
    else:
        text = number(float(e.value))
        if integers and text.lstrip("-").isdigit():
            text += ".0"
    return text, FACTOR if text.startswith("-") else ATOM


def _list(value: object, point: bool) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_list(v, point) for v in value) + "]"
    assert isinstance(value, (bool, int, float))
    return repr(float(value)) if point and not isinstance(value, bool) else number(value)


def position(p: Poly) -> tuple[str, int]:
    """An index, or an affine expression of indices, as a value."""
    if p.constant is not None:
        return f"int({p.constant})", ATOM
    if len(p.terms) > 1:
        return str(p), SUM
    (mono, coef) = p.terms[0]
    return str(p), ATOM if coef == 1 and len(mono) == 1 else FACTOR if coef == -1 else PRODUCT


def _shape(shape: tuple[Poly, ...]) -> str:
    return "[" + ", ".join(str(n) for n in shape) + "]"


# --- reductions and guards --------------------------------------------------------------------


def _reduction(e: Reduce, scope: Scope) -> str:
    clash = {i: scope.another(i) for i in e.indices if i in scope.indices}
    if clash:
        body = subs_positions(e.body, clash)
        domain = e.domain.subs(clash)
        e = Reduce(e.op, tuple(clash.get(i, i) for i in e.indices), domain, body)
    inner = scope.under(e)
    return f"{e.op}[{', '.join(binders(e, scope))}]({expression(e.body, inner)})"


def binders(e: Reduce, scope: Scope) -> list[str]:
    """What stands between the brackets of a reduction."""
    context = scope.domain & scope.program.given
    members: list[str] = []
    known = context
    for i in e.indices:
        default = scope.default(i)
        if default.constraints and e.domain.subset(default, context):
            known = known & default
            continue
        found = range_of(i, e.domain, context)
        if found is None:
            continue
        lo, hi = found
        members.append(f"{i} in {lo.compact()}..{hi.compact()}")
        known = known & Domain.range(i, lo, hi)
    order = (*reversed(e.indices), *scope.order)
    conditions = by_symbol(e.domain, known, order, strict=True)
    said = {symbol for symbol, _ in conditions} | {m.split()[0] for m in members}
    alone = [i for i in e.indices if i not in said]
    return [*alone, *members, *(text for _, text in conditions)]


def condition(domain: Domain, scope: Scope) -> str:
    """The condition of a guard."""
    context = scope.domain & scope.program.given
    order = scope.order
    texts = comparisons(domain, context, order, strict=True)
    # A guard that always holds is still a guard: say one of its constraints.
    return " and ".join(texts or comparisons(domain, Domain(), order, strict=True))


def _guard(e: Guard, scope: Scope) -> tuple[str, int]:
    if not e.domain.constraints:
        return _spell(e.body, scope)
    then = expression(e.body, scope.under(e), CONDITIONAL + 1)
    return f"{then} if {condition(e.domain, scope)} else 0", CONDITIONAL


def alternatives(e: Call, scope: Scope) -> tuple[Guard, Guard] | None:
    """The two guards of ``a if t < T else b``: their sum, when exactly one of them holds."""
    if e.op != "add" or not all(isinstance(a, Guard) for a in e.args):
        return None
    yes, no = e.args
    assert isinstance(yes, Guard)
    assert isinstance(no, Guard)
    # Who reads `else` knows the ranges of the indices, but not the conditions around it.
    context = scope.program.given & (scope.domain if scope.ranges is None else scope.ranges)
    if not (yes.domain & no.domain).is_empty(context):
        return None
    rest = context.minus(yes.domain)
    if len(rest) != 1 or not rest[0].subset(no.domain):
        return None
    return yes, no


# --- calls ------------------------------------------------------------------------------------


def _call(e: Call, scope: Scope) -> tuple[str, int]:
    if e.op in INFIX:
        return _infix(e, scope)
    if e.op in PREFIX:
        sign, level = PREFIX[e.op]
        space = " " if sign.isalpha() else ""
        return f"{sign}{space}{_operand(e, 0, scope, level)}", level
    if e.op in POSTFIX:
        sign, level = POSTFIX[e.op]
        return f"{_operand(e, 0, scope, level)}{sign}", level
    if e.op in ("take", "slice"):
        return _component(e, scope), POST
    args = [_operand(e, k, scope, CONDITIONAL) for k in range(len(e.args))]
    if e.op in ("maximum", "minimum"):
        return f"{CALLS[e.op].partition('(')[0]}({', '.join(_several(e, args, scope))})", ATOM
    if e.op == "concat" and e.attr("axis") == 0 and len(args) > 1:
        return "[" + "; ".join(args) + "]", ATOM
    attrs = dict(e.attrs)
    template = BRACKETS.get(e.op) or CALLS[e.op]
    if "axis" in attrs and _axis_is_plain(e, attrs["axis"]):
        template = template.replace(", axis = {axis}", "")
    words: Mapping[str, str] = {k: _attribute(v) for k, v in attrs.items()}
    return template.replace("{*}", ", ".join(args)).format(*args, **words), ATOM


def _several(e: Call, args: list[str], scope: Scope) -> list[str]:
    """The operands of `max(a, b, c)`, which is `max(max(a, b), c)`; integers are left apart, for
    what a literal means depends on what it meets."""
    left = e.args[0]
    if isinstance(left, Call) and left.op == e.op and all(a.is_real for a in left.args):
        inner = [_operand(left, k, scope, CONDITIONAL) for k in range(2)]
        return [*_several(left, inner, scope), args[1]]
    return args


def _infix(e: Call, scope: Scope) -> tuple[str, int]:
    sign, level = INFIX[e.op]
    if e.op == "pow":
        left, right = POST, FACTOR
    elif level == INFIX["lt"][1]:
        left = right = SUM
    else:
        left, right = level, level + 1
    texts = []
    for k, least in enumerate((left, right)):
        inner = e.args[k]
        if isinstance(inner, Call) and _confusing(e.op, inner.op):
            least = FACTOR
        texts.append(_operand(e, k, scope, least))
    return f"{texts[0]} {sign} {texts[1]}", level


def _confusing(outer: str, inner: str) -> bool:
    """`a * W @ b` and `W @ a * b` are clear to a machine only."""
    return (
        "matmul" in (outer, inner)
        and {outer, inner} <= {"matmul", "mul", "div"}
        and (outer != inner)
    )


def _operand(e: Call, k: int, scope: Scope, least: int) -> str:
    a = e.args[k]
    if isinstance(a, Const) and not isinstance(a.value, tuple) and not a.shape:
        text, level = constant(a, integers=_meets_integers(e, k))
        return f"({text})" if level < least else text
    return expression(a, scope, least)


def _meets_integers(e: Call, k: int) -> bool:
    """Whether a literal as operand ``k`` would be read as an integer."""
    if e.op not in MEETING:
        return False
    others = [
        a
        for j, a in enumerate(e.args)
        if j != k and not isinstance(a, Const) and not (e.op == "where" and j == 0)
    ]
    return bool(others) and all(a.type.kind == "int" for a in others)


def _component(e: Call, scope: Scope) -> str:
    base = _operand(e, 0, scope, POST)
    before = ":, " * e.attr("axis")
    if e.op == "take":
        at = e.args[1]
        chosen = str(int(at.value)) if isinstance(at, Const) else expression(at, scope)
        return f"{base}[{before}{chosen}]"
    lo, hi = e.attr("lo"), e.attr("hi")
    return f"{base}[{before}{lo.compact()}:{hi.compact()}]"


def _axis_is_plain(e: Call, axis: int | None) -> bool:
    """Whether the attribute ``axis`` has the value that it has when nothing is said."""
    if e.op in ("pad", "scatter"):
        return axis == 0
    if e.op in ("softmax", "log_softmax") and len(e.args[0].shape) == 1:
        return axis == 0
    return axis is None


def _attribute(value: Attr) -> str:
    if isinstance(value, tuple):
        return _shape(value)
    return str(value)
