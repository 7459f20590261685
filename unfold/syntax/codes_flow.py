"""E071x: differential equations over a step of time. E072x: random draws."""

from __future__ import annotations

from unfold.syntax.entry import Entry

FLOW: tuple[Entry, ...] = (
    Entry(
        "E0711",
        "an integration scheme that does not exist",
        """
        After `by` stands the scheme that integrates the differential equation over one step:
        `euler` (order 1), `midpoint` and `heun` (order 2), or `rk4` (order 4). A higher order
        costs more evaluations of the right-hand side in a step and is more accurate for the same
        step. `dopri5` (order 5) divides each step as finely as its tolerance asks for.
        """,
        """
        model m:
            input x[t]: real
            h[0] = 0
            flow h[t] from h[t-1] by rk5(0.1):
                der(h) = x[t] - h
            output h[t]
        """,
        """
        model m:
            input x[t]: real
            h[0] = 0
            flow h[t] from h[t-1] by rk4(0.1):
                der(h) = x[t] - h
            output h[t]
        """,
    ),
    Entry(
        "E0712",
        "wrong options of an integration scheme",
        """
        A scheme takes the length of the step first: a number, or a sequence such as `dt[t]` for
        steps of different lengths, negative (back in time) or zero if need be. `substeps = 4`
        divides each step into four equal ones. `adjoint = continuous` asks for gradients by the
        differential equation of the costate, integrated backward with the same scheme, in place of
        the derivative of what the scheme computes (`adjoint = discrete`).

        `dopri5` chooses the parts of a step itself, so that the error of each is at most
        `atol + rtol * |h|` in every component (both 1e-8 unless given), in `max_steps` attempts
        (100). A step that these do not reach the end of is an unfold.SolverError.
        """,
        """
        model m:
            input x[t]: real
            h[0] = 0
            flow h[t] from h[t-1] by rk4(substeps = 2):
                der(h) = x[t] - h
            output h[t]
        """,
        """
        model m:
            input x[t]: real
            h[0] = 0
            flow h[t] from h[t-1] by rk4(0.1, substeps = 2):
                der(h) = x[t] - h
            output h[t]
        """,
    ),
    Entry(
        "E0713",
        "the derivatives of a flow do not fit its states",
        """
        A flow names its states before `from`, and its body says for each of them how it changes,
        in one line `der(h) = …`, where `h` stands for the state at the moment that the scheme
        looks at. Shorthands (`let`) may stand before; equations belong outside.
        """,
        """
        model m:
            p[0] = 1
            v[0] = 0
            flow p[t], v[t] from p[t-1], v[t-1] by rk4(0.1):
                der(p) = v
            output p[t]
        """,
        """
        model m:
            p[0] = 1
            v[0] = 0
            flow p[t], v[t] from p[t-1], v[t-1] by rk4(0.1):
                der(p) = v
                der(v) = -p
            output p[t]
        """,
    ),
    Entry(
        "E0721",
        "a draw of the wrong type",
        """
        `normal` and `uniform` give real numbers (of any shape), `bernoulli` a truth value, and
        `categorical` an integer below the number of categories, which its type must state.
        """,
        """
        model m(K):
            input p[t]: real[K]
            random y[t]: real ~ categorical(p[t])
            output y[t]
        """,
        """
        model m(K):
            input p[t]: real[K]
            random y[t]: int<K> ~ categorical(p[t])
            output y[t]
        """,
    ),
    Entry(
        "E0722",
        "a distribution that does not exist, or is not called like this",
        """
        The distributions of `random` are `normal` (mean 0, deviation 1), `normal(mean,
        deviation)`, `uniform` (between 0 and 1), `uniform(low, high)`, `bernoulli(p)` and
        `categorical(p)`, with a vector of probabilities. Draws depend on the seed of the call, the
        variable's name and the number of the sequence, on nothing else.
        """,
        """
        model m:
            random e[t]: real ~ gaussian
            output e[t]
        """,
        """
        model m:
            random e[t]: real ~ normal
            output e[t]
        """,
    ),
)
