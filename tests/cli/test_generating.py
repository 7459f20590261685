"""`unfold generate`: what it prints and writes, and how it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold
from unfold.cli import main

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
CHARLM = EXAMPLES / "charlm.rec"
LETTERS = list("abcde ")
SIZES = {"K": 6, "M": 3, "H": 4}

Run = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["unfold", "generate", *map(str, args)])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, unfold.Function, Any]:
    fn = unfold.compile(CHARLM, sizes=SIZES)
    chance = np.random.default_rng(5)
    params = {n: chance.normal(0, 0.8, a.shape) for n, a in fn.init().items()}
    path = tmp_path / "p.safetensors"
    unfold.save_params(path, params, model="charlm", sizes=SIZES, vocabulary=LETTERS)
    return path, fn, unfold.load_params(path, fn)


def test_text_is_that_of_the_function(run: Run, trained: Any) -> None:
    path, fn, params = trained
    how = ("--steps", 30, "--temperature", 0.8, "--top-k", 4, "--top-p", 0.9, "--seed", 1)
    status, out, err = run(CHARLM, "--params", path, "--prompt", "abc", *how)
    made = fn.generate(params, "abc", 30, temperature=0.8, top_k=4, top_p=0.9, seed=1)
    assert (status, out, err) == (0, f"{made.text}\n", "")
    status, out, _ = run(CHARLM, "--params", path, "--prompt", "abc", *how, "--json")
    assert json.loads(out) == {"values": made.tokens.tolist(), "text": made.text, "seed": 1}
    status, out, _ = run(CHARLM, "--params", path, "--prompt", "a", "--samples", 2, "--steps", 5)
    two = fn.generate(params, "a", 5, samples=2).text
    assert out == f"{two[0]}\n---\n{two[1]}\n"
    status, out, _ = run(CHARLM, "--params", path, "--start", "b", "--steps", 5)
    assert out == f"{fn.generate(params, 'b', 5).text}\n"


def test_tokens_without_a_vocabulary_are_numbers(run: Run, trained: Any, tmp_path: Path) -> None:
    _, fn, params = trained
    path, out_path = tmp_path / "q.npz", tmp_path / "out.npz"
    unfold.save_params(path, dict(params))
    status, out, _ = run(CHARLM, "--params", path, "--tokens", "1,2", "--steps", 20, "-o", out_path)
    made = fn.generate(dict(params), [1, 2], 20)
    assert status == 0
    assert [int(k) for k in out.split()] == made.tokens.tolist()
    with np.load(out_path) as file:
        np.testing.assert_array_equal(file["values"], made.tokens)
        np.testing.assert_allclose(file["probabilities"], made.probabilities)
        np.testing.assert_allclose(file["y"], made.outputs.y)


@pytest.mark.parametrize("batch", [None, 2])
def test_a_forecast_goes_on_from_data(run: Run, batch: int | None, tmp_path: Path) -> None:
    fn = unfold.compile(EXAMPLES / "sunspots.rec", H=4)
    params = fn.init(seed=1)
    unfold.save_params(tmp_path / "p.npz", params, model="sunspots")
    x = np.random.default_rng(0).random((7, 1) if batch is None else (batch, 7, 1))
    np.savez(tmp_path / "d.npz", x=x)
    status, out, err = run(
        EXAMPLES / "sunspots.rec", "--params", tmp_path / "p.npz", "--data", tmp_path / "d.npz",
        "--feed", "x=y", "--steps", 20, "-o", tmp_path / "o.npz",
    )  # fmt: skip
    made = fn.generate(params, x, 20, feed={"x": "y"})
    assert (status, err) == (0, f"wrote {tmp_path / 'o.npz'}\n")
    if batch is None:
        np.testing.assert_allclose([float(v) for v in out.split()], made.values[:, 0], rtol=1e-5)
    with np.load(tmp_path / "o.npz") as file:
        np.testing.assert_allclose(file["values"], made.values)


def test_mistakes_end_with_1_or_2(run: Run, trained: Any) -> None:
    path, _, params = trained

    def err(*args: object) -> tuple[int, str]:
        status, out, err = run(*args)
        assert out == ""
        return status, err

    assert err(CHARLM, "--params", path, "--prompt", "abx") == (
        1, "error: prompt: not in the vocabulary: 'x' (at 2)\n"
    )  # fmt: skip
    assert err(EXAMPLES / "lstm.rec", "--params", path) == (
        1, f"error: {path} holds the parameters of charlm, and the model is lstm\n"
    )  # fmt: skip
    unfold.save_params(path, dict(params))
    assert err(CHARLM, "--params", path, "--prompt", "ab") == (
        1,
        "error: prompt: a text needs a vocabulary: give vocabulary=…, or parameters whose metadata "
        "has one\n",
    )
    status, text = err(EXAMPLES / "lstm.rec", "--params", path, "--size", "K=2")
    assert status == 1
    assert "are not the parameters of lstm" in text or "lstm needs the size" in text
    for wrong in (
        ("--prompt", "a", "--tokens", "1"),
        ("--tokens", "1,b"),
        ("--feed", "x"),
        ("--temperature", -1),
        ("--top-p", 0),
        ("--steps", -1),
    ):
        assert err(CHARLM, "--params", path, *wrong)[0] == 2


def test_the_shell_speaks_of_its_own_option(run: Run, tmp_path: Path) -> None:
    """Python's `feed={"x": "y"}` is `--feed x=y` here."""
    text = (
        "model two(K):\n    input x[t]: int<K>\n    param W: real[K, K] ~ normal(1)\n"
        "    y[t] = W[x[t]]\n    z[t] = 2 * y[t]\n    output y[t], z[t]\n"
    )
    (tmp_path / "two.rec").write_text(text)
    unfold.save_params(tmp_path / "p.npz", unfold.compile(text, K=3).init(), sizes={"K": 3})
    call = [str(tmp_path / "two.rec"), "--params", str(tmp_path / "p.npz")]
    status, _, said = run(*call, "--tokens", "1")
    assert (status, said) == (
        1, "error: several outputs could feed two: say which, --feed x=y or --feed x=z\n"
    )  # fmt: skip
