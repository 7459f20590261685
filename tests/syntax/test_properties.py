"""What holds for every text and every tree."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.syntax.trees import PROGRAM, expressions, plain, spoilt_programs, word_salads
from unfold.errors import RecError
from unfold.syntax import tree as t
from unfold.syntax.diagnostics import render, to_json
from unfold.syntax.parse import parse, parse_partial
from unfold.syntax.text import to_text

texts = st.text() | word_salads | spoilt_programs()
patient = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@patient
@given(texts)
def test_a_text_has_a_tree_or_errors_and_nothing_else_is_raised(text: str) -> None:
    file, diagnostics = parse_partial(text, "any.rec")
    if diagnostics:
        with pytest.raises(RecError) as raised:
            parse(text, "any.rec")
        assert raised.value.diagnostics == diagnostics
    else:
        assert parse(text, "any.rec") == file


@patient
@given(texts)
def test_places_lie_within_the_text(text: str) -> None:
    file, diagnostics = parse_partial(text)
    spans = [node.span for node in t.walk(file)]
    spans += [label.span for each in diagnostics for label in each.labels]
    for span in spans:
        assert 0 <= span.start <= span.end <= len(text)
        assert span.source.text == text


@patient
@given(texts)
def test_every_diagnostic_can_be_drawn_and_points_somewhere(text: str) -> None:
    for diagnostic in parse_partial(text)[1]:
        assert diagnostic.labels
        assert diagnostic.message in render(diagnostic)
        assert to_json(diagnostic)["code"] == diagnostic.code


@patient
@given(spoilt_programs())
def test_what_was_understood_of_a_text_can_be_printed_and_read_again(text: str) -> None:
    file, _ = parse_partial(text)
    models = [t.Model(m.name, m.formals, m.body) for m in file.models if m.body]
    whole = t.File(file.uses, tuple(models))
    if models:
        again, found = parse_partial(to_text(whole))
        # A block whose equations were all lost has no text of its own.
        assert again == whole or {each.code for each in found} == {"E0105"}


@patient
@given(expressions)
def test_an_expression_is_printed_with_the_parentheses_it_needs(expression: t.Expr) -> None:
    model = t.Model(t.Name("m"), (), (t.Equation((t.Name("y"),), expression),))
    assert parse(to_text(t.File((), (model,)))).models == (model,)


@patient
@given(plain, expressions, expressions)
def test_expressions_are_printed_right_in_every_place(name: t.Name, a: t.Expr, b: t.Expr) -> None:
    span = t.Range(a, b)
    body: tuple[t.Statement, ...] = (
        t.Axis((name,), span),
        t.Axis((name,), a),
        t.Input((t.Declared(name, ()),), t.Type("int", a, (a, b))),
        t.Param((t.Declared(name, (name,)),), t.Type("real", None, ()), a),
        t.Const(name, a),
        t.Equation((t.Subscript(name, (a, b)),), a, (b, t.Member(name, span))),
        t.Output((a, b)),
        t.Minimize(a),
    )
    model = t.Model(name, (t.Formal(name, a),), body)
    assert parse(to_text(t.File((), (model,)))).models == (model,)


def test_printing_is_the_inverse_of_reading() -> None:
    file = parse(PROGRAM)
    assert parse(to_text(file)) == file
    assert to_text(parse(to_text(file))) == to_text(file)
