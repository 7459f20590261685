"""What a hunt says of whole calls: clean ones, batches, honest infinities, random programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import unfold
from tests.strategies import arrays, programs
from unfold.cli import cli
from unfold.compiler import Options
from unfold.function import Function
from unfold.program import Program

ELMAN = """
model elman(D, H):
    input x[t]: real[D]
    input y[t]: real[H]
    param W: real[H, D] ~ glorot
    param U: real[H, H] ~ orthogonal
    h[0] = 0
    h[t] = tanh(W @ x[t] + U @ h[t-1])
    loss = mean[t](sum((h[t] - y[t]) ** 2))
    output h[t]
    minimize loss
"""
LOGS = """
model m():
    input x[t]: real
    param w: real = 1
    h[0] = 0
    h[t] = 0.5 * h[t-1] + w * log(x[t])
    loss = mean[t](h[t])
    output h[t]
    minimize loss
"""


def test_a_clean_run_tells_the_range_of_every_variable() -> None:
    fn = unfold.compile(ELMAN, D=2, H=3)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 6, 2)), rng.normal(size=(4, 6, 3))
    params = fn.init(seed=1)
    report = fn.debug(params, x=x, y=y)
    assert report.ok
    assert report.first is None
    assert report.backward
    assert not report.elsewhere
    ranges = {r.name: r for r in report.ranges}
    hidden = fn(params, x=x, y=y)["h"]
    assert ranges["x"].low == x.min()
    assert ranges["x"].largest == np.abs(x).max()
    # h[0] = 0 is a value as well.
    assert (ranges["h"].low, ranges["h"].high) == (min(hidden.min(), 0), max(hidden.max(), 0))
    assert ranges["h"].smallest == np.abs(hidden).min()
    assert ranges["U_bar"].phase == "backward"
    assert ranges["U_bar"].largest > 0
    assert "all values and gradients are finite in all 4 sequences" in str(report)


@pytest.mark.parametrize("backend", ["llvm", "numpy"])
def test_padding_is_no_value_and_each_sequence_ends_at_its_own_step(backend: str) -> None:
    fn = unfold.compile(LOGS, backend=backend)
    x = np.ones((3, 8))
    x[:, 6] = -1
    report = fn.debug(fn.init(), x=x, lengths=[6, 6, 5])
    assert report.ok, str(report)
    report = fn.debug(fn.init(), x=x, lengths=[6, 8, 7])
    assert report.first is not None
    assert (report.first.element, report.first.sequence) == ("h[7]", 1)
    assert report.elsewhere == ((2, "h[7]"),)


def test_the_first_sequence_comes_first_and_forward_comes_before_backward() -> None:
    text = LOGS.replace("log(x[t])", "sqrt(x[t] * w)")
    fn = unfold.compile(text)
    x = np.ones((4, 8))
    x[0, 2] = 0  # backward
    x[3, 1], x[2, 5] = -1, -1  # forward
    report = fn.debug(fn.init(), x=x)
    assert report.first is not None
    assert (report.first.phase, report.first.element, report.first.sequence) == (
        "forward", "h[6]", 2,
    )  # fmt: skip
    assert report.elsewhere == ((3, "h[2]"),)
    only_values = fn.debug(fn.init(), x=np.abs(x), backward=False)
    assert only_values.ok
    assert not only_values.backward
    again = fn.debug(fn.init(), x=np.abs(x))
    assert again.first is not None
    assert again.first.phase == "backward"
    assert again.first.sequence == 0


def test_the_logarithm_of_0_is_no_fault_until_it_does_harm() -> None:
    text = """
model m(K):
    input p[t]: real[K]
    param w: real = 1
    a[t] = log(p[t])
    h[t] = logsumexp(w * a[t])
    loss = mean[t](h[t])
    output a[t], h[t]
    minimize loss
"""
    fn = unfold.compile(text, K=3)
    p = np.full((6, 3), 0.5)
    p[2, 1] = 0
    assert fn.debug(fn.init(), p=p, backward=False).ok
    strict = fn.debug(fn.init(), p=p, backward=False, strict=True)
    assert strict.first is not None
    assert strict.first.element == "a[3]"
    # Nothing is possible at step 5: the loss is infinite, and that is traced to its origin.
    p[4] = 0
    report = fn.debug(fn.init(), p=p)
    assert report.first is not None
    assert (report.first.element, report.first.component) == ("a[5]", (0,))
    assert report.first.operations[0].reason == "the logarithm of 0"


def test_gradients_that_only_their_sum_makes_infinite() -> None:
    fn = unfold.compile(LOGS.replace("w * log(x[t])", "w * x[t]"), dtype="float32")
    x = np.full((40, 1), 2e37)
    report = fn.debug(fn.init(), x=x)
    assert report.first is not None
    assert (report.first.phase, report.first.variable) == ("batch", "w_bar")
    assert "their sum is not" in str(report)


def test_growth_is_told_from_its_first_step() -> None:
    fn = unfold.compile(LOGS.replace("0.5 * h[t-1] + w * log(x[t])", "2 * h[t-1] + w * x[t]"))
    x = np.zeros(2000)
    x[500] = 1
    report = fn.debug(fn.init(), x=x)
    assert report.first is not None
    assert report.first.element == "h[1525]"
    growth = report.first.growth
    assert growth is not None
    assert growth.variable == "h"
    assert growth.until == (1524,)
    assert growth.factor == pytest.approx(2)
    assert growth.last == 2.0**1023


def test_a_flow_that_does_not_reach_the_end_of_its_step_is_a_fault() -> None:
    text = """
model m():
    input dt[t]: real
    param a: real = 1
    h[0] = 1
    flow h[t] from h[t-1] by dopri5(dt[t], max_steps = 12):
        der(h) = a * h ** 2
    loss = h[T]
    minimize loss
"""
    fn = unfold.compile(text)
    assert fn.debug(fn.init(), dt=np.full(3, 0.1), backward=False).ok
    steps = np.array([[0.1, 0.1, 0.1], [0.1, 2.0, 0.1]])
    report = fn.debug(fn.init(), dt=steps, backward=False)
    assert report.first is not None
    assert (report.first.variable, report.first.index, report.first.sequence) == ("h", (2,), 1)
    assert report.first.source is not None
    assert report.first.source.line == 6
    assert "the end of the step" in str(report)


def test_truncated_and_checkpointed_functions_are_looked_at_as_well() -> None:
    x = np.ones((2, 9))
    x[1, 4] = 0
    text = LOGS.replace("log(x[t])", "sqrt(x[t] * w)")
    for options in ({"truncate": unfold.Window(3)}, {"checkpoint": 3}):
        fn = unfold.compile(text, **options)  # type: ignore[arg-type]
        report = fn.debug(fn.init(), x=x)
        assert report.first is not None
        assert (report.first.phase, report.first.sequence) == ("backward", 1), options


def test_ten_thousand_steps_take_no_walk_through_the_graph() -> None:
    text = """
model m(H):
    input x[t]: real[H]
    param U: real[H, H] ~ orthogonal
    h[0] = 0
    h[t] = tanh(U @ h[t-1]) + log(x[t])
    loss = mean[t](sum(h[t] ** 2))
    minimize loss
"""
    fn = unfold.compile(text, H=64)
    x = np.ones((10_000, 64))
    x[8_765, 43] = -1
    report = fn.debug(fn.init(), x=x)
    assert report.first is not None
    assert (report.first.element, report.first.component) == ("h[8766]", (43,))


@given(programs(), st.integers(1, 6), st.booleans(), st.data())
@settings(max_examples=8)
def test_a_nan_in_a_random_place_of_what_is_given_is_named(
    program: Program, steps: int, of_batch: bool, data: st.DataObject
) -> None:
    """The element is named, and the first value that it spoils is the same on both backends."""
    given_ = arrays(program, {"T": steps})
    params = {v.name: given_[v.name] for v in program.params}
    inputs: dict[str, Any] = {v.name: given_[v.name] for v in program.inputs}
    if of_batch:
        inputs = {n: np.stack([a, a, a]) for n, a in inputs.items()}
    name = data.draw(st.sampled_from(sorted({**params, **inputs})))
    role = params if name in params else inputs
    array = np.array(role[name])
    spot = data.draw(st.integers(0, array.size - 1))
    array.flat[spot] = np.nan
    role[name] = array
    at = tuple(int(k) for k in np.unravel_index(spot, array.shape))
    met = []
    for backend in ("llvm", "numpy"):
        fn = Function(program, {}, {}, Options(backend))
        report = fn.debug(params, inputs)
        assert len(report.faults) == 1
        fault = report.faults[0]
        sequence = at[0] if of_batch and role is inputs else None
        rest = at[1:] if of_batch and role is inputs else at
        if role is inputs:
            rest = (rest[0] + 1, *rest[1:])
        assert (fault.phase, fault.variable, fault.sequence) == ("given", name, sequence)
        assert (*fault.index, *fault.component) == rest
        met.append(fault.notes)
    assert met[0] == met[1]


def test_the_command_line_tells_text_and_json_and_fails_on_faults(tmp_path: Path) -> None:
    model, data = tmp_path / "m.rec", tmp_path / "x.npz"
    model.write_text(LOGS)
    x = np.ones((3, 5))
    np.savez(data, x=x)
    run = CliRunner().invoke
    clean = run(cli, ["debug", str(model), "--data", str(data)], catch_exceptions=False)
    assert clean.exit_code == 0
    assert "all values and gradients are finite" in clean.output
    x[1, 2] = -1
    np.savez(data, x=x)
    found = run(cli, ["debug", str(model), "--data", str(data)])
    assert found.exit_code == 1
    assert "h[3] is nan (forward pass, sequence 1)" in found.output
    assert "^^^^^^^^^ the logarithm of the negative number -1" in found.output
    as_json = run(cli, ["debug", str(model), "--data", str(data), "--json"])
    fault = json.loads(as_json.stdout)["faults"][0]
    assert (fault["variable"], fault["index"], fault["sequence"], fault["value"]) == (
        "h", [3], 1, "nan",
    )  # fmt: skip
    assert fault["source"]["line"] == 6
