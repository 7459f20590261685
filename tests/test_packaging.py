"""What is built is what is here: the wheel holds every module and datum under its right name."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"unfold": "unfold", "backends": "unfold/backends", "grammar": "unfold/grammar"}
CODE_AND_DATA = {".css", ".html", ".js", ".json", ".lark", ".ll", ".md", ".py", ".rec", ".typed"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built without a network, from a copy: setuptools leaves its traces in the source."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation"]
    command += ["--no-deps", "--no-index", "--disable-pip-version-check", "-w", str(out)]
    built = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (path,) = out.glob("unfold_rec-*-py3-none-any.whl")
    return path


def test_the_wheel_holds_every_file_of_the_tree_and_no_generic_top_level_name(wheel: Path) -> None:
    in_tree = {
        f"{target}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, target in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in CODE_AND_DATA and "__pycache__" not in path.parts
    }
    in_wheel = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert not in_tree - in_wheel, "a package is missing in pyproject.toml"
    assert not in_wheel - in_tree
    assert {"unfold/grammar/rec.lark", "unfold/cells/gru.rec", "unfold/py.typed"} <= in_wheel


def test_the_wheel_works_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    # -I keeps the current folder and PYTHONPATH away, so that only what was unpacked is found;
    # the import hook of an editable install would stand behind it on the path.
    program = f"""
import sys; sys.path.insert(0, {str(site)!r})
import unfold, unfold.backends.llvm, unfold.backends.numpy, unfold.grammar
for module in (unfold, unfold.backends.llvm, unfold.backends.numpy, unfold.grammar):
    assert module.__file__.startswith({str(site)!r}), module.__file__
text = "from cells use gru\\nmodel m(H):\\n    input x[t]: real[H]\\n    g = gru(x, H)\\n"
print(unfold.loads(text + "    last = g.h[T]\\n    output last\\n"))
"""
    run = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", program],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "g.h[t]" in run.stdout
