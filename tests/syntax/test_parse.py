"""Every construct of the language, as the tree it becomes."""

from __future__ import annotations

from typing import TypeVar

import pytest

from unfold.errors import RecError
from unfold.syntax import tree as t
from unfold.syntax.parse import parse

Node = TypeVar("Node", bound=t.Node)


def statement(line: str) -> t.Statement:
    """The one statement of a model."""
    (model,) = parse(f"model m():\n    {line}\n").models
    (only,) = model.body
    return only


def expression(text: str) -> t.Expr:
    """The right-hand side of an equation."""
    equation = statement(f"y = {text}")
    assert isinstance(equation, t.Equation)
    return equation.value


def name(text: str) -> t.Name:
    return t.Name(text)


a, b, c, d, h, v, x, W = (name(text) for text in "abcdhvxW")
T, s, time = name("T"), name("s"), name("t")
ONE, TWO, THREE = t.Number(1), t.Number(2), t.Number(3)


def call(function: str, *arguments: t.Expr, **keywords: t.Expr) -> t.Call:
    named = tuple(t.Keyword(name(key), value) for key, value in keywords.items())
    return t.Call(name(function), arguments, named)


EXPRESSIONS = {
    "a": a,
    "layer.1.h": name("layer.1.h"),
    "enc.W": name("enc.W"),
    "3": THREE,
    "0.5": t.Number(0.5),
    "1.": t.Number(1.0),
    ".5": t.Number(0.5),
    "1e-10": t.Number(1e-10),
    "2E3": t.Number(2000.0),
    "h[t-1]": t.Subscript(h, (t.Binary("-", time, ONE),)),
    "x[t, 0]": t.Subscript(x, (time, t.Number(0))),
    "x[t][0]": t.Subscript(t.Subscript(x, (time,)), (t.Number(0),)),
    "v[0:H]": t.Subscript(v, (t.Slice(t.Number(0), name("H")),)),
    "v[:2]": t.Subscript(v, (t.Slice(None, TWO),)),
    "v[2:]": t.Subscript(v, (t.Slice(TWO, None),)),
    "W[:, s]": t.Subscript(W, (t.Slice(None, None), s)),
    "W[x[t]]": t.Subscript(W, (t.Subscript(x, (time,)),)),
    "f()": call("f"),
    "f(a, b)": call("f", a, b),
    "sum(a, axis = 0)": call("sum", a, axis=t.Number(0)),
    "solve(a, b)": call("solve", a, b),
    "reverse f(a)": t.Reverse(call("f", a)),
    "sum[s](a)": t.Reduction(name("sum"), (s,), (a,)),
    "softmax[s <= t](a)": t.Reduction(name("softmax"), (t.Comparison(("<=",), (s, time)),), (a,)),
    "max[s in 1..t](a)": t.Reduction(name("max"), (t.Member(s, t.Range(ONE, time)),), (a,)),
    "W'": t.Transpose(W),
    "W''": t.Transpose(t.Transpose(W)),
    "x[t]'": t.Transpose(t.Subscript(x, (time,))),
    "[a]": t.Stack((a,)),
    "[a, b, c]": t.Stack((a, b, c)),
    "[a, b,]": t.Stack((a, b)),
    "[a; b]": t.Concat((a, b)),
    "[[a, b]; c]": t.Concat((t.Stack((a, b)), c)),
    "(a)": a,
    # Precedence is Python's.
    "a + b * c": t.Binary("+", a, t.Binary("*", b, c)),
    "(a + b) * c": t.Binary("*", t.Binary("+", a, b), c),
    "a - b - c": t.Binary("-", t.Binary("-", a, b), c),
    "a / b @ c": t.Binary("@", t.Binary("/", a, b), c),
    "a // b": t.Binary("//", a, b),
    "a ** b ** c": t.Binary("**", a, t.Binary("**", b, c)),
    "-a ** b": t.Unary("-", t.Binary("**", a, b)),
    "a ** -b": t.Binary("**", a, t.Unary("-", b)),
    "-a * b": t.Binary("*", t.Unary("-", a), b),
    "- -a": t.Unary("-", t.Unary("-", a)),
    "+a": t.Unary("+", a),
    "a ** W'": t.Binary("**", a, t.Transpose(W)),
    "a < b": t.Comparison(("<",), (a, b)),
    "a <= b < c": t.Comparison(("<=", "<"), (a, b, c)),
    "(a <= b) < c": t.Comparison(("<",), (t.Comparison(("<=",), (a, b)), c)),
    "a == b + c": t.Comparison(("==",), (a, t.Binary("+", b, c))),
    "a != b": t.Comparison(("!=",), (a, b)),
    "a >= b": t.Comparison((">=",), (a, b)),
    "not a < b": t.Unary("not", t.Comparison(("<",), (a, b))),
    "not a and b": t.Logical("and", (t.Unary("not", a), b)),
    "a and b and c": t.Logical("and", (a, b, c)),
    "a or b and c or d": t.Logical("or", (a, t.Logical("and", (b, c)), d)),
    "a if b else c": t.Conditional(a, b, c),
    "a if b else c if d else x": t.Conditional(a, b, t.Conditional(c, d, x)),
    "a if b or c else d": t.Conditional(a, t.Logical("or", (b, c)), d),
}


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_an_expression_becomes_its_tree(text: str) -> None:
    assert expression(text) == EXPRESSIONS[text]


REAL = t.Type("real", None, ())
STATEMENTS: dict[str, t.Statement] = {
    "axis s: S": t.Axis((s,), name("S")),
    "axis s, t: T": t.Axis((s, time), T),
    "axis k: -3..0": t.Axis((name("k"),), t.Range(t.Unary("-", THREE), t.Number(0))),
    "input x[t]: real[D]": t.Input(
        (t.Declared(x, (time,)),), t.Type("real", None, (name("D"),))
    ),
    "input a, b[s, t]: real": t.Input((t.Declared(a, ()), t.Declared(b, (s, time))), REAL),
    "input a: int<2>": t.Input((t.Declared(a, ()),), t.Type("int", TWO, ())),
    "input a: int": t.Input((t.Declared(a, ()),), t.Type("int", None, ())),
    "input a: bool[2, 3]": t.Input((t.Declared(a, ()),), t.Type("bool", None, (TWO, THREE))),
    "param W: real[2]": t.Param((t.Declared(W, ()),), t.Type("real", None, (TWO,)), None),
    "param W: real ~ glorot": t.Param((t.Declared(W, ()),), REAL, t.Draw(call("glorot"))),
    "param W: real ~ normal(2)": t.Param((t.Declared(W, ()),), REAL, t.Draw(call("normal", TWO))),
    "param W[s]: real = 1": t.Param((t.Declared(W, (s,)),), REAL, ONE),
    "random a[t]: real ~ normal": t.Random((t.Declared(a, (time,)),), REAL, call("normal")),
    "random a ~ bernoulli(b)": t.Random((t.Declared(a, ()),), None, call("bernoulli", b)),
    "const a = [1, 2]": t.Const(a, t.Stack((ONE, TWO))),
    "let a = b": t.Let(t.Declared(a, ()), b),
    "let a[t] = b": t.Let(t.Declared(a, (time,)), b),
    "h[0] = 1": t.Equation((t.Subscript(h, (t.Number(0),)),), ONE),
    "h[t] = a for t <= 2, s in 1..T": t.Equation(
        (t.Subscript(h, (time,)),),
        a,
        (t.Comparison(("<=",), (time, TWO)), t.Member(s, t.Range(ONE, T))),
    ),
    "a[t], b = split(c, 2)": t.Equation(
        (t.Subscript(a, (time,)), b), call("split", c, TWO)
    ),
    "enc.h[t] = a": t.Equation((t.Subscript(name("enc.h"), (time,)),), a),
    "output h[t], a": t.Output((t.Subscript(h, (time,)), a)),
    "minimize a + b": t.Minimize(t.Binary("+", a, b)),
}  # fmt: skip


@pytest.mark.parametrize("line", STATEMENTS)
def test_a_statement_becomes_its_tree(line: str) -> None:
    assert statement(line) == STATEMENTS[line]


def test_a_solve_block_holds_its_equations() -> None:
    text = """
model m():
    solve a, b[t] by anderson(tol = 1):
        a = b[t]
        let c = 2
        b[t] = c
"""
    (block,) = parse(text).models[0].body
    bt = t.Subscript(b, (time,))
    assert block == t.Solve(
        (a, bt),
        (),
        call("anderson", tol=ONE),
        (t.Equation((a,), bt), t.Let(t.Declared(c, ()), TWO), t.Equation((bt,), c)),
    )


def test_a_solve_block_may_say_where_the_search_begins() -> None:
    (block,) = parse("model m():\n  solve a from b by newton:\n    a = b\n").models[0].body
    assert isinstance(block, t.Solve)
    assert (block.start, block.method) == ((b,), call("newton"))


def test_a_flow_holds_the_derivatives_of_its_states() -> None:
    text = """
model m():
    flow h[t], a[t] from h[t-1], b by rk4(c, substeps = 3):
        der(h) = a
        der(a) = -h
"""
    (block,) = parse(text).models[0].body
    before = t.Subscript(h, (t.Binary("-", time, ONE),))
    assert block == t.Flow(
        (t.Subscript(h, (time,)), t.Subscript(a, (time,))),
        (before, b),
        call("rk4", c, substeps=THREE),
        (t.Derivative(h, a), t.Derivative(a, t.Unary("-", h))),
    )


def test_a_file_holds_what_it_uses_and_its_models_in_order() -> None:
    text = """
# a comment, with σ and ⊙
from cells use lstm, gru
from "other.rec" use foo

model first(D, alpha = 0.5):   # sizes, and a constant
    output a

model second:
    output b
"""
    file = parse(text, "file.rec")
    assert file.uses == (
        t.Use(name("cells"), (name("lstm"), name("gru"))),
        t.Use(t.Path("other.rec"), (name("foo"),)),
    )
    first, second = file.models
    assert first.formals == (t.Formal(name("D"), None), t.Formal(name("alpha"), t.Number(0.5)))
    assert (second.name, second.formals) == (name("second"), ())


LAYOUTS = {
    "a line goes on while a bracket is open": "model m():\n    y = (a +\n  b)\n    z = 1\n",
    "comments and empty lines are nothing": "model m():\n\n  y = a + b  # x\n# y\n\n  z = 1\n",
    "the last line needs no end": "model m():\n    y = a + b\n    z = 1",
    "line ends may be those of Windows": "model m():\r\n    y = a + b\r\n    z = 1\r\n",
    "a byte order mark is no letter": "\ufeffmodel m():\n    y = a + b\n    z = 1\n",
    "a whole file may be indented": "    model m():\n      y = a + b\n      z = 1\n",
    "a comment may stand at any indentation": "model m():\n  # c\n    y = a + b\n# c\n    z = 1\n",
    "brackets may hold comments": "model m():\n    y = (a  # one\n      + b)  # two\n    z = 1\n",
    "any indentation will do": "model m():\n y = a + b\n z = 1\n",
}


@pytest.mark.parametrize("text", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_the_layout_of_a_text_is_free_where_it_can_be(text: str) -> None:
    (model,) = parse(text).models
    first, second = model.body
    assert first == t.Equation((name("y"),), t.Binary("+", a, b))
    assert second == t.Equation((name("z"),), ONE)


def test_words_that_begin_statements_are_names_elsewhere() -> None:
    words = "axis input param random const let solve flow output minimize model from by use der"
    for word in words.split():
        assert expression(f"a + {word}[t]") == t.Binary("+", a, t.Subscript(name(word), (time,)))
    assert statement("input by, use: real") == t.Input(
        (t.Declared(name("by"), ()), t.Declared(name("use"), ())), REAL
    )


def find(node: t.Node, kind: type[Node]) -> Node:
    return next(each for each in t.walk(node) if isinstance(each, kind))


def test_a_span_is_the_text_of_its_node() -> None:
    text = """\
model m(H = 2):
    h[t] = (a + b) * tanh(W @ x[t-1]) for t <= 2
    solve a by f:
        a = 1
"""
    file = parse(text, "file.rec")
    assert find(file, t.Subscript).span.text == "h[t]"
    assert find(file, t.Call).span.text == "tanh(W @ x[t-1])"
    assert find(file, t.Comparison).span.text == "t <= 2"
    assert find(file, t.Binary).span.text == "(a + b) * tanh(W @ x[t-1])"
    assert find(find(file, t.Binary).left, t.Binary).span.text == "(a + b)"  # type: ignore[type-var]
    assert find(file, t.Equation).span.text == "h[t] = (a + b) * tanh(W @ x[t-1]) for t <= 2"
    assert find(file, t.Formal).span.text == "H = 2"
    assert find(file, t.Model).span.text == "model m(H = 2):"
    assert find(file, t.Solve).span.text == "solve a by f:"
    span = find(file, t.Call).span
    assert (span.line, span.column, repr(span)) == (2, 22, "file.rec:2:22")


def test_trees_are_equal_wherever_they_stand() -> None:
    assert parse("model m():\n    y = a+b\n") == parse("\n\nmodel m():\n  y = (a + b)\n", "other")


def test_walk_visits_parents_first_and_in_order() -> None:
    names = [node.text for node in t.walk(expression("f(a, b[c]) + d")) if isinstance(node, t.Name)]
    assert names == ["f", "a", "b", "c", "d"]


def test_a_wrong_text_raises_with_all_its_errors() -> None:
    with pytest.raises(RecError) as raised:
        parse("model m():\n    y = \n    z = a ^ 2\n", "wrong.rec")
    assert [each.code for each in raised.value.diagnostics] == ["E0114", "E0109"]
    assert "--> wrong.rec:3:11" in str(raised.value)
