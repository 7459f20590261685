"""Programs printed: as `.rec` text that parses again, and as LaTeX."""

from __future__ import annotations

from .latex import to_latex
from .program import to_rec

__all__ = ["to_latex", "to_rec"]
