"""`unfold train`: what it writes, what it says, and its exit status."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold
import unfold.train.run
from unfold.cli import main
from unfold.train.text import text_data

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
CHARLM = EXAMPLES / "charlm.rec"
MODEL = """
model m(D, H):
    input  x[t]: real[D]
    input  y: real
    param  W: real[H, D] ~ glorot
    param  v: real[H]    ~ normal(0.5)
    h[0] = 0
    h[t] = tanh(W @ x[t] + 0.5 * h[t-1])
    loss = (v @ h[T] - y) ** 2
    minimize loss
"""
NUMPY = ("--backend", "numpy", "--epochs", 2)
Run = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["unfold", *map(str, args)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(""))
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    data: dict[str, Any] = {"x": rng.normal(size=(20, 6, 2)), "y": rng.normal(size=20)}
    data["lengths"] = rng.integers(1, 7, 20)
    np.savez(tmp_path / "d.npz", **data)
    (tmp_path / "m.rec").write_text(MODEL)
    (tmp_path / "t.txt").write_text("abra cadabra " * 8)
    return {"model": tmp_path / "m.rec", "data": tmp_path / "d.npz", "arrays": data,
            "text": tmp_path / "t.txt"}  # fmt: skip


def test_it_does_what_fit_does_and_goes_on(run: Run, files: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "p.safetensors"
    given = ["train", files["model"], "--data", files["data"], "--size", "H=3", *NUMPY[:2]]
    given += ["--validation", 0.2, "--rate", 0.05, "--clip-norm", 1, "--batch", 4]
    status, said, err = run(*given, "--epochs", 3, "-o", out)
    assert (status, err) == (0, "")
    assert said.startswith("3 epochs, 12 updates: loss ")
    assert said.endswith(f"wrote {out}\n")
    fit = unfold.fit(
        MODEL, files["arrays"], H=3, epochs=3, validation=0.2, optimiser=unfold.Adam(rate=0.05),
        clip_norm=1.0, batch=4, backend="numpy",
    )  # fmt: skip
    first = unfold.load_params(out, fit.function)
    assert first.metadata == {"model": "m", "sizes": {"D": 2, "H": 3}}
    for n, a in fit.params.items():
        assert first[n].tobytes() == a.tobytes()
    run(*given, "--epochs", 1, "--folder", tmp_path / "run")
    status, said, _ = run(*given, "--epochs", 3, "--folder", tmp_path / "run", "--json")
    found = json.loads(said)
    assert (found["loss"], found["stopped"]) == (fit.loss, "epochs")
    assert Path(found["params"]).read_bytes() == out.read_bytes()


def test_a_text_makes_a_vocabulary_that_comes_with_the_parameters(
    run: Run, files: dict[str, Any], tmp_path: Path
) -> None:
    out, more = tmp_path / "p.npz", tmp_path / "q.npz"
    given = ["train", CHARLM, "--data", files["text"], "--carry", 10, "--batch", 2, *NUMPY]
    status, _, err = run(*given, "--size", "M=2", "--size", "H=3", "-o", out)
    assert (status, err) == (0, "")
    params = unfold.load_params(out)
    assert params.metadata["vocabulary"] == [" ", "a", "b", "c", "d", "r"]
    assert params.metadata["sizes"] == {"K": 6, "M": 2, "H": 3}
    (tmp_path / "u.txt").write_text("abacab" * 5)
    given[3] = tmp_path / "u.txt"
    status, _, err = run(*given, "--params", out, "-o", more)
    assert (status, err) == (0, "")
    assert unfold.load_params(more).metadata == params.metadata
    (tmp_path / "u.txt").write_text("abacus" * 5)
    status, _, err = run(*given, "--params", out, "-o", more)
    assert status == 1
    assert "u.txt: the character 'u', number 5 of the text, is not in the vocabulary" in err


def test_a_text_is_a_stream_of_tokens_and_of_what_is_next() -> None:
    found = text_data(unfold.load(CHARLM).program, "hello", sizes={"H": 2})
    assert found.vocabulary == ["e", "h", "l", "o"]
    assert found.sizes == {"H": 2, "K": 4}
    np.testing.assert_array_equal(found.data["x"], [1, 0, 2, 2])
    np.testing.assert_array_equal(found.data["target"], [0, 2, 2, 3])
    with pytest.raises(unfold.InputError, match="shorter than two"):
        text_data(unfold.load(CHARLM).program, "h")
    with pytest.raises(unfold.InputError, match="4 different characters, and x is int<K> with K ="):
        text_data(unfold.load(CHARLM).program, "hello", sizes={"K": 3})
    with pytest.raises(unfold.InputError, match=r"m has the inputs x\[t\]: real\[D\] and y: real"):
        text_data(unfold.loads(MODEL).program, "hello")


def test_ctrl_c_writes_what_there_is_and_ends_with_130(
    run: Run, files: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = unfold.train.run.Run.update

    def stopped(self: Any, *update: Any) -> float:
        if self.at.epoch == 1:
            signal.raise_signal(signal.SIGINT)
        return started(self, *update)

    monkeypatch.setattr(unfold.train.run.Run, "update", stopped)
    out = tmp_path / "p.npz"
    given = ["train", files["model"], "--data", files["data"], "--size", "H=3", "-o", out, *NUMPY]
    # A job in the background has Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        status, said, err = run(*given)
        assert (status, said) == (130, "")
        assert err == f"stopped after 1 of 2 epochs and 1 update; wrote {out}\n"
        assert set(unfold.load_params(out)) == {"W", "v"}
        given += ["--folder", tmp_path / "run"]
        status, said, err = run(*given)
    finally:
        signal.signal(signal.SIGINT, before)
    place = f"saved in {tmp_path / 'run'}: run the same again to go on"
    assert err == f"stopped after 1 of 2 epochs and 1 update; {place}; wrote {out}\n"
    monkeypatch.undo()
    status, said, err = run(*given)
    assert (status, err) == (0, "")
    assert said.startswith("2 epochs, 2 updates")


def test_mistakes_of_the_command_line(run: Run, files: dict[str, Any], tmp_path: Path) -> None:
    given = ["train", files["model"], "--data", files["data"], *NUMPY]
    status, _, err = run(*given, "--size", "H=3")
    assert (status, "the result would be lost" in err) == (2, True)
    status, _, err = run(*given, "-o", tmp_path / "p.pt")
    assert (status, "parameters go to files in .safetensors or .npz" in err) == (2, True)
    out = ["-o", tmp_path / "p.npz"]
    status, _, err = run(*given, *out)
    lacking = "m needs the size H, which the data do not tell: give H=…, or --size in the shell"
    assert (status, err) == (1, f"error: {lacking}\n")
    status, _, err = run(*given, *out, "--size", "H=3", "--validation", "much")
    assert (status, "`much` is no number, and no file" in err) == (2, True)
    status, _, err = run(*given, *out, "--size", "H=3", "--validation", 20)
    assert (status, "leave none to train on" in err) == (1, True)
    folder = ["--folder", tmp_path / "run", "--size", "H=3"]
    run(*given, *folder)
    status, _, err = run(*given, *folder, "--batch", 7)
    assert (status, "batch was 32, and is 7 now" in err) == (1, True)
    assert run(*given, *folder, "--batch", 7, "--restart")[0] == 0
    assert not (tmp_path / "p.npz").exists()
