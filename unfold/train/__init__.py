"""Training: optimisers and schedules, the training step, and SciPy's methods for hard problems."""

from __future__ import annotations

from . import schedules
from .optimisers import SGD, Adam, AdamW, Optimiser, RMSprop
from .trainer import Trainer

__all__ = ["SGD", "Adam", "AdamW", "Optimiser", "RMSprop", "Trainer", "schedules"]
