"""What can still be said of a statement that could not be read."""

from __future__ import annotations

from collections.abc import Sequence

from unfold.syntax import tree as t
from unfold.syntax.lalr import Token
from unfold.syntax.lines import STARTERS
from unfold.syntax.span import Source, Span

#: The name that stands for one that could not be read; no text can contain it.
LOST = "?"


def broken(source: Source, tokens: Sequence[Token]) -> t.Broken:
    """The names in it, as far as its signs tell which of them it defines: see `tree.Broken`."""
    names = [x for x in tokens if x.type == "NAME" and x != LOST]
    mentions = frozenset(str(x) for x in names)
    kind = tokens[0].type
    defines: set[str] = set()
    depth = 0
    for token in tokens:
        depth += (token in ("(", "[")) - (token in (")", "]"))
        if depth == 0 and (token in ("=", ":", "~") or token.type in ("BY", "FROM")):
            break
        if token in names and (depth == 0 or kind == "DER"):
            defines.add(str(token))
    else:
        # No sign says where the defined names end: any of them may be one.
        if kind not in STARTERS:
            defines = set(mentions)
        elif kind in ("OUTPUT", "MINIMIZE"):
            defines = set()
    if kind in ("MODEL", "FROM"):
        defines = set(mentions)
    elif kind in ("FOR", "IF", "ELSE"):
        defines = set()
    span = Span(source, tokens[0].start_pos or 0, tokens[-1].end_pos or 0)
    return t.Broken(frozenset(defines), mentions, str(tokens[0]), span=span)
