"""How every op is written in a text: one literal table, read from both sides.

`unfold.check` reads a text by it, and whoever prints a program writes by it: for every program P
the printed text elaborates to P again. The rules beside the table:

Numbers
    A literal without a point (`2`) takes the type of what it meets: an integer beside integers
    (indices, lengths, sizes, `int` variables), a real otherwise, and a real where nothing says
    more (`h[0] = 0`, `x ** 2`, `t / 2`, `where(c, 1, 0)`). A literal with a point or an exponent
    (`2.0`, `1e-3`) is always real: write `t * 2.0` for a real 2 beside an integer. `int(2)` is
    always an integer: write it where an int variable has nothing but a literal. A sign before a
    literal belongs to it: `-1` is one constant. `inf`, `nan`, `pi`, `true`, `false` are constants.
    A constant array is a (nested) list of literals: `[1, 1, 2, 4]`, `[[0.5, 0], [0, 1]]`; of
    integers if no entry has a point; with a point in one entry all are real.

Positions (`expr.Position`)
    `+` and `-` of indices, lengths, sizes and integer literals make one position, and so does `*`
    where one side is an integer literal or both are sizes: `T - t + 1`, `2*t`, `H*D`; any other
    product (`H * T`) is the op. Put brackets around a position of several terms:
    `(T - t + 1) * x[t]`.

Reading elements (`expr.Ref`) and components (`slice`, `take`)
    `h[t-1]`, `a[t, s-1]`, `W`: a variable over n axes takes its first n subscripts as positions.
    Further subscripts pick components, one component axis after the other: `x[t][0]` or `x[t, 0]`
    (take, axis 0), `W[:, k]` (take, axis 1), `v[0:H]` (slice, axis 0), `W[:, lo:hi]` (slice,
    axis 1), `v[-1]` (take of the last). `(a + b)[0]` works on any expression.

Guards (`expr.Guard`)
    `e if C else 0`, where C is affine in the indices: comparisons (also `==`) of positions,
    joined by `and`: `e if 2 <= t <= T-1 and s <= t else 0`. `where(C, a, b)` with an affine C and
    `a if C else b` are the sum of two guards. Everything else is the op `where`, whose condition
    may be a bool variable or any comparison of values.

Reductions over indices (`expr.Reduce`)
    `sum[s](e)`, `sum[s <= t](e)`, `sum[t, s](e)`, `sum[s in 1..t](e)`, `sum[s in 1..t, s != r](e)`;
    ops `sum`, `max`, `min`, `logsumexp`. An index that stands alone or first in a comparison is
    bound (the ones already bound outside are not bound again; a `for`-index of the equation never
    is) and runs over its declared range, cut down by the conditions. `s in a..b` replaces the
    declared range. The domain of the node is exactly that range and those conditions.
    `mean[…](e)` and `softmax[…](e)` are compositions of these.

Equations
    `h[i, j] = e` on the declared ranges of i and j; `for` clauses as in reductions (`for s <= t`,
    `for t in 0..T-1`). `h[0] = e`, `h[T+1] = e` for pinned positions.

Attributes: sizes are written as size expressions (`4*H`); a shape is a list (`[H, D]`). `axis = 0`
may be left out for `pad` and `scatter`; for reductions over components no `axis` means all of them
(`axis = None`), except that `softmax`, `log_softmax` of a vector mean `axis = 0`.

Outputs: `output h[t]` gives the declared range of t, `output h[t in 0..T]` another one.
"""

from __future__ import annotations

#: Infix operators: op -> (sign, precedence). A higher number binds tighter. Equal precedence
#: associates to the left, except `**`, which associates to the right and is tighter than a sign
#: on its left. Comparisons chain, so an operand that is itself one needs brackets.
INFIX: dict[str, tuple[str, int]] = {
    "or": ("or", 1),
    "and": ("and", 2),
    "lt": ("<", 4),
    "le": ("<=", 4),
    "gt": (">", 4),
    "ge": (">=", 4),
    "eq": ("==", 4),
    "ne": ("!=", 4),
    "add": ("+", 5),
    "sub": ("-", 5),
    "mul": ("*", 6),
    "div": ("/", 6),
    "floordiv": ("//", 6),
    "matmul": ("@", 6),
    "pow": ("**", 8),
}

#: Signs before the operand: op -> (sign, precedence).
PREFIX: dict[str, tuple[str, int]] = {"not": ("not", 3), "neg": ("-", 7)}

#: Signs behind the operand: op -> (sign, precedence).
POSTFIX: dict[str, tuple[str, int]] = {"transpose": ("'", 9)}

#: Precedence of `a if c else b`, the loosest of all.
CONDITIONAL = 0
#: Precedence of names, numbers, calls, brackets.
ATOM = 10

#: Ops written as calls, `{0}` the first operand, `{*}` all of them, `{name}` an attribute.
CALLS: dict[str, str] = {
    "maximum": "max({0}, {1})",
    "minimum": "min({0}, {1})",
    "mod": "mod({0}, {1})",
    "exp_diff": "exp_diff({0}, {1})",  # exp(a - b), and 0 where a is -inf
    "chain_rule": "chain_rule({0}, {1})",  # g * slope, and 0 where g is exactly 0
    "exp": "exp({0})",
    "log": "log({0})",
    "log1p": "log1p({0})",
    "expm1": "expm1({0})",
    "sqrt": "sqrt({0})",
    "tanh": "tanh({0})",
    "sigmoid": "sigmoid({0})",
    "softplus": "softplus({0})",
    "relu": "relu({0})",
    "abs": "abs({0})",
    "sin": "sin({0})",
    "cos": "cos({0})",
    "tan": "tan({0})",
    "sinh": "sinh({0})",
    "cosh": "cosh({0})",
    "asin": "asin({0})",
    "acos": "acos({0})",
    "atan": "atan({0})",
    "erf": "erf({0})",
    "floor": "floor({0})",
    "ceil": "ceil({0})",
    "round": "round({0})",
    "sign": "sign({0})",
    "where": "where({0}, {1}, {2})",
    "real": "real({0})",
    "detach": "detach({0})",
    "arrived": "arrived({0}, {1}, {2}, {3})",
    "continuous": "continuous({state}, {scheme}, {substeps}, {*})",
    "outer": "outer({0}, {1})",
    "reshape": "reshape({0}, {shape})",
    "broadcast": "broadcast({0}, {shape})",
    "concat": "concat({*}, axis = {axis})",  # along axis 0 also `[a; b]`
    "pad": "pad({0}, {before}, {after}, axis = {axis})",
    "scatter": "scatter({0}, {1}, {size}, axis = {axis})",
    "onehot": "onehot({0}, {size})",
    "sum": "sum({0}, axis = {axis})",  # `sum({0})` for axis None; so are the next four
    "max": "max({0}, axis = {axis})",
    "min": "min({0}, axis = {axis})",
    "argmax": "argmax({0}, axis = {axis})",
    "logsumexp": "logsumexp({0}, axis = {axis})",
    "softmax": "softmax({0}, axis = {axis})",  # `softmax({0})` for a vector
    "log_softmax": "log_softmax({0}, axis = {axis})",  # `log_softmax({0})` for a vector
    "cross_entropy": "cross_entropy({0}, {1})",
    "solve": "solve({0}, {1})",
    "inv": "inv({0})",
    "logdet": "logdet({0})",
    "cholesky": "cholesky({0})",
    "half_lower": "half_lower({0})",  # the lower triangle with half the diagonal
}

#: Ops with brackets of their own.
BRACKETS: dict[str, str] = {
    "stack": "[{*}]",
    "take": "{0}[{1}]",  # axis 1: `{0}[:, {1}]`
    "slice": "{0}[{lo}:{hi}]",  # axis 1: `{0}[:, {lo}:{hi}]`
}

#: Other names of ops in a text (`maximum(a, b)`, `pow(a, b)`), for those who know them so.
ALIASES: dict[str, str] = {
    "maximum": "maximum",
    "minimum": "minimum",
    "pow": "pow",
    "matmul": "matmul",
    "dot": "matmul",
    "transpose": "transpose",
    "stack": "stack",
}

#: Functions of the language that are neither ops nor definitions of `unfold.ops`: how they expand.
SUGAR: dict[str, str] = {
    "col": "reshape(v, [n, 1])",
    "row": "reshape(v, [1, n])",
    "eye": "the identity matrix of n rows",
    "diag": "eye(n) * v",
    "split": "equal slices along axis 0, one for each name on the left",
    "int": "an integer literal that stays an integer",
}

#: Functions whose arguments no name tells: how they are written, and what they are.
FORMS: dict[str, tuple[str, str]] = {
    "pad": ("pad(v, before, after, axis = 0)", "v with so many zeros before and after it"),
    "scatter": ("scatter(v, i, n, axis = 0)", "n components, or rows: v at i, and zeros elsewhere"),
    "onehot": ("onehot(i, K)", "K components: 1 at the integer i, and zeros elsewhere"),
    "clip": ("clip(x, low, high)", "x, but at least low and at most high"),
    "where": ("where(condition, a, b)", "a where the condition holds, b elsewhere"),
    "reshape": ("reshape(v, [H, D])", "the components of v, row by row, in another shape"),
    "broadcast": ("broadcast(a, [H, D])", "a, repeated to this shape"),
    "cross_entropy": ("cross_entropy(logits, i)", "-log_softmax(logits)[i], for an integer i"),
    "leaky_relu": (
        "leaky_relu(x, slope)",
        "x, and slope * x where x < 0; the slope is 0.01 if left out",
    ),
    "logit": ("logit(p)", "log(p / (1 - p))"),
    "outer": ("outer(u, v)", "the matrix of the products u[i] * v[j]"),
    "solve": ("solve(A, b)", "x with A @ x = b; b is a vector, or a matrix of columns"),
    "split": ("a, b = split(v, 2)", "equal parts of v along its first axis, one for each name"),
    "col": ("col(v)", "a vector as a matrix of one column"),
    "row": ("row(v)", "a vector as a matrix of one row"),
    "eye": ("eye(n)", "the identity matrix of n rows"),
    "diag": ("diag(v)", "the matrix with v on its diagonal"),
    "logdet": ("logdet(A)", "log |det A|"),
    "cholesky": ("cholesky(A)", "the lower factor L of A = L @ L', for the symmetric part of A"),
    "detach": ("detach(x)", "x, through which no derivative passes"),
    "norm": ("norm(v)", "sqrt(sum(v ** 2))"),
    "var": ("var(v, axis = 0)", "mean((v - mean(v)) ** 2); of all components without an axis"),
    "concat": ("concat(A, B, axis = 1)", "side by side along an axis; `[A; B]` along axis 0"),
    "mod": ("mod(a, b)", "what is left of a / b, with the sign of b"),
    "sum": ("sum(v, axis = 0)", "of all components without an axis; sum[t](…) adds over steps"),
    "mean": ("mean(v, axis = 0)", "of all components without an axis; mean[t](…) is over steps"),
    "max": ("max(v, axis = 0)", "of all components without an axis; max(a, b) compares them"),
    "min": ("min(v, axis = 0)", "of all components without an axis; min(a, b) compares them"),
    "argmax": ("argmax(v, axis = 0)", "the position, from 0, of the first largest component"),
    "logsumexp": ("logsumexp(v, axis = 0)", "log(sum(exp(v))); of scalars too: logsumexp(a, b)"),
    "softmax": ("softmax(v, axis = 0)", "exp(v) / sum(exp(v)); over steps: softmax[s <= t](…)"),
    "log_softmax": ("log_softmax(v, axis = 0)", "v - logsumexp(v)"),
    "inv": ("inv(A)", "the inverse of a square matrix; NaN where it has none"),
    "real": ("real(i)", "an integer, or a truth value as 0 or 1, as a real number"),
}

#: Reductions over indices.
REDUCTIONS: tuple[str, ...] = ("sum", "mean", "max", "min", "logsumexp", "softmax")

#: Constants by name.
CONSTANTS: dict[str, float | bool] = {
    "inf": float("inf"),
    "nan": float("nan"),
    "pi": 3.141592653589793,
    "true": True,
    "false": False,
}

#: What printed adjoints need, or is written in another way: nothing to offer to a reader.
INTERNAL = frozenset(
    ("arrived", "chain_rule", "continuous", "exp_diff", "half_lower", "maximum", "minimum")
)

#: Ops that a statement writes, and no expression.
STATEMENTS: dict[str, str] = {"starting_from": "solve z[t] from {1} by …"}
