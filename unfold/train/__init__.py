"""Training: optimisers and schedules, the training step, the loop of epochs around it, and SciPy's
methods for hard problems."""

from __future__ import annotations

from . import schedules
from .fitting import Fit, fit
from .interrupt import Interrupted
from .minimise import Minimum, minimize
from .optimisers import SGD, Adam, AdamW, Optimiser, RMSprop
from .trainer import Trainer

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Fit",
    "Interrupted",
    "Minimum",
    "Optimiser",
    "RMSprop",
    "Trainer",
    "fit",
    "minimize",
    "schedules",
]
