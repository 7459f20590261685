"""The demo, with fewer updates: it learns, tells its losses, and writes its pictures."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "examples" / "sunspots.py"


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module that writes to a folder of the test's own."""
    spec = importlib.util.spec_from_file_location("sunspots_demo", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "OUT", tmp_path / "out")
    monkeypatch.setattr(module, "UPDATES", 30)
    return module


def test_the_table_holds_the_years_without_a_gap(demo: ModuleType) -> None:
    years, numbers = demo.read_table(SCRIPT.parent / "data" / "sunspots.csv")
    assert years.tolist() == list(range(1700, 2009))
    assert numbers.min() == 0
    assert (numbers.argmax(), numbers.max()) == (257, 190.2)
    assert np.allclose(demo.unscaled(demo.scaled(numbers)), numbers)


def test_the_demo_learns_and_writes_its_pictures(
    demo: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    demo.main()
    found = re.search(r"loss ([\d.]+) before, ([\d.]+) after", capsys.readouterr().out)
    assert found is not None
    assert float(found[2]) < float(found[1]) / 2
    assert (demo.OUT / "sunspots.png").read_bytes().startswith(b"\x89PNG")
    for name in ("sunspots-unrolled.svg", "sunspots-adjoint.svg"):
        assert ET.parse(demo.OUT / name).getroot().tag.endswith("svg")
