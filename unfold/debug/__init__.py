"""Which value first became not a number, where, and from what."""

from __future__ import annotations

from .hunt import debug
from .report import Fault, Growth, Operation, Range, Read, Report, Source

__all__ = ["Fault", "Growth", "Operation", "Range", "Read", "Report", "Source", "debug"]
