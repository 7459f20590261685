"""The grammar's tables: kept between processes where they can be, and never trusted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from unfold import cache
from unfold.grammar import text
from unfold.syntax import lalr
from unfold.syntax.parse import parse

PROGRAM = "model m():\n    y = tanh(1 + 2)\n"
STRAYS = "a.1.b 1..3 .5 σ ^ 'x"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, and no tables in memory."""
    home = tmp_path / "cache"
    monkeypatch.setenv(cache.VARIABLE, str(home))
    lalr._lark.cache_clear()
    yield home
    lalr._lark.cache_clear()


def test_the_tables_are_kept_in_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = parse(PROGRAM)
    strays = lalr.words(STRAYS)
    lalr._lark.cache_clear()
    monkeypatch.setattr(lalr, "grammar", lambda: pytest.fail("the tables are built again"))
    assert parse(PROGRAM) == first
    assert lalr.words(STRAYS) == strays


def test_damaged_tables_are_built_again(folder: Path) -> None:
    first = parse(PROGRAM)
    (file,) = folder.glob("*.entry")
    content = file.read_bytes()
    for damage in (b"", content[:2000], content[:-900] + b"?" + content[-899:]):
        file.write_bytes(damage)
        lalr._lark.cache_clear()
        assert parse(PROGRAM) == first


def test_a_folder_that_cannot_be_made_is_no_obstacle(folder: Path) -> None:
    folder.write_text("a file where the folder should be")
    assert len(parse(PROGRAM).models) == 1


def test_words_and_signs_of_every_kind_can_be_lexed() -> None:
    assert [word.type for word in lalr.words(STRAYS)] == [
        "NAME", "NUMBER", "RANGE", "NUMBER", "NUMBER", "UNICODE", "STRAY", "QUOTE", "NAME",
    ]  # fmt: skip


def test_the_grammar_is_found_wherever_the_package_is_installed() -> None:
    assert "model:" in text()
