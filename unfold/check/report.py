"""Collecting what is wrong, so that one run reports everything and nothing twice.

A stage that meets a mistake reports it and raises `Failed`; whoever called it goes on with the next
equation. What depends on something broken raises `Failed` as well, but says nothing: the reader has
one mistake to mend, not its echoes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches

from ..syntax.diagnostics import Diagnostic, Label, error, in_order, warning
from ..syntax.span import Span

Mark = tuple[Span, str]

#: Codes that say that a name means nothing.
UNKNOWN = frozenset(("E0201", "E0203", "E0205"))
#: Places that one diagnostic shows.
MOST = 6


class Failed(Exception):
    """Reported already, here or where the broken name was defined."""


class Report:
    """The diagnostics found so far."""

    def __init__(self) -> None:
        self.found: list[Diagnostic] = []
        self.muted = 0

    @property
    def errors(self) -> bool:
        """Whether anything but warnings was found."""
        return any(d.severity == "error" for d in self.found)

    def error(
        self,
        code: str,
        message: str,
        *labels: Mark | Span,
        notes: Iterable[str] = (),
        helps: Iterable[str] = (),
    ) -> Failed:
        """Note an error; returns what the caller may raise."""
        if not self.muted:
            self.found.append(error(code, message, *labels, notes=notes, helps=helps))
        return Failed()

    def warning(
        self,
        code: str,
        message: str,
        *labels: Mark | Span,
        notes: Iterable[str] = (),
        helps: Iterable[str] = (),
    ) -> None:
        """Note a warning."""
        if not self.muted:
            self.found.append(warning(code, message, *labels, notes=notes, helps=helps))

    def all(self) -> list[Diagnostic]:
        """Everything found, in the order of the text; one error for one place and code."""
        kept: dict[tuple[str, str, tuple[str, ...]], Diagnostic] = {}
        seen: set[tuple[str, Span | None]] = set()
        for d in in_order(self.found):
            place = (d.code, d.labels[0].span if d.labels else None)
            if place in seen:
                continue
            seen.add(place)
            # The same unknown name in several places is one mistake with several labels.
            where = "" if d.code in UNKNOWN else str(place)
            key = (where, d.message, d.helps)
            if key in kept:
                first = kept[key]
                again = tuple(Label(label.span) for label in d.labels)
                d = replace(first, labels=(*first.labels, *again)[:MOST])
            kept[key] = d
        return list(kept.values())


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant."""
    names = sorted(set(known))
    for other in names:
        if other.lower() == name.lower() and other != name:
            return other
    # Names of one letter resemble nothing; longer ones may have one wrong letter in four.
    close = get_close_matches(name, names, n=1, cutoff=0.7)
    return close[0] if close and len(name) > 1 else None


def listed(names: Iterable[str], last: str = "and") -> str:
    """`a`, `b` and `c`."""
    quoted = [f"`{n}`" for n in names]
    if len(quoted) < 2:
        return "".join(quoted)
    return f"{', '.join(quoted[:-1])} {last} {quoted[-1]}"


def plural(count: int, word: str) -> str:
    """`1 index`, `2 indices`."""
    irregular = {"index": "indices", "axis": "axes"}
    return f"{count} {word if count == 1 else irregular.get(word, word + 's')}"
