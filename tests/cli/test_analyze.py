"""`unfold analyze`: reports, pictures and JSON, and what it says when something is missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.analysis.models import EXAMPLES
from unfold.cli import cli

ELMAN = [str(EXAMPLES / "elman.rec"), "--size", "D=2", "--size", "H=3", "--size", "K=2"]


def analyze(*options: str) -> Result:
    return CliRunner().invoke(cli, ["analyze", *options, "--backend", "numpy", "--steps", "8"])


def test_without_data_it_says_what_it_made_up() -> None:
    found = analyze(*ELMAN, "--what", "gradients,paths")
    assert found.exit_code == 0
    assert "no --data: random inputs between 0.2 and 0.9 (T = 8, seed 0)" in found.stderr
    assert "no --params: parameters as the model starts them (seed 0)" in found.stderr
    assert "--- gradients ---" in found.stdout
    assert "--- influence ---" not in found.stdout
    assert "maximum path length: 11" in found.stdout


def test_what_does_not_fit_the_model_is_said_and_the_rest_is_there(tmp_path: Path) -> None:
    found = analyze(str(EXAMPLES / "causal_attention.rec"), "--size", "D=2", "--size", "P=2",
                    "--size", "Q=2", "--size", "K=2", "-o", str(tmp_path / "out"))  # fmt: skip
    assert found.exit_code == 0, found.stderr
    assert (
        "--- not for this model ---\ngradients: causal_attention carries no state" in found.stdout
    )
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "influence.png", "paths.png", "report.txt",
    ]  # fmt: skip
    assert "maximum path length: 1" in (tmp_path / "out" / "report.txt").read_text()
    named = analyze(*ELMAN, "--what", "losses")
    assert named.exit_code == 1
    assert "error: losses: elman has one loss" in named.stderr


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_one_picture_holds_all_panels(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"all.{suffix}"
    found = analyze(*ELMAN, "--what", "jacobian,fixed-points", "-o", str(target))
    assert f"wrote {target}" in found.stdout
    head = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert target.read_bytes().startswith(head)
    assert [p.name for p in tmp_path.iterdir()] == [target.name]


def test_arrays_from_files_fix_sizes_and_lengths(tmp_path: Path) -> None:
    x, c = np.random.default_rng(0).normal(size=(5, 2)), np.zeros(5, int)
    np.savez(tmp_path / "in.npz", x=x, c=c)
    found = analyze(
        str(EXAMPLES / "elman.rec"), "--data", str(tmp_path / "in.npz"), "--size", "H=3", "--size",
        "K=2", "--what", "influence,jacobian", "--of", "y[T]", "--json",
    )  # fmt: skip
    assert found.exit_code == 0, found.stderr
    result = json.loads(found.stdout)["results"]
    assert len(result["influence"]["norms"]["x"]) == 5
    assert result["jacobian"]["size"] == 3
    assert "classical" in result["jacobian"]["report"]


def test_wrong_options_are_named(tmp_path: Path) -> None:
    assert "`speed` is none of gradients" in analyze(*ELMAN, "--what", "speed").stderr
    found = analyze(*ELMAN, "--what", "paths", "-o", str(tmp_path / "a.gif"))
    assert found.exit_code == 2
    assert "a picture is .png, .svg or .pdf" in found.stderr
