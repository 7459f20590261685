"""E01xx: the text itself, before any name has a meaning."""

from __future__ import annotations

from unfold.syntax.entry import Entry

TEXT = (
    Entry(
        "E0101",
        "there is no model in the text",
        """
        A `.rec` file holds one model or several; the last one is the file's main one. This file
        holds none: it is empty, or has only comments and `from … use …` lines.
        """,
        """
        from cells use gru
        """,
        """
        from cells use gru

        model reader(D, H):
            input x[t]: real[D]
            enc = gru(x, H)
            last = enc.h[T]
            output last
        """,
    ),
    Entry(
        "E0102",
        "something does not fit where it stands",
        """
        The compiler reads a line from left to right and stops at the first word that cannot
        continue what it has read. The words beside the carets say what could have stood there.
        The mistake may also be in front of that place: a sign too many or a bracket too few.
        """,
        """
        model m():
            input a, b: real
            y = a + * b
            output y
        """,
        """
        model m():
            input a, b: real
            y = a * b
            output y
        """,
    ),
    Entry(
        "E0103",
        "a statement stands outside of a model",
        """
        Every equation and declaration belongs to a model: a head, `model name(sizes):`, and below
        it the statements, all indented by the same number of spaces. Only heads of models and
        `from … use …` lines stand at the left margin.
        """,
        """
        model m():
            input x[t]: real
            y = x[T]
        output y
        """,
        """
        model m():
            input x[t]: real
            y = x[T]
            output y
        """,
    ),
    Entry(
        "E0104",
        "the head of a block needs a colon",
        """
        The heads of `model`, `solve` and `flow` end with a colon; what belongs to them stands on
        the lines below, indented.
        """,
        """
        model m()
            input x[t]: real
            last = x[T]
            output last
        """,
        """
        model m():
            input x[t]: real
            last = x[T]
            output last
        """,
    ),
    Entry(
        "E0105",
        "a block has no body",
        """
        What belongs to a `model`, `solve` or `flow` stands on lines of its own below the head,
        and is indented, by four spaces as a rule. Nothing of that kind follows this head.
        """,
        """
        model m():
        input x[t]: real
        last = x[T]
        output last
        """,
        """
        model m():
            input x[t]: real
            last = x[T]
            output last
        """,
    ),
    Entry(
        "E0106",
        "the indentation of a line fits nothing",
        """
        The statements of one body stand exactly below each other. A line goes on over several
        lines only while a bracket is open; how those are indented does not matter. So a long
        expression is put between parentheses.
        """,
        """
        model m():
            input x[t]: real
            y = x[1]
                + x[T]
            output y
        """,
        """
        model m():
            input x[t]: real
            y = (x[1]
                 + x[T])
            output y
        """,
    ),
    Entry(
        "E0107",
        "a line is indented with a tab",
        """
        Indentation has a meaning here, and how wide a tab is depends on who looks at it. Lines
        are indented with spaces.
        """,
        """
        model m():
        \tinput x[t]: real
        \tlast = x[T]
        \toutput last
        """,
        """
        model m():
            input x[t]: real
            last = x[T]
            output last
        """,
    ),
    Entry(
        "E0108",
        "brackets do not match",
        """
        Every `(` is closed by a `)` and every `[` by a `]`, in the order in which they were
        opened. A statement ends where the next one begins, so that one missing bracket spoils one
        line and not the whole file.
        """,
        """
        model m():
            input x[t]: real
            y = tanh(2 * (x[T] + 1)
            output y
        """,
        """
        model m():
            input x[t]: real
            y = tanh(2 * (x[T] + 1))
            output y
        """,
    ),
    Entry(
        "E0109",
        "a sign or letter is not of the language",
        """
        Names and signs are written in ASCII, so that every keyboard and every tool can produce
        them; comments may hold anything. Functions have their names (`sigmoid`), Greek letters
        are spelt out (`theta`), `*` is the element-wise product and `@` the product of matrices,
        the power is `**`, an index stands in brackets: `h[t]`.
        """,
        """
        model m():
            input x[t]: real
            y = x[T] ^ 2
            output y
        """,
        """
        model m():
            input x[t]: real
            y = x[T] ** 2
            output y
        """,
    ),
    Entry(
        "E0110",
        "`=` and `==` are mixed up",
        """
        One `=` defines: left of it stands a variable, right of it what it is. Two of them compare
        two values, in a condition. A range of values is given with `in`: `for l in 1..3`.
        """,
        """
        model m():
            input x[t]: real
            y = 1 if x[T] = 0 else 2
            output y
        """,
        """
        model m():
            input x[t]: real
            y = 1 if x[T] == 0 else 2
            output y
        """,
    ),
    Entry(
        "E0111",
        "an operator is missing",
        """
        Mathematics multiplies by writing things side by side. Here the operator is written,
        because there are several: `W @ x` is the product of a matrix and a vector (and of two
        matrices, and the inner product of two vectors), `a * b` the product element by element.
        """,
        """
        model m(D, H):
            input x[t]: real[D]
            param W: real[H, D] ~ glorot
            y[t] = W x[t]
            output y[t]
        """,
        """
        model m(D, H):
            input x[t]: real[D]
            param W: real[H, D] ~ glorot
            y[t] = W @ x[t]
            output y[t]
        """,
    ),
    Entry(
        "E0112",
        "a statement of another language",
        """
        A model is a set of equations, not a sequence of commands: there are no loops, no
        branches, no functions with a `return`. An equation with an index, `h[t] = …`, holds for
        every step. A choice is an expression (`a if c else b`) or a condition behind an equation
        (`for t <= 2`). The results are listed by `output`.
        """,
        """
        model m():
            input x[t]: real
            s[0] = 0
            for t in 1..T:
                s[t] = s[t-1] + x[t]
            last = s[T]
            output last
        """,
        """
        model m():
            input x[t]: real
            s[0] = 0
            s[t] = s[t-1] + x[t]
            last = s[T]
            output last
        """,
    ),
    Entry(
        "E0113",
        "this is not an equation",
        """
        An equation has one variable on its left, `y`, `h[t]` or `h[0]` (or several, for a
        function with several values), one `=`, and one expression on its right. Indices stand in
        square brackets. An equation defines a whole element: the components of a vector are put
        together on the right, by `[a; b]` or `[a, b]`.
        """,
        """
        model m():
            input x[t]: real
            s(0) = 0
            s[t] = s[t-1] + x[t]
            last = s[T]
            output last
        """,
        """
        model m():
            input x[t]: real
            s[0] = 0
            s[t] = s[t-1] + x[t]
            last = s[T]
            output last
        """,
    ),
    Entry(
        "E0114",
        "an expression is missing",
        """
        A line, or a bracket, ends where an expression is still to come: after an operator, a
        comma or an `=`. An expression over several lines is put between parentheses.
        """,
        """
        model m():
            input x[t]: real
            y = x[1] +
                x[T]
            output y
        """,
        """
        model m():
            input x[t]: real
            y = (x[1] +
                 x[T])
            output y
        """,
    ),
    Entry(
        "E0115",
        "there is no such type",
        """
        The types are `real`, `bool` and `int<K>`, an integer in 0..K-1. How many components there
        are is said in brackets: `real[D]` is a vector, `real[H, D]` a matrix, `real` a scalar.
        The precision is not part of a model: it is chosen when the model is compiled.
        """,
        """
        model m(D):
            input x[t]: float[D]
            last = x[T]
            output last
        """,
        """
        model m(D):
            input x[t]: real[D]
            last = x[T]
            output last
        """,
    ),
    Entry(
        "E0116",
        "a number cannot be represented",
        """
        Real numbers are those of IEEE arithmetic, up to about 1.8e308, and integers those that a
        real number can hold exactly, below 2**53. Infinity is written `inf`.
        """,
        """
        model m():
            input x[t]: real
            y = min(x[T], 1e999)
            output y
        """,
        """
        model m():
            input x[t]: real
            y = min(x[T], inf)
            output y
        """,
    ),
    Entry(
        "E0117",
        "an expression is nested too deeply",
        """
        Brackets may be nested a hundred levels deep and operators two hundred, which is more than
        a reader can follow. Give names to parts of the expression, by equations of their own or
        by `let`.
        """,
        f"""
        model m():
            input x: real
            y = {"(" * 101}x{")" * 101}
            output y
        """,
        """
        model m():
            input x: real
            y = x
            output y
        """,
    ),
    Entry(
        "E0118",
        "a word of the language is used as a name",
        """
        The words `if else for in and or not reverse` can never be names. The words that begin
        statements (`input`, `output`, `solve` and the others) can be names inside expressions,
        but nothing can be defined under such a name, because the line would begin with it.
        """,
        """
        model m():
            input x[t]: real
            in[t] = tanh(x[t])
            output in[t]
        """,
        """
        model m():
            input x[t]: real
            in_[t] = tanh(x[t])
            output in_[t]
        """,
    ),
    Entry(
        "E0119",
        "brackets are empty, or mix `,` and `;`",
        """
        `[a, b, c]` is a vector of scalars (or a matrix of rows); `[u; v]` puts vectors end to
        end. Both have at least one item, and one kind of separator. A scalar variable has no
        brackets at all.
        """,
        """
        model m(D):
            input x[t]: real[D]
            input a, b: real
            y = [a, b; x[T]]
            output y
        """,
        """
        model m(D):
            input x[t]: real[D]
            input a, b: real
            y = [[a, b]; x[T]]
            output y
        """,
    ),
    Entry(
        "E0120",
        "a call is not formed well",
        """
        Functions and models are called by name: `tanh(a)`, `gru(x, H)`. Arguments without a name
        come first, then those with one, `axis = 0`, each name once. In a condition, two values
        are compared by `==`; `t = 4` among arguments is an argument named `t`. A product of two
        parentheses is written with `*` or `@`.
        """,
        """
        model m():
            input a, b: real
            y = where(a = 1, b, 0)
            output y
        """,
        """
        model m():
            input a, b: real
            y = where(a == 1, b, 0)
            output y
        """,
    ),
    Entry(
        "E0121",
        "`der` stands outside of a flow",
        """
        An ordinary differential equation is the body of a `flow`, whose head says over which time
        and by which method it is solved: from the state after one step to the state after the
        next.
        """,
        """
        model m():
            input h0: real
            h[0] = h0
            der(h) = -h
            last = h[T]
            output last
        """,
        """
        model m():
            input h0: real
            h[0] = h0
            flow h[t] from h[t-1] by rk4(0.1):
                der(h) = -h
            last = h[T]
            output last
        """,
    ),
    Entry(
        "E0122",
        "a choice lacks its `else`",
        """
        `a if condition else b` is an expression, and has a value in either case. An equation that
        holds only for some steps takes its condition behind it instead: `h[t] = … for t >= 2`.
        """,
        """
        model m():
            input x: real
            y = x if x > 0
            output y
        """,
        """
        model m():
            input x: real
            y = x if x > 0 else 0
            output y
        """,
    ),
    Entry(
        "E0123",
        "a declaration is not formed well",
        """
        Declarations are written like these:
            input x[t]: real[D]              param W: real[H, D] ~ glorot
            param b: real[H] = 0             const dt = 0.1
            axis s: S                        random e[t]: real[H] ~ normal
            let a[t] = W @ x[t]              output h[t], loss
            minimize loss                    from cells use lstm, gru
        """,
        """
        model m(D):
            input x[t] real[D]
            last = x[T]
            output last
        """,
        """
        model m(D):
            input x[t]: real[D]
            last = x[T]
            output last
        """,
    ),
    Entry(
        "E0124",
        "a sign of another language",
        """
        Comments begin with `#`. An equation is written with `=`, whatever holds before and after;
        nothing is changed in place. Element-wise operators need no dot. Conditions are made with
        `and`, `or`, `not`. A line ends without a semicolon.
        """,
        """
        model m():
            input x[t]: real
            s[0] = 0
            s[t] += x[t]
            last = s[T]
            output last
        """,
        """
        model m():
            input x[t]: real
            s[0] = 0
            s[t] = s[t-1] + x[t]
            last = s[T]
            output last
        """,
    ),
)
