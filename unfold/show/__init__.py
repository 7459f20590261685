"""Programs printed: as `.rec` text that parses again, and as LaTeX."""

from __future__ import annotations

from .latex import Latex, to_latex
from .program import equation_text, to_rec

__all__ = ["Latex", "equation_text", "to_latex", "to_rec"]
