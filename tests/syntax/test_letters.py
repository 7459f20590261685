"""How signs and letters that are not of the language are written in it."""

from __future__ import annotations

import pytest

from unfold.syntax.letters import SPELLINGS, ascii_letters, spelling


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("θ", "`theta`"),
        ("Δt", "`Deltat`"),
        ("naïve", "`naive`"),
        ("hₜ", "`h[t]`"),
        ("hₜ₋₁", "`h[t-1]`"),
        ("αᵢ", "`alpha[i]`"),
        ("x²", "`x ** 2`"),
        ("Wᵀ", "`W'`"),
        ("≤", "`<=`"),
    ],
)
def test_a_word_of_mathematics_has_a_spelling(word: str, expected: str) -> None:
    assert expected in spelling(word)


def test_a_word_without_one_has_none() -> None:
    assert spelling("漢字") == ""


def test_spellings_are_of_signs_that_the_language_does_not_have() -> None:
    assert all(len(sign) == 1 for sign in SPELLINGS)
    assert not set(SPELLINGS) & set("()[],;:=<>+-*/@'~#_")


def test_letters_of_any_kind_become_ascii() -> None:
    assert ascii_letters("Łódź λ₂").isascii()
