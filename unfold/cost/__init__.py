"""What a model costs before it runs: parameters, operations, bytes."""

from __future__ import annotations

from .bill import Costs, Memory, Side, costs, total_work
from .work import Work

__all__ = ["Costs", "Memory", "Side", "Work", "costs", "total_work"]
