"""From the tree to the program: the stages of the check, in order.

`elaborate` reads a text and gives the `Program` of its main model, or raises `RecError` with
everything that is wrong. `check_text` only lists the diagnostics, warnings included.
"""

from __future__ import annotations

from ..errors import RecError
from ..program import Program
from ..syntax import tree as t
from ..syntax.diagnostics import Diagnostic
from .library import Library

__all__ = ["check_text", "elaborate"]


def elaborate(source: str | t.File, name: str = "<text>", model: str | None = None) -> Program:
    """The program of a text (or of its tree); ``name`` is its path, for messages and `from` lines.

    ``model`` picks one of several models; the last one is the default. Raises `RecError`, and
    ``KeyError`` for a model that is not in the file.
    """
    library = Library(source, name)
    program = library.main(model)
    errors = [d for d in library.diagnostics() if d.severity == "error"]
    if errors or program is None:
        raise RecError(library.diagnostics())
    return program


def check_text(text: str, name: str = "<text>") -> list[Diagnostic]:
    """Everything to be said about a text: errors and warnings, in the order of the text."""
    library = Library(text, name)
    library.main(None)
    return library.diagnostics()
