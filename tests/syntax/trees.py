"""Hypothesis strategies: random trees, and random texts that are nearly programs."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from unfold.syntax import tree as t

WORDS = [
    "model", "input", "param", "output", "minimize", "solve", "flow", "from", "use", "by",
    "for", "in", "if", "else", "and", "or", "not", "reverse", "der", "let", "const", "axis",
    "random", "real", "int", "h", "x", "t", "T", "W", "enc.h", "layer.1.h", "sum", "tanh", "0",
    "1", "2.5", "1e-3", "1e999", "(", ")", "[", "]", ",", ";", ":", "=", "==", "<", "<=", ">",
    "!=", "+", "-", "*", "/", "//", "@", "**", "'", "~", "..", ".", "^", "%", '"',
    '"other.rec"', "σ", "hₜ", "⊙", "#", "\t", "\n", "\n    ", "\n        ", "model m(D):\n    ",
    "h[t] = ", "\\", "\x1b", "\r\n", "\xa0", "漢",
]  # fmt: skip

PROGRAM = """\
from cells use gru

model m(D, H, alpha = 0.1):
    axis s: S
    input x[t]: real[D]
    param W: real[H, D] ~ glorot
    h[0] = 0
    h[t] = tanh(W @ x[t] + h[t-1]) if t > 2 else sum[s <= t](x[s])
    i[t], f[t] = split(h[t], 2)
    e = reverse gru(x, H)
    q[t] = -a ** 2 + [a; b] * [a, b, c]' for t <= 2, s in 1..3
    solve z[t] by newton(tol = 1e-10):
        z[t] = tanh(z[t])
    flow c[t] from c[t-1] by rk4(0.1, substeps = 3):
        der(c) = -c
    output h[t], e
    minimize loss
"""

#: Words of the language and its neighbours, in any order.
word_salads = st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join) | st.lists(
    st.sampled_from(WORDS), max_size=40
).map("".join)


@st.composite
def spoilt_programs(draw: st.DrawFn) -> str:
    """A right program in which pieces were cut out, doubled or replaced."""
    text = PROGRAM
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.sampled_from([0, 1, 2, 5, 40])))
        text = text[:start] + draw(st.sampled_from(["", *WORDS])) + text[end:]
    return text


names = st.sampled_from(["a", "b", "h", "W", "enc.h", "layer.1.h", "by", "use", "axis"]).map(t.Name)
plain = st.sampled_from(["a", "b", "h", "W", "enc.h", "layer.1.h"]).map(t.Name)
numbers = st.builds(t.Number, st.integers(0, 10**6) | st.floats(0, 1e300))


def several(items: st.SearchStrategy[Any], least: int = 1) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(items, min_size=least, max_size=3).map(tuple)


@st.composite
def chains(draw: st.DrawFn, inner: st.SearchStrategy[t.Expr]) -> t.Comparison:
    operands = draw(several(inner, 2))
    signs: Any = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    return t.Comparison(tuple(draw(signs) for _ in operands[1:]), operands)


def _keywords(first: t.Expr, second: t.Expr) -> tuple[t.Keyword, ...]:
    return t.Keyword(t.Name("axis"), first), t.Keyword(t.Name("tol"), second)


def _larger(inner: st.SearchStrategy[t.Expr]) -> st.SearchStrategy[t.Expr]:
    keywords = st.just(()) | st.builds(_keywords, inner, inner)
    slices = st.builds(t.Slice, st.none() | inner, st.none() | inner)
    members = st.builds(t.Member, names, st.builds(t.Range, inner, inner))
    calls = st.builds(t.Call, names, several(inner, 0), keywords)
    return st.one_of(
        st.builds(t.Subscript, inner, several(inner | slices)),
        calls,
        st.builds(t.Reduction, names, several(inner | members), several(inner, 0), keywords),
        st.builds(t.Reverse, calls),
        st.builds(t.Transpose, inner),
        st.builds(t.Unary, st.sampled_from(["-", "+", "not"]), inner),
        st.builds(t.Binary, st.sampled_from(["+", "-", "*", "/", "//", "@", "**"]), inner, inner),
        chains(inner),
        st.builds(t.Logical, st.sampled_from(["and", "or"]), several(inner, 2)),
        st.builds(t.Conditional, inner, inner, inner),
        st.builds(t.Stack, several(inner)),
        st.builds(t.Concat, several(inner, 2)),
    )


expressions: st.SearchStrategy[t.Expr] = st.recursive(names | numbers, _larger, max_leaves=12)
