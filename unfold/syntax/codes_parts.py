"""E06xx, E07xx, W08xx: models inside models, implicit and continuous parts, warnings."""

from __future__ import annotations

from unfold.syntax.entry import Entry

PARTS = (
    Entry(
        "W0801",
        "a parameter is never used",
        """
        Nothing that the model returns or minimises depends on this parameter, so that its
        gradient would be zero for ever. Often it was forgotten in an equation.
        """,
        """
        model m(D):
            input x[t]: real[D]
            param w, b: real[D] = 0
            y = w @ x[T]
            output y
        """,
        """
        model m(D):
            input x[t]: real[D]
            param w, b: real[D] = 0
            y = w @ (x[T] + b)
            output y
        """,
    ),
)
