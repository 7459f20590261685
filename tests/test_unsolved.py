"""Implicit equations without a solution: an error that says where, forward and on the way back."""

from __future__ import annotations

import io
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold
from tests.solving import KINDS, compiled, on
from unfold.errors import SolverError

DOUBLING = """
    model m:
        input x[t]: real
        param w: real = 2
        solve z[t] by picard(max_steps = 7):
            z[t] = w * z[t] + x[t] + 0 * sin(z[t])
        loss = sum[t](z[t])
        output z[t]
        minimize loss
"""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    return on(str(request.param), monkeypatch)


def said(fn: unfold.Function, *args: Any, **inputs: Any) -> str:
    with pytest.raises(SolverError) as error:
        fn(*args, **inputs)
    return str(error.value)


def test_no_solution_is_an_error_that_says_where(kind: str) -> None:
    fn = compiled(DOUBLING, kind)
    x = np.array([0.0, 0.0, 1.0])
    assert said(fn, {"w": 2.0}, x=x) == (
        "z[3] was not found by picard: after 7 steps it still changes by 5.0e-01 a step, "
        "relative to its size, and tol is 1e-10"
    )
    assert fn({"w": 0.001}, x=x).z[2] == pytest.approx(1 / 0.999)


def test_the_error_knows_what_it_says(kind: str) -> None:
    fn = compiled(DOUBLING, kind)
    assert issubclass(SolverError, RuntimeError)
    assert issubclass(SolverError, unfold.UnfoldError)
    with pytest.raises(unfold.SolverError) as caught:
        fn({"w": 2.0}, x=np.array([[0.0, 0.0], [1.0, 1.0]]))
    error = caught.value
    assert (error.equation, error.index, error.sequence, error.steps) == ("z", (1,), 1, 7)
    assert (error.method, error.tol) == ("picard", 1e-10)
    assert error.residual == pytest.approx(0.5, rel=0.02)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert again.index == (1,)


def test_one_diverging_sequence_of_a_batch_is_named(kind: str) -> None:
    fn = compiled(DOUBLING, kind)
    x = np.zeros((13, 4))
    x[9, 1] = x[11, 0] = 1.0
    assert said(fn, {"w": 2.0}, x=x) == (
        "z[2] in sequence 9 of the batch was not found by picard: after 7 steps it still changes "
        "by 5.0e-01 a step, relative to its size, and tol is 1e-10"
    )
    assert said(fn, {"w": 2.0}, x=x[9:], lengths=[1, 4, 4, 4]).startswith(
        "z[1] in sequence 2 of the batch "
    )


def test_a_value_that_is_not_a_number_is_an_error(kind: str) -> None:
    fn = compiled(DOUBLING, kind)
    assert said(fn, {"w": 0.001}, x=np.array([1.0, np.nan, 1.0])) == (
        "z[2] was not found by picard: after 1 step its value is not a finite number"
    )
    singular = DOUBLING.replace("picard(max_steps = 7)", "newton")
    assert said(compiled(singular, kind), {"w": 1.0}, x=np.ones(2)) == (
        "z[1] was not found by newton: after 1 step its value is not a finite number"
    )


def test_overflow_is_an_error_not_a_solution(kind: str) -> None:
    text = """
        model m:
            input x[t]: real
            solve z[t] by picard(max_steps = 1000):
                z[t] = z[t]**2 + x[t]
            output z[t]
    """
    message = said(compiled(text, kind), {}, x=np.array([0.1, 3.0]))
    assert message.startswith("z[2] was not found by picard: after ")
    assert message.endswith(" steps its value is not a finite number")


def test_a_failure_on_the_way_back_is_an_error_too(kind: str) -> None:
    text = """
        model m:
            input x[t]: real
            param w: real = 1
            solve z[t] from 10 * w * x[t] by picard(max_steps = 5):
                z[t] = 0.9 * z[t] + w * x[t]
            loss = sum[t](z[t]**2)
            output z[t]
            minimize loss
    """
    fn = compiled(text, kind, mode="reverse")
    np.testing.assert_allclose(fn({"w": 1.0}, x=np.ones(2)).z, 10.0)
    with pytest.raises(SolverError) as error:
        fn.value_and_grad({"w": 1.0}, x=np.ones((2, 2)))
    assert str(error.value) == (
        "z_lambda[1] in sequence 0 of the batch was not found by picard: after 5 steps it still "
        "changes by 1.6e-01 a step, relative to its size, and tol is 1e-10"
    )


def test_the_cause_is_named_and_not_its_consequences(kind: str) -> None:
    # z fails at 3 alone; what reads it, forward and backward in time, cannot be found either.
    text = """
        model m:
            input x[t]: real
            f[0] = 0
            b[T+1] = 0
            solve f[t] by anderson:
                f[t] = 0.1 * f[t] + f[t-1] + z[t]
            solve b[t] by anderson:
                b[t] = 0.1 * b[t] + b[t+1] + z[t]
            solve z[t] by picard(max_steps = 9):
                z[t] = x[t] * z[t] + 1
            y = f[T] + b[1]
            output y, b[t], f[t]
    """
    message = said(compiled(text, kind), {}, x=np.array([0.0, 0.0, 2.0, 0.0, 0.0]))
    assert message.startswith("z[3] was not found by picard: after 9 steps ")


def test_after_an_error_the_function_goes_on_working(kind: str) -> None:
    fn = compiled(DOUBLING, kind)
    x = np.ones((3, 2))
    said(fn, {"w": 2.0}, x=x)
    np.testing.assert_allclose(fn({"w": 0.001}, x=x).z, 1 / 0.999)


def test_the_command_line_says_what_was_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from unfold.cli import main

    (tmp_path / "m.rec").write_text(DOUBLING.replace("\n    ", "\n").strip() + "\n")
    np.savez(tmp_path / "d.npz", x=np.ones(2))
    argv = ["unfold", "run", "m.rec", "--data", "d.npz", "-o", "o.npz"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert "z[1] was not found by picard" in capsys.readouterr().err
    assert not (tmp_path / "o.npz").exists()
