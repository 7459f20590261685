"""E06xx and E09xx: real numbers, integers and truth values; what this version cannot compile."""

from __future__ import annotations

from unfold.syntax.entry import Entry

TYPES = (
    Entry(
        "E0601",
        "truth values and numbers are mixed up",
        """
        A comparison is a truth value (`bool`), and so are `and`, `or` and `not` of truth values.
        Conditions are truth values; sums and products are of numbers. There is no silent change
        from one to the other: a number becomes a condition by a comparison, `x > 0`, and a truth
        value becomes a number by `1 if c else 0`. What is learnt is real, for it has a
        derivative.
        """,
        """
        model m():
            input x[t]: real
            y[t] = 1 if x[t] else 2
            output y[t]
        """,
        """
        model m():
            input x[t]: real
            y[t] = 1 if x[t] > 0 else 2
            output y[t]
        """,
    ),
    Entry(
        "E0602",
        "an integer is needed",
        """
        Components are chosen, classes are named and rows are looked up by integers: `E[x[t]]`
        with `x[t]: int<K>`. A real number is none, even if its value is whole. Integers are
        declared, written as literals, or come from `argmax`, `mod` and arithmetic of integers.
        """,
        """
        model m(K):
            input x[t]: real[K]
            input c: real
            loss = cross_entropy(x[T], c)
            output loss
        """,
        """
        model m(K):
            input x[t]: real[K]
            input c: int<K>
            loss = cross_entropy(x[T], c)
            output loss
        """,
    ),
    Entry(
        "E0603",
        "an integer may lie outside of its range",
        """
        An integer that chooses a component, a class or a row must be known to be small enough:
        the bound in `int<K>` is the number of things to choose from. The bound is checked when
        data come in, so that it need not be checked at every step.
        """,
        """
        model m(K, N, D):
            input x[t]: int<N>
            param E: real[K, D] ~ normal(1)
            y[t] = E[x[t]]
            output y[t]
        """,
        """
        model m(K, D):
            input x[t]: int<K>
            param E: real[K, D] ~ normal(1)
            y[t] = E[x[t]]
            output y[t]
        """,
    ),
    Entry(
        "E0604",
        "this cannot be minimised",
        """
        What is minimised is one real number for each sequence. Losses of single steps are added
        up or averaged over time, `sum[t](e[t])` or `mean[t](e[t])`, and those of components by
        `sum(v)`. Several losses have a `minimize` line each; their gradients can be asked for one
        by one.
        """,
        """
        model m(D):
            input x[t], target[t]: real[D]
            param w: real[D] = 1
            e[t] = sum((w * x[t] - target[t]) ** 2)
            minimize e
        """,
        """
        model m(D):
            input x[t], target[t]: real[D]
            param w: real[D] = 1
            e[t] = sum((w * x[t] - target[t]) ** 2)
            minimize mean[t](e[t])
        """,
    ),
    Entry(
        "E0605",
        "this is not a gradient",
        """
        `output gradient(W_bar, W)` says that the result `W_bar` is the gradient in `W`. The printed
        adjoint of a model says it of each of its gradients. It changes nothing for one sequence. In
        a batch, gradients in parameters are summed over the sequences, and those in inputs and
        states are zero behind the end of a sequence. So `W_bar` is the name of what equations
        compute, `W` that of a variable, both are real, and they have the same indices and shape.
        """,
        """
        model m(D):
            input x[t]: real[D]
            param w: real[D] = 1
            loss = sum[t](w @ x[t])
            w_bar[t] = x[t]
            output loss, gradient(w_bar[t], w)
        """,
        """
        model m(D):
            input x[t]: real[D]
            param w: real[D] = 1
            loss = sum[t](w @ x[t])
            w_bar = sum[t](x[t])
            output loss, gradient(w_bar, w)
        """,
    ),
)
