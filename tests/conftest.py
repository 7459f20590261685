"""What all tests share: golden files with the one flag that rewrites them, how chance is used, and
what was compiled.

The same random programs are drawn in every run, so that a run can be repeated; others are tried by
`pytest --hypothesis-profile search`.

Hundreds of tests read the same models and compile them with the same options. A run begins with an
empty cache, which its processes share, and removes it at its end: everything is compiled once here
and now, by the code that is tested, and nothing is left in the user's cache. A test that changes
the compiler under way (`monkeypatch`) neither reads the cache nor writes to it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from unfold import cache

#: The folder of this run's cache; the processes of pytest-xdist inherit it from the first one.
COMPILED = "UNFOLD_TESTS_CACHE"
_first = COMPILED not in os.environ
if _first:
    os.environ[COMPILED] = tempfile.mkdtemp(prefix="unfold-tests-")
os.environ["UNFOLD_CACHE"] = os.environ[COMPILED]

# Times say nothing where cores are shared: no deadline, and no complaint about slow drawing.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", settings.get_profile("search"), derandomize=True)
settings.load_profile("repeatable")

Golden = Callable[[Path, str], None]


def pytest_unconfigure() -> None:
    if _first:
        shutil.rmtree(os.environ.pop(COMPILED), ignore_errors=True)


@pytest.fixture(autouse=True)
def settled() -> None:
    """What earlier tests have compiled is written before a test begins: nothing of it goes on in
    another thread."""
    cache.settle()


@pytest.fixture
def monkeypatch() -> Iterator[pytest.MonkeyPatch]:
    """pytest's own; what is compiled meanwhile is compiled anew, and not kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNFOLD_CACHE", "off")
        yield patch
        cache.settle()  # in the folder that the test has set


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
