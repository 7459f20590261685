"""What only the numbers of the sizes can tell: whether `v[2]` exists when H is 2.

Shapes are checked for all sizes at once where that can be decided, which is nearly everywhere. A
component with a number is taken on trust until the size is fixed.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import RecError
from ..expr import Call, Const, Expr, Type, walk
from ..ops import OPS
from ..poly import ShapeError
from ..program import Program
from ..syntax.diagnostics import Diagnostic
from ..syntax.span import Span
from .report import Report
from .shapes import numbers_of


def check_fixed(program: Program, sizes: Mapping[str, int]) -> None:
    """Check a program whose ``sizes`` were fixed. Raises `RecError` naming equations and sizes."""
    report = Report()
    for eq in program.equations:
        why, cure = _misfit(eq.rhs), "count from the end: `v[-1]`"
        if why is None:
            why, cure = _outside(program.vars[eq.name].type, eq.rhs), "write a smaller number"
        if why is not None:
            named = {n: sizes[n] for n in sorted(sizes)}
            fixed = ", ".join(f"{n} = {v}" for n, v in named.items())
            place = [(eq.span, f"the equation for {eq.name}")] if isinstance(eq.span, Span) else []
            report.error(
                "E0306",
                f"with {fixed}, `{eq.name}` cannot be computed",
                *place,
                notes=[why],
                helps=[f"compile the model for larger sizes, or {cure}"],
            )
    found: list[Diagnostic] = report.all()
    if found:
        raise RecError(found)


def _outside(kind: Type, rhs: Expr) -> str | None:
    """Why a number of the text is no value of its variable's type."""
    if isinstance(rhs, Call) and rhs.op == "broadcast":
        return _outside(kind, rhs.args[0])
    if not isinstance(rhs, Const) or kind.kind != "int" or kind.bound is None:
        return None
    bound = kind.bound.constant
    wrong = [n for n in numbers_of(rhs.value) if bound is not None and not 0 <= n < bound]
    return f"{wrong[0]:g} is not one of 0..{bound - 1}" if wrong and bound is not None else None


def _misfit(rhs: Expr) -> str | None:
    """Why some operation inside does not fit its operands any more."""
    for node in walk(rhs):
        if isinstance(node, Call):
            try:
                shape, _ = OPS[node.op].infer(node.args, dict(node.attrs))
            except ShapeError as error:
                return str(error)
            if any(n.constant == 0 for n in shape):
                return "some vector would have no components"
    return None
