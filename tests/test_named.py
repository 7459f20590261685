"""Named tuples that are quick to make behave as those of `typing` do."""

from __future__ import annotations

import copy
import pickle
from typing import NamedTuple

import pytest

from unfold.digest import digest
from unfold.named import Named


class Place(Named):
    row: int
    column: int = 7
    name: str = ""

    @property
    def total(self) -> int:
        return self.row + self.column


class Model(NamedTuple):
    row: int
    column: int = 7
    name: str = ""


def test_it_is_made_and_read_as_a_named_tuple_is() -> None:
    for args, named in (((1,), {}), ((1, 2), {"name": "x"}), ((), {"name": "y", "row": 3})):
        mine, theirs = Place(*args, **named), Model(*args, **named)  # type: ignore[arg-type]
        assert tuple(mine) == tuple(theirs)
        assert hash(mine) == hash(theirs)
        assert repr(mine) == repr(theirs).replace("Model", "Place")
        assert mine._asdict() == theirs._asdict()
        assert mine._replace(column=9) == theirs._replace(column=9)
        assert mine == (mine.row, mine.column, mine.name)
    assert Place._fields == Model._fields
    assert Place(1).total == 8


def test_copies_and_pickles_are_equal_and_of_its_class() -> None:
    place = Place(1, name="x")
    for other in (copy.deepcopy(place), pickle.loads(pickle.dumps(place))):
        assert other == place
        assert type(other) is Place


def test_it_has_a_digest_of_its_class_and_its_values() -> None:
    assert digest(Place(1)) == digest(Place(1, 7))
    assert digest(Place(1)) != digest(Place(2))
    assert digest(Place(1)) != digest((1, 7, ""))


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ((), {}),
        ((1, 2, "x", 4), {}),
        ((1,), {"row": 1}),
        ((1,), {"height": 1}),
        ((1, 2, "x"), {"name": "y"}),
    ],
)
def test_fields_that_are_missing_unknown_or_given_twice_are_refused(
    args: tuple[object, ...], named: dict[str, object]
) -> None:
    with pytest.raises(TypeError, match="row, column, name"):
        Place(*args, **named)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Model(*args, **named)  # type: ignore[arg-type]


def test_it_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Place(1).row = 2  # type: ignore[misc]
