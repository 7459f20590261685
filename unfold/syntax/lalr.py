"""The grammar at work: Lark's lexer and LALR tables, built once.

Building the tables takes most of a tenth of a second, so Lark keeps them in a file of the user's
own cache folder, under a digest of the grammar and of Lark's and Python's versions. Lark rebuilds
what it cannot read there; without a folder that can be written, they are built in every process.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import platformdirs
from lark import Lark, Token, Tree
from lark.parsers.lalr_interactive_parser import InteractiveParser

from unfold.grammar import text as grammar

__all__ = ["InteractiveParser", "Token", "Tree", "accepted", "fork", "new_parser", "words"]


class _KeepStrays:
    """Tells Lark's lexer to keep the two terminals that no rule accepts."""

    always_accept = ("UNICODE", "STRAY")

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        return stream


@lru_cache(maxsize=1)
def _lark() -> Lark:
    cache: str | bool = False
    try:
        folder = platformdirs.user_cache_path("unfold", appauthor=False)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        cache = str(folder / "grammar.lark")
    except OSError:
        pass
    return Lark(
        grammar(),
        parser="lalr",
        lexer="basic",
        start="file",
        keep_all_tokens=True,
        maybe_placeholders=False,
        postlex=_KeepStrays(),
        cache=cache,
    )


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
