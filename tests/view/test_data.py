"""What the page is given: the numbers of direct runs, on both backends."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold
from unfold.view.choose import Setting, choose
from unfold.view.gather import gather
from unfold.view.page import page
from unfold.view.places import places
from unfold.view.record import Run, record
from unfold.view.sample import Sample, sample
from unfold.view.timeline import timeline

EXAMPLES = Path(__file__).parents[2] / "examples"


def setting(name: str, **options: Any) -> Setting:
    return choose(unfold.load(EXAMPLES / f"{name}.rec").program, **options)


@pytest.fixture(scope="module")
def elman() -> tuple[Setting, Run]:
    found = setting("elman", steps=5, seed=3)
    return found, record(found)


@pytest.fixture(scope="module")
def charlm() -> tuple[Setting, Run]:
    model = unfold.load(EXAMPLES / "charlm.rec")
    params = unfold.compile(model, K=4, M=3, H=5, backend="numpy").init(seed=2)
    metadata = {"vocabulary": list("abc\n"), "sizes": {"K": 4, "M": 3, "H": 5}}
    found = choose(model.program, unfold.Params(params, metadata), steps=4)
    return found, record(found)


def heat(data: dict[str, Any], name: str) -> Any:
    entry = next(h for h in data["heat"] if h["name"] == name)
    values = np.frombuffer(base64.b64decode(entry["data"]), "<f4")
    return entry, values.reshape(entry["shown"], entry["steps"])


# --- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_values_costates_and_gradients_are_those_of_direct_runs(
    elman: tuple[Setting, Run], backend: str
) -> None:
    given, run = elman
    fn = unfold.compile(
        EXAMPLES / "elman.rec", backend=backend, sizes=given.function.compiler.sizes
    )
    out = fn(given.params, given.data)
    np.testing.assert_allclose(run.values["h"].array[1:], out["h"], rtol=1e-12)
    np.testing.assert_allclose(run.losses["loss"], out.loss, rtol=1e-12)
    _, grads = fn.value_and_grad(given.params, given.data, wrt=[*given.params, "h", "y"])
    np.testing.assert_allclose(run.costates["h"].array[1:], grads["h"], rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(run.costates["y"].array, grads["y"], rtol=1e-10, atol=1e-14)
    for name in given.params:
        np.testing.assert_allclose(run.gradients[name], grads[name], rtol=1e-10, atol=1e-14)


def test_what_the_steps_add_is_the_gradient_of_each_parameter(elman: tuple[Setting, Run]) -> None:
    _, run = elman
    assert {p.param for p in run.parts} == set(run.gradients)
    for name, gradient in run.gradients.items():
        total = sum(p.steps.array.sum(axis=0) for p in run.parts if p.param == name)
        np.testing.assert_allclose(total, gradient, rtol=1e-10, atol=1e-14)


def test_one_step_adds_what_the_adjoint_equation_says(elman: tuple[Setting, Run]) -> None:
    _, run = elman
    (part,) = (p for p in run.parts if p.param == "W_hh")
    (first,) = part.steps.first
    pre, h = run.values["h_pre_bar"], run.values["h"]
    for t in range(1, 6):
        want = np.outer(pre.array[t - pre.first[0]], h.array[t - 1 - h.first[0]])
        np.testing.assert_allclose(part.steps.array[t - first], want, rtol=1e-10, atol=1e-15)


def test_sums_on_the_page_end_in_the_gradient(elman: tuple[Setting, Run]) -> None:
    given, run = elman
    data = gather(unfold.load(EXAMPLES / "elman.rec"), given)
    for g in data["gradients"]:
        norm = float(np.linalg.norm(np.atleast_1d(run.gradients[g["name"]])))
        assert g["partial"][-1] == pytest.approx(norm, rel=1e-5)
        assert g["norm"] == pytest.approx(norm, rel=1e-5)
        assert g["outside"] == 0
    (c,) = (c for c in data["costates"] if c["name"] == "h")
    norms = np.linalg.norm(run.costates["h"].array, axis=1)
    np.testing.assert_allclose(c["norms"], norms, rtol=1e-5)


def test_heat_maps_hold_the_values_rows_being_components(elman: tuple[Setting, Run]) -> None:
    given, run = elman
    entry, values = heat(gather(unfold.load(EXAMPLES / "elman.rec"), given), "h")
    np.testing.assert_allclose(values.T, run.values["h"].array, rtol=1e-6)
    assert entry["first"] == 0
    assert entry["ticks"] == list(range(6))


def test_what_enters_outside_of_time_is_told() -> None:
    text = """
model m:
    input x[t]: real
    param w: real = 2
    h[0] = 0
    h[t] = tanh(w * x[t] + h[t-1])
    loss = h[T] + 10 * w ** 2
    minimize loss
"""
    model = unfold.loads(text)
    data = gather(model, choose(model.program, steps=3))
    (g,) = data["gradients"]
    assert g["outside"] == pytest.approx(40)
    assert g["partial"][-1] == pytest.approx(g["norm"], rel=1e-5)
    assert g["partial"][-1] - g["partial"][-2] > 30


def test_places_that_no_equation_defines_are_blank() -> None:
    text = """
model m:
    axis s: T
    input x[t]: real
    a[t,s] = x[t] * x[s] for s <= t
    y[t] = sum[s <= t](a[t,s])
    output y[t]
"""
    model = unfold.loads(text)
    data = gather(model, choose(model.program, steps=3))
    entry, values = heat(data, "a")
    assert np.array(entry["ticks"]).reshape(3, 3).tolist() == [[1, 2, 3], [-1, 2, 3], [-1, -1, 3]]
    assert values[2, 0] == values[1, 0] == values[2, 1] == 0
    assert data["gradients"] == data["costates"] == []
    assert "no `minimize` line" in data["why"][0]
    assert data["stored"] is None


def test_a_model_without_time_has_gradients_and_says_what_it_has_not() -> None:
    given = setting("sinkhorn")
    data = gather(unfold.load(EXAMPLES / "sinkhorn.rec"), given)
    assert data["backward"]
    assert "Nothing is computed in time: there are no states." in data["why"]
    _, grads = given.function.value_and_grad(given.params, given.data)
    assert data["gradients"][0]["partial"] == [
        pytest.approx(float(np.linalg.norm(grads["A"])), rel=1e-5)
    ]
    assert data["heat"] == data["clocks"] == []


# --- time -------------------------------------------------------------------------------------


def ticks(name: str, **options: Any) -> dict[str, dict[int, int]]:
    found = setting(name, **options)
    run = record(found)
    rows = places(run.graph, timeline(run.graph)).rows
    return {row.var + (str(list(row.rest)) if row.rest else ""): row.ticks for row in rows}


def test_a_reversed_chain_begins_when_the_sequence_has_ended() -> None:
    found = ticks("birnn", steps=3)
    assert found["h_f"] == {0: 0, 1: 1, 2: 2, 3: 3}
    assert found["h_b"] == {4: 0, 3: 3, 2: 4, 1: 5}
    assert found["y"] == {3: 3, 2: 4, 1: 5}
    # The way back is the mirror image.
    assert found["h_b_bar"] == {1: 0, 2: 1, 3: 2}
    assert found["h_f_bar"] == {3: 2, 2: 3, 1: 4}


def test_a_table_is_computed_diagonal_by_diagonal() -> None:
    found = ticks("soft_edit_distance", sizes={"N": 2, "L": 2})
    assert [found[f"f[{j}]"][i] for i, j in ((1, 1), (1, 2), (2, 1), (2, 2))] == [1, 2, 2, 3]
    assert found["f_bar[2]"][2] == 0
    assert found["f_bar[1]"][1] == 2


def test_bytes_grow_to_the_bill_and_go_back_to_nothing() -> None:
    given = setting("soft_edit_distance", sizes={"N": 3, "L": 4})
    data = gather(unfold.load(EXAMPLES / "soft_edit_distance.rec"), given)
    bill = given.function.cost(N=3, L=4)
    assert bill.gradient is not None
    stored = data["stored"]
    assert stored["forward"][-1] == bill.gradient.stored > 0
    assert list(stored["forward"]) == sorted(stored["forward"])
    assert list(stored["backward"]) == sorted(stored["backward"], reverse=True)
    assert stored["backward"][-1] == 0
    assert stored["native"] == given.function.memory(N=3, L=4).total


# --- samples ----------------------------------------------------------------------------------


def test_sampling_feeds_each_token_back(charlm: tuple[Setting, Run]) -> None:
    given, run = charlm
    found = sample(given, run, "ab")
    assert isinstance(found, Sample)
    assert found.tokens[:2] == (0, 1)
    assert (found.prompt, found.vocabulary) == (2, ("a", "b", "c", "\n"))
    # A run over the whole text at once expects the same.
    fn = unfold.compile(EXAMPLES / "charlm.rec", backend="numpy", K=4, M=3, H=5)
    text = np.array(found.tokens)
    logits = fn(given.params, x=text, target=text)["y"]
    odds = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.probabilities[1:], odds[:-1], rtol=1e-10)
    again = sample(given, run, "ab")
    assert isinstance(again, Sample)
    assert again.tokens == found.tokens


def test_a_prompt_outside_of_the_vocabulary_is_refused(charlm: tuple[Setting, Run]) -> None:
    with pytest.raises(unfold.InputError, match=r"prompt: not in the vocabulary: 'q' \(at 1\)"):
        sample(*charlm, "aq")


def test_without_a_vocabulary_tokens_are_numbers() -> None:
    given = setting("charlm", steps=3)
    run = record(given)
    found = sample(given, run, "2 0, 1")
    assert isinstance(found, Sample)
    assert found.tokens[:3] == (2, 0, 1)
    with pytest.raises(unfold.InputError, match="'7' is no token: the tokens are 0 to 2"):
        sample(given, run, "1 7")


def test_a_prompt_for_a_model_without_tokens_is_refused(elman: tuple[Setting, Run]) -> None:
    with pytest.raises(unfold.InputError, match="prompt: No sampling: the outputs read no integer"):
        sample(*elman, "a")


def test_a_model_that_draws_its_own_tokens_shows_its_run() -> None:
    given = setting("charlm_sample", steps=5)
    run = record(given)
    found = sample(given, run)
    assert isinstance(found, Sample)
    assert (found.source, found.token, found.prompt) == ("p", "tok", 1)
    out = given.function(given.params, given.data, seed=given.seed)
    assert list(found.tokens[1:]) == out["tok"].tolist()
    np.testing.assert_allclose(found.probabilities[1:], out["p"], rtol=1e-12)


# --- what is chosen ---------------------------------------------------------------------------


def test_what_is_not_given_is_chosen_and_said() -> None:
    found = setting("elman")
    assert found.function.compiler.sizes == {"D": 3, "H": 4, "K": 5}
    assert found.data["x"].shape == (6, 3)
    assert [n.split(":")[0] for n in found.notes] == [
        "Sizes were not given", "Data were not given", "Parameters were not given",
    ]  # fmt: skip


def test_arrays_tell_sizes_and_steps_and_the_first_of_a_batch_is_taken() -> None:
    x = np.random.default_rng(0).normal(size=(2, 7, 3))
    c = np.zeros((2, 7), int)
    found = setting("elman", data={"x": x, "c": c, "lengths": [4, 7]}, sizes={"H": 2, "K": 2})
    np.testing.assert_array_equal(found.data["x"], x[0, :4])
    assert found.function.compiler.sizes == {"D": 3, "H": 2, "K": 2}
    assert found.notes[0] == "The data are a batch of 2: the first sequence is shown"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": {"Q": 3}}, "elman has no size or constant Q"),
        ({"data": {"y": np.zeros(3)}}, "elman has no input or parameter y"),
        ({"data": {"x": np.zeros((4, 3))}}, "some inputs are given, and c missing"),
        ({"params": {"W_xh": np.zeros((4, 3))}}, "some parameters are given, and W_hh"),
        ({"sizes": {"T": 0}}, "T is a length: a positive integer"),
        ({"steps": 0}, "steps is a positive number"),
    ],
)
def test_typical_mistakes_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(unfold.InputError, match=message):
        setting("elman", **options)


# --- the file ---------------------------------------------------------------------------------


def test_the_page_needs_nothing_else_and_text_stays_text() -> None:
    text = "# </script><b>&\nmodel m:\n    input x[t]: real\n    y[t] = x[t]\n    output y[t]\n"
    model = unfold.loads(text)
    written = page(gather(model, choose(model.program)))
    assert written.count("</script>") == 2
    payload = re.search(r'id="data">(.*?)</script>', written, re.S)
    assert payload is not None
    assert json.loads(payload[1])["about"] == "</script><b>&"
    assert re.findall(r"https?://[^\"' ]*", written) == ["http://www.w3.org/2000/svg"]
    assert "default-src &#x27;none&#x27;" in written


def test_a_page_is_written_whole_by_the_model_and_the_package(tmp_path: Path) -> None:
    model = unfold.load(EXAMPLES / "inventory.rec")
    path = model.view(path=tmp_path / "a.html", steps=3, open=False)
    assert path == tmp_path / "a.html"
    unfold.view(EXAMPLES / "inventory.rec", path=tmp_path / "b.html", steps=3, open=False)
    assert (tmp_path / "b.html").read_text("utf-8") == path.read_text("utf-8")
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["a.html", "b.html"]


def test_the_command_writes_a_page_and_says_what_it_chose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from unfold.cli import main

    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    target = tmp_path / "page.html"
    for more in ([], ["--no-open"]):
        arguments = ["view", str(EXAMPLES / "inventory.rec"), "--steps", "3", "-o", str(target)]
        monkeypatch.setattr("sys.argv", ["unfold", *arguments, *more])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 0
    out = capsys.readouterr().out
    assert "Data were not given: x and d drawn at random, seed 0." in out
    assert out.endswith(f"wrote {target}\n")
    assert shown == [target.resolve().as_uri()]
