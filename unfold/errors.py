"""The exceptions a user can meet."""

from __future__ import annotations

from collections.abc import Iterable

from unfold.syntax.diagnostics import Diagnostic, render_all


class UnfoldError(Exception):
    """The base of every error that is about the user's program or data, never about this code."""


class RecError(UnfoldError):
    """A wrong program. `diagnostics` holds everything found in it, in the order of the text."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        return render_all(self.diagnostics)


class InputError(UnfoldError, ValueError):
    """A wrong argument of a call: names the argument, what was expected and what came."""
