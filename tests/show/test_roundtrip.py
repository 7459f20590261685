"""Programs printed and read again are the same programs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import unfold
from tests.strategies import arrays, programs
from unfold.compiler import Options
from unfold.function import Function
from unfold.program import Program
from unfold.show import to_latex, to_rec
from unfold.show.wrap import HANGING, wrapped
from unfold.transform import adjoint, tangent

DERIVATIVES: dict[str, Callable[[Program], Program]] = {
    "the program": lambda p: p,
    "its adjoint": adjoint,
    "the tangent of its adjoint": lambda p: tangent(adjoint(p)),
    "its tangent": tangent,
}


def lines(text: str) -> list[str]:
    """The lines in any order, without headings."""
    return sorted(line for line in text.splitlines() if line and "# " not in line)


def read(program: Program) -> Program:
    return unfold.loads(to_rec(program)).program


@st.composite
def derived(draw: Callable[..., Any]) -> Program:
    """A random program that came from a text, or a derivative of one."""
    try:
        program = read(draw(programs()))
    except unfold.RecError as error:
        # Built from expressions it may define a vector by nothing but itself: no text says that.
        assume({d.code for d in error.diagnostics} != {"E0305"})
        raise
    return DERIVATIVES[draw(st.sampled_from(sorted(DERIVATIVES)))](program)


@given(derived())
@settings(max_examples=30, deadline=None)
def test_a_printed_program_is_read_as_the_same(program: Program) -> None:
    again = read(program)
    assert lines(to_rec(again)) == lines(to_rec(program))
    lengths = {"T": 4}
    values = arrays(program, lengths)
    results = []
    for p in (program, again):
        fn = Function(p, {}, {}, Options("numpy"))
        params = {v.name: values[v.name] for v in p.params}
        results.append(fn(params, {v.name: values[v.name] for v in p.inputs} | lengths))
    assert set(results[0]) == set(results[1])
    for name in results[0]:
        np.testing.assert_allclose(results[0][name], results[1][name], rtol=1e-12, atol=1e-300)


def test_what_nests_deep_hangs_and_is_not_pushed_to_the_right() -> None:
    """A level costs no more than the hanging indent, however long the names before its bracket."""
    long = "f(a * (b + g(c + d, h(e + e, k(m + n, p + q))) * r(s + t, u(v + w, x[t, n] + y))))"
    widths = []
    for depth in range(1, 6):
        text = "first_factor[t] * function(" * depth + f"{long} + {long}" + ", 1)" * depth
        lines = wrapped("name[t] = ", text, " for t >= 2", 60)
        widths.append(max(map(len, lines)))
        assert "".join("".join(lines).split()) == "".join(f"name[t]={text}fort>=2".split())
    assert max(b - a for a, b in pairwise(widths)) <= HANGING


@given(derived())
@settings(max_examples=30, deadline=None)
def test_formulas_have_balanced_brackets(program: Program) -> None:
    text = to_latex(program)
    assert unbalanced(text) is None, text


def unbalanced(text: str) -> str | None:
    r"""What is wrong with the braces, ``\left``/``\right`` and environments of a formula."""
    stack: list[str] = []
    position = 0
    while position < len(text):
        for sign, closes in (
            ("\\left", None), ("\\right", "\\left"), ("\\begin{", None), ("\\end{", "\\begin{"),
            ("\\{", ""), ("\\}", ""), ("{", None), ("}", "{"),
        ):  # fmt: skip
            # `\leftarrow` would be another word.
            if text.startswith(sign, position) and closes != "":
                if closes is None:
                    stack.append(sign)
                elif not stack or stack.pop() != closes:
                    return text[max(0, position - 40) : position + 10]
                if sign in ("\\begin{", "\\end{"):
                    position = text.index("}", position)
                break
        else:
            sign = text[position]
        position += len(sign) if not sign.endswith("{") or sign == "{" else 1
    return stack[-1] if stack else None


def test_the_check_of_brackets_finds_what_is_wrong() -> None:
    assert unbalanced(r"\begin{a} \left( {x} \right) \end{a}") is None
    assert unbalanced(r"\left( {x \right)") is not None
    assert unbalanced(r"\begin{a} {") is not None
    assert unbalanced("}") is not None
