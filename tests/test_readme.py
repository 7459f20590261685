"""The README is true: its model compiles, its Python runs, its terminal shows what is printed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Golden

README = Path(__file__).resolve().parent.parent / "README.md"
CONSOLE = re.compile(r"^```console\n(\$ unfold ([^\n]*)\n)(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text("utf-8"), re.M | re.S)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with the files that the README speaks of."""
    (model,) = blocks("rec")
    wrong = model.replace("W @ x[t]", "W @ h[t-1]")
    assert wrong != model
    (tmp_path / "elman.rec").write_text(model, encoding="utf-8")
    (tmp_path / "wrong.rec").write_text(wrong, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_terminals_show_what_the_commands_print(folder: Path, golden: Golden) -> None:
    def again(match: re.Match[str]) -> str:
        command = [sys.executable, "-m", "unfold.cli", *shlex.split(match[2])]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        printed = "\n".join(line.rstrip() for line in (run.stdout + run.stderr).splitlines())
        return f"```console\n{match[1]}{printed.strip()}\n```"

    text = README.read_text(encoding="utf-8")
    assert CONSOLE.search(text)
    golden(README, CONSOLE.sub(again, text))


def test_the_python_runs_and_draws(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in blocks("python"):
        exec(compile(text, str(README), "exec"), {})
    assert "h_bar" in capsys.readouterr().out
    assert {path.name for path in folder.glob("*.svg")} == {"bptt.svg", "elman.svg", "rolled.svg"}
