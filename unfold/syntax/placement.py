"""Lines in wrong places: not indented, indented too far, outside of any model."""

from __future__ import annotations

from unfold.syntax.diagnostics import Diagnostic, error
from unfold.syntax.foreign import WORDS
from unfold.syntax.lines import STARTERS, Line, span_of
from unfold.syntax.span import Source, Span

_MODEL = "a model begins with its name and sizes, and its body is indented:"
_BELOW_EACH_OTHER = "statements of one body stand below each other"


def goes_on(line: Line) -> bool:
    """Whether a line can only be the continuation of the one before."""
    if line.first == "NAME":
        return not any(token in ("=", ":") for token in line.tokens)
    return line.first not in STARTERS | {"UNICODE", "STRAY", "IF", "FOR"}


def missing_colon(source: Source, head: Line) -> Diagnostic:
    """`model m(D)` and nothing behind it."""
    end = head.tokens[-1].end_pos or 0
    return error(
        "E0104",
        f"the head of a `{head.tokens[0]}` ends with a colon",
        (Span(source, end, end), "expected `:`"),
    )


def no_body(source: Source, head: Line) -> Diagnostic:
    """A head that nothing belongs to."""
    return error(
        "E0105",
        f"this `{head.tokens[0]}` has no body",
        (span_of(source, *head.tokens), "nothing follows that is indented below it"),
        helps=["its statements stand on the next lines, indented by four spaces"],
    )


def body_not_indented(source: Source, head: Line, line: Line) -> Diagnostic:
    """A head and its first statement at the same margin."""
    return error(
        "E0105",
        f"the body of a `{head.tokens[0]}` is indented",
        (span_of(source, line.tokens[0]), "expected four spaces before this"),
        (span_of(source, *head.tokens), "in the body of this"),
    )


def too_far_left(source: Source, line: Line, width: int) -> Diagnostic:
    """A statement left of the body of its model, by so many columns."""
    return error(
        "E0103",
        "this statement stands outside of the model",
        (span_of(source, line.tokens[0]), "not indented like the lines above"),
        helps=[f"indent it by {width} spaces more if it belongs to the model above"],
    )


def in_between(source: Source, line: Line) -> Diagnostic:
    """A statement left of its body but right of what is around it."""
    return error(
        "E0106",
        "this indentation fits no line above",
        (span_of(source, line.tokens[0]), "neither in this body nor outside of it"),
        helps=[_BELOW_EACH_OTHER],
    )


def too_far_right(source: Source, line: Line) -> Diagnostic:
    """A statement, or the rest of one, that is indented more than the line above."""
    if goes_on(line):
        message, label = "a line goes on only while a bracket is open", "a new line begins here"
        help_ = "put `( … )` around an expression that needs several lines"
    else:
        message, label = "this line is indented too far", "deeper than the line above"
        help_ = _BELOW_EACH_OTHER
    return error("E0106", message, (span_of(source, line.tokens[0]), label), helps=[help_])


def nested(span: Span) -> Diagnostic:
    """A `model` or `from` line inside the body of a model."""
    return error(
        "E0106",
        f"a `{span.text}` line cannot stand inside a model",
        (span, "indented, so part of the model above"),
        helps=["begin it at the left margin"],
    )


def outside(source: Source, line: Line) -> Diagnostic:
    """A statement before any model."""
    text = source.line(line.tokens[0].line or 1).strip()
    return error(
        "E0103",
        "this statement stands outside of any model",
        (span_of(source, line.tokens[0]), "no model has begun"),
        helps=[f"{_MODEL}\nmodel name(D, H):\n    {text}"],
    )


def headless(source: Source, line: Line) -> Diagnostic:
    """`gru(D, H):` or `def gru(D, H):` where `model gru(D, H):` is meant."""
    words = line.tokens
    name = next((i for i, word in enumerate(words) if word == "("), len(words) - 1) - 1
    rest = span_of(source, words[max(name, 0)], words[-1]).text
    return error(
        "E0103",
        "a model begins with the word `model`",
        (span_of(source, *words[: max(name, 1)]), "expected `model`"),
        helps=[f"`model {rest}`"],
    )


def foreign_word(source: Source, line: Line) -> Diagnostic | None:
    """`import numpy` and its like before any model."""
    word = str(line.tokens[0])
    if word not in WORDS or not line.tokens[1:] or line.tokens[1] in ("=", "["):
        return None
    label = (span_of(source, line.tokens[0]), "a word of other languages")
    return error("E0112", f"no statement begins with `{word}`", label, helps=[WORDS[word]])
