"""The README is true: its model compiles, its Python runs, its terminal shows what is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import Golden
from tests.documents import replay

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with the wrong model that the README speaks of."""
    (model,) = re.findall(r"^```rec\n(.*?)^```$", README.read_text("utf-8"), re.M | re.S)
    wrong = model.replace("W @ x[t]", "W @ h[t-1]")
    assert wrong != model
    (tmp_path / "wrong.rec").write_text(wrong, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme_prints_and_draws_what_it_shows(folder: Path, golden: Golden) -> None:
    golden(README, replay(README, folder))
    assert {path.name for path in folder.glob("*.svg")} == {"bptt.svg", "elman.svg", "rolled.svg"}


def test_every_link_leads_somewhere() -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_command_has_a_row() -> None:
    from unfold.cli import cli

    rows = set(re.findall(r"^\| `unfold ([a-z-]+)", README.read_text(encoding="utf-8"), re.M))
    assert rows == set(cli.commands)
