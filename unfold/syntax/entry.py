"""What the catalogue of diagnostics is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One diagnostic code: a title, a paragraph that teaches, a wrong text and a right one.

    The texts are whole `.rec` files; `bad` gives this code when it is checked, `cure` gives none.
    """

    code: str
    title: str
    explanation: str
    bad: str
    cure: str
