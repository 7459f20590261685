"""What one may ask of a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: The most steps that are drawn; of more, the middle is left out.
COLUMNS = 10
#: The most rows of one variable, such as the weights of attention.
ROWS = 8


@dataclass(frozen=True)
class Options:
    """How a picture is made.

    Attributes:
        columns: the most steps to draw; the middle of a longer sequence becomes one column that
            says how many are left out.
        rows: the most rows of one variable with several axes; the middle of more becomes one.
        fold: sub-models that become one box a step: ``"enc"``, ``["layer.1", "layer.2"]``, a whole
            stack ``"layer"``, or ``"all"`` for the outermost ones.
        highlight: names of parameters (or of anything else) whose uses are lit at every step, and
            in an adjoint what is gathered into their gradients.
        checkpoint: the steps of a segment, as in ``unfold.compile(checkpoint=…)``: marks the
            states that are kept at the borders, and those that are computed once more on the way
            back.
    """

    columns: int = COLUMNS
    rows: int = ROWS
    fold: str | Sequence[str] | None = None
    highlight: str | Sequence[str] | None = None
    checkpoint: int | None = None


__all__ = ["COLUMNS", "ROWS", "Options"]
