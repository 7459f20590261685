"""The page of examples is what its script makes of the examples."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parent.parent / "examples"


def script() -> Any:
    spec = importlib.util.spec_from_file_location("gallery", EXAMPLES / "gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_gallery_is_up_to_date() -> None:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert page == script().gallery(), "run: python examples/gallery.py"


def test_every_example_says_what_it_is_and_what_to_try() -> None:
    gallery = script()
    for path in EXAMPLES.glob("*.rec"):
        about, tried, equations = gallery.parts(path.read_text(encoding="utf-8"))
        assert about.endswith((".", ":")), path.name
        assert tried.endswith("."), path.name
        assert "\nmodel " in f"\n{equations}", path.name
