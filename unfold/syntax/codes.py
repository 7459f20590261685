"""The catalogue of diagnostics: what each code means, a text that earns it, and its cure.

    E01xx  the text (codes_text.py)           E05xx  order, causality (codes_elements.py)
    E02xx  names, models (codes_names.py)     E06xx  types (codes_types.py)
    E03xx  shapes, sizes (codes_shapes.py)    E070x  implicit equations (codes_solve.py)
    E04xx  elements (codes_elements.py)       E071x  flows (codes_flow.py)
    W08xx  warnings (codes_warnings.py)

A new diagnostic gets its entry in one of those tables, and nothing else: a test sees to it that
every `bad` text earns its own code, that every `cure` is clean, and that no stage uses a code that
is not explained here.
"""

from __future__ import annotations

from textwrap import dedent, indent

from unfold.syntax.codes_elements import ELEMENTS
from unfold.syntax.codes_flow import FLOW
from unfold.syntax.codes_names import NAMES
from unfold.syntax.codes_shapes import SHAPES
from unfold.syntax.codes_solve import SOLVE
from unfold.syntax.codes_text import TEXT
from unfold.syntax.codes_types import TYPES
from unfold.syntax.codes_warnings import WARNINGS
from unfold.syntax.entry import Entry

_TABLES = (TEXT, NAMES, SHAPES, ELEMENTS, TYPES, SOLVE, FLOW, WARNINGS)
CODES: dict[str, Entry] = {entry.code: entry for table in _TABLES for entry in table}


def bad_text(entry: Entry) -> str:
    """The wrong text of an entry, as a file would hold it."""
    return _plain(entry.bad) + "\n"


def cure_text(entry: Entry) -> str:
    """The right text of an entry, as a file would hold it."""
    return _plain(entry.cure) + "\n"


def explain(code: str) -> str:
    """What there is to say about a code, as text to print. Raises `KeyError` for an unknown one."""
    entry = CODES[code.upper()]
    return (
        f"{entry.code}: {entry.title}\n\n{_plain(entry.explanation)}\n\n"
        f"This is wrong:\n\n{indent(bad_text(entry), '    ')}\n"
        f"This is right:\n\n{indent(cure_text(entry), '    ')}"
    )


def _plain(text: str) -> str:
    return dedent(text).strip("\n").rstrip()
