"""Counting points agrees with looking at every one."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfold.cost.points import count
from unfold.domain import Domain
from unfold.poly import Poly

NAMES = ("t", "s", "r")
T = Poly.symbol("T")


def looked_at(domain: Domain, indices: tuple[str, ...], lengths: dict[str, int]) -> int:
    span = range(-3, lengths["T"] + 4)
    points = product(span, repeat=len(indices))
    return sum(domain.contains({**lengths, **dict(zip(indices, p, strict=True))}) for p in points)


@st.composite
def domains(draw: st.DrawFn) -> tuple[Domain, tuple[str, ...]]:
    """Boxes over 1..T with a few constraints of differences between indices, or with T."""
    indices = NAMES[: draw(st.integers(1, 3))]
    rows = [Domain.range(i, 1, T) for i in indices]
    for _ in range(draw(st.integers(0, 3))):
        i = Poly.symbol(draw(st.sampled_from(indices)))
        other = draw(st.sampled_from([*map(Poly.symbol, indices), T, Poly()]))
        sign = draw(st.sampled_from((1, -1)))
        rows.append(Domain.of((sign * (i - other) + draw(st.integers(-2, 4)),)))
    whole = rows[0]
    for row in rows[1:]:
        whole = whole & row
    return whole, indices


@given(domains(), st.integers(1, 6))
def test_random_domains(case: tuple[Domain, tuple[str, ...]], steps: int) -> None:
    domain, indices = case
    assert count(domain, indices, {"T": steps}) == looked_at(domain, indices, {"T": steps})


def test_no_index_is_one_point_or_none() -> None:
    at_least_3 = Domain.of((T - 3,))
    assert count(at_least_3, (), {"T": 3}) == 1
    assert count(at_least_3, (), {"T": 2}) == 0


def test_a_constraint_on_lengths_alone_empties_a_box() -> None:
    domain = Domain.range("t", 1, T) & Domain.of((T - 5,))
    assert count(domain, ("t",), {"T": 4}) == 0
    assert count(domain, ("t",), {"T": 6}) == 6


@pytest.mark.parametrize("steps", [7, 3000])
def test_long_triangles_and_pyramids_are_counted_exactly(steps: int) -> None:
    t, s = map(Poly.symbol, NAMES[:2])
    triangle = Domain.range("t", 1, T) & Domain.range("s", 1, t)
    assert count(triangle, ("t", "s"), {"T": steps}) == steps * (steps + 1) // 2
    pyramid = triangle & Domain.range("r", 1, s)
    expected = steps * (steps + 1) * (steps + 2) // 6
    assert count(pyramid, NAMES, {"T": steps}) == expected
