"""Training: optimisers and schedules, the training step, and SciPy's methods for hard problems."""

from __future__ import annotations

from . import schedules
from .minimise import Minimum, minimize
from .optimisers import SGD, Adam, AdamW, Optimiser, RMSprop
from .trainer import Trainer

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Minimum",
    "Optimiser",
    "RMSprop",
    "Trainer",
    "minimize",
    "schedules",
]
