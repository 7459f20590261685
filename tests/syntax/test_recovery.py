"""What is left of a text with mistakes: the right lines, and the names of the wrong ones."""

from __future__ import annotations

from unfold.syntax import tree as t
from unfold.syntax.diagnostics import Diagnostic
from unfold.syntax.parse import parse, parse_partial
from unfold.syntax.text import to_text


def codes(diagnostics: tuple[Diagnostic, ...]) -> list[str]:
    return [each.code for each in diagnostics]


def test_a_right_text_leaves_nothing_broken() -> None:
    text = "from cells use gru\n\nmodel m():\n    y = 1\n"
    assert parse_partial(text) == (parse(text), ())


def test_the_lines_that_can_be_read_are_in_the_tree() -> None:
    text = "model m():\n    a = 1\n    b = = 2\n    c = 3\n    d = (4\n    e[t] = 5\n    f = σ\n"
    file, found = parse_partial(text)
    assert codes(found) == ["E0113", "E0108", "E0109"]
    (model,) = file.models
    assert [to_text(each) for each in model.body] == ["a = 1", "c = 3", "e[t] = 5"]


def test_a_broken_line_tells_which_names_it_may_have_defined_and_which_it_mentions() -> None:
    lines = {
        "h[t] = tanh(W @@ x[t])": ({"h"}, {"h", "t", "tanh", "W", "x"}),
        "i[t], f[t] = split(a[t] 2)": ({"i", "f"}, {"i", "f", "t", "split", "a"}),
        "param W, U real[H]": ({"W", "U", "real"}, {"W", "U", "real", "H"}),
        "input x[t]: real = 0": ({"x"}, {"x", "t", "real"}),
        "let a[t] = ^ b": ({"a"}, {"a", "t", "b"}),
        "minimize loss = 3": ({"loss"}, {"loss"}),
        "output h[t] y": (set(), {"h", "t", "y"}),
        "for t in 1..T:": (set(), {"t", "T"}),
        "solve z[t] newton(tol = 1e-10):": ({"z", "newton"}, {"z", "t", "newton", "tol"}),
    }
    for line, (defines, mentions) in lines.items():
        (model,) = parse_partial(f"model m():\n    y = 1\n    {line}\n")[0].models
        (broken,) = model.broken
        assert (broken.defines, broken.mentions) == (defines, mentions), line
        assert broken.span.text == line
        assert broken.word == line.split()[0].split("[")[0]
        assert (model.broken_names(), model.broken_mentions()) == (defines, mentions)


def test_a_line_that_parses_but_says_nothing_is_broken_too() -> None:
    (model,) = parse_partial("model m():\n    v[0:2] = a\n    y = 1e999\n    z = 1\n")[0].models
    assert model.broken_names() == {"v", "y"}
    assert len(model.body) == 1


def test_a_model_with_a_broken_head_keeps_its_name_and_body() -> None:
    file, found = parse_partial("model m(D, 3):\n    y = 1\n\nmodel n():\n    z = 2\n")
    first, second = file.models
    assert codes(found) == ["E0102"]
    assert (first.name.text, first.formals, len(first.body)) == ("m", (), 1)
    assert first.broken_names() == {"m", "D"}
    assert (second.name.text, second.broken) == ("n", ())


def test_a_model_without_a_name_is_read_and_left_out() -> None:
    file, found = parse_partial("model (D):\n    y = 1 ^ 2\n\nmodel n():\n    z = 2\n")
    assert codes(found) == ["E0123", "E0109"]
    assert [model.name.text for model in file.models] == ["n"]
    assert [each.defines for each in file.broken] == [{"D"}, {"y"}]


def test_the_body_of_a_block_with_a_broken_head_is_read() -> None:
    text = "model m():\n    solve z[t] newton:\n        z[t] = ^\n        w = 1\n    y = 2\n"
    file, found = parse_partial(text)
    (model,) = file.models
    assert codes(found) == ["E0123", "E0109"]
    assert model.broken_names() >= {"z"}
    assert [to_text(each) for each in model.body] == ["y = 2"]


def test_a_forgotten_colon_costs_nothing() -> None:
    file, found = parse_partial("model m(D)\n    y = 1\n")
    assert codes(found) == ["E0104"]
    assert file == parse("model m(D):\n    y = 1\n")


def test_a_body_that_is_not_indented_is_read_all_the_same() -> None:
    file, found = parse_partial("model m():\ny = 1\nz = 2\n\nmodel n():\n    w = 3\n")
    assert codes(found) == ["E0105"]
    assert file == parse("model m():\n    y = 1\n    z = 2\nmodel n():\n    w = 3\n")


def test_a_statement_at_the_left_margin_stays_with_its_model() -> None:
    file, found = parse_partial("model m():\n    y = 1\nz = 2\noutput z\n")
    assert codes(found) == ["E0103"]
    assert file == parse("model m():\n    y = 1\n    z = 2\n    output z\n")


def test_an_unclosed_bracket_spoils_one_line() -> None:
    following = ["param W: real", "h[0] = 1", "h[t] = W @ (a\n      + b)", "minimize h"]
    for each in following:
        file, found = parse_partial(f"model m():\n    y = tanh(a[1] +\n    {each}\n    output y\n")
        assert codes(found) == ["E0108"], each
        assert len(file.models[0].body) == 2, each


def test_a_continuation_without_brackets_is_one_mistake() -> None:
    _, found = parse_partial("model m():\n    y = a +\n        b +\n        c\n    z = 1\n")
    assert codes(found) == ["E0114"]
    file, found = parse_partial("model m():\n    y = a\n        + b\n        + c\n    z = 1\n")
    assert codes(found) == ["E0106"]
    assert len(file.models[0].body) == 2


def test_a_loop_is_one_mistake_and_its_body_counts() -> None:
    file, found = parse_partial("model m():\n    for t in 1..T:\n        s[t] = 1\n    y = 2\n")
    assert codes(found) == ["E0112"]
    assert [to_text(each) for each in file.models[0].body] == ["s[t] = 1", "y = 2"]


def test_broken_from_lines_belong_to_the_file() -> None:
    file, _ = parse_partial("from cells import gru\n\nmodel m():\n    y = 1\n")
    (broken,) = file.broken
    assert "gru" in broken.defines
    assert file.models[0].broken == ()


def test_a_file_without_a_model_says_so_only_if_nothing_else_is_wrong() -> None:
    assert codes(parse_partial("")[1]) == ["E0101"]
    assert codes(parse_partial("from cells use gru\n")[1]) == ["E0101"]
    assert codes(parse_partial("y = 1\noutput y\n")[1]) == ["E0103"]
    assert parse_partial("")[0] == t.File((), ())
