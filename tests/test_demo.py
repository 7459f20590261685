"""The demo, with fewer updates: it learns, tells its losses, and writes its pictures."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module that writes to a folder of the test's own."""
    script = EXAMPLES / "worked" / "sunspots.py"
    spec = importlib.util.spec_from_file_location("sunspots_demo", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "OUT", tmp_path / "out")
    return module


def test_the_table_holds_the_years_without_a_gap(demo: ModuleType) -> None:
    years, numbers = demo.read_table(EXAMPLES / "data" / "sunspots.csv")
    assert years.tolist() == list(range(1700, 2009))
    assert numbers.min() == 0
    assert (numbers.argmax(), numbers.max()) == (257, 190.2)
    assert np.allclose(demo.unscaled(demo.scaled(numbers)), numbers)


def test_forecasts_are_for_the_year_they_stand_at(demo: ModuleType) -> None:
    result = demo.run(updates=150)
    error = demo.errors(result)
    same = error.pop("the same number as this year")
    # Both know the numbers up to the year before, and the sun has a cycle.
    for forecast in error.values():
        assert (forecast < 0.8 * same).all()
    # A forecast that saw its own year, or came a year late, would do better or worse by far.
    assert error["GRU"] == pytest.approx(error["linear in the last 9 years"], rel=0.35)
    # The free run begins as the forecast of one year ahead does, then reads itself.
    test = int(np.searchsorted(result.years, demo.TEST))
    ahead = result.forecasts["GRU"][test : test + demo.FREE_RUN]
    assert result.free[0] == pytest.approx(ahead[0])
    assert not np.allclose(result.free[1:], ahead[1:])


def test_the_demo_learns_and_writes_its_pictures(
    demo: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo.run, "__defaults__", (30, *demo.run.__defaults__[1:]))
    demo.main()
    found = re.search(r"loss ([\d.]+) before, ([\d.]+) at update", capsys.readouterr().out)
    assert found is not None
    assert float(found[2]) < float(found[1]) / 2
    assert (demo.OUT / "sunspots.png").read_bytes().startswith(b"\x89PNG")
    for name in ("sunspots-unrolled.svg", "sunspots-adjoint.svg"):
        assert ET.parse(demo.OUT / name).getroot().tag.endswith("svg")
