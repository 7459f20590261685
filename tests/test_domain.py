"""Emptiness of sets of integer points, held against counting them."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from unfold.domain import Domain, contradict
from unfold.poly import Poly

NAMES = ("s", "t", "u", "T")
#: Every symbol lies in -REACH..REACH, so that all points can be counted.
REACH = 3
BOX = Domain.of(
    p + REACH for name in NAMES for p in (Poly.symbol(name), Poly.symbol(name) * -1)
).constraints

pairs = st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(-2 * REACH, REACH))
rows = st.tuples(*(st.integers(-3, 3) for _ in NAMES), st.integers(-6, 6))


def points(constraints: tuple[Poly, ...]) -> int:
    """How many points of the box satisfy all constraints."""
    values = itertools.product(range(-REACH, REACH + 1), repeat=len(NAMES))
    named = (dict(zip(NAMES, point, strict=True)) for point in values)
    return sum(all(p.evaluate(v) >= 0 for p in constraints) for v in named)


@given(st.lists(pairs, max_size=6))
def test_of_differences_a_set_is_empty_exactly_if_it_has_no_point(
    listed: list[tuple[str, str, int]],
) -> None:
    constraints = tuple(Poly.symbol(a) - Poly.symbol(b) + c for a, b, c in listed)
    assert contradict((*constraints, *BOX)) == (points(constraints) == 0)


@given(st.lists(rows, min_size=1, max_size=4))
def test_what_is_called_empty_has_no_point(listed: list[tuple[int, ...]]) -> None:
    constraints = tuple(
        sum((Poly.symbol(n) * c for n, c in zip(NAMES, row[:-1], strict=True)), Poly.const(row[-1]))
        for row in listed
    )
    count = points(constraints)
    if contradict((*constraints, *BOX)):
        assert count == 0
    domain = Domain.of((*constraints, *BOX))
    assert domain.is_empty() == contradict((*constraints, *BOX))
    implied = Poly.symbol("t") + Poly.symbol("s") - 1
    if domain.implies(implied):
        assert points((*constraints, -implied - 1)) == 0


def test_bounds_are_tightened_to_whole_numbers() -> None:
    t = Poly.symbol("t")
    assert contradict((2 * t - 1, 1 - 2 * t))  # t = 1/2
    assert not contradict((2 * t - 2, 3 - 2 * t))  # t = 1
    assert not contradict(())
    assert contradict((Poly.const(-1),))
