"""The tutorial is true: what it shows is printed again when it is played."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Golden
from tests.documents import replay, settled

TUTORIAL = Path(__file__).parent.parent / "examples" / "tutorial.md"


def test_the_tutorial_prints_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: Golden
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = TUTORIAL.read_text(encoding="utf-8")
    golden(TUTORIAL, settled(replay(TUTORIAL, tmp_path), shown))
