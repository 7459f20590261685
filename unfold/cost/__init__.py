"""What a model costs before it runs: parameters, operations, bytes."""

from __future__ import annotations

from .bill import Costs, Side, costs
from .work import Work

__all__ = ["Costs", "Side", "Work", "costs"]
