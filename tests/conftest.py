"""What all tests share: golden files with the one flag that rewrites them, and how chance is used.

The same random programs are drawn in every run, so that a run can be repeated; others are tried by
`pytest --hypothesis-profile search`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# What is tested is compiled here and now, and nothing is left in the user's cache.
os.environ["UNFOLD_CACHE"] = "off"

# Times say nothing where cores are shared: no deadline, and no complaint about slow drawing.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", settings.get_profile("search"), derandomize=True)
settings.load_profile("repeatable")

Golden = Callable[[Path, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write what is found into the golden files, instead of comparing (then read the diff)",
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """`golden(path, text)`: the text is what the file holds (or will, with `--update-golden`)."""

    def check(path: Path, text: str) -> None:
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"no {path.name}: run pytest --update-golden, and read what it wrote"
        assert text == path.read_text(encoding="utf-8")

    return check
