"""The plan: loops in order, storage, what is done once and what for each sequence.

`plan(program)` is the last stage that no backend owns. It is readable: ``print(plan(program))``.
"""

from __future__ import annotations

from .accumulate import accumulate
from .build import build as plan
from .copies import copies
from .factors import factors
from .forward import forward
from .fuse import fuse
from .hoist import hoist, steady
from .interchange import interchange
from .linear import linear
from .nodes import Buffer, Loop, Node, Plan, Result, Statement, statements
from .parts import parts
from .peel import peel
from .retime import retime
from .settle import settle
from .split import split
from .verify import PlanError, verify

__all__ = ["Buffer", "Loop", "Node", "Plan", "PlanError", "Result", "Statement", "accumulate",
           "copies", "factors", "forward", "fuse", "hoist", "interchange", "linear", "parts",
           "peel", "plan", "retime", "settle", "split", "statements", "steady",
           "verify"]  # fmt: skip
