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

from unfold.syntax import placement
from unfold.syntax import tree as t
from unfold.syntax.diagnostics import Diagnostic
from unfold.syntax.foreign import comment
from unfold.syntax.hints import explain_trouble
from unfold.syntax.lalr import Token, accepted, fork, new_parser
from unfold.syntax.lines import BLOCKS, Line, span_of
from unfold.syntax.lost import LOST, broken
from unfold.syntax.span import Source
from unfold.syntax.trouble import Trouble


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
            self._close(self.head, self.mended)
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
            self._close(head, mended, line)
        elif line.indent > top.indent:
            if excused is None:
                self.diagnostics.append(placement.too_far_right(self.source, line))
                excused = _Level(0, fed=False, silent=placement.goes_on(line))
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
                self.diagnostics.append(placement.in_between(self.source, line))
            return False
        if len(self.levels) == 2 and level.fed and not opens_entry:
            width = level.indent - line.indent
            self.diagnostics.append(placement.too_far_left(self.source, line, width))
            level.flat, level.indent = True, line.indent
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
                self.diagnostics.append(placement.missing_colon(self.source, line))
                self._feed("COLON", ":", line.tokens[-1])
                self._feed("_NEWLINE")
                self.head, self.mended = line, True
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

    # Lines in wrong places ----------------------------------------------------------------------

    def _close(self, head: Line, mended: bool, line: Line | None = None) -> None:
        """Give a head without an indented body one; `line` is what follows it."""
        self._feed("_INDENT")
        if line is None or line.first in ("MODEL", "FROM") or head.first != "MODEL":
            self._feed("_DEDENT")
            trouble = placement.no_body(self.source, head)
        else:
            self.levels.append(_Level(self.levels[-1].indent, flat=True))
            trouble = placement.body_not_indented(self.source, head, line)
        if not mended:
            self.diagnostics.append(trouble)

    def _nested(self, line: Line) -> None:
        """`model` inside the body of a model: it is taken as standing outside."""
        while len(self.levels) > 1:
            self._leave()
        self.levels.append(_Level(line.indent, fed=False))
        self.outside = True
        self.diagnostics.append(placement.nested(span_of(self.source, line.tokens[0])))

    def _stray(self, trouble: Trouble, deeper: bool) -> None:
        """A line outside of any model that is neither a model nor a `from` line."""
        line = trouble.line
        if line.ends_with_colon and deeper:
            self.diagnostics.append(placement.headless(self.source, line))
            self._lose(line)
            self._make_up(line, ["MODEL", LOST, ":"])
            return
        foreign = comment(trouble) or placement.foreign_word(self.source, line)
        if foreign is not None:
            self.diagnostics.append(foreign)
            self._lose(line)
            return
        if not self.outside and trouble.found and trouble.found.type not in ("UNICODE", "STRAY"):
            self.outside = True
            self.diagnostics.append(placement.outside(self.source, line))
        # Read it, and what follows, as the body of a model that has no name.
        self._make_up(line, ["MODEL", LOST, ":"])
        self.head = None
        self._feed("_INDENT")
        self.levels.append(_Level(line.indent, flat=True))
        self._read(line, deeper)


def _newline(line: Line) -> Token:
    return Token.new_borrow_pos("_NEWLINE", "", line.tokens[-1])
