"""From the tree to the program. `stages` runs, for each model of a file:

names      who is who: sizes, lengths, indices, inputs, parameters, equations
instances  models inside models, and what they are given
pieces     for which indices each equation holds
shapes     shapes and types, by a least fixpoint, with the sizes of the models inside
reading    every right-hand side as an expression; what does not fit is reported
extents    ends that follow from what is read; the range that each variable is stored for
coverage   every element is defined exactly once, whatever the lengths (`gaps` says where not)
build      the `Program`, models inside inlined
order      causality: the loops exist, or the cycle is shown
usage      warnings

`elaborate` gives the program of a text, or raises `RecError` with everything that is wrong;
`check_text` lists all diagnostics, warnings included.
"""

from __future__ import annotations

from ..errors import RecError
from ..program import Program
from ..syntax import tree as t
from ..syntax.diagnostics import Diagnostic
from .library import Library

__all__ = ["check_text", "elaborate", "elaborate_files"]


def elaborate(source: str | t.File, name: str = "<text>", model: str | None = None) -> Program:
    """The program of a text (or of its tree); ``name`` is its path, for messages and `from` lines.

    ``model`` picks one of several models; the last one is the default. Raises `RecError`, and
    ``KeyError`` for a model that is not in the file.
    """
    return elaborate_files(source, name, model)[0]


def elaborate_files(
    source: str | t.File, name: str = "<text>", model: str | None = None
) -> tuple[Program, dict[str, str]]:
    """As `elaborate`, and the texts of the other files that the program was made of, by path."""
    library = Library(source, name)
    program = library.main(model)
    errors = [d for d in library.diagnostics() if d.severity == "error"]
    if errors or program is None:
        raise RecError(library.diagnostics())
    return program, library.all_files()


def check_text(text: str, name: str = "<text>") -> list[Diagnostic]:
    """Everything to be said about a text: errors and warnings, in the order of the text."""
    library = Library(text, name)
    library.main(None)
    return library.diagnostics()
