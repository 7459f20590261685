"""Stage 8: causality. Is there an order in which everything can be computed?

`unfold.schedule` finds the order, or the cycle that forbids one; here the cycle is drawn into the
text, every read of it with its distance.
"""

from __future__ import annotations

from ..causality import CausalityError, Link
from ..program import Program
from ..schedule import schedule
from ..syntax.span import Span
from .report import listed
from .scope import Scope


def check(scope: Scope, program: Program) -> None:
    """Report the cycle of a program that no order serves."""
    try:
        schedule(program)
    except CausalityError as error:
        if error.kind == "instant":
            _instant(scope, program, error.cycle)
        else:
            _mixed(scope, error.cycle)


def _instant(scope: Scope, program: Program, cycle: tuple[Link, ...]) -> None:
    names = list(dict.fromkeys(link.equation.name for link in cycle))
    timeless = all(not link.equation.indices for link in cycle)
    step = "" if timeless else " within one step"
    message = (
        f"`{names[0]}` depends on itself{step}"
        if len(names) == 1
        else f"{listed(names)} depend on each other{step}"
    )
    path = " -> ".join(_element(link) for link in cycle)
    scope.report.error(
        "E0501",
        message,
        *_labels(scope, cycle),
        notes=[f"the cycle: {path} -> {_element(cycle[0])}"],
        helps=[_cure(program, cycle)],
    )


def _mixed(scope: Scope, cycle: tuple[Link, ...]) -> None:
    names = list(dict.fromkeys(link.equation.name for link in cycle))
    over = list(dict.fromkeys(i for link in cycle for i in link.distances))
    if len(over) < 2:
        what = f"no direction of time serves {listed(names)}"
        note = ("some of these reads look back and others ahead, so that neither running forward "
                "nor running backward has what it needs")  # fmt: skip
        cure = "split it into two variables, one that runs forward and one that runs backward"
    else:
        i, j = over[:2]
        what = f"no order serves {listed(names)}"
        note = (f"on each of {' and '.join(over)} some of these reads look back and others ahead, "
                f"and no diagonal `{i} + {j}`, `{i} - {j}`, `{i} + 2 * {j}`, … up to 3 has all of "
                "them on one side")  # fmt: skip
        cure = "let every read lie on one side of a line through the element that reads it"
    scope.report.error("E0502", what, *_labels(scope, cycle), notes=[note], helps=[cure])


def _labels(scope: Scope, cycle: tuple[Link, ...]) -> list[tuple[Span, str]]:
    """A label at each read of the cycle, those of the model's own text first."""
    labels = [(_place(scope, link), _words(link)) for link in cycle]
    own = scope.model.name.span.source
    return sorted(dict.fromkeys(labels), key=lambda label: label[0].source != own)


def _place(scope: Scope, link: Link) -> Span:
    """The read in the text of its equation; the whole equation for one of a sub-model."""
    ref, span = link.read.ref, link.equation.span
    d = scope.definitions.get(link.equation.name)
    for piece in d.pieces if d is not None else ():
        if piece.span == span:
            for site in piece.sites:
                if site.name == ref.name and (site.index == ref.index or len(piece.sites) == 1):
                    return site.span
    return span if isinstance(span, Span) else scope.model.name.span


def _words(link: Link) -> str:
    return f"{_element(link)} needs {_read(link)}{_distance(link)}"


def _element(link: Link) -> str:
    eq = link.equation
    if not eq.indices:
        return eq.name
    fixed = {i: eq.domain.fixed(i) for i in eq.indices}
    parts = [i if (at := fixed[i]) is None else at.compact() for i in eq.indices]
    return f"{eq.name}[{', '.join(parts)}]"


def _read(link: Link) -> str:
    index = ", ".join(p.compact() for p in link.read.ref.index)
    return f"{link.read.ref.name}[{index}]" if index else link.read.ref.name


def _distance(link: Link) -> str:
    """`, one step back`, `, of the same step`; for other indices than t their name is said."""
    said = []
    for index, span in link.distances.items():
        steps = span.exact
        step = "step" if index == "t" else index
        if steps == 0:
            said.append(f"of the same {step}")
        elif steps is not None:
            way = "back" if steps > 0 else "ahead"
            said.append(f"{abs(steps)} {step if abs(steps) == 1 else step + 's'} {way}")
    if link.read.bound and not said:
        said.append(f"of every {link.read.bound[0]}")
    return f", {' and '.join(said)}" if said else ""


def _cure(program: Program, cycle: tuple[Link, ...]) -> str:
    """Which of the reads was probably meant to look at the step before."""
    reduced = next((link for link in cycle if link.read.bound), None)
    if reduced is not None:
        return (f"{_element(reduced)} takes every {reduced.read.ref.name}, and each of them needs "
                "it first: let it take earlier steps only, or something else")  # fmt: skip
    indexed = [link for link in cycle if link.read.ref.index]
    if not indexed:
        return "an equation says what a name stands for: its right-hand side must not need it"
    # A state is what has a beginning: h[0] = ….
    states = [link for link in indexed if len(program.pieces(link.read.ref.name)) > 1]
    link = (states or indexed)[0]
    position, *rest = link.read.ref.index
    before = ", ".join([(position - 1).compact(), *(p.compact() for p in rest)])
    name = link.read.ref.name
    return f"let one of the reads look at the step before: `{name}[{before}]` for `{_read(link)}`"
