"""Every wrong program in `tests/bad/` gets exactly the diagnostics beside it, text and carets.

`name.txt` holds what the compiler says about `name.rec`; `pytest --update-golden` rewrites it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import unfold.check
from tests.conftest import Golden
from unfold.syntax.codes import CODES
from unfold.syntax.diagnostics import Diagnostic, render_all
from unfold.syntax.parse import parse_partial

BAD = Path(__file__).parent / "bad"
PROGRAMS = sorted(BAD.glob("*.rec"))


def diagnose(path: Path) -> Sequence[Diagnostic]:
    """All that the compiler has to say about a file."""
    text = path.read_bytes().decode()
    check = getattr(unfold.check, "check_text", None)
    if check is None:
        return parse_partial(text, path.name)[1]
    found: Sequence[Diagnostic] = check(text, path.name)
    return found


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_wrong_program_gets_exactly_its_diagnostics(path: Path, golden: Golden) -> None:
    found = diagnose(path)
    assert found, "a program in tests/bad is wrong"
    golden(path.with_suffix(".txt"), render_all(found) + "\n")


def test_every_golden_file_belongs_to_a_program() -> None:
    assert {path.stem for path in BAD.glob("*.txt")} <= {path.stem for path in PROGRAMS}


def test_every_diagnostic_of_the_text_is_shown_by_a_wrong_program() -> None:
    shown = {each.code for path in PROGRAMS for each in diagnose(path)}
    # What nests a hundred levels deep is no text to read.
    assert {code for code in CODES if code.startswith("E01")} - shown == {"E0117"}
