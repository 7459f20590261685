"""A line that the grammar refuses: what was found, where, and what would have been taken."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from unfold.syntax.lalr import Token
from unfold.syntax.lines import Line, span_of
from unfold.syntax.span import Source, Span

#: Kinds of words that can end an expression.
OPERANDS = frozenset({"NAME", "NUMBER", "RPAR", "RSQB", "QUOTE"})


@dataclass(frozen=True)
class Trouble:
    """A line, the place in it that the grammar refuses, and what the grammar would have taken.

    `at` is the number of the refused word; it is the number of words if that is the line's end.
    """

    source: Source
    line: Line
    at: int
    accepts: frozenset[str]

    @property
    def words(self) -> tuple[Token, ...]:
        return self.line.tokens

    @property
    def found(self) -> Token | None:
        return self.words[self.at] if self.at < len(self.words) else None

    @property
    def before(self) -> Token | None:
        return self.words[self.at - 1] if self.at else None

    @property
    def after(self) -> Token | None:
        return self.words[self.at + 1] if self.at + 1 < len(self.words) else None

    @cached_property
    def span(self) -> Span:
        """Of what was found; the empty place behind the line, if that is its end."""
        if self.found is not None:
            return span_of(self.source, self.found)
        end = self.words[-1].end_pos or 0
        return Span(self.source, end, end)

    @cached_property
    def open(self) -> tuple[Token, ...]:
        """The brackets that are open at the place."""
        stack: list[Token] = []
        for token in self.words[: self.at]:
            if token in ("(", "["):
                stack.append(token)
            elif token in (")", "]") and stack:
                stack.pop()
        return tuple(stack)

    @cached_property
    def flat(self) -> tuple[Token, ...]:
        """The words before the place that stand in no bracket."""
        depth, words = 0, []
        for token in self.words[: self.at]:
            depth -= token in (")", "]")
            if depth == 0:
                words.append(token)
            depth += token in ("(", "[")
        return tuple(words)

    @property
    def wants_expression(self) -> bool:
        return {"NAME", "NUMBER", "LPAR"} <= self.accepts

    @property
    def wants_operator(self) -> bool:
        return "STAR" in self.accepts

    def text(self, i: int, j: int) -> str:
        """The text from word `i` up to, not with, word `j`."""
        return self.between(i, j).text if i < j else ""

    def between(self, i: int, j: int) -> Span:
        """The span of words `i` up to, not with, `j`."""
        return span_of(self.source, *self.words[i:j])

    def joined(self, i: int, j: int) -> str:
        """Words `i` up to `j`, if they stand without blanks between them; else ""."""
        if i < 0 or j > len(self.words):
            return ""
        words = self.words[i:j]
        closed = all(a.end_pos == b.start_pos for a, b in pairwise(words))
        return "".join(words) if closed else ""

    def closing(self, opening: int) -> int | None:
        """The number of the bracket that closes the one at word `opening`."""
        depth = 0
        for i, token in enumerate(self.words[opening:], opening):
            depth += (token in ("(", "[")) - (token in (")", "]"))
            if depth == 0:
                return i
        return None

    def expected(self) -> str:
        """What the grammar would take, in words."""
        accepts = set(self.accepts)
        if "MINIMIZE" in accepts:
            return "a statement"
        items = []
        if self.wants_expression:
            items.append("an expression")
        elif "NAME" in accepts:
            items.append("a name")
        if self.wants_operator:
            items.append("an operator")
            accepts -= {"LESSTHAN", "MORETHAN", "ELSE"}
        if self.wants_operator or self.wants_expression or accepts & _ENDS:
            accepts -= {"LSQB", "LPAR", "LESSTHAN"}
        items += [text for kind, text in _SIGNS.items() if kind in accepts]
        return " or ".join([", ".join(items[:-1]), *items[-1:]] if len(items) > 1 else items)


#: Where one of these can stand, the brackets and bounds that could stand before it go unmentioned.
_ENDS = {"COLON", "EQUAL", "TILDE", "BY", "FROM"}
_SIGNS = {
    "LSQB": "`[`", "LPAR": "`(`", "_NEWLINE": "the end of the line", "COLON": "`:`",
    "COMMA": "`,`", "RSQB": "`]`", "RPAR": "`)`", "EQUAL": "`=`", "TILDE": "`~`", "BY": "`by`",
    "FROM": "`from`", "USE": "`use`", "IN": "`in`", "RANGE": "`..`", "ELSE": "`else`",
    "SEMICOLON": "`;`", "STRING": "a file's name", "LESSTHAN": "`<`", "MORETHAN": "`>`",
}  # fmt: skip
