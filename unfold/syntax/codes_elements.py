"""E04xx and E05xx: every element defined exactly once, in an order that exists."""

from __future__ import annotations

from unfold.syntax.entry import Entry

ELEMENTS = (
    Entry(
        "E0401",
        "an element is defined twice",
        """
        Every element of a variable is defined by exactly one equation. `h[t] = …` holds for t =
        1..T, `h[0] = …` for one element outside of that; pieces within it say where they hold:
        `h[t] = … for t <= 2` beside `h[t] = … for t >= 3`.
        """,
        """
        model m():
            input x[t]: real
            h[1] = 0
            h[t] = x[t]
            last = h[T]
            output last
        """,
        """
        model m():
            input x[t]: real
            h[1] = 0
            h[t] = x[t] for t >= 2
            last = h[T]
            output last
        """,
    ),
    Entry(
        "E0402",
        "an element is read that is never defined",
        """
        An equation for `h[t]` that reads `h[t-1]` reads `h[0]` in the first step: a recurrence
        needs its beginning, `h[0] = 0` or a parameter. One that reads `h[t-2]` needs two, and one
        that looks ahead, at `h[t+1]`, an end: `h[T+1] = 0`. The same holds for inputs, which may
        be extended by equations beyond their range.
        """,
        """
        model m():
            input x[t]: real
            h[t] = 0.5 * h[t-1] + x[t]
            last = h[T]
            output last
        """,
        """
        model m():
            input x[t]: real
            h[0] = 0
            h[t] = 0.5 * h[t-1] + x[t]
            last = h[T]
            output last
        """,
    ),
    Entry(
        "E0403",
        "a read lies outside of the data",
        """
        An input or parameter is given for the positions of its axis and no others: `x[t]` for
        1..T. A read before or behind them needs an equation that extends it, `x[0] = 0`, or is
        left out where it would reach beyond: `… for t >= 2`, `x[t-1] if t > 1 else 0`.
        """,
        """
        model m():
            input x[t]: real
            d[t] = x[t] - x[t-1]
            output d[t]
        """,
        """
        model m():
            input x[t]: real
            x[0] = 0
            d[t] = x[t] - x[t-1]
            output d[t]
        """,
    ),
    Entry(
        "E0404",
        "an equation has no end",
        """
        An equation for positions outside of its axis, such as `s[t] = 0 for t <= 0`, reaches as
        far as the elements that are read. Where nothing reads that far, or where the reads have
        no end either, the range must be said: `for t in -3..0`.
        """,
        """
        model m():
            input x[t]: real
            s[t] = 0 for t <= 0
            s[t] = 2 * x[t]
            output s[t]
        """,
        """
        model m():
            input x[t]: real
            s[t] = 0 for t <= 0
            s[t] = 2 * x[t]
            y[t] = s[t] - s[t-3]
            output y[t]
        """,
    ),
    Entry(
        "E0405",
        "a position is not affine in the indices",
        """
        Positions on an axis, and conditions behind `for` and in the brackets of a reduction, are
        sums of whole multiples of indices and lengths: `h[t-1]`, `x[T+1-t]`, `s <= t`. That is
        what lets the compiler find the order of the equations and their adjoint. A look-up that
        depends on data goes to components instead: `E[x[t]]` with `E: real[K, H]`.
        """,
        """
        model m():
            input x[t]: real
            y[t] = x[t*t] for t <= 2
            last = y[1]
            output last
        """,
        """
        model m():
            input x[t]: real
            y[t] = x[2*t] for t <= 2
            last = y[1]
            output last
        """,
    ),
    Entry(
        "E0406",
        "a condition never holds",
        """
        The conditions behind an equation, or in the brackets of a reduction, leave no index at
        all. Conditions with commas between them hold together; an index runs over its own axis
        unless a range says otherwise: `for t in -3..0`.
        """,
        """
        model m():
            input x[t]: real
            y[t] = x[t]
            z[t] = x[t] for t >= 3, t <= 2
            output y[t], z[t]
        """,
        """
        model m():
            input x[t]: real
            y[t] = x[t]
            z[t] = x[t] if t >= 3 else 0
            output y[t], z[t]
        """,
    ),
    Entry(
        "E0407",
        "the elements of a variable are no plain range",
        """
        The elements of a variable, over all its equations, go from a first to a last position,
        such as 0..T. The conditions here leave a set that is not of this kind for every length. A
        choice that depends on the position can always be written on the right: `a if 2*t <= T
        else b`.
        """,
        """
        model m():
            input x[t]: real
            y[t] = x[t] for 2*t <= T
            y[t] = -x[t] for 2*t > T
            output y[t]
        """,
        """
        model m():
            input x[t]: real
            y[t] = x[t] if 2*t <= T else -x[t]
            output y[t]
        """,
    ),
    Entry(
        "E0501",
        "a cycle within one step",
        """
        Following the equations from an element leads back to the same element: nothing could be
        computed first. The cycle is shown. Mostly one of its reads should be of the step before,
        `h[t-1]`. If the equation is meant, it defines its variable implicitly, and `solve` finds
        the solution.
        """,
        """
        model m():
            input x[t]: real
            a[t] = tanh(b[t] + x[t])
            b[t] = 0.5 * a[t]
            last = b[T]
            output last
        """,
        """
        model m():
            input x[t]: real
            b[0] = 0
            a[t] = tanh(b[t-1] + x[t])
            b[t] = 0.5 * a[t]
            last = b[T]
            output last
        """,
    ),
    Entry(
        "E0502",
        "no order of the steps exists",
        """
        Within a group of variables that depend on each other, some reads point backward in time
        and some forward, so that neither order of the steps works. A recurrence runs in one
        direction; a bidirectional model has two of them, independent of each other.
        """,
        """
        model m():
            input x[t]: real
            h[0] = 0
            h[T+1] = 0
            h[t] = 0.3 * h[t-1] + 0.3 * h[t+1] + x[t]
            last = h[T]
            output last
        """,
        """
        model m():
            input x[t]: real
            f[0] = 0
            f[t] = 0.3 * f[t-1] + x[t]
            b[T+1] = 0
            b[t] = 0.3 * b[t+1] + x[t]
            y = f[T] + b[1]
            output y
        """,
    ),
)
