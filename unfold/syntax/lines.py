"""Logical lines: where statements begin and end, before the grammar reads them.

A line of the text is a statement, or the head of a block, and goes on as long as a bracket is open.
Here brackets are matched, indentation is measured, and the words that begin statements become
plain names wherever they stand later in a line (`sum(M, axis = 0)`, `solve(A, b)`).
"""

from __future__ import annotations

from dataclasses import dataclass

from unfold.syntax.diagnostics import TAB, Diagnostic, error
from unfold.syntax.lalr import Token
from unfold.syntax.span import Source, Span

BLOCKS = frozenset({"MODEL", "SOLVE", "FLOW"})
STARTERS = BLOCKS | {
    "FROM", "AXIS", "INPUT", "PARAM", "RANDOM", "CONST", "LET", "DER", "OUTPUT", "MINIMIZE",
}  # fmt: skip
#: Words of the language in the lines that begin so, and names in all others.
_INNER = {"FROM": {"SOLVE", "FLOW"}, "BY": {"SOLVE", "FLOW"}, "USE": {"FROM"}}
_CLOSING = {"(": ")", "[": "]"}
#: Deeper nesting helps no reader, and would exhaust the stacks of later stages.
DEEPEST = 100


@dataclass(frozen=True)
class Line:
    """One logical line: its words (at least one) and the columns it is indented by.

    A `problem` is a wrong bracket: the line is then not worth parsing.
    """

    tokens: tuple[Token, ...]
    indent: int
    problem: Diagnostic | None = None

    @property
    def first(self) -> str:
        """The type of its first word."""
        return str(self.tokens[0].type)

    @property
    def ends_with_colon(self) -> bool:
        return bool(self.tokens[-1] == ":")


def span_of(source: Source, *tokens: Token) -> Span:
    """From the first of the tokens to the last."""
    return Span(source, tokens[0].start_pos or 0, tokens[-1].end_pos or 0)


def logical_lines(tokens: list[Token], source: Source) -> tuple[list[Line], list[Diagnostic]]:
    """The lines, and what is wrong with the blanks before them."""
    lines: list[Line] = []
    current: list[Token] = []
    brackets: list[Token] = []
    problem: Diagnostic | None = None

    def finish() -> None:
        nonlocal current, problem
        if brackets and problem is None:
            problem = _unclosed(source, brackets[-1])
        if current:
            lines.append(Line(_demoted(current), _indent(source, current[0]), problem))
        current, problem = [], None
        brackets.clear()

    row = 0
    for i, token in enumerate(tokens):
        if (token.line or 0) > row:
            row = token.line or 0
            if not brackets or _begins_statement(tokens, i, current):
                finish()
        current.append(token)
        if token in _CLOSING:
            brackets.append(token)
            if len(brackets) > DEEPEST and problem is None:
                problem = too_deep(span_of(source, token))
        elif token in _CLOSING.values():
            opening = brackets.pop() if brackets else None
            if problem is None and (opening is None or _CLOSING[opening] != token):
                problem = _mismatched(source, opening, token)
    finish()
    return lines, _tabs(source, lines)


def too_deep(span: Span) -> Diagnostic:
    """The diagnostic for nesting beyond what any reader could follow."""
    return error(
        "E0117",
        "this is nested too deeply",
        (span, "one level too many"),
        helps=["give a name to a part of it, with an equation of its own or with `let`"],
    )


def _begins_statement(tokens: list[Token], i: int, current: list[Token]) -> bool:
    """Whether the line that begins with word `i`, though a bracket is open, is a new statement."""
    here = tokens[i]
    if current[0].type in BLOCKS and current[-1] == ":":
        return True
    row = [token for token in tokens[i : i + 40] if token.line == here.line]
    if len(row) < 2:
        return False
    if here.type in STARTERS:
        return row[1].type in ("NAME", "STRING") or row[1].type in STARTERS
    if here.type != "NAME":
        return False
    if row[1] == "=":
        return (here.column or 0) <= (current[0].column or 0)
    depth = 0
    for k, token in enumerate(row[1:], 1):
        depth += (token == "[") - (token == "]")
        if depth == 0:
            return k > 1 and k + 1 < len(row) and row[k + 1] == "="
    return False


def _demoted(tokens: list[Token]) -> tuple[Token, ...]:
    """The tokens, words of the language only where they can be ones."""
    opening = tokens[0].type
    depth = 0
    result = [tokens[0]]
    for token in tokens[1:]:
        depth += (token in _CLOSING) - (token in _CLOSING.values())
        inner = _INNER.get(token.type)
        if inner is not None:
            stays = opening in inner and depth == 0
        else:
            stays = token.type not in STARTERS
        result.append(token if stays else token.update(type="NAME"))
    if opening in ("USE", "BY"):
        result[0] = tokens[0].update(type="NAME")
    return tuple(result)


def _indent(source: Source, token: Token) -> int:
    blanks = source.text[source.line_starts[(token.line or 1) - 1] : token.start_pos]
    return len(blanks.replace("\ufeff", "").expandtabs(TAB))


def _unclosed(source: Source, opening: Token) -> Diagnostic:
    return error(
        "E0108",
        f"`{opening}` is never closed",
        (span_of(source, opening), f"no `{_CLOSING[opening]}` belongs to this"),
    )


def _mismatched(source: Source, opening: Token | None, closing: Token) -> Diagnostic:
    if opening is None:
        return error(
            "E0108",
            f"`{closing}` closes nothing",
            (span_of(source, closing), "no bracket is open here"),
        )
    return error(
        "E0108",
        f"`{opening}` is closed by `{closing}`",
        (span_of(source, closing), f"expected `{_CLOSING[opening]}`"),
        (span_of(source, opening), "to close this"),
    )


def _tabs(source: Source, lines: list[Line]) -> list[Diagnostic]:
    """One diagnostic for all tabs before statements: how wide they are is a matter of opinion."""
    spans = []
    for line in lines:
        start = source.line_starts[(line.tokens[0].line or 1) - 1]
        blanks = source.text[start : line.tokens[0].start_pos]
        if "\t" in blanks:
            at = start + blanks.index("\t")
            spans.append(Span(source, at, at + 1))
    if not spans:
        return []
    more = len(spans) - 1
    others = f"so {'are' if more > 1 else 'is'} {more} more line{'s' if more > 1 else ''}"
    return [
        error(
            "E0107",
            "a line is indented with a tab",
            (spans[0], "a tab"),
            notes=[others] if more else [],
            helps=["indent with spaces, four for each level"],
        )
    ]
