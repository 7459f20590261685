"""Short ways from text to what the tests look at."""

from __future__ import annotations

from textwrap import dedent, indent

from unfold.check import check_text, elaborate
from unfold.expr import Expr
from unfold.program import Program

#: Declarations that most expressions of the tests can do with.
AROUND = """
model m(D, H, K, alpha = 0.5):
    axis s: T
    input x[t]: real[D]
    input p[t]: real
    input n[t]: int<K>
    input b[t]: bool
    param W: real[H, D]
    param U: real[H, H]
    param E: real[K, H]
    param v, w: real[H]
    param a: real
"""


def program(body: str, head: str = "model m():") -> Program:
    """The program of a model's body; the last equation's variable is its output."""
    return elaborate(f"{head}\n{indent(dedent(body).strip(), '    ')}\n")


def rhs(text: str, left: str = "y[t]") -> Expr:
    """The right-hand side of one equation among common declarations."""
    name = left.split("[")[0].split(" ")[0]
    source = f"{AROUND}    {left} = {text}\n    output {name}\n"
    (equation, *_) = elaborate(source).pieces(name)
    return equation.rhs


def codes(text: str) -> list[str]:
    """The codes of all diagnostics of a text, in order."""
    return [d.code for d in check_text(dedent(text))]


def errors(text: str) -> list[str]:
    """The messages of all errors of a text."""
    return [d.message for d in check_text(dedent(text)) if d.severity == "error"]
