"""Gradient norms, influence, truncation and cosines against independent computations."""

from __future__ import annotations

import json

import networkx as nx
import numpy as np
import pytest

import unfold
from tests.analysis.models import ELMAN, EXAMPLES, example
from unfold import analysis
from unfold.analysis.verdict import judge

RELU = """
model plain(H):
    input  x[t]: real[H]
    param  U: real[H, H]  ~ orthogonal
    h[0] = 1
    h[t] = relu(U @ h[t-1] + x[t])
    loss = sum(h[T])
    output h[t]
    minimize loss
"""


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_an_orthogonal_network_with_active_units_keeps_the_norm_of_its_gradient(
    backend: str,
) -> None:
    fn = unfold.compile(RELU, H=8, backend=backend)
    params = fn.init(seed=3)
    # Inputs that keep every unit active: all slopes are 1, and the Jacobian is U itself.
    wanted = np.random.default_rng(0).uniform(1, 2, (101, 8))
    wanted[0] = 1
    x = wanted[1:] - wanted[:-1] @ params["U"].T
    assert np.allclose(fn(params, x=x)["h"], wanted[1:])
    found = analysis.gradient_norms(fn, params, {"x": x})
    assert np.allclose(found.by_step["h"], np.sqrt(8), rtol=1e-12)
    assert np.allclose(found.by_lag["h"], 1.0, rtol=1e-12)
    assert found.verdicts["h"].kind == "steady"
    product = analysis.jacobian_product(fn, params, {"x": x})
    assert np.allclose(product.log_singular_values, 0.0, atol=1e-12)


def test_gradients_by_step_are_the_costates_and_by_lag_those_of_the_jacobian() -> None:
    fn, params, data = example("lstm", steps=7)
    found = analysis.gradient_norms(fn, params, data)
    _, grads = fn.value_and_grad(params, data, wrt=["h", "c"])
    for name in ("h", "c"):
        assert np.allclose(found.by_step[name], np.linalg.norm(grads[name], axis=1))
        for k in range(7):
            block = fn.jacobian(f"{name}[T]", f"{name}[T-{k}]", params, data)
            assert np.isclose(found.by_lag[name][k], np.linalg.norm(block, 2))
    joint = np.hypot(found.by_step["h"], found.by_step["c"])
    assert np.allclose(found.by_step["joint"], joint)


def test_the_last_term_of_a_loss_is_differentiated_alone() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 2))
    fn = unfold.compile(ELMAN, D=2, H=3, backend="numpy")
    params = fn.init()
    only = ELMAN.replace("mean[t](sum(h[t] ** 2))", "sum(h[T] ** 2) / T")
    alone = unfold.compile(only, D=2, H=3, backend="numpy")
    _, grads = alone.value_and_grad(params, x=x, wrt=["h"])
    found = analysis.gradient_norms(fn, params, {"x": x})
    assert np.allclose(found.last_loss_by_lag["h"], np.linalg.norm(grads["h"], axis=1)[::-1])
    assert analysis.gradient_norms(alone, params, {"x": x}).last_loss_by_lag == {}


def test_states_that_run_backward_are_seen_from_the_first_step() -> None:
    fn, params, data = example("birnn", steps=6)
    found = analysis.gradient_norms(fn, params, data)
    block = fn.jacobian("h_b[1]", "h_b[4]", params, data)
    assert np.isclose(found.by_lag["h_b"][3], np.linalg.norm(block, 2))
    block = fn.jacobian("h_f[T]", "h_f[T-3]", params, data)
    assert np.isclose(found.by_lag["h_f"][3], np.linalg.norm(block, 2))


def test_verdicts_name_the_lag_after_which_the_signal_stays_out() -> None:
    lags = np.arange(31)
    fading = judge(lags * np.log(0.5), 0.01)
    assert (fading.kind, fading.lag) == ("vanishing", 7)
    growing = judge(lags * np.log(2.0), 0.01)
    assert (growing.kind, growing.lag) == ("exploding", 7)
    dip = np.where((lags > 3) & (lags < 6), -50.0, 0.0)
    assert judge(dip, 0.01).kind == "steady"
    dip[20:] = -50.0
    assert judge(dip, 0.01).lag == 20
    gone = judge(np.array([0.0, -1.0, -np.inf]), 0.01)
    assert (gone.kind, gone.lag, gone.log_rate) == ("vanishing", 2, -1.0)
    assert judge(np.array([0.0, np.nan]), 0.01).kind == "undefined"
    slow = judge(-0.1 * lags.astype(np.float64), 0.01)
    assert "at this rate under x 0.01 from about lag 46" in str(slow)


def test_influence_is_the_norm_of_the_jacobian_in_every_input() -> None:
    fn, params, data = example("birnn", steps=5)
    found = analysis.influence(fn, params, data, of="h_f")
    assert found.norms["x"].shape == (5, 5)
    for t in range(1, 6):
        for s in range(1, 6):
            block = fn.jacobian(f"h_f[{t}]", f"x[{s}]", params, data)
            assert np.isclose(found.norms["x"][t - 1, s - 1], np.linalg.norm(block))
    loss = analysis.influence(fn, params, data)
    assert loss.of == "loss"
    _, grads = fn.value_and_grad(params, data, wrt=["x"])
    assert np.allclose(loss.norms["x"], np.linalg.norm(grads["x"], axis=1))


def test_a_mask_shows_as_no_influence_and_a_bidirectional_model_sees_ahead() -> None:
    fn, params, data = example("causal_attention", steps=6)
    found = analysis.influence(fn, params, data, of="y", wrt="x")
    matrix = found.norms["x"]
    assert np.all(np.triu(matrix, 1) == 0)
    assert np.all(np.tril(matrix) + np.triu(np.ones((6, 6)), 1) > 0)
    assert "no later input counts" in str(found)
    fn, params, data = example("stacked_bigru", steps=4)
    both = analysis.influence(fn, params, data, of="y")
    assert np.all(both.norms["x"] > 0)
    assert "later inputs count as well" in str(both)


def test_influence_refuses_what_it_has_no_answer_for() -> None:
    fn, params, data = example("lstm", steps=4)
    with pytest.raises(unfold.InputError, match=r"y\[9\]: 9 lies outside 1\.\.4"):
        analysis.influence(fn, params, data, of="y[9]")
    with pytest.raises(unfold.InputError, match="has no real variable z over t"):
        analysis.influence(fn, params, data, wrt="z")
    fn, params, data = example("charlm", steps=4)
    with pytest.raises(unfold.InputError, match="derivative in real numbers only: name a variable"):
        analysis.influence(fn, params, data)


def test_one_sequence_of_a_batch_is_looked_at() -> None:
    fn, params, data = example("elman", steps=5)
    batch = {"x": np.stack([data["x"] * 2, data["x"]]), "c": np.stack([data["c"]] * 2)}
    one = analysis.influence(fn, params, {"x": data["x"], "c": data["c"]})
    assert np.allclose(analysis.influence(fn, params, batch, sequence=1).norms["x"], one.norms["x"])
    with pytest.raises(unfold.InputError, match="sequence 2 is not one of the 2 given"):
        analysis.influence(fn, params, batch, sequence=2)


def test_truncation_is_compared_by_window() -> None:
    fn, params, data = example("lstm", steps=13)
    found = analysis.truncation_bias(fn, params, data, windows=[1, 4, 13])
    cut = unfold.compile(
        unfold.Model(fn.declared), sizes=fn.compiler.sizes, backend="numpy",
        truncate=unfold.Window(4),
    )  # fmt: skip
    bias = cut.truncation_bias(params, data)
    assert np.isclose(found.relative_error[1], bias.relative_error)
    assert np.isclose(found.cosine[1], bias.cosine)
    assert found.relative_error[0] > found.relative_error[1] > found.relative_error[2]
    assert found.relative_error[2] < 1e-14
    assert "from a window of 13 steps on" in str(found)
    with pytest.raises(unfold.InputError, match="positive whole numbers"):
        analysis.truncation_bias(fn, params, data, windows=[0])


def test_cosines_between_losses_are_those_of_their_gradients() -> None:
    fn, params, data = example("multitask", steps=6)
    found = analysis.gradient_cosine(fn, params, data)
    g = [fn.value_and_grad(params, data, loss=n)[1] for n in ("loss1", "loss2")]
    a, b = g[0]["W_h"].ravel(), g[1]["W_h"].ravel()
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert np.isclose(found.by_param["W_h"][0, 1], cosine)
    assert np.isnan(found.by_param["V1"][0, 1])  # a head has one loss only
    shared = np.concatenate([g[0][n].ravel() for n in ("W_x", "W_h", "b", "h0")])
    other = np.concatenate([g[1][n].ravel() for n in ("W_x", "W_h", "b", "h0")])
    cosine = shared @ other / np.linalg.norm(shared) / np.linalg.norm(other)
    assert np.isclose(found.shared_cosine[0, 1], cosine)
    assert found.shared == ("W_x", "W_h", "b", "h0")
    with pytest.raises(unfold.InputError, match="has one loss: a cosine is between"):
        analysis.gradient_cosine(*example("lstm", steps=4))


def test_opposed_losses_conflict() -> None:
    text = """
model two:
    param  w: real = 2
    up    = w ** 2
    down  = -3 * w
    minimize up
    minimize down
"""
    found = analysis.gradient_cosine(text)
    assert found.cosine[0, 1] == -1
    assert "they conflict" in str(found)
    assert found.norms.tolist() == [4, 3]


def test_path_lengths_are_those_of_the_graph() -> None:
    for name in ("elman", "causal_attention", "birnn", "residual_skip", "charlm"):
        model = unfold.load(EXAMPLES / f"{name}.rec")
        found = analysis.path_lengths(model, steps=6)
        graph = model.unfold(6)
        goal = found.of.replace("T", "6")
        for variable, lengths in found.lengths.items():
            for s, length, count in zip(
                found.at[variable], lengths, found.counts[variable], strict=True
            ):
                start = f"{variable}[{s}]"
                assert length == graph.path_length(start, goal)
                assert count == len(list(nx.all_simple_paths(graph.networkx, start, goal)))


def test_attention_has_paths_of_one_step_and_a_recurrence_long_ones() -> None:
    elman = analysis.path_lengths(unfold.load(EXAMPLES / "elman.rec"))
    assert elman.lengths["x"].tolist() == list(range(11, -1, -1))
    attention = EXAMPLES / "causal_attention.rec"
    assert set(analysis.path_lengths(unfold.load(attention)).lengths["x"]) == {0, 1}
    with pytest.raises(unfold.InputError, match="no such element over 5 steps"):
        analysis.path_lengths(unfold.load(attention), of="y[9]", steps=5)


def test_every_result_reads_as_text_and_as_json() -> None:
    fn, params, data = example("lstm", steps=5)
    for result in (
        analysis.gradient_norms(fn, params, data),
        analysis.jacobian_product(fn, params, data),
        analysis.influence(fn, params, data, of="y"),
        analysis.fixed_points(fn, params, data, starts=4),
        analysis.time_constants(fn, params, data),
        analysis.path_lengths(fn, steps=4),
        analysis.truncation_bias(fn, params, data, windows=[2]),
    ):
        assert json.loads(result.to_json()) == json.loads(json.dumps(result.to_dict()))
        assert "lstm" in str(result)
