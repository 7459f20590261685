"""Who has a name already, and what to say to the second one who wants it."""

from __future__ import annotations

from ..syntax import tree as t
from ..syntax.span import Span
from .report import Failed, listed
from .scope import Scope
from .spelling import CONSTANTS


def where_defined(scope: Scope, name: str) -> Span | None:
    """The place of a name's first definition, if it has one."""
    for table in (scope.sizes, scope.declared):
        if name in table:
            return table[name]
    if name in scope.definitions:
        return scope.definitions[name].span
    if name in scope.lets:
        return scope.lets[name].name.span
    if name in scope.constants:
        return scope.constants[name].name.span
    if name in scope.lengths and name != "T":
        return scope.lengths[name]
    return None


def is_free(scope: Scope, name: t.Name) -> bool:
    """Whether a name is not taken yet; says so if it is."""
    text = name.text
    if text in CONSTANTS:
        scope.lost |= {text}
        scope.report.error(
            "E0202", f"`{text}` is a constant of the language", (name.span, "choose another name")
        )
        return False
    if text == "T" or text in scope.lengths:
        scope.report.error(
            "E0202",
            f"`{text}` is the length of an axis, known when the model is called",
            (name.span, "choose another name"),
            helps=["the length `T` of `t` is there from the start"] if text == "T" else (),
        )
        return False
    if text == "t" and "t" not in scope.declared:
        scope.report.error(
            "E0202", "`t` is the index of the steps", (name.span, "choose another name")
        )
        return False
    before = where_defined(scope, text)
    if before is not None:
        defined_twice(scope, text, name.span, before)
        return False
    return True


def defined_twice(scope: Scope, name: str, one: Span, other: Span) -> Failed:
    """Report two definitions of a name; nothing is said of its uses then."""
    if name not in scope.sizes:
        scope.lost |= {name}
    first, again = sorted((one, other), key=lambda span: span.start)
    return scope.report.error(
        "E0202",
        f"`{name}` is defined twice",
        (again, "here again"),
        (first, "first here"),
        helps=["give one of them another name"],
    )


def forbid_circles(scope: Scope) -> None:
    """Report constants and shorthands that are defined by themselves."""
    import networkx as nx

    inlined: dict[str, t.Const | t.Let] = {**scope.constants, **scope.lets}
    needs: nx.DiGraph[str] = nx.DiGraph()
    for name, statement in inlined.items():
        for node in t.walk(statement.value):
            if isinstance(node, t.Name) and node.text in inlined:
                needs.add_edge(name, node.text)
    for members in nx.strongly_connected_components(needs):
        if len(members) == 1 and not needs.has_edge(*members, *members):
            continue
        circle = [n for n in inlined if n in members]
        recurrent = any(isinstance(inlined[n], t.Let) and inlined[n].name.indices for n in circle)  # type: ignore[union-attr]
        scope.lost |= members
        scope.report.error(
            "E0211",
            f"{listed(circle)} {'is' if len(circle) == 1 else 'are'} defined by "
            + ("itself" if len(circle) == 1 else "each other"),
            *((inlined[n].name.span, "put in place of its name, again and again" if k == 0 else "")
              for k, n in enumerate(circle)),
            helps=[f"a recurrence is an equation, without `let`: `{circle[0]}[t] = …`"]
            if recurrent else (),
        )  # fmt: skip
