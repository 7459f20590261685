"""Stage 8: causality. Is there an order in which everything can be computed?

`unfold.schedule` finds the order, or the cycle that forbids one; here the cycle is drawn into the
text, every read of it with its distance.
"""

from __future__ import annotations

from ..causality import CausalityError, Link
from ..program import Program
from ..schedule import schedule
from ..syntax.span import Span
from .report import Report
from .scope import Scope


def check(scope: Scope, program: Program) -> None:
    """Report the cycle of a program that no order serves."""
    try:
        schedule(program)
    except CausalityError as error:
        _report(scope.report, error, scope.model.name.span)


def _report(report: Report, error: CausalityError, fallback: Span) -> None:
    labels = []
    for link in error.cycle:
        span = _place(link) or fallback
        labels.append((span, _words(link)))
    names = list(dict.fromkeys(link.equation.name for link in error.cycle))
    steps = " -> ".join(_element(link) for link in error.cycle)
    first = error.cycle[0]
    closing = f"{steps} -> {_element(first)}"
    if error.kind == "instant":
        message = (
            f"`{names[0]}` depends on itself within one step"
            if len(names) == 1
            else f"{', '.join(f'`{n}`' for n in names)} depend on each other within one step"
        )
        scalar = not first.equation.indices
        cure = (
            "an equation says what a thing is: what stands on its left cannot be needed for it"
            if scalar
            else f"let one of the reads look at another step: `{_shifted(first)}`"
        )
        report.error(
            "E0501", message, *labels, notes=[f"the cycle: {closing}"], helps=[cure]
        )
        return
    report.error(
        "E0502",
        f"no direction of time serves {' and '.join(f'`{n}`' for n in names)}",
        *labels,
        notes=["some of these reads look back and others ahead, so that neither running forward "
               "nor running backward has what it needs"],
        helps=["split it into two variables, one that runs forward and one that runs backward"],
    )  # fmt: skip


def _words(link: Link) -> str:
    return f"{_element(link)} needs {_read(link)}{_distance(link)}"


def _element(link: Link) -> str:
    eq = link.equation
    if not eq.indices:
        return eq.name
    parts = []
    for i in eq.indices:
        at = eq.domain.fixed(i)
        parts.append(i if at is None else at.compact())
    return f"{eq.name}[{', '.join(parts)}]"


def _read(link: Link) -> str:
    index = ", ".join(p.compact() for p in link.read.ref.index)
    return f"{link.read.ref.name}[{index}]" if index else link.read.ref.name


def _distance(link: Link) -> str:
    said = []
    for index, span in link.distances.items():
        steps = span.exact
        if steps is None:
            said.append(f"{index}: varies")
        elif steps == 0:
            said.append(f"the same {index}")
        else:
            way = "back" if steps > 0 else "ahead"
            count = abs(steps)
            said.append(f"{count} {'step' if count == 1 else 'steps'} {way} in {index}")
    return f" ({', '.join(said)})" if said else ""


def _shifted(link: Link) -> str:
    index = link.read.ref.index
    if not index:
        return link.read.ref.name
    first = (index[0] - 1).compact()
    return f"{link.read.ref.name}[{', '.join([first, *(p.compact() for p in index[1:])])}]"


def _place(link: Link) -> Span | None:
    """The read in the text of its equation; the whole equation if it cannot be told."""
    span = link.equation.span
    return span if isinstance(span, Span) else None



