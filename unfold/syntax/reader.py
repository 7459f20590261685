"""Line by line through the grammar, past as many mistakes as there are.

The words of a file are fed to the LALR parser one logical line after the other. When it refuses
one, the line becomes a diagnostic and a `tree.Broken`, the parser goes back to where the line
began, and reading goes on with the next; a broken head of a block is replaced by a made-up one, so
that its body is read too. Indentation that fits nothing is reported and then taken as it was meant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from lark.exceptions import UnexpectedToken

from unfold.syntax import tree as t
from unfold.syntax.build import LOST, broken
from unfold.syntax.diagnostics import Diagnostic, error
from unfold.syntax.foreign import WORDS, comment
from unfold.syntax.hints import explain_trouble, nested
from unfold.syntax.lalr import Token, accepted, fork, new_parser
from unfold.syntax.lines import BLOCKS, STARTERS, Line, span_of
from unfold.syntax.span import Source, Span
from unfold.syntax.trouble import Trouble

_MODEL = "a model begins with its name and sizes, and its body is indented:"


@dataclass
class _Level:
    """A depth of indentation.

    `fed` says whether the parser knows of it; a `silent` one holds only what follows from a
    mistake, and is not read; a `flat` one is the body of a model that should have been indented.
    """

    indent: int
    fed: bool = True
    silent: bool = False
    flat: bool = False


class Reader:
    """One pass over the lines of one text: `run`, then take the results."""

    def __init__(self, source: Source, lines: list[Line]) -> None:
        self.source = source
        self.lines = lines
        self.parser = new_parser()
        self.levels = [_Level(lines[0].indent if lines else 0)]
        self.head: Line | None = None  # the line before, if it opened a block
        self.mended = False  # whether that head has been complained about already
        self.excused: _Level | None = None  # the level that a mistake before has earned
        self.outside = False  # whether a statement outside of any model has been reported
        self.diagnostics: list[Diagnostic] = []
        self.broken: list[t.Broken] = []
        self.result: Any = None

    def run(self) -> None:
        for number, line in enumerate(self.lines):
            after = self.lines[number + 1] if number + 1 < len(self.lines) else None
            deeper = after is not None and after.indent > line.indent
            self._settle(line, deeper)
            self._read(line, deeper)
        if self.head is not None:
            self._bodiless(self.head, self.mended)
        while len(self.levels) > 1:
            self._leave()
        self.result = self.parser.feed_token(Token("$END", ""))

    # Indentation --------------------------------------------------------------------------------

    def _settle(self, line: Line, deeper: bool) -> None:
        """Enter or leave levels until the parser stands where `line` does."""
        head, self.head = self.head, None
        mended, self.mended = self.mended, False
        excused, self.excused = self.excused, None
        if line.first == "MODEL" and head is None and len(self.levels) > 1:
            if line.indent > self.levels[0].indent:
                self._nested(line)
        top = self.levels[-1]
        if head is not None and line.indent > top.indent:
            self._feed("_INDENT")
            self.levels.append(_Level(line.indent))
            return
        if head is not None:
            self._bodiless(head, mended, line)
        elif line.indent > top.indent:
            if excused is None:
                self._unexpected_indent(line)
                excused = _Level(0, fed=False, silent=_goes_on(line))
            self.levels.append(replace(excused, indent=line.indent))
            return
        while self._ends_level(line, deeper):
            self._leave()

    def _ends_level(self, line: Line, deeper: bool) -> bool:
        if len(self.levels) == 1:
            return False
        level, outer = self.levels[-1], self.levels[-2]
        opens_entry = line.first in ("MODEL", "FROM") or (line.ends_with_colon and deeper)
        if level.flat:
            level.indent = min(level.indent, line.indent)
            return opens_entry
        if line.indent >= level.indent:
            return False
        if line.indent > outer.indent:
            if not level.silent:
                self._between(line)
            return False
        if len(self.levels) == 2 and level.fed and not opens_entry:
            self._outdented(line)
            return False
        return True

    def _leave(self) -> None:
        if self.levels.pop().fed:
            self._feed("_DEDENT")

    def _feed(self, kind: str, text: str = "", like: Token | None = None) -> None:
        """Give the parser a token that is not in the text."""
        token = Token.new_borrow_pos(kind, text, like) if like else Token(kind, text)
        self.parser.feed_token(token)

    # Lines --------------------------------------------------------------------------------------

    def _read(self, line: Line, deeper: bool) -> None:
        if self.levels[-1].silent:
            self._lose(line)
            return
        before = fork(self.parser)
        if line.problem is not None:
            self.diagnostics.append(line.problem)
            self._recover(line, deeper)
            return
        at = 0
        try:
            for at, token in enumerate((*line.tokens, _newline(line))):  # noqa: B007
                self.parser.feed_token(token)
        except UnexpectedToken:
            # The parser has gone on as far as it could before it refused: go back to ask it.
            self.parser = fork(before)
            for token in line.tokens[:at]:
                self.parser.feed_token(token)
            accepts = accepted(self.parser)
            if at == len(line.tokens) and line.first in BLOCKS and "COLON" in accepts:
                self._missing_colon(line)
                return
            self.parser = before
            trouble = Trouble(self.source, line, at, accepts)
            if "MODEL" in accepted(before) and line.first not in ("MODEL", "FROM"):
                self._stray(trouble, deeper)
            else:
                self._report(trouble)
                self._recover(line, deeper)
            return
        if line.first in BLOCKS:
            self.head = line

    def _report(self, trouble: Trouble) -> None:
        diagnostic = explain_trouble(trouble)
        self.diagnostics.append(diagnostic)
        if diagnostic.code == "E0114" and trouble.found is None:
            self.excused = _Level(0, fed=False, silent=True)

    def _recover(self, line: Line, deeper: bool) -> None:
        """Stand where the parser would have stood after a right line of this kind."""
        self._lose(line)
        outermost = "MODEL" in accepted(self.parser)
        if line.first == "MODEL" and outermost:
            name = next((x for x in line.tokens[1:2] if x.type == "NAME"), None)
            self._make_up(line, ["MODEL", str(name or LOST), ":"])
        elif line.first in BLOCKS and deeper and not outermost:
            way = ["SOLVE", LOST] if line.first == "SOLVE" else ["FLOW", LOST, "from", LOST]
            self._make_up(line, [*way, "by", LOST, ":"])
        elif line.ends_with_colon and self.excused is None:
            self.excused = _Level(0, fed=False)

    def _make_up(self, line: Line, texts: list[str]) -> None:
        kinds = {"from": "FROM", "by": "BY", ":": "COLON", texts[0]: texts[0]}
        for text in texts:
            self._feed(kinds.get(text, "NAME"), text, line.tokens[0])
        self._feed("_NEWLINE")
        self.head, self.mended = line, True

    def _lose(self, line: Line) -> None:
        self.broken.append(broken(self.source, line.tokens))

    # What can be wrong with the place of a line -------------------------------------------------

    def _missing_colon(self, line: Line) -> None:
        self._feed("COLON", ":", line.tokens[-1])
        self._feed("_NEWLINE")
        self.head, self.mended = line, True
        end = line.tokens[-1].end_pos or 0
        self.diagnostics.append(
            error(
                "E0104",
                f"the head of a `{line.tokens[0]}` ends with a colon",
                (Span(self.source, end, end), "expected `:`"),
            )
        )

    def _bodiless(self, head: Line, mended: bool, line: Line | None = None) -> None:
        """A head without an indented body; `line` is the one that follows it."""
        what = f"`{head.tokens[0]}`"
        span = span_of(self.source, *head.tokens)
        self._feed("_INDENT")
        if line is None or line.first in ("MODEL", "FROM") or head.first != "MODEL":
            self._feed("_DEDENT")
            trouble = error(
                "E0105",
                f"this {what} has no body",
                (span, "nothing follows that is indented below it"),
                helps=["its statements stand on the next lines, indented by four spaces"],
            )
        else:
            self.levels.append(_Level(self.levels[-1].indent, flat=True))
            trouble = error(
                "E0105",
                f"the body of a {what} is indented",
                (span_of(self.source, line.tokens[0]), "expected four spaces before this"),
                (span, "in the body of this"),
            )
        if not mended:
            self.diagnostics.append(trouble)

    def _outdented(self, line: Line) -> None:
        """A statement that stands left of its model's body: it is taken as part of it."""
        level = self.levels[-1]
        wide = level.indent - line.indent
        level.flat, level.indent = True, line.indent
        self.diagnostics.append(
            error(
                "E0103",
                "this statement stands outside of the model",
                (span_of(self.source, line.tokens[0]), "not indented like the lines above"),
                helps=[f"indent it by {wide} spaces more if it belongs to the model above"],
            )
        )

    def _between(self, line: Line) -> None:
        """A statement left of its body but right of what is around it: it is taken as inside."""
        self.diagnostics.append(
            error(
                "E0106",
                "this indentation fits no line above",
                (span_of(self.source, line.tokens[0]), "neither in this body nor outside of it"),
                helps=["statements of one body stand below each other"],
            )
        )

    def _nested(self, line: Line) -> None:
        """`model` inside the body of a model: it is taken as standing outside."""
        while len(self.levels) > 1:
            self._leave()
        self.levels.append(_Level(line.indent, fed=False))
        self.outside = True
        self.diagnostics.append(nested(span_of(self.source, line.tokens[0])))

    def _unexpected_indent(self, line: Line) -> None:
        if _goes_on(line):
            message, words = "a line goes on only while a bracket is open", "a new line begins here"
            help_ = "put `( … )` around an expression that needs several lines"
        else:
            message, words = "this line is indented too far", "deeper than the line above"
            help_ = "statements of one body stand below each other"
        label = (span_of(self.source, line.tokens[0]), words)
        self.diagnostics.append(error("E0106", message, label, helps=[help_]))

    def _stray(self, trouble: Trouble, deeper: bool) -> None:
        """A line outside of any model that is neither a model nor a `from` line."""
        line = trouble.line
        if line.ends_with_colon and deeper:
            self.diagnostics.append(self._headless(line))
            self._lose(line)
            self._make_up(line, ["MODEL", LOST, ":"])
            return
        foreign = comment(trouble) or _foreign_word(self.source, line)
        if foreign is not None:
            self.diagnostics.append(foreign)
            self._lose(line)
            return
        if not self.outside and trouble.found and trouble.found.type not in ("UNICODE", "STRAY"):
            self.outside = True
            text = self.source.line(line.tokens[0].line or 1).strip()
            self.diagnostics.append(
                error(
                    "E0103",
                    "this statement stands outside of any model",
                    (span_of(self.source, line.tokens[0]), "no model has begun"),
                    helps=[f"{_MODEL}\nmodel name(D, H):\n    {text}"],
                )
            )
        for text, kind in (("model", "MODEL"), (LOST, "NAME"), (":", "COLON")):
            self._feed(kind, text, line.tokens[0])
        self._feed("_NEWLINE")
        self._feed("_INDENT")
        self.levels.append(_Level(line.indent, flat=True))
        self._read(line, deeper)

    def _headless(self, line: Line) -> Diagnostic:
        """`gru(D, H):` or `def gru(D, H):` where `model gru(D, H):` is meant."""
        name = next((i for i, x in enumerate(line.tokens) if x == "("), len(line.tokens) - 1) - 1
        span = span_of(self.source, *line.tokens[: max(name, 1)])
        rest = self.source.text[line.tokens[max(name, 0)].start_pos : line.tokens[-1].end_pos]
        return error(
            "E0103",
            "a model begins with the word `model`",
            (span, "expected `model`"),
            helps=[f"`model {rest}`"],
        )


def _foreign_word(source: Source, line: Line) -> Diagnostic | None:
    """`import numpy` and its like outside of any model."""
    word = str(line.tokens[0])
    if word not in WORDS or not line.tokens[1:] or line.tokens[1] in ("=", "["):
        return None
    label = (span_of(source, line.tokens[0]), "a word of other languages")
    return error("E0112", f"no statement begins with `{word}`", label, helps=[WORDS[word]])


def _newline(line: Line) -> Token:
    return Token.new_borrow_pos("_NEWLINE", "", line.tokens[-1])


def _goes_on(line: Line) -> bool:
    """Whether a line can only be the continuation of the one before."""
    if line.first == "NAME":
        return not any(token in ("=", ":") for token in line.tokens)
    return line.first not in STARTERS | {"UNICODE", "STRAY", "IF", "FOR"}
