"""E02xx: names, and what they may stand for."""

from __future__ import annotations

from unfold.syntax.entry import Entry

NAMES = (
    Entry(
        "E0201",
        "a name is not known",
        """
        Every name is introduced somewhere in its model: as a size or constant in the head, by
        `input`, `param`, `const`, `let` or `axis`, or by an equation. The order of the lines
        means nothing. Names of a model inside are written with a dot: `enc.h[t]`. The compiler
        suggests the known name that is spelt most like this one.
        """,
        """
        model m(D, H):
            input x[t]: real[D]
            param weight: real[H, D] ~ glorot
            y[t] = wieght @ x[t]
            output y[t]
        """,
        """
        model m(D, H):
            input x[t]: real[D]
            param weight: real[H, D] ~ glorot
            y[t] = weight @ x[t]
            output y[t]
        """,
    ),
    Entry(
        "E0202",
        "a name would have two meanings",
        """
        In one model every name has one meaning. It is declared once, and an input or a parameter
        has no equation. Several equations for one variable are its pieces, and those must not
        overlap (E0401). `T`, `t` and constants such as `inf` and `pi` are given by the language.
        """,
        """
        model m(D):
            input x[t]: real[D]
            param x: real[D] ~ normal(1)
            output x
        """,
        """
        model m(D):
            input x[t]: real[D]
            param a: real[D] ~ normal(1)
            y = a * x[T]
            output y
        """,
    ),
    Entry(
        "E0203",
        "an index is not declared, or not an index",
        """
        The index `t` runs over the steps 1..T and is there from the start. Every other index is
        declared: `axis s: S` runs over 1..S, a length that the data decide; `axis s: T` is a
        second index over the steps; `axis k: -3..0` has a range of its own. The number of
        components is no index: it stands in the type, `x[t]: real[D]`.
        """,
        """
        model m():
            input a[s]: real
            y = sum[s](a[s])
            output y
        """,
        """
        model m():
            axis s: S
            input a[s]: real
            y = sum[s](a[s])
            output y
        """,
    ),
    Entry(
        "E0204",
        "an index means nothing here",
        """
        An index has a value where something runs over it: right of an equation that has it on its
        left, and inside a reduction such as `sum[s](…)`. Elsewhere it must be said which position
        is meant: the last one is `h[T]`.
        """,
        """
        model m():
            input x[t]: real
            y = 2 * x[t]
            output y
        """,
        """
        model m():
            input x[t]: real
            y = 2 * x[T]
            output y
        """,
    ),
    Entry(
        "E0205",
        "there is no such function, model or initialiser",
        """
        A name with parentheses behind it is a function of the language, a model of this file or
        one that a `from … use …` line has brought. A variable's element is read with square
        brackets, `h[t-1]`, and a product needs its sign, `a * (b + c)`.
        """,
        """
        model m():
            input x[t]: real
            y[t] = sigmoind(x[t])
            output y[t]
        """,
        """
        model m():
            input x[t]: real
            y[t] = sigmoid(x[t])
            output y[t]
        """,
    ),
    Entry(
        "E0206",
        "a `from … use …` line finds nothing",
        """
        `from cells use gru` takes a model from the library that comes with the compiler; `from
        "other.rec" use foo` takes one from a file, looked for beside the file that says so. The
        library or file must exist, be free of errors, and hold a model of that name.
        """,
        """
        from cells use grue

        model m(D, H):
            input x[t]: real[D]
            enc = grue(x, H)
            last = enc.h[T]
            output last
        """,
        """
        from cells use gru

        model m(D, H):
            input x[t]: real[D]
            enc = gru(x, H)
            last = enc.h[T]
            output last
        """,
    ),
    Entry(
        "E0207",
        "a model is not used as a model is",
        """
        A model used inside another gets a name, in a line of its own: `enc = gru(x, H)`. Its
        variables are read by that name and a dot, `enc.h[t]`, and its parameters live under it. A
        call of a model is no part of a larger expression.
        """,
        """
        from cells use gru

        model m(D, H):
            input x[t]: real[D]
            y[t] = 2 * gru(x, H)
            output y[t]
        """,
        """
        from cells use gru

        model m(D, H):
            input x[t]: real[D]
            enc = gru(x, H)
            y[t] = 2 * enc.h[t]
            output y[t]
        """,
    ),
    Entry(
        "E0208",
        "a variable has more or fewer indices than are given",
        """
        A variable that lives on an index is read one element at a time: `h[t]`, `h[t-1]`, `h[T]`.
        It has as many positions as it has indices; subscripts after those choose components,
        counted from 0: `x[t, 0]`, `x[t][0:2]`.
        """,
        """
        model m(D):
            input x[t]: real[D]
            y = 2 * x
            output y
        """,
        """
        model m(D):
            input x[t]: real[D]
            y[t] = 2 * x[t]
            output y[t]
        """,
    ),
    Entry(
        "E0209",
        "a function is given other arguments than it takes",
        """
        Every function takes a certain number of arguments, and some take options by name: `sum(M,
        axis = 0)`. Reductions over an index carry it in brackets, in front of their argument:
        `sum[s <= t](a[s])`.
        """,
        """
        model m():
            input x[t]: real
            y[t] = tanh(x[t], 2)
            output y[t]
        """,
        """
        model m():
            input x[t]: real
            y[t] = 2 * tanh(x[t])
            output y[t]
        """,
    ),
    Entry(
        "E0210",
        "a model is not given what it needs",
        """
        A model used inside another is given its inputs in order, then those of its sizes that the
        inputs do not tell: `enc = gru(x, H)`. Anything else of it, constants and parameters
        included, can be given by name: `gru(x, H = 2*H, Wz = W)`. An input that is a sequence
        takes a whole sequence, without brackets.
        """,
        """
        from cells use gru

        model m(D):
            input x[t]: real[D]
            enc = gru(x)
            y[t] = enc.h[t]
            output y[t]
        """,
        """
        from cells use gru

        model m(D, H):
            input x[t]: real[D]
            enc = gru(x, H)
            y[t] = enc.h[t]
            output y[t]
        """,
    ),
    Entry(
        "E0211",
        "models or files are made of each other in a circle",
        """
        The shapes inside a model follow from what it is given, and so a model cannot be given its
        own result, nor two models each other's, and a file cannot use itself. Feedback through
        time is an equation in between, for a variable whose shape is known: `fb[t] = enc.h[t-1]`
        is read by the model as `fb`.
        """,
        """
        from cells use gru

        model m(D, H):
            input x[t]: real[D]
            a = gru(b, H)
            b = gru(a, H)
            y[t] = a.h[t] + sum(x[t])
            output y[t]
        """,
        """
        from cells use gru

        model m(D, H):
            input x[t]: real[D]
            a = gru(x, H)
            b = gru(a, H)
            y[t] = a.h[t] + b.h[t]
            output y[t]
        """,
    ),
    Entry(
        "E0212",
        "a constant is needed, or not allowed",
        """
        Some numbers must be known before a model runs: constants, bounds of ranges, options of
        functions. Sizes (upper-case names in a model's head) are given when the model is compiled
        and have no default; real constants (lower-case names there) have one: `model m(H, alpha =
        0.1):`.
        """,
        """
        model m(alpha):
            input x[t]: real
            y = alpha * x[T]
            output y
        """,
        """
        model m(alpha = 0.1):
            input x[t]: real
            y = alpha * x[T]
            output y
        """,
    ),
)
