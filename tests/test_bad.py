"""Every wrong program in `tests/bad/` gets exactly the diagnostics beside it, text and carets.

`name.txt` holds what the compiler says about `name.rec`; `pytest --update-golden` rewrites it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Golden
from unfold.check import check_text
from unfold.syntax.codes import CODES
from unfold.syntax.diagnostics import Diagnostic, render_all
from unfold.syntax.parse import parse_partial

BAD = Path(__file__).parent / "bad"
PROGRAMS = sorted(BAD.glob("*.rec"))
SYNTAX = [path for path in PROGRAMS if path.stem.startswith("syntax_")]


def diagnose(path: Path) -> list[Diagnostic]:
    """All that the compiler has to say about a file."""
    return list(check_text(path.read_bytes().decode(), path.name))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_wrong_program_gets_exactly_its_diagnostics(path: Path, golden: Golden) -> None:
    found = diagnose(path)
    assert found, "a program in tests/bad is wrong"
    golden(path.with_suffix(".txt"), render_all(found) + "\n")


@pytest.mark.parametrize("path", SYNTAX, ids=lambda path: path.stem)
def test_what_could_not_be_read_leads_to_no_further_complaints(path: Path) -> None:
    text = path.read_bytes().decode()
    assert diagnose(path) == list(parse_partial(text, path.name)[1])


def test_every_golden_file_belongs_to_a_program() -> None:
    assert {path.stem for path in BAD.glob("*.txt")} <= {path.stem for path in PROGRAMS}


def test_every_code_of_the_text_is_shown_by_a_wrong_program() -> None:
    shown = {each.code for path in SYNTAX for each in diagnose(path)}
    # What nests a hundred levels deep is no text to read.
    assert {code for code in CODES if code.startswith("E01")} - shown == {"E0117"}
