"""Equations and their parts as text, and where they stand in the file."""

from __future__ import annotations

from collections.abc import Mapping

from ..domain import Domain
from ..expr import (
    INT,
    REAL,
    Call,
    Const,
    Expr,
    Guard,
    Position,
    Reduce,
    names,
    rewrite,
    subs_positions,
    walk,
)
from ..program import Equation, Program
from ..show import equation_text
from ..show.expressions import Scope, expression
from ..syntax.span import Span
from .report import Source
from .trace import Trace

#: Longer texts of operations are cut.
_LONG = 90


def at_point(program: Program, e: Expr, at: Mapping[str, int]) -> str:
    """An expression with positions as numbers: ``log(p[3])``."""
    if any(isinstance(n, (Guard, Reduce)) for n in walk(e)):
        return shortened(expression(e, Scope(program, tuple(at), Domain())))
    e = rewrite(subs_positions(e, dict(at)), _as_number)
    return shortened(expression(e, Scope(program, (), Domain())))


def _as_number(e: Expr) -> Expr:
    """A position that is known, and what is made a real number of it, as that number."""
    if isinstance(e, Position) and e.poly.constant is not None:
        return Const(e.poly.constant, (), INT)
    if isinstance(e, Call) and e.op == "real" and isinstance(e.args[0], Const):
        return Const(float(e.args[0].value), (), REAL) if not e.shape else e
    return e


def shortened(text: str) -> str:
    """One line, not too long."""
    text = " ".join(text.split())
    return text if len(text) <= _LONG else text[: _LONG - 1] + "…"


def adjoint_text(program: Program, eq: Equation) -> str:
    """An equation as the compiler prints it."""
    return " ".join(equation_text(program, eq).split())


def source_of(span: Span | None, text: str = "") -> Source | None:
    """Where an equation stands; if the text of a part of it is given and stands there just once,
    where that part stands."""
    if span is None or not span.source.text:
        return None
    start, end = span.start, span.end
    found = _within(span.text, text) if text else None
    if found is not None:
        start, end = span.start + found[0], span.start + found[1]
    line, column = span.source.position(start)
    shown = " ".join(span.text.split())
    return Source(shown, span.source.name, line, column, start, end, span.source.text)


def _within(text: str, part: str) -> tuple[int, int] | None:
    """Where ``part`` stands in ``text``, blanks aside, if it does just once."""
    places = [k for k, c in enumerate(text) if not c.isspace()]
    dense = "".join(text[k] for k in places)
    wanted = "".join(part.split())
    at = dense.find(wanted)
    if not wanted or at < 0 or dense.find(wanted, at + 1) >= 0:
        return None
    return places[at], places[at + len(wanted) - 1] + 1


def symbolic(program: Program, eq: Equation, trace: Trace) -> str:
    """The text of the operation at the end of a trace, as it may stand in the file."""
    bound = tuple(i for i in trace.end.at if i not in eq.indices)
    return expression(trace.end.expr, Scope(program, (*eq.indices, *bound), eq.domain))


def differentiated(
    forward: Program, adjoint: Program, eq: Equation, trace: Trace | None
) -> tuple[Span | None, str | None]:
    """Of an adjoint equation: where the equation stands whose derivative the fault is in, and the
    variable that it is differentiated in.

    ``x_bar`` is a sum of terms, one for each equation that reads ``x``; a term has the adjoint of
    what that equation defines as a factor, which says whose derivative it is.
    """
    of = adjoint.vars[eq.name].adjoint_of
    if of is None:
        return eq.span, None
    if of not in forward.vars:
        # A value inside an equation that was given a name.
        inside = [e.span for e in adjoint.equations if e.name == of and e.span is not None]
        return (inside[0] if inside else None), None
    term = eq.rhs
    if trace is not None:
        for place in trace.path:
            term = place.expr
            if not (isinstance(term, (Guard, Reduce)) or getattr(term, "op", "") in _SUMS):
                break
    back = {n for n in names(term) if n not in forward.vars}
    readers = [e for e in forward.equations if of in names(e.rhs) and e.span is not None]
    chosen = []
    for name in sorted(back):
        source = adjoint.vars[name].adjoint_of
        if source is None:
            spans = [e.span for e in adjoint.equations if e.name == name and e.span is not None]
            chosen += spans
        else:
            chosen += [e.span for e in readers if e.name == source]
    if not chosen:
        # The adjoint of a loss is 1, and what follows from that may have no variable of its own.
        known = {v.adjoint_of for v in adjoint.vars.values()}
        silent = [e.span for e in readers if e.name not in known]
        chosen = silent or [e.span for e in readers]
    return (chosen[0] if chosen else None), of


_SUMS = ("add", "sub", "neg")


__all__ = ["adjoint_text", "at_point", "differentiated", "shortened", "source_of", "symbolic"]
