"""From text to tree, past as many mistakes as there are.

Text becomes words (lalr.py), words become logical lines (lines.py), lines pass through the grammar
one by one (reader.py), and Lark's tree becomes ours (build.py). Each of these steps goes on after
a mistake, so that the tree holds all that was understood.
"""

from __future__ import annotations

from dataclasses import replace

from unfold.errors import RecError
from unfold.syntax import tree as t
from unfold.syntax.build import Builder
from unfold.syntax.diagnostics import Diagnostic, error, in_order
from unfold.syntax.lalr import words
from unfold.syntax.lines import logical_lines
from unfold.syntax.reader import Reader
from unfold.syntax.span import Source, Span


def parse(text: str, name: str = "<text>") -> t.File:
    """The tree of a text; `name` is what diagnostics call it.

    Raises `RecError` with every syntax error in the text.
    """
    file, diagnostics = parse_partial(text, name)
    if diagnostics:
        raise RecError(diagnostics)
    return file


def parse_partial(text: str, name: str = "<text>") -> tuple[t.File, tuple[Diagnostic, ...]]:
    """The tree of all that could be read, and every syntax error. Never raises.

    Lines that could not be read leave a `tree.Broken` in their model, or in the file.
    """
    source = Source(name, text)
    lines, found = logical_lines(words(text), source)
    reader = Reader(source, lines)
    reader.run()
    builder = Builder(source)
    file = builder.build(reader.result)
    diagnostics = [*found, *reader.diagnostics, *builder.diagnostics]
    if not file.models and not diagnostics:
        diagnostics.append(_no_model(source, file))
    return _with_broken(file, [*reader.broken, *builder.broken]), in_order(diagnostics)


def _no_model(source: Source, file: t.File) -> Diagnostic:
    what = "only `from` lines" if file.uses else "nothing but blanks and comments"
    return error(
        "E0101",
        "there is no model in this text",
        (Span(source, len(source.text), len(source.text)), what if source.text else "it is empty"),
        helps=["a model is written `model name(D, H):`, its statements indented below"],
    )


def _with_broken(file: t.File, pieces: list[t.Broken]) -> t.File:
    """The file with each broken piece in the model that it stands in."""
    starts = [model.name.span.start for model in file.models]
    own: list[list[t.Broken]] = [[] for _ in starts]
    rest = []
    for piece in sorted(pieces, key=lambda piece: piece.span.start):
        owner = sum(start <= piece.span.end for start in starts) - 1
        if owner < 0 or piece.span.text.startswith("from"):
            rest.append(piece)
        else:
            own[owner].append(piece)
    models = (replace(model, broken=tuple(b)) for model, b in zip(file.models, own, strict=True))
    return replace(file, models=tuple(models), broken=tuple(rest))
