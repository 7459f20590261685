"""The page of examples is what its script makes of the examples."""

from __future__ import annotations

import importlib.util
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from unfold.draw import COLUMNS, picture

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


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.rec")), ids=lambda p: p.stem)
def test_every_example_has_a_drawing_of_what_it_is_now(path: Path) -> None:
    gallery = script()
    svg = gallery.picture(path.stem)
    assert svg.exists(), "run: python examples/gallery.py"
    titles = {e.text for e in ET.parse(svg).getroot().iter("{http://www.w3.org/2000/svg}title")}
    shown = picture(gallery.graph(path.stem), COLUMNS)
    wanted = set(shown.boxes) | {f"{line.start}->{line.end}" for line in shown.lines}
    assert wanted <= titles, "run: python examples/gallery.py"
    drawn = {t for t in titles if t is not None and "->" in t and not t.startswith("legend")}
    assert drawn <= wanted, "run: python examples/gallery.py"


def test_every_link_and_picture_of_the_page_leads_somewhere() -> None:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    page = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    headings = {line[4:] for line in page.splitlines() if line.startswith("### ")}
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert {link[1:] for link in links if link.startswith("#")} == headings
    assert all((EXAMPLES / link).exists() for link in links if not link.startswith("#"))
    assert headings == {p.stem for p in EXAMPLES.glob("*.rec")}
    assert not script().unlisted(), "examples/gallery.py: give it a group"


def test_every_example_says_what_it_is_and_what_to_try() -> None:
    gallery = script()
    for path in EXAMPLES.glob("*.rec"):
        about, tried, equations = gallery.parts(path.read_text(encoding="utf-8"))
        assert about.endswith((".", ":")), path.name
        assert tried.endswith("."), path.name
        assert "\nmodel " in f"\n{equations}", path.name
