"""Systems of many components: operations on tiles, one row for each sequence of the batch."""

from __future__ import annotations

from .generate import generate

__all__ = ["generate"]
