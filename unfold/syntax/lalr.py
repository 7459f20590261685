"""The grammar at work: Lark's lexer and LALR tables, built once.

Building the tables takes most of a tenth of a second, so they are kept in `unfold.cache`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import lru_cache

import lark
from lark import Lark, Token, Tree
from lark.parsers.lalr_interactive_parser import InteractiveParser

from unfold import cache
from unfold.grammar import text as grammar

__all__ = ["InteractiveParser", "Token", "Tree", "accepted", "fork", "new_parser", "words"]


class _KeepStrays:
    """Tells Lark's lexer to keep the two terminals that no rule accepts."""

    always_accept = ("UNICODE", "STRAY")

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        return stream


@lru_cache(maxsize=1)
def _lark() -> Lark:
    entry = cache.key("grammar", lark.__version__)
    kept = cache.get(entry)
    if kept is not None:
        return Lark.load(io.BytesIO(kept))
    made = Lark(
        grammar(),
        parser="lalr",
        lexer="basic",
        start="file",
        keep_all_tokens=True,
        maybe_placeholders=False,
        postlex=_KeepStrays(),
    )
    if entry is not None:
        # The tables hold the terminals that `_KeepStrays` is for.
        stream = io.BytesIO()
        made.save(stream, ("postlex",))
        cache.put(entry, stream.getvalue())
    return made


def words(text: str) -> list[Token]:
    """The words and signs of a text, without blanks, comments and line ends. Never fails."""
    return list(_lark().lex(text))


def new_parser() -> InteractiveParser:
    """A parser at the beginning of a file, to be fed with tokens."""
    return _lark().parse_interactive(start="file")


def fork(parser: InteractiveParser) -> InteractiveParser:
    """A second parser in the same state: what one is fed does not change the other."""
    twin: InteractiveParser = parser.copy(deepcopy_values=False)  # type: ignore[no-untyped-call]
    return twin


def accepted(parser: InteractiveParser) -> frozenset[str]:
    """The kinds of words that the parser would take next."""
    return frozenset(parser.accepts())  # type: ignore[no-untyped-call]
