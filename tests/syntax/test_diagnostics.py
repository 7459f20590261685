"""How diagnostics are drawn, and what they are as data."""

from __future__ import annotations

import pickle
import re

import pytest

from unfold.errors import InputError, RecError, UnfoldError
from unfold.syntax.diagnostics import Diagnostic, error, in_order, render, to_json, warning
from unfold.syntax.span import Source, Span

GRU = Source(
    "gru.rec",
    "model gru(D, H):\n"
    "    param W: real[H, D]\n"
    "    h[0] = 0\n"
    "    z[t] = sigmoid(W @ h[t-1] + U @ x[t] + b)\n"
    "\n"
    "\tw = 漢字 + é + e\u0301 + q\n"
    "    output h",
)


def place(text: str, source: Source = GRU, occurrence: int = 0) -> Span:
    start = -1
    for _ in range(occurrence + 1):
        start = source.text.index(text, start + 1)
    return Span(source, start, start + len(text))


def drawn(diagnostic: Diagnostic) -> str:
    return "\n" + render(diagnostic) + "\n"


def test_a_diagnostic_shows_the_line_the_places_what_is_known_and_what_to_do() -> None:
    diagnostic = error(
        "E0301",
        "shapes do not fit in a matrix product",
        (place("W @").to(place("W @")), "real[H, D]"),
        (place("h[t-1]"), "real[H]"),
        notes=["W has D columns, and h[t-1] has H components"],
        helps=["did you mean `W @ x[t]`?"],
    )
    assert (
        drawn(diagnostic)
        == """
error[E0301]: shapes do not fit in a matrix product
 --> gru.rec:4:20
  |
4 |     z[t] = sigmoid(W @ h[t-1] + U @ x[t] + b)
  |                    ^^^ real[H, D]
  |                        ^^^^^^ real[H]
  |
  = W has D columns, and h[t-1] has H components
help: did you mean `W @ x[t]`?
"""
    )


def test_labels_share_a_row_where_their_words_leave_room() -> None:
    diagnostic = error("E0000", "m", place("z[t]"), (place("W @"), "a"), (place("x[t]"), "b"))
    assert (
        drawn(diagnostic)
        == """
error[E0000]: m
 --> gru.rec:4:5
  |
4 |     z[t] = sigmoid(W @ h[t-1] + U @ x[t] + b)
  |     ^^^^           ^^^ a            ^^^^ b
"""
    )


def test_labels_on_several_lines_show_them_in_order_and_the_gap() -> None:
    last = (place("h", occurrence=2), "read")
    diagnostic = error("E0401", "m", last, (place("h[0]"), "first"), (place("D]"), "size"))
    assert (
        drawn(diagnostic)
        == """
error[E0401]: m
 --> gru.rec:7:12
  |
2 |     param W: real[H, D]
  |                      ^^ size
3 |     h[0] = 0
  |     ^^^^ first
...
7 |     output h
  |            ^ read
"""
    )


def test_labels_in_another_file_come_under_its_name() -> None:
    other = Source("cells/gru.rec", "\n" * 9 + "    r[t] = 1")
    diagnostic = error("E0301", "m", (place("h[0]"), "here"), (place("r[t]", other), "and here"))
    assert (
        drawn(diagnostic)
        == """
error[E0301]: m
  --> gru.rec:3:5
   |
 3 |     h[0] = 0
   |     ^^^^ here
  ::: cells/gru.rec:10:5
   |
10 |     r[t] = 1
   |     ^^^^ and here
"""
    )


def test_carets_stay_aligned_behind_tabs_and_wide_letters() -> None:
    line = render(error("E0000", "m", (place("q"), "wide"))).splitlines()
    assert line[3] == "6 |     w = 漢字 + é + e\u0301 + q"
    # 漢字 takes four columns; the accent on the second e none.
    assert line[4] == "  |" + " " * 24 + "^ wide"
    tab = render(error("E0000", "m", place("\t"))).splitlines()
    assert tab[4] == "  | ^^^^"


def test_control_characters_do_not_reach_the_terminal() -> None:
    source = Source("x", "a \x1b[31m b")
    assert "\x1b" not in render(error("E0000", "m", place("b", source)))


def test_an_empty_place_gets_one_caret() -> None:
    end = Span(GRU, len(GRU.text), len(GRU.text))
    assert render(error("E0000", "m", (end, "end"))).endswith("  |             ^ end")


def test_a_place_over_several_lines_is_marked_on_its_first() -> None:
    span = place("h[0]").to(place("z[t]"))
    assert render(error("E0000", "m", span)).endswith("3 |     h[0] = 0\n  |     ^^^^^^^^")


def test_notes_and_helps_may_have_several_lines() -> None:
    diagnostic = warning("W0801", "m", notes=["a\nb"], helps=["c\nd", "e"])
    assert render(diagnostic) == "warning[W0801]: m\n  = a\n    b\nhelp: c\n      d\nhelp: e"


def test_colour_adds_escapes_and_nothing_else() -> None:
    diagnostic = error("E0000", "m", (place("h[0]"), "a"), notes=["n"], helps=["h"])
    painted = render(diagnostic, color=True)
    assert "\x1b[1;31merror[E0000]\x1b[0m" in painted
    assert re.sub("\x1b\\[[0-9;]*m", "", painted) == render(diagnostic)


def test_a_diagnostic_as_data_has_lines_columns_and_offsets() -> None:
    data = to_json(error("E0000", "m", (place("h[0]"), "a"), notes=["n"], helps=["h"]))
    assert data == {
        "code": "E0000",
        "severity": "error",
        "message": "m",
        "labels": [
            {
                "file": "gru.rec",
                "start": {"line": 3, "column": 5, "offset": 45},
                "end": {"line": 3, "column": 9, "offset": 49},
                "text": "a",
            }
        ],
        "notes": ["n"],
        "help": ["h"],
    }


def test_diagnostics_are_put_in_the_order_of_the_text_and_said_once() -> None:
    late, early = error("E0002", "b", place("z[t]")), error("E0001", "a", place("h[0]"))
    assert in_order([late, early, late]) == (early, late)


def test_an_error_prints_as_its_diagnostics_and_survives_pickling() -> None:
    raised = RecError([error("E0001", "a"), error("E0002", "b")])
    assert str(raised) == "error[E0001]: a\n\nerror[E0002]: b"
    assert pickle.loads(pickle.dumps(raised)).diagnostics == raised.diagnostics


def test_the_users_errors_have_one_base() -> None:
    assert issubclass(RecError, UnfoldError)
    assert issubclass(InputError, UnfoldError)
    assert issubclass(InputError, ValueError)


@pytest.mark.parametrize(
    ("offset", "position"), [(0, (1, 1)), (16, (1, 17)), (17, (2, 1)), (45, (3, 5))]
)
def test_lines_and_columns_count_from_one(offset: int, position: tuple[int, int]) -> None:
    assert GRU.position(offset) == position


def test_a_line_comes_without_its_end() -> None:
    source = Source("x", "a\r\nb\n")
    assert [source.line(1), source.line(2), source.line(3)] == ["a", "b", ""]
