"""The grammar's tables: kept between processes where they can be, and never trusted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from unfold.grammar import text
from unfold.syntax import lalr
from unfold.syntax.parse import parse

PROGRAM = "model m():\n    y = tanh(1 + 2)\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, and no tables in memory."""
    home = tmp_path / "cache"
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: home)
    lalr._lark.cache_clear()
    yield home
    lalr._lark.cache_clear()


def test_the_tables_are_kept_in_the_users_cache_folder(folder: Path) -> None:
    first = parse(PROGRAM)
    assert (folder / "grammar.lark").stat().st_size > 0
    lalr._lark.cache_clear()
    assert parse(PROGRAM) == first


@pytest.mark.parametrize("damage", [b"", b"not a table", None])
def test_damaged_tables_are_built_again(folder: Path, damage: bytes | None) -> None:
    first = parse(PROGRAM)
    file = folder / "grammar.lark"
    file.write_bytes(file.read_bytes()[:2000] if damage is None else damage)
    lalr._lark.cache_clear()
    assert parse(PROGRAM) == first


def test_a_folder_that_cannot_be_made_is_no_obstacle(folder: Path) -> None:
    folder.write_text("a file where the folder should be")
    assert len(parse(PROGRAM).models) == 1


def test_words_and_signs_of_every_kind_can_be_lexed() -> None:
    assert [word.type for word in lalr.words("a.1.b 1..3 .5 σ ^ 'x")] == [
        "NAME", "NUMBER", "RANGE", "NUMBER", "NUMBER", "UNICODE", "STRAY", "QUOTE", "NAME",
    ]  # fmt: skip


def test_the_grammar_is_found_wherever_the_package_is_installed() -> None:
    assert "model:" in text()
