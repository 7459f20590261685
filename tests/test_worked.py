"""The worked examples, at a small scale, against what is known of their answers."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import unfold

WORKED = Path(__file__).parent.parent / "examples" / "worked"


def script(name: str) -> ModuleType:
    """The module of a script, which is on no path."""
    spec = importlib.util.spec_from_file_location(f"worked_{name}", WORKED / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    return tmp_path / "drawn.png"


def test_stock_levels_learnt_by_the_gradient_are_the_newsvendors(drawn: Path) -> None:
    worked = script("inventory")
    result = worked.run(updates=350, sequences=48, days=98)
    assert result.levels["learnt"] == pytest.approx(worked.newsvendor(), abs=1.5)
    cost = {name: mean for name, (mean, _) in result.costs.items()}
    assert cost["learnt"] == pytest.approx(cost["newsvendor"], rel=0.01)
    assert cost["learnt"] < 0.8 * cost["one level"]
    assert result.history[-1] < result.history[0] / 3
    worked.plot(result).savefig(drawn)


def test_the_slope_of_the_waiting_time_is_that_of_the_theory(drawn: Path) -> None:
    worked = script("waiting")
    result = worked.run(count=20_000, days=6, updates=150, speeds=3)
    theory = -1 / (result.speeds - worked.RATE) ** 2
    error = result.slopes.std(1) / np.sqrt(6)
    assert (np.abs(result.slopes.mean(1) - theory) < 4 * error).all()
    assert (result.slopes.std(1) < result.differences.std(1)).all()
    assert result.path[-1] == pytest.approx(worked.BEST, abs=0.05)
    worked.plot(result).savefig(drawn)


def test_the_pendulum_is_swung_to_the_top(drawn: Path) -> None:
    worked = script("pendulum")
    swings = worked.run(steps=120, most=1000)
    penalised, held = swings.values()
    for swing in swings.values():
        assert np.abs(swing.u).max() <= worked.TORQUE + 1e-9
        assert simulated(worked, swing.u) == pytest.approx((swing.theta[-1], swing.omega[-1]))
    assert penalised.miss < 0.05
    assert held.miss < 1e-6
    assert abs(held.omega[-1]) < 1e-6
    # Pontryagin's condition, where the torque is free.
    free = np.abs(penalised.u) < worked.TORQUE - 1e-6
    assert free.any()
    assert penalised.u[free] == pytest.approx(penalised.wanted[free], abs=0.05)
    worked.plot(swings).savefig(drawn)


def simulated(worked: ModuleType, u: np.ndarray) -> tuple[float, float]:
    """The end of the swing, step by step in Python."""
    dt = worked.DURATION / len(u)
    theta = omega = 0.0
    for torque in u:
        theta, omega = (
            theta + dt * omega,
            omega + dt * (-worked.GRAVITY * np.sin(theta) - 0.1 * omega + torque),
        )
    return theta, omega


def test_standard_errors_of_rates_are_the_spread_of_their_estimates(drawn: Path) -> None:
    worked = script("rates")
    result = worked.run(experiments=20)
    off = result.found.mean(0) - np.log(list(worked.RATES.values()))
    assert (np.abs(off) < 4 * result.errors.mean(0) / np.sqrt(20)).all()
    assert result.errors.mean(0) == pytest.approx(result.found.std(0), rel=0.35)
    assert (result.coverage >= 0.8).all()
    # The integrator is exact enough for the comparison.
    fn = unfold.compile(WORKED / "rates.rec")
    truth = {"log_k": np.log(list(worked.RATES.values()))}
    dt = np.diff(worked.TIMES, prepend=0)
    curve = fn(truth, dt=dt, seen=result.seen[0])["c"]
    assert curve == pytest.approx(worked.concentrations(worked.TIMES), abs=1e-5)
    worked.plot(result).savefig(drawn)


def test_a_neuron_is_found_again_in_its_spikes(drawn: Path) -> None:
    worked = script("spikes")
    fits = worked.run(bins=30_000)
    without, history = fits.values()
    # Within the first milliseconds there are no spikes to learn from: very negative is enough.
    assert history.params["R"][0] < -3
    assert history.params["R"][2:] == pytest.approx(worked.TRUE["R"][2:], abs=0.6)
    assert history.params["w"] == pytest.approx(worked.TRUE["w"], abs=0.15)
    assert history.bits > without.bits + 0.2
    assert history.distance < 1.3
    assert without.distance > 3
    worked.plot(fits).savefig(drawn)


def test_digits_are_named_when_all_rows_are_read(drawn: Path) -> None:
    worked = script("digits")
    result = worked.run(seeds=[0], epochs=12, hidden=48)
    assert 0.94 < result.regression < 0.99
    for by_row in result.accuracy.values():
        assert by_row.shape == (1, 8)
        assert by_row[0, -1] > 0.9
        # Of one row alone little can be told, and the read-out was never asked.
        assert by_row[0, 0] < 0.35
    train, test = worked.load()
    assert (len(train.digit), len(test.digit)) == (1347, 450)
    assert not {x.tobytes() for x in train.x} & {x.tobytes() for x in test.x}
    worked.plot(result).savefig(drawn)


def test_gates_remember_what_an_elman_network_forgets(drawn: Path) -> None:
    worked = script("memory")
    results = worked.run(lengths=[60], seeds=[0], updates=450, cells=["elman", "gru"])
    for task, known in worked.TASKS.items():
        (elman,), (gru,) = results[task, "elman", 60], results[task, "gru", 60]
        assert elman.loss > 0.4 * known.blind
        assert gru.loss < 0.1 * known.blind
        assert gru.score > 0.9 > elman.score
        assert not elman.solved
    worked.plot(results).savefig(drawn)


def test_the_tasks_of_memory_are_what_they_say() -> None:
    worked = script("memory")
    draw = np.random.default_rng(0)
    tasks = worked.TASKS
    data = tasks["adding"].draw(2000, 30, draw)
    marked = data["x"][..., 1] == 1
    assert (marked[:, :15].sum(1) == 1).all()
    assert (marked[:, 15:].sum(1) == 1).all()
    assert data["y"] == pytest.approx((data["x"][..., 0] * marked).sum(1))
    # Who always says 1 has this loss, and is right so often.
    assert np.mean((data["y"] - 1) ** 2) == pytest.approx(tasks["adding"].blind, rel=0.1)
    assert np.mean(np.abs(data["y"] - 1) < 0.1) == pytest.approx(tasks["adding"].chance, abs=0.03)
    data = tasks["copying"].draw(50, 30, draw)
    assert (data["y"][:, -3:] == data["x"][:, :3]).all()
    assert (data["x"] == worked.KINDS + 1).sum() == 50
    assert (data["x"][:, 3:27] == worked.KINDS).all()
    assert data["x"].shape == (50, 30)


def test_the_loss_of_copying_counts_the_last_symbols_only() -> None:
    worked = script("memory")
    fn = worked.compiled("copying", "lstm", hidden=4)
    params = worked.start(fn, "lstm", 20, seed=0)
    data = worked.TASKS["copying"].draw(6, 20, np.random.default_rng(0))
    out = fn(params, data)
    log_p = out["guess"] - np.log(np.exp(out["guess"]).sum(-1, keepdims=True))
    chosen = np.take_along_axis(log_p, data["y"][..., None], -1)[..., 0]
    assert out.loss == pytest.approx(-chosen[:, -worked.SYMBOLS :].mean(1), rel=1e-5)


def test_characters_are_learnt_and_written(drawn: Path) -> None:
    worked = script("characters")
    result = worked.run(epochs=3, hidden=32, characters=60_000, length=80, orders=[0, 2, 12])
    grams = result.grams
    # A window of the text is enough to know what follows what, not to know it by heart.
    assert grams[2] < grams[12] < grams[0]
    assert grams[2] < result.bits < grams[0] - 0.5
    assert result.bits < np.log2(len(worked.VOCABULARY)) - 2
    for text in result.written.values():
        assert len(text) == 80
        assert set(text) <= set(worked.VOCABULARY)
    assert len(set(result.written.values())) == len(worked.TEMPERATURES)
    worked.plot(result).savefig(drawn)


def test_no_paragraph_of_the_test_is_in_the_training() -> None:
    worked = script("characters")
    train, test = worked.load()
    paragraphs = [{" ".join(p.split()) for p in text.split("\n\n")} for text in (train, test)]
    assert paragraphs[0] & paragraphs[1] <= {""}
    assert 0.05 < len(test) / (len(train) + len(test)) < 0.12
    assert set(train + test) <= set(worked.VOCABULARY)


def test_chances_of_an_n_gram_are_a_distribution() -> None:
    worked = script("characters")
    counts = worked.counted("abracadabra", 2)
    for context in ("", "a", "ab", "zz", "za"):
        every = [worked.chance(counts, context, c) for c in worked.VOCABULARY]
        assert sum(every) == pytest.approx(1)
        assert min(every) > 0
    # By hand: after b came r twice, and nothing else; r is 2 of 11 letters, which are of 5 kinds.
    r = (2 + 5 / len(worked.VOCABULARY)) / (11 + 5)
    assert worked.chance(counts, "b", "r") == pytest.approx((2 + r) / 3)


def test_attention_finds_the_verb_with_fewer_sentences(drawn: Path) -> None:
    worked = script("sentences")
    result = worked.run(sizes=[1500], seeds=[0], epochs=12, test=60)
    (attention,) = result.accuracy["attention_pooling"][0]
    (last,) = result.accuracy["last_state"][0]
    assert attention.shape == (worked.TESTED + 1,)
    assert attention.min() > 0.9
    assert last.mean() < 0.8
    worked.plot(result).savefig(drawn)


def test_sentences_follow_their_grammar() -> None:
    worked = script("sentences")
    train, test = worked.load(400, 20)
    assert not {s.words for s in train} & {s.words for s in test}
    assert 0.4 < np.mean([s.fits for s in train]) < 0.6
    for s in [*train, *test]:
        plural = s.words[1] in worked.PLURALS
        clauses = [k + 1 for k, word in enumerate(s.words) if word == "that"]
        verbs = [k for k, word in enumerate(s.words) if word in ("is", "are")]
        (main,) = set(verbs) - set(clauses)
        assert s.fits == (s.words[main] == ("are" if plural else "is"))
        for k in clauses:
            assert (s.words[k] == "are") == (s.words[k - 2] in worked.PLURALS)
        nouns = [word in worked.NOUNS + worked.PLURALS for word in s.words[:main]]
        assert sum(nouns) == s.between + 1
        assert s.words[-1] == "."
