"""What the tests of steppers share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
RANDOM = np.random.default_rng(0)
BACKENDS = ["numpy", "llvm"]
#: Pieces, a condition on the position, and the number of the step.
PIECES = """
model pieces:
    input x[t]: real
    axis  k: -1..0
    param start[k]: real

    s[t] = start[t] for t in -1..0
    s[t] = s[t-2] + x[t] for t <= 2
    s[t] = s[t-1] * t / 10 + (x[t-2] if t >= 4 else 1) for t >= 3
    n[t] = mod(t, 3)
    output s[t], n[t]
"""


def sequence(fn: unfold.Function, steps: int, batch: int | None = None) -> dict[str, Any]:
    """Random inputs of a compiled model."""
    lead = () if batch is None else (batch,)
    made: dict[str, Any] = {}
    for v in fn.program.inputs:
        axes = tuple((a.hi - a.lo + 1).evaluate({"T": steps}) for a in v.axes)
        shape = (*lead, *axes, *(n.evaluate({}) for n in v.shape))
        if v.type.kind == "int":
            assert v.type.bound is not None
            made[v.name] = RANDOM.integers(0, v.type.bound.evaluate({}), shape)
        else:
            made[v.name] = RANDOM.uniform(0.1, 1.0, shape)
    return made


def refusal(text: str) -> str:
    with pytest.raises(unfold.InputError) as caught:
        unfold.compile(text, backend="numpy").stepper({})
    return str(caught.value)
