"""Checkpoints: a sequence in segments, so that the memory of a gradient grows as its square root.

A program is *cut* (`cut`) into programs for one segment, which `Swept` runs forward, keeping the
states at the borders only, and backward, where each segment's states are computed once more from
those at its border (Griewank and Walther, "Algorithm 799: revolve", 2000; Chen, Xu, Zhang and
Guestrin, "Training deep nets with sublinear memory cost", 2016).
"""

from __future__ import annotations

from .checkpoints import checkpointed
from .cut import cut
from .kernel import Backend, Kernel
from .parts import Cut
from .schedule import Schedule, schedule

__all__ = ["Backend", "Cut", "Kernel", "Schedule", "checkpointed", "cut", "schedule"]
