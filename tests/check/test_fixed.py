"""Components with numbers are checked when the sizes are fixed."""

from __future__ import annotations

import pytest

import unfold

TEXT = """
model m(H):
    input x: real[H]
    y = x[2] + sum(x[1:4])
    output y
"""


def test_a_size_that_is_too_small_is_refused_when_it_is_fixed() -> None:
    with pytest.raises(unfold.RecError, match=r"with H = 2, `y` cannot be computed"):
        unfold.compile(unfold.loads(TEXT), H=2, backend="numpy")
    with pytest.raises(unfold.RecError, match=r"slice 1:4 does not lie in 0:3"):
        unfold.compile(unfold.loads(TEXT), H=3, backend="numpy")


def test_a_size_that_is_large_enough_is_accepted() -> None:
    fn = unfold.compile(unfold.loads(TEXT), H=4, backend="numpy")
    assert fn({}, x=[1.0, 2.0, 3.0, 4.0]).y == 12.0


def test_a_vector_without_components_is_refused() -> None:
    text = "model m(H):\n    input x: real[H]\n    y = sum(x[1:])\n    output y\n"
    with pytest.raises(unfold.RecError, match="no components"):
        unfold.compile(unfold.loads(text), H=1, backend="numpy")
