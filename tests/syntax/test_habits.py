"""Names that other languages would write, and what they mean here."""

from __future__ import annotations

import pytest

from unfold.syntax.habits import otherwise


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("W.T", "`W'`"),
        ("h_t", "`h[t]`"),
        ("h_t1", "`h[t-1]`"),
        ("h_t_1", "`h[t-1]`"),
        ("h_tm2", "`h[t-2]`"),
        ("h_t_minus_1", "`h[t-1]`"),
        ("h_prev", "`h[t-1]`"),
        ("h_next", "`h[t+1]`"),
        ("np.tanh", "`tanh`"),
        ("True", "`true`"),
    ],
)
def test_a_habit_is_recognised(name: str, meant: str) -> None:
    assert meant in otherwise(name, {"h", "W"}, {"t", "s"})


@pytest.mark.parametrize("name", ["g_t", "h_x", "weight", "enc.h", "T", "h_"])
def test_other_names_mean_nothing_else(name: str) -> None:
    assert otherwise(name, {"h", "W"}, {"t", "s"}) == ""
