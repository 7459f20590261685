"""Fitting: data in all forms, runs that repeat to the bit, what is said of typical mistakes."""

from __future__ import annotations

import io
import json
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold
from unfold.train.data import batches, sequences
from unfold.train.lock import Lock

from . import killed

LAST = """
model last(D, H, K):
    input  x[t]: real[D]
    input  c: int<K>
    param  W: real[H, D] ~ glorot
    param  U: real[H, H] ~ orthogonal
    param  V: real[K, H] ~ glorot
    h[0] = 0
    h[t] = tanh(W @ x[t] + U @ h[t-1])
    loss = cross_entropy(V @ h[T], c)
    output h[t]
    minimize loss
"""
RNG = np.random.default_rng(0)
XS = [RNG.normal(size=(int(n), 2)) for n in RNG.integers(2, 12, 60)]
CS = [int(x[:, 0].sum() > 0) for x in XS]
OPTIONS: dict[str, Any] = {
    "H": 5, "K": 2, "backend": "numpy", "optimiser": unfold.Adam(rate=2e-2), "batch": 16,
}  # fmt: skip
QUICK = {**OPTIONS, "epochs": 2}


def same(a: unfold.Fit, b: unfold.Fit) -> None:
    assert set(a.params) == set(b.params)
    for n in a.params:
        assert a.params[n].tobytes() == b.params[n].tobytes(), n
    assert [h["loss"] for h in a.history] == [h["loss"] for h in b.history]


def test_a_classifier_learns_and_the_best_epoch_is_kept() -> None:
    fit = unfold.fit(LAST, {"x": XS, "c": CS}, epochs=12, validation=0.25, **OPTIONS)
    losses = [h["validation"] for h in fit.history]
    assert fit.loss == min(losses) < 0.75 * losses[0]
    assert fit.history[fit.best_epoch - 1]["validation"] == fit.loss
    assert fit.stopped == "epochs"
    fn = fit.function
    right = [fn(fit.params, x=x, c=c).loss < np.log(2) for x, c in zip(XS, CS, strict=True)]
    assert np.mean(right) > 0.8


def test_a_thousand_quick_epochs_are_one_bar_and_few_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    unfold.fit(LAST, {"x": XS[0], "c": CS[0]}, H=2, K=2, epochs=1000)
    lines = [part for part in screen.getvalue().splitlines() if "  loss " in part]
    assert 2 <= len(lines) < 100
    assert "1000/1000  loss" in lines[-1]
    assert "  1/1000" in screen.getvalue()  # the bar counts epochs: one has one update only


def test_all_forms_of_data_are_one() -> None:
    longest = max(map(len, XS))
    whole = np.full((len(XS), longest, 2), np.nan)  # what stands in the padding is not read
    for k, x in enumerate(XS):
        whole[k, : len(x)] = x
    lengths = np.array([len(x) for x in XS])
    first = unfold.fit(LAST, {"x": XS, "c": CS}, **QUICK)
    same(first, unfold.fit(LAST, [{"x": x, "c": c} for x, c in zip(XS, CS, strict=True)], **QUICK))
    same(first, unfold.fit(LAST, {"x": whole, "c": np.array(CS), "lengths": lengths}, **QUICK))
    same(first, unfold.fit(LAST, {"x": whole, "c": np.array(CS)}, lengths=lengths, **QUICK))


def test_an_update_is_the_gradient_of_the_padded_batch() -> None:
    """Against numbers made sequence by sequence."""
    fn = unfold.compile(LAST, D=2, H=5, K=2, backend="numpy")
    start = fn.init(1)
    fit = unfold.fit(
        fn, {"x": XS, "c": CS}, epochs=1, batch=99, params=start, optimiser=unfold.SGD(rate=0.1)
    )
    each = [fn.value_and_grad(start, x=x, c=c) for x, c in zip(XS, CS, strict=True)]
    np.testing.assert_allclose(fit.history[0]["loss"], np.mean([v for v, _ in each]), rtol=1e-12)
    for n, a in start.items():
        grad = np.mean([g[n] for _, g in each], axis=0)
        np.testing.assert_allclose(fit.params[n], a - 0.1 * grad, rtol=1e-9, atol=1e-12)


def test_batches_hold_every_sequence_once_and_pad_little() -> None:
    fn = unfold.compile(LAST, D=2, H=5, K=2, backend="numpy")
    data = sequences(fn, {"x": XS * 20, "c": CS * 20})
    assert data.steps is not None
    orders = []
    for epoch in range(2):
        found = batches(data, 8, seed=3, epoch=epoch)
        assert found == batches(data, 8, seed=3, epoch=epoch)
        assert sorted(i for b in found for i in b) == list(range(len(data)))
        padded = sum(int(data.steps[b].max()) * len(b) for b in found)
        assert padded < 1.15 * data.steps.sum()
        orders.append(found)
    assert orders[0] != orders[1]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (
            "optimizer",
            "fit has no option optimizer, and last no size of that name; did you mean `opt",
        ),
        ("lr", "optimiser=unfold.Adam"),
        ("batch_size", "did you mean `batch`"),
        ("validaton", "did you mean `validation`"),
        ("weird", "last has no size or constant weird"),
    ],
)
def test_options_of_other_libraries_are_translated(option: str, said: str) -> None:
    with pytest.raises(unfold.InputError, match=said):
        unfold.fit(LAST, {"x": XS, "c": CS}, **{**QUICK, option: 1})
    with pytest.raises(unfold.InputError, match=r"^data\[0\]: expected a dict of arrays, got an a"):
        unfold.fit(LAST, XS, H=2, K=2)
    with pytest.raises(unfold.InputError, match=r"compile has no option dtpye.* `dtype`"):
        unfold.compile(LAST, D=2, H=2, K=2, dtpye=32)


def test_seeds_repeat_and_differ() -> None:
    a, b, c = (unfold.fit(LAST, {"x": XS, "c": CS}, seed=s, **QUICK) for s in (1, 1, 2))
    same(a, b)
    assert a.history[0]["loss"] != c.history[0]["loss"]


def test_one_long_stream_with_carried_state() -> None:
    text = killed.TEXT.replace("    random e[t]: real[H]  ~ normal\n", "").replace(
        " + 0.01 * e[t]", ""
    )
    x = RNG.normal(size=(600, 1))
    data = {"x": x, "y": 0.3 * np.convolve(x[:, 0], [0, 1, 0.5])[:600]}
    fit = unfold.fit(
        text, data, H=6, backend="numpy", carry=20, batch=5, epochs=15, validation=0.2,
        optimiser=unfold.Adam(rate=2e-2),
    )  # fmt: skip
    assert fit.history[0]["updates"] == 5  # 480 steps in five streams of 96, windows of 20
    assert fit.loss < 0.2 * fit.history[0]["validation"]


def test_early_stopping_counts_epochs_without_a_better_one() -> None:
    options = {**OPTIONS, "optimiser": unfold.SGD(rate=0.0)}
    fit = unfold.fit(LAST, {"x": XS, "c": CS}, epochs=50, validation=10, patience=3, **options)
    assert (fit.stopped, len(fit.history), fit.best_epoch) == ("patience", 4, 1)


# --- folders ----------------------------------------------------------------------------------


def test_a_folder_holds_the_run_and_more_epochs_go_on_from_it(tmp_path: Path) -> None:
    data = {"x": XS, "c": CS}
    whole = unfold.fit(LAST, data, epochs=4, validation=0.2, **OPTIONS)
    common: dict[str, Any] = {**OPTIONS, "validation": 0.2, "folder": tmp_path / "run"}
    unfold.fit(LAST, data, epochs=2, **common)
    more = unfold.fit(LAST, data, epochs=4, **common)
    same(whole, more)
    same(whole, unfold.fit(LAST, data, epochs=4, **common))  # nothing is left to do
    params = unfold.load_params(tmp_path / "run" / "params.safetensors", whole.function)
    assert params.metadata == {"model": "last", "sizes": {"D": 2, "H": 5, "K": 2}}
    for n, a in whole.params.items():
        assert params[n].tobytes() == a.tobytes()
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == more.history


def test_a_folder_of_another_run_is_refused_with_what_differs(tmp_path: Path) -> None:
    data = {"x": XS, "c": CS}
    common: dict[str, Any] = {**QUICK, "folder": tmp_path}
    unfold.fit(LAST, data, **common)
    other = {"x": [XS[0] + 1, *XS[1:]], "c": CS}
    wrong: list[tuple[str, Any, dict[str, Any], str]] = [
        (LAST, data, {"batch": 8}, "batch was 16, and is 8 now"),
        (LAST, data, {"H": 6}, "sizes: H was 5, and is 6 now"),
        (LAST, other, {}, "data: x holds other values"),
        (LAST, data, {"optimiser": unfold.SGD()}, "optimiser was 'Adam(rate=0.02"),
        (LAST.replace("tanh", "sin"), data, {}, "`h[t] = tanh(W @ x[t] + U @ h[t-1])` is `h[t] ="),
    ]
    for text, given, options, why in wrong:
        with pytest.raises(unfold.InputError) as error:
            unfold.fit(text, given, **{**common, **options})
        assert "is the folder of another training run" in str(error.value)
        assert why in str(error.value)
    unfold.fit(LAST, data, **{**common, "batch": 8}, resume=False)


@pytest.mark.parametrize("carry", [(), ("7",)])
def test_killed_at_moments_of_chance_it_ends_with_the_same_bits(
    tmp_path: Path, carry: tuple[str, ...]
) -> None:
    whole = killed.run(str(tmp_path / "whole"), int(carry[0]) if carry else None)
    folder, out = tmp_path / "killed", tmp_path / "out.npz"
    kills = killed.killed_until_done(folder, out, random.Random(len(carry)), *carry, most=2)
    assert kills
    assert killed.what_it_left(folder) == killed.what_it_left(tmp_path / "whole")
    for n, a in unfold.load_params(out).items():
        assert a.tobytes() == whole.params[n].tobytes()


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    folder, out = tmp_path / "run", tmp_path / "out.npz"
    process = killed.start(folder, out)
    while process.poll() is None and not killed.told(folder):
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode not in (0, -signal.SIGKILL)
    assert f"saved in {folder}: run the same again to go on" in said.decode()
    resumed = killed.run(str(folder), None)
    same(resumed, killed.run(None, None))


def test_one_process_at_a_time_trains_into_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever holds the folder is named; one that was killed is told of, and gone on from."""
    folder, out = tmp_path / "run", tmp_path / "out.npz"
    process = killed.start(folder, out)
    try:
        while process.poll() is None and not (folder / "state.safetensors").exists():
            time.sleep(0.001)
        process.send_signal(signal.SIGSTOP)  # it lives, and does nothing
        before = {p.name: p.read_bytes() for p in folder.iterdir()}
        named = rf"run is in use: process {process.pid} on \S+, since 20.* trains into it; wait"
        with pytest.raises(unfold.InputError, match=named):
            killed.run(str(folder), None)
        with pytest.raises(unfold.InputError, match=named):  # nor may a run begin anew
            unfold.fit(LAST, {"x": XS, "c": CS}, folder=folder, resume=False, **QUICK)
        assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    finally:
        process.kill()
        process.communicate()
    same(killed.run(str(folder), None), killed.run(None, None))
    said = capsys.readouterr().err
    assert f"process {process.pid} on" in said
    assert "did not come to its end; going on from what it saved" in said
    killed.run(str(folder), None)
    assert capsys.readouterr().err == ""  # the last one did


def test_a_run_that_failed_leaves_the_folder_to_the_next(tmp_path: Path) -> None:
    data = {"x": XS, "c": CS}
    square = (
        "model m:\n    input a: real\n    param w: real = 1\n"
        "    loss = a * w ** 2\n    minimize loss\n"
    )
    with pytest.raises(unfold.DivergenceError):
        unfold.fit(
            square, {"a": [1.0, 2.0]}, folder=tmp_path, optimiser=unfold.SGD(rate=1e308),
            backend="numpy", progress=False,
        )  # fmt: skip
    unfold.fit(LAST, data, folder=tmp_path, resume=False, **QUICK)
    held = Lock(tmp_path)
    with pytest.raises(unfold.InputError, match="is in use: process"):  # by this very process
        unfold.fit(LAST, data, folder=tmp_path, **QUICK)
    held.release()
    unfold.fit(LAST, data, folder=tmp_path, **QUICK)


# --- mistakes ---------------------------------------------------------------------------------


def bad(value: float) -> dict[str, Any]:
    xs = [x.copy() for x in XS]
    xs[7][1, 0] = value
    return {"x": xs, "c": CS}


@pytest.mark.parametrize(
    ("data", "options", "why"),
    [
        ({"x": XS}, {}, "data: last has inputs that are missing:\n    c: int<K>"),
        ({"x": XS, "d": CS}, {}, "data: last has no input d; its inputs are x and c"),
        ({"X": XS, "c": CS}, {}, "data: last has no input X; did you mean `x`?"),
        ([], {"D": 2}, "data: there are no sequences in it"),
        ({"x": np.ones((0, 3, 2)), "c": np.ones(0, int)}, {}, "there are no sequences in it"),
        (None, {"D": 2}, "data: expected a dict of arrays or a list of such dicts, got None"),
        ([{"x": XS[0], "c": 0}, 3], {}, "data[1]: expected a dict of arrays, got an int"),
        ({"x": XS, "c": CS[:-1]}, {}, "disagree about the number of sequences: x has 60, c has 59"),
        ({"x": XS, "c": 1}, {}, "x has an axis of sequences and c has none"),
        (bad(np.nan), {}, "x[1, 0] of sequence 7 is nan: data must be finite numbers"),
        (bad(np.inf), {}, "x[1, 0] of sequence 7 is inf"),
        ({"x": XS, "c": [5, *CS[1:]]}, {}, "c of sequence 0 is 5, but c is int<K> with K = 2"),
        ({"x": XS, "c": [0.5] * 60}, {}, "c of sequence 0: expected int<K> with K = 2, got an a"),
        ({"x": [*XS[:-1], np.ones((3, 4))], "c": CS}, {}, "x of sequence 59: expected real[T, D]"),
        ({"x": np.ones((2, 3, 2)), "c": [0, 1], "lengths": [3, 4]}, {},
         "lengths[1] is 4, but x of sequence 1 has 3 steps"),
        ({"x": np.ones((2, 3, 2)), "c": [0, 1], "lengths": [3]}, {}, "an integer for each of the"),
        ({"x": XS, "c": CS}, {"validation": 60}, "would take 60 of the 60 sequences there are"),
        ({"x": XS, "c": CS}, {"validation": 1.5}, "validation is a share of the data between 0 an"),
        ({"x": XS, "c": CS}, {"validation": {"x": XS}}, "validation: last has inputs that are mis"),
        ({"x": XS, "c": CS}, {"patience": 3}, "patience counts epochs without a better validation"),
        ({"x": XS, "c": CS}, {"epochs": 0}, "epochs is a positive integer, not 0"),
        ({"x": XS, "c": CS}, {"carry": 2.5}, "carry is a positive integer, not 2.5"),
        ({"x": XS, "c": CS}, {"params": {"W": 1}}, "these are not the parameters of last:"),
        ({"x": XS, "c": CS}, {"folder": __file__}, "is a file; a training run needs a folder"),
    ],
)  # fmt: skip
def test_mistakes_are_named(data: Any, options: dict[str, Any], why: str) -> None:
    with pytest.raises(unfold.InputError) as error:
        unfold.fit(LAST, data, **{**QUICK, **options})
    assert why in str(error.value)


def test_sizes_that_the_data_do_not_tell_and_models_without_a_loss() -> None:
    with pytest.raises(unfold.InputError, match="last needs the sizes H and K, which the data do"):
        unfold.fit(LAST, {"x": XS, "c": CS})
    with pytest.raises(unfold.InputError, match="last has no `minimize` line"):
        unfold.fit(LAST.replace("    minimize loss\n", ""), {"x": XS, "c": CS}, **QUICK)
    alone = "model m:\n    param a: real = 1\n    loss = a ** 2\n    minimize loss\n"
    with pytest.raises(unfold.InputError, match=r"m has no inputs.*unfold\.minimize"):
        unfold.fit(alone, {})


def test_a_loss_that_is_not_finite_says_when_and_what_to_try() -> None:
    text = """model m:
    input x: real
    param a: real = 1
    loss = log(a) * x
    minimize loss
"""
    with pytest.raises(unfold.DivergenceError) as error:
        unfold.fit(
            text, {"x": np.ones(6)}, batch=2, backend="numpy", optimiser=unfold.SGD(rate=2.0)
        )
    said = str(error.value)
    assert said.startswith("epoch 1, update 2 (sequences ")
    assert "smaller rate" in said
    assert "clip_norm" in said
    assert "fn.debug" in said
