"""E070x: implicit equations, which `solve` finds a solution of."""

from __future__ import annotations

from unfold.syntax.entry import Entry

SOLVE = (
    Entry(
        "E0701",
        "a method for equations that does not exist",
        """
        `solve z[t] by …:` finds a z that its equation is true for. `picard` repeats the equation
        until nothing changes, which works where it contracts. `anderson` does the same and
        extrapolates from the steps before where that goes slowly; it is the one to begin with.
        `newton` solves a linear system in every step: right for stiff equations of a few
        components, such as an implicit integration step. All of them have the options `tol` (the
        last change of a component, relative to 1 + its magnitude; 1e-10 if nothing is said) and
        `max_steps` (200). The search begins at zero, or at h[t-1] in
        `solve h[t] from h[t-1] by newton:`. When a call finds no solution it raises
        unfold.SolverError, which names the element, the sequence and the last change; nothing is
        returned then. The derivative is the implicit function theorem's: one linear equation, which
        is solved by the same method and stands in the adjoint as another `solve`.
        """,
        """
        model m():
            input x[t]: real
            solve z[t] by iteration:
                z[t] = 0.5 * tanh(z[t]) + x[t]
            output z[t]
        """,
        """
        model m():
            input x[t]: real
            solve z[t] by anderson(tol = 1e-12, max_steps = 50):
                z[t] = 0.5 * tanh(z[t]) + x[t]
            output z[t]
        """,
    ),
    Entry(
        "E0702",
        "an option that a method does not have",
        """
        The methods of `solve` have two options, given by name: `tol`, the tolerance, and
        `max_steps`, the number of steps after which the search is given up as an error.
        """,
        """
        model m():
            input x[t]: real
            solve z[t] by picard(steps = 50):
                z[t] = 0.5 * tanh(z[t]) + x[t]
            output z[t]
        """,
        """
        model m():
            input x[t]: real
            solve z[t] by picard(max_steps = 50):
                z[t] = 0.5 * tanh(z[t]) + x[t]
            output z[t]
        """,
    ),
    Entry(
        "E0703",
        "an option out of its range",
        """
        `tol` lies between 0 and 1, both excluded; it is a relative change. Asking for less than
        the number format can hold does no harm: no tolerance is taken to be finer than 64 units in
        the last place. `max_steps` is a whole number, at least 1.
        """,
        """
        model m():
            input x[t]: real
            solve z[t] by newton(tol = 0):
                z[t] = 0.5 * tanh(z[t]) + x[t]
            output z[t]
        """,
        """
        model m():
            input x[t]: real
            solve z[t] by newton(tol = 1e-13):
                z[t] = 0.5 * tanh(z[t]) + x[t]
            output z[t]
        """,
    ),
    Entry(
        "E0704",
        "an unknown and its equation do not fit together",
        """
        The first line of a `solve` block names its unknowns, and the block has one equation for
        each of them, for the very element that is named: `z[t] = …`, or `z = …` for short. Several
        unknowns of one block are found together, and each may read all of them. What is not
        solved for stands outside of the block, or is a `let`.
        """,
        """
        model m():
            input x[t]: real
            solve z[t] by anderson:
                u[t] = tanh(z[t])
                z[t] = 0.5 * u[t] + x[t]
            output z[t]
        """,
        """
        model m():
            input x[t]: real
            solve z[t], u[t] by anderson:
                u[t] = tanh(z[t])
                z[t] = 0.5 * u[t] + x[t]
            output z[t]
        """,
    ),
    Entry(
        "E0705",
        "an unknown that is not real",
        """
        The methods of `solve` move an unknown by small amounts until it is right. Integers and
        truth values cannot be moved by small amounts.
        """,
        """
        model m():
            input x[t]: int<4>
            solve n[t] by picard:
                n[t] = min(n[t] + 1, x[t])
            output n[t]
        """,
        """
        model m():
            input x[t]: real
            solve n[t] by picard:
                n[t] = min(0.5 * n[t] + 1, x[t])
            output n[t]
        """,
    ),
    Entry(
        "E0706",
        "a search that cannot begin where it is told to",
        """
        `solve h[t] from s by newton:` begins the search at `s`, which is known before and has the
        shape of the unknown (a scalar fits any). The solution of the step before, `h[t-1]`, is
        often close. Where the search begins makes no difference to the solution, if there is only
        one, and none to its derivative.
        """,
        """
        model m():
            input x[t]: real
            h[0] = 0
            solve h[t] from h[t] by newton:
                h[t] = h[t-1] - 0.1 * h[t]**3 + x[t]
            output h[t]
        """,
        """
        model m():
            input x[t]: real
            h[0] = 0
            solve h[t] from h[t-1] by newton:
                h[t] = h[t-1] - 0.1 * h[t]**3 + x[t]
            output h[t]
        """,
    ),
)
