"""E03xx: shapes, sizes and types of components."""

from __future__ import annotations

from unfold.syntax.entry import Entry

SHAPES = (
    Entry(
        "E0301",
        "shapes do not fit in a matrix product",
        """
        In `A @ b` the columns of A are as many as the components (or rows) of b: `real[H, D] @
        real[D]` is `real[H]`, `real[H, D] @ real[D, K]` is `real[H, K]`, and `real[D] @ real[D]`
        is the inner product, a scalar. Scalars are multiplied with `*`. Sizes are symbols here,
        and two different ones never fit, even if their numbers will be equal.
        """,
        """
        model m(D, H):
            input x[t]: real[D]
            param W: real[D, H] ~ glorot
            y[t] = tanh(W @ x[t])
            output y[t]
        """,
        """
        model m(D, H):
            input x[t]: real[D]
            param W: real[H, D] ~ glorot
            y[t] = tanh(W @ x[t])
            output y[t]
        """,
    ),
    Entry(
        "E0302",
        "shapes do not fit element by element",
        """
        `+`, `-`, `*`, `/`, `**` and comparisons work element by element. The shapes are compared
        from the last axis backward; sizes must be equal, or one of them 1, and missing axes count
        as 1, as in NumPy. A scalar goes with everything.
        """,
        """
        model m(D, H):
            input x[t]: real[D]
            param b: real[H] = 0
            y[t] = x[t] + b
            output y[t]
        """,
        """
        model m(D):
            input x[t]: real[D]
            param b: real[D] = 0
            y[t] = x[t] + b
            output y[t]
        """,
    ),
    Entry(
        "E0303",
        "a function cannot take an argument of this shape",
        """
        Most functions work on every component. Those of vectors and matrices want a certain
        number of axes, or an axis to work along: `softmax(v)` of a vector, `softmax(M, axis = 1)`
        for each row of a matrix, `inv(A)` of a square matrix.
        """,
        """
        model m():
            input x[t]: real
            y = sum(x[T])
            output y
        """,
        """
        model m():
            input x[t]: real
            y = sum[t](x[t])
            output y
        """,
    ),
    Entry(
        "E0304",
        "two things that must agree have different shapes",
        """
        All elements of a variable have one shape, whichever equation defines them, and a
        parameter's initial value has the shape of the parameter. A scalar on the right of an
        equation for a vector fills all its components: `h[0] = 0`.
        """,
        """
        model m(D, H):
            input x[t]: real[D]
            param a: real[H] = 0
            h[1] = a
            h[t] = x[t] for t >= 2
            output h[t]
        """,
        """
        model m(D):
            input x[t]: real[D]
            param a: real[D] = 0
            h[1] = a
            h[t] = x[t] for t >= 2
            output h[t]
        """,
    ),
    Entry(
        "E0305",
        "a shape cannot be found",
        """
        Shapes are inferred from inputs, parameters and numbers. Here are variables that are
        defined by each other alone, so that they could have any shape. Their first element can
        say it: `h[0] = broadcast(0, [H])` for a vector, `h[0] = 0` for a scalar.
        """,
        """
        model m():
            input x[t]: real
            a[0] = b[0]
            b[0] = a[0]
            a[t] = b[t-1]
            b[t] = -a[t-1]
            y[t] = a[t] * x[t]
            output y[t]
        """,
        """
        model m():
            input x[t]: real
            a[0] = 1
            b[0] = 0
            a[t] = b[t-1]
            b[t] = -a[t-1]
            y[t] = a[t] * x[t]
            output y[t]
        """,
    ),
    Entry(
        "E0306",
        "a component that is not there",
        """
        Components are counted from 0, as in Python, and the end of a slice is excluded: the
        components of a `real[3]` are `v[0]`, `v[1]`, `v[2]`, and `v[0:2]` are the first two.
        (Only positions on an axis count from 1, as in the mathematics: `h[1]` is the first step.)
        """,
        """
        model m():
            input v: real[3]
            y = v[3]
            output y
        """,
        """
        model m():
            input v: real[3]
            y = v[2]
            output y
        """,
    ),
    Entry(
        "E0307",
        "this is not a size",
        """
        Sizes are whole numbers, known when the model is compiled: numbers, the upper-case names
        of the model's head, and sums, differences, products and exact quotients of these (`4*H`,
        `N//2`). How long a sequence is, `T`, is known only when the model is called; what there
        is one of for each step has an index instead: `x[t]: real`.
        """,
        """
        model m():
            input x: real[T]
            y = sum(x)
            output y
        """,
        """
        model m():
            input x[t]: real
            y = sum[t](x[t])
            output y
        """,
    ),
)
