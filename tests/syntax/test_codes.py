"""The catalogue of diagnostics: complete, true to its word, and good to read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import unfold
from unfold.check import check_text
from unfold.syntax.codes import CODES, bad_text, cure_text, explain
from unfold.syntax.entry import Entry

ENTRIES = list(CODES.values())


def codes(text: str) -> set[str]:
    return {each.code for each in check_text(text, "example.rec")}


@pytest.mark.parametrize("entry", ENTRIES, ids=CODES)
def test_the_bad_text_earns_its_code_and_no_other(entry: Entry) -> None:
    assert codes(bad_text(entry)) == {entry.code}


@pytest.mark.parametrize("entry", ENTRIES, ids=CODES)
def test_the_cure_is_clean(entry: Entry) -> None:
    assert not codes(cure_text(entry))


def test_no_code_is_used_that_is_not_explained() -> None:
    root = Path(unfold.__file__).parent
    used = set()
    for path in root.rglob("*.py"):
        if "codes_" not in path.name:
            used |= set(re.findall(r'"([EW]0\d{3})"', path.read_text(encoding="utf-8")))
    assert used == set(CODES)


def test_every_explanation_reads_well() -> None:
    for code, entry in CODES.items():
        text = explain(code)
        assert text.startswith(f"{code}: {entry.title}\n\n")
        assert max(map(len, text.splitlines())) <= 100 or code == "E0117"
        assert not entry.title.endswith(".")
        assert entry.explanation.strip().endswith((".", ".)", "gru"))


def test_a_code_may_be_given_in_small_letters() -> None:
    assert explain("e0101") == explain("E0101")
    with pytest.raises(KeyError):
        explain("E9999")
