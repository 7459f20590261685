"""What the compiler has to say about a text, and how it is shown.

    error[E0301]: shapes do not fit in a matrix product
      --> gru.rec:12:20
       |
    12 |     z[t] = sigmoid(Wz @ h[t-1] + Uz @ x[t] + bz)
       |                    ^^ real[H, D]
       |                         ^^^^^^ real[H]
       |
       = Wz has D columns, and h[t-1] has H components
    help: did you mean `Wz @ x[t]`?

A label whose carets would run into the words of its left neighbour goes to a row of its own; labels
on other lines, or in other texts, show those lines too. The first label is the one the location
in the second row speaks of.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from unfold.syntax.span import Source, Span

Severity = Literal["error", "warning"]

#: How many columns a tab is shown as, and taken for.
TAB = 4
_COLOURS = {"error": "1;31", "warning": "1;33", "gutter": "1;34", "strong": "1", "help": "1;36"}


@dataclass(frozen=True)
class Label:
    """A place in a text and what is to be said beside it (nothing, if the carets say it all)."""

    span: Span
    text: str = ""


@dataclass(frozen=True)
class Diagnostic:
    """One finding: a code of `unfold.syntax.codes`, its places, what is known, what to do."""

    code: str
    severity: Severity
    message: str
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    helps: tuple[str, ...] = ()

    def __str__(self) -> str:
        return render(self)


def error(
    code: str,
    message: str,
    *labels: tuple[Span, str] | Span,
    notes: Iterable[str] = (),
    helps: Iterable[str] = (),
) -> Diagnostic:
    """An error; each label is a span, alone or with its words."""
    return Diagnostic(code, "error", message, _labels(labels), tuple(notes), tuple(helps))


def warning(
    code: str,
    message: str,
    *labels: tuple[Span, str] | Span,
    notes: Iterable[str] = (),
    helps: Iterable[str] = (),
) -> Diagnostic:
    """A warning; each label is a span, alone or with its words."""
    return Diagnostic(code, "warning", message, _labels(labels), tuple(notes), tuple(helps))


def _labels(labels: Sequence[tuple[Span, str] | Span]) -> tuple[Label, ...]:
    return tuple(Label(x) if isinstance(x, Span) else Label(*x) for x in labels)


def in_order(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """The diagnostics without repetitions, as they stand in the text."""

    def place(each: Diagnostic) -> tuple[str, int, str]:
        if not each.labels:
            return "", -1, each.code
        span = each.labels[0].span
        return span.source.name, span.start, each.code

    return tuple(sorted(dict.fromkeys(diagnostics), key=place))


def render(diagnostic: Diagnostic, color: bool = False) -> str:
    """The diagnostic as text of several lines, without a line end; `color` adds ANSI colours."""

    def paint(text: str, style: str) -> str:
        return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m" if color and text else text

    severity = diagnostic.severity
    head = paint(f"{severity}[{diagnostic.code}]", severity)
    rows = [head + paint(f": {diagnostic.message}", "strong")]
    labels = diagnostic.labels
    width = max((len(str(label.span.line)) for label in labels), default=1)
    bar = paint(" " * width + " |", "gutter")
    for number, source in enumerate(dict.fromkeys(label.span.source for label in labels)):
        here = [label for label in labels if label.span.source == source]
        line, column = source.position(here[0].span.start)
        arrow = "--> " if number == 0 else "::: "
        rows += [paint(" " * width + arrow, "gutter") + f"{source.name}:{line}:{column}", bar]
        previous: int | None = None
        here.sort(key=lambda label: (label.span.line, label.span.start, label.span.end))
        for line, group in groupby(here, key=lambda label: label.span.line):
            if previous is not None and line > previous + 1:
                rows.append(paint("...", "gutter"))
            text = _shown(source.line(line))
            rows.append(paint(f"{line:>{width}} |", "gutter") + (f" {text}" if text else ""))
            rows += [f"{bar} {paint(row, severity)}" for row in _caret_rows(source, line, group)]
            previous = line
    if labels and (diagnostic.notes or diagnostic.helps):
        rows.append(bar)
    for note in diagnostic.notes:
        first, *rest = note.splitlines()
        rows.append(paint(" " * width + " =", "gutter") + f" {first}")
        rows += [" " * (width + 3) + line for line in rest]
    for text in diagnostic.helps:
        first, *rest = text.splitlines()
        rows += [paint("help", "help") + f": {first}", *("      " + line for line in rest)]
    return "\n".join(row.rstrip() for row in rows)


def render_all(diagnostics: Iterable[Diagnostic], color: bool = False) -> str:
    """All of them, an empty line between two."""
    return "\n\n".join(render(each, color) for each in diagnostics)


def _caret_rows(source: Source, line: int, labels: Iterable[Label]) -> list[str]:
    """The rows under a line: carets under each span, and the labels' words behind them."""
    text = source.line(line)
    origin = source.line_starts[line - 1]
    rows: list[str] = []
    worded: list[bool] = []
    for label in labels:
        start = min(label.span.start - origin, len(text))
        end = min(label.span.end - origin, len(text))
        at = _width(text[:start])
        mark = "^" * max(1, _width(text[:end]) - at)
        fits = bool(rows) and len(rows[-1]) + (1 if worded[-1] else 0) <= at
        # A repeated place (two labels on one span) and an overlap both get a row of their own.
        if fits and rows[-1][at - 1 : at] != "^":
            rows[-1] = rows[-1].ljust(at) + mark
        else:
            rows.append(" " * at + mark)
            worded.append(False)
        if label.text:
            rows[-1] += f" {label.text}"
            worded[-1] = True
    return rows


def _shown(text: str) -> str:
    """A source line as it is printed: tabs as blanks, control characters as a sign."""
    shown = []
    column = 0
    for char in text:
        if char == "\t":
            piece = " " * (TAB - column % TAB)
        else:
            piece = "\N{REPLACEMENT CHARACTER}" if unicodedata.category(char)[0] == "C" else char
        shown.append(piece)
        column += len(piece) if char == "\t" else _char_width(char)
    return "".join(shown)


def _width(text: str) -> int:
    """How many columns of a terminal the beginning `text` of a line takes."""
    column = 0
    for char in text:
        column += TAB - column % TAB if char == "\t" else _char_width(char)
    return column


def _char_width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def to_json(diagnostic: Diagnostic) -> dict[str, Any]:
    """The diagnostic as plain data; lines and columns from 1, offsets from 0, ends excluded."""

    def point(source: Source, offset: int) -> dict[str, int]:
        line, column = source.position(offset)
        return {"line": line, "column": column, "offset": offset}

    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "labels": [
            {
                "file": label.span.source.name,
                "start": point(label.span.source, label.span.start),
                "end": point(label.span.source, label.span.end),
                "text": label.text,
            }
            for label in diagnostic.labels
        ],
        "notes": list(diagnostic.notes),
        "help": list(diagnostic.helps),
    }
