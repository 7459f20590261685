"""A compiler for recurrences: from `.rec` equations to graphs, adjoints and native gradients."""

from __future__ import annotations

__version__ = "0.1.0"
