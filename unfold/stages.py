"""The pipeline on one page.

    text -> parse -> check -> simplify -> plan -> llvm -> asm
                       └── adjoint, tangent -> simplify -> …

Every stage is a line of `STAGES`: its name, what it makes of the one before, and how the result is
shown. `unfold.program.verify` runs after each stage that makes a program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .program import Program, verify

if TYPE_CHECKING:
    from .syntax.diagnostics import Diagnostic


def front(
    text: str, name: str = "<text>", model: str | None = None
) -> tuple[Program, tuple[Diagnostic, ...]]:
    """The program of a text, and the warnings. Raises `RecError` with every mistake."""
    from .check import elaborate
    from .syntax.parse import parse

    tree = parse(text, name)
    program = verify(elaborate(tree, name, model))
    return program, ()
