"""The worked examples of analysis, at a small scale: what they show is so."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.analysis.models import EXAMPLES, example
from unfold import UnfoldError, analysis
from unfold.analysis import result as drawing

PNG = b"\x89PNG"


def script(name: str, out: Path, monkeypatch: pytest.MonkeyPatch, **changes: object) -> ModuleType:
    path = EXAMPLES / "worked" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_example", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look for their module by name.
    monkeypatch.setitem(__import__("sys").modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "OUT", out)
    for key, value in changes.items():
        monkeypatch.setattr(module, key, value)
    return module


def test_an_lstm_keeps_what_an_elman_network_loses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = script("fading", tmp_path, monkeypatch, UNITS=12).main()
    elman = found["Elman network"].verdict
    assert elman.kind == "vanishing"
    assert elman.lag is not None
    assert elman.lag < 30
    lstm = found["LSTM, chrono initialisation"]
    assert lstm.verdict.kind == "steady"
    assert len(lstm.log_norms) == 201
    assert np.exp(lstm.log_norms[-1]) > 0.5
    relu = found["orthogonal ReLU network"]
    assert np.allclose(relu.log_norms, 0, rtol=0, atol=1e-12)
    assert (tmp_path / "fading.png").read_bytes().startswith(PNG)


def test_the_frequency_of_a_trained_network_is_that_of_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = script("rhythm", tmp_path, monkeypatch, UPDATES=400, FREQUENCY=3.0)
    found = module.main()
    assert abs(found.data - 3.0) < 0.03
    assert abs(found.network / found.data - 1) < 0.05
    assert found.losses[-1] < 0.25 * found.losses[0]
    assert found.points.failed == 0
    assert (tmp_path / "rhythm.png").read_bytes().startswith(PNG)


def test_every_result_draws_itself_with_titles_and_units(tmp_path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    fn, params, data = example("lstm", steps=6)
    tasks = example("multitask", steps=6)
    for result in (
        analysis.gradient_norms(fn, params, data),
        analysis.jacobian_product(fn, params, data),
        analysis.influence(fn, params, data),
        analysis.influence(fn, params, data, of="y", wrt="x"),
        analysis.fixed_points(fn, params, data, starts=4),
        analysis.time_constants(fn, params, data),
        analysis.path_lengths(fn, steps=4),
        analysis.truncation_bias(fn, params, data, windows=[1, 2]),
        analysis.gradient_cosine(*tasks),
    ):
        ax = result.plot()
        assert ax.get_title(loc="left").startswith(("lstm", "multitask"))
        if not isinstance(result, analysis.GradientCosine):
            assert ax.get_xlabel()
            assert ax.get_ylabel()
        plt.savefig(tmp_path / "one.png")
        plt.close("all")
        assert (tmp_path / "one.png").read_bytes().startswith(PNG)


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    with pytest.raises(UnfoldError, match=r"plots need matplotlib: `pip install 'unfold-rec\[plot"):
        drawing.axes()
