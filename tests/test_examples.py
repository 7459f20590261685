"""Every example gives the reference values and gradients, on both backends, through the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
TOLERANCE = 1e-10
BACKENDS = ("numpy", "llvm")

#: reference file -> (example, sizes)
REFERENCES: dict[str, tuple[str, dict[str, int]]] = {
    "elman": ("elman", {"D": 3, "H": 5, "K": 4}),
    "elman_batch": ("elman", {"D": 3, "H": 5, "K": 4}),
    "jordan": ("jordan", {"D": 3, "H": 5, "K": 2}),
    "lstm": ("lstm", {"D": 3, "H": 4, "K": 2}),
    "lstm_batch": ("lstm", {"D": 3, "H": 4, "K": 2}),
    "lstm_ragged": ("lstm", {"D": 3, "H": 4, "K": 2}),
    "gru": ("gru", {"D": 4, "H": 5, "K": 3}),
    "gru_batch": ("gru", {"D": 4, "H": 5, "K": 3}),
    "neural_ode": ("neural_ode", {"D": 2, "H": 4}),
    "hybrid_jump": ("hybrid_jump", {"D": 2, "H": 4, "P": 3}),
    "residual_skip": ("residual_skip", {"D": 3, "H": 4, "K": 2}),
    "birnn": ("birnn", {"D": 3, "H": 4, "K": 5}),
    "inventory": ("inventory", {}),
    "queue": ("queue", {}),
    "kinetics": ("kinetics", {}),
    "pendulum_control": ("pendulum_control", {}),
    "td_lambda": ("td_lambda", {}),
    "multitask": ("multitask", {"D": 3, "H": 5, "K": 3, "P": 2}),
    "causal_attention": ("causal_attention", {"D": 4, "P": 3, "Q": 5, "K": 2}),
    "seq2seq_attention": (
        "seq2seq_attention", {"D": 3, "H": 4, "G": 6, "A": 5, "M": 2, "K": 8}),
    "ntm": ("ntm", {"D": 3, "H": 5, "M": 4, "K": 2}),
    "hmm": ("hmm", {"K": 3, "M": 4}),
    "poisson_spikes": ("poisson_spikes", {"N": 4, "D": 2}),
    "charlm": ("charlm", {"K": 11, "M": 4, "H": 6}),
    "deq": ("deq", {"D": 3, "H": 5, "K": 2}),
}  # fmt: skip

GRADIENTS_CHECKED = sorted({example for example, _ in REFERENCES.values()} | {
    "stacked_bigru", "viterbi", "soft_edit_distance", "cross_attention", "transformer_block",
    "leaky_integrators", "echo_state", "deep_stack", "memory_reader", "mamba", "rwkv", "slstm",
    "delta_net", "titans", "liquid", "kalman", "hawkes", "epidemic", "ctc", "lru",
    "learned_optimiser", "neural_cde", "min_gru", "implicit_euler", "charlm_sample",
    "matrix_chain", "rna_folding", "cyk", "mlstm", "hyena", "hippo", "griffin", "garch", "hopfield",
    "value_iteration", "sinkhorn", "knowledge_tracing", "pharmacokinetics", "lotka_volterra",
    "neuron", "smoother",
})  # fmt: skip


class Reference:
    """One file of reference arrays: `inputs`, `params`, `outputs`, `grads`, `grads1`, `grads2`."""

    def __init__(self, name: str) -> None:
        groups: dict[str, dict[str, Any]] = {}
        with np.load(HERE / "data" / f"{name}.npz") as file:
            for key in file.files:
                group, _, array = key.partition("/")
                groups.setdefault(group, {})[array] = file[key]
        self.inputs = groups["input"]
        self.params = groups["param"]
        self.outputs = groups["output"]
        self.grads = groups["grad"]
        self.grads1 = groups.get("grad1", {})
        self.grads2 = groups.get("grad2", {})
        if name == "charlm":
            # Its LSTM is the library's, with one bias to a gate instead of two.
            biases = {f"net.b{k}": self.params[f"b_h{k}"] for k in "ifgo"}
            self.params = {k: v + biases.get(k, 0) for k, v in cell_names(self.params).items()}
            self.grads = cell_names(self.grads)

    def call(self, fn: unfold.Function) -> dict[str, Any]:
        """The inputs as keywords of a call."""
        return {k: v for k, v in self.inputs.items() if k in fn.inputs or k == "lengths"}


def cell_names(arrays: dict[str, Any]) -> dict[str, Any]:
    """Arrays under the names of the library's LSTM; what has none there is left out."""
    kinds = {"W_i": "net.W", "W_h": "net.U", "b_i": "net.b"}
    gates = {f"{old}{k}": f"{new}{k}" for old, new in kinds.items() for k in "ifgo"}
    return {gates.get(k, k): v for k, v in arrays.items() if k[:-1] != "b_h"}


def compiled(name: str, backend: str) -> unfold.Function:
    example, sizes = REFERENCES[name]
    return unfold.compile(EXAMPLES / f"{example}.rec", backend=backend, sizes=sizes)


def close(actual: Any, expected: Any) -> None:
    scale = max(1e-300, float(np.abs(expected).max(initial=0.0)))
    assert np.shape(actual) == np.shape(expected)
    assert float(np.abs(np.asarray(actual) - expected).max(initial=0.0)) <= TOLERANCE * scale


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", REFERENCES)
def test_an_example_gives_the_reference_values(name: str, backend: str) -> None:
    ref, fn = Reference(name), compiled(name, backend)
    out = fn(ref.params, **ref.call(fn))
    for key, expected in ref.outputs.items():
        if key == "loss":
            total = sum(out[loss] for loss in fn.program.losses)
            close(np.mean(total), expected)
        elif key == "loss_each":
            close(out.loss, expected)
        elif key in out:
            close(out[key], expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", REFERENCES)
def test_an_example_gives_the_reference_gradients(name: str, backend: str) -> None:
    ref, fn = Reference(name), compiled(name, backend)
    loss, grads = fn.value_and_grad(ref.params, wrt=list(ref.grads), **ref.call(fn))
    close(loss, ref.outputs["loss"])
    assert set(grads) == set(ref.grads)
    for key, expected in ref.grads.items():
        close(grads[key], expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_task_has_a_gradient_of_its_own(backend: str) -> None:
    ref, fn = Reference("multitask"), compiled("multitask", backend)
    one, two = (
        fn.value_and_grad(ref.params, loss=loss, **ref.call(fn))[1] for loss in ("loss1", "loss2")
    )
    for key in fn.params:
        close(one[key], ref.grads1[key])
        close(two[key], ref.grads2[key])
    g1 = np.concatenate([one[n].ravel() for n in fn.params])
    g2 = np.concatenate([two[n].ravel() for n in fn.params])
    close(g1 @ g2 / (np.linalg.norm(g1) * np.linalg.norm(g2)), ref.outputs["cosine"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_adjoint_of_the_pendulum_gives_its_costates(backend: str) -> None:
    ref, fn = Reference("pendulum_control"), compiled("pendulum_control", backend)
    _, grads = fn.value_and_grad(ref.params, wrt=["theta", "omega"], **ref.call(fn))
    close(np.stack([grads["theta"], grads["omega"]], axis=1), ref.outputs["costate"])
    # The same from the adjoint program, printed and read again.
    costates = unfold.load(EXAMPLES / "pendulum_control.rec").adjoint(wrt=["theta", "omega"])
    again = unfold.compile(str(costates), backend=backend)
    out = again(ref.params, **ref.call(fn))
    close(np.stack([out.theta_bar, out.omega_bar], axis=1), ref.outputs["costate"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_posteriors_of_a_hidden_markov_model_are_costates(backend: str) -> None:
    ref, fn = Reference("hmm"), compiled("hmm", backend)
    _, grads = fn.value_and_grad(ref.params, wrt=["alpha"], **ref.call(fn))
    close(-grads["alpha"], ref.outputs["posterior"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_gradient_of_windows_is_that_of_detached_states(backend: str) -> None:
    ref = Reference("lstm_tbptt")
    fn = unfold.compile(
        EXAMPLES / "lstm.rec", D=3, H=4, K=2, backend=backend, truncate=unfold.Window(10)
    )
    loss, grads = fn.value_and_grad(ref.params, wrt=list(ref.grads), **ref.call(fn))
    close(loss, ref.outputs["loss"])
    for key, expected in ref.grads.items():
        close(grads[key], expected)


@pytest.mark.parametrize("example", GRADIENTS_CHECKED)
def test_gradients_agree_with_differences_and_between_backends(example: str) -> None:
    result = unfold.grad_check(unfold.load(EXAMPLES / f"{example}.rec"), entries=2)
    assert result.ok, str(result)


@pytest.mark.parametrize("name", REFERENCES)
def test_single_precision_is_close(name: str) -> None:
    ref = Reference(name)
    example, sizes = REFERENCES[name]
    fn = unfold.compile(EXAMPLES / f"{example}.rec", dtype="float32", sizes=sizes)
    loss, grads = fn.value_and_grad(ref.params, **ref.call(fn))
    np.testing.assert_allclose(loss, ref.outputs["loss"], rtol=2e-5)
    for key, g in grads.items():
        assert g.dtype == np.float32
        scale = float(np.abs(ref.grads[key]).max())
        np.testing.assert_allclose(g, ref.grads[key], rtol=0, atol=3e-4 * scale)


def lines(model: unfold.Model) -> list[str]:
    """The lines of a printed model, in any order and without headings."""
    return sorted(line for line in str(model).splitlines() if line and "# " not in line)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.rec")), ids=lambda p: p.stem)
def test_an_example_and_its_derivatives_are_read_again_as_printed(path: Path) -> None:
    model = unfold.load(path)
    for shown in (model, model.adjoint(), model.tangent(), model.adjoint().tangent()):
        assert lines(unfold.loads(str(shown))) == lines(shown)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_slope_stands_in_for_that_of_a_spike(backend: str) -> None:
    fn = unfold.compile(EXAMPLES / "spiking.rec", D=3, H=4, K=2, backend=backend)
    rng = np.random.default_rng(1)
    p = {n: rng.normal(0, 1, v.shape) for n, v in fn.init().items()}
    x, T = rng.normal(1, 1, (6, 3)), 6
    # By hand, forward and back; a spike is a step forward, and back the slope of a sigmoid.
    v, s = np.zeros((T + 1, 4)), np.zeros((T + 1, 4))
    for t in range(1, T + 1):
        v[t] = 0.9 * v[t - 1] * (1 - s[t - 1]) + p["W"] @ x[t - 1] + p["U"] @ s[t - 1]
        s[t] = v[t] > 1
    assert 0 < s.mean() < 1
    logits = p["V"] @ s[1:].mean(0)
    share = np.exp(logits) / np.exp(logits).sum()
    back = p["V"].T @ (share - [0, 1]) / T
    W_bar, v_bar, s_bar = np.zeros((4, 3)), np.zeros(4), back
    for t in range(T, 0, -1):
        soft = 1 / (1 + np.exp(-4 * (v[t] - 1)))
        here = v_bar + s_bar * 4 * soft * (1 - soft)
        W_bar += np.outer(here, x[t - 1])
        v_bar, s_bar = here * 0.9 * (1 - s[t - 1]), back + p["U"].T @ here
    loss, grads = fn.value_and_grad(p, x=x, c=1)
    close(loss, -np.log(share[1]))
    close(grads["W"], W_bar)


def test_a_gradient_check_holds_what_is_detached() -> None:
    result = unfold.grad_check(unfold.load(EXAMPLES / "advantage.rec"), entries=1)
    assert result.ok, str(result)
