"""W08xx: nothing is wrong, but something was perhaps not meant."""

from __future__ import annotations

from unfold.syntax.entry import Entry

WARNINGS = (
    Entry(
        "W0801",
        "a parameter, size or constant makes no difference",
        """
        No result of the model depends on it: no output and no loss. The gradient of such a
        parameter is zero, and it would stay as it was initialised. Often it was forgotten in an
        equation.
        """,
        """
        model m(D):
            input x[t]: real[D]
            param w, b: real[D] = 0
            y = w * x[T]
            output y
        """,
        """
        model m(D):
            input x[t]: real[D]
            param w, b: real[D] = 0
            y = w * x[T] + b
            output y
        """,
    ),
    Entry(
        "W0802",
        "an input makes no difference",
        """
        No result of the model depends on this input. The caller has to give it all the same.
        """,
        """
        model m():
            input x[t], mask[t]: real
            y[t] = 2 * x[t]
            output y[t]
        """,
        """
        model m():
            input x[t], mask[t]: real
            y[t] = 2 * x[t] * mask[t]
            output y[t]
        """,
    ),
    Entry(
        "W0803",
        "an equation makes no difference",
        """
        No result of the model depends on this variable, and so it is not computed. What is to be
        returned stands in an `output` line.
        """,
        """
        model m():
            input x[t]: real
            y[t] = 2 * x[t]
            z[t] = y[t] + x[t]
            output y[t]
        """,
        """
        model m():
            input x[t]: real
            y[t] = 2 * x[t]
            z[t] = y[t] + x[t]
            output y[t], z[t]
        """,
    ),
    Entry(
        "W0804",
        "a model returns nothing",
        """
        A model without an `output` and without a `minimize` computes nothing that anyone could
        see. A model that is used inside another one can do without: its variables are read by
        name.
        """,
        """
        model m():
            input x[t]: real
            y[t] = 2 * x[t]
        """,
        """
        model m():
            input x[t]: real
            y[t] = 2 * x[t]
            output y[t]
        """,
    ),
    Entry(
        "W0805",
        "a block with nothing to solve",
        """
        None of the equations in this `solve` block reads one of its unknowns, so that they say
        outright what these are. Perhaps a read of the unknown at the same step was meant, `z[t]`
        where `z[t-1]` stands.
        """,
        """
        model m():
            input x[t]: real
            z[0] = 0
            solve z[t] by anderson:
                z[t] = 0.5 * tanh(z[t-1]) + x[t]
            output z[t]
        """,
        """
        model m():
            input x[t]: real
            solve z[t] by anderson:
                z[t] = 0.5 * tanh(z[t]) + x[t]
            output z[t]
        """,
    ),
)
