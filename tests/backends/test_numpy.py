"""The interpreter: values, precision, batches of unequal sequences, and single expressions."""

from __future__ import annotations

import pickle
from threading import Thread
from typing import Any

import numpy as np
import pytest

from tests.graph.programs import adjoint_of, example
from tests.strategies import arrays
from unfold.backends import numpy as interpreter
from unfold.check import elaborate
from unfold.domain import Domain
from unfold.expr import Guard, Position, Reduce, Ref
from unfold.poly import Poly
from unfold.program import Program
from unfold.transform import adjoint, tangent

SIZES = {"D": 3, "H": 4, "K": 2}


def lstm() -> Program:
    return example("lstm", **SIZES)


def batch_of(program: Program, T: int, B: int) -> dict[str, Any]:
    """Parameters, and inputs with a batch axis."""
    rows = [arrays(program, {"T": T}, seed) for seed in range(B)]
    return rows[0] | {v.name: np.stack([r[v.name] for r in rows]) for v in program.inputs}


def test_values_are_those_of_the_equations() -> None:
    text = "model m:\n  input x[t]: real\n  s[0] = 1\n  s[t] = s[t-1] * x[t]\n  output s[t]\n"
    kernel = interpreter.compile(elaborate(text, "test"))
    out = kernel({"x": np.array([2.0, 3.0, 0.5])}, {"T": 3})
    assert out["s"].tolist() == [2.0, 6.0, 3.0]


def test_losses_are_returned_beside_the_outputs() -> None:
    program = lstm()
    out = interpreter.compile(program)(arrays(program, {"T": 3}), {"T": 3})
    assert set(out) == {"loss", "h", "c", "y"}
    assert out["loss"].shape == ()
    assert out["h"].shape == (3, 4)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_reals_have_the_precision_that_was_asked_for(dtype: str) -> None:
    program = adjoint(example("elman", D=2, H=3, K=4))
    data = {
        k: v.astype(dtype) if v.dtype.kind == "f" else v
        for k, v in arrays(program, {"T": 4}).items()
    }
    out = interpreter.compile(program, dtype=dtype)(data, {"T": 4})
    exact = interpreter.compile(program)(arrays(program, {"T": 4}), {"T": 4})
    for name, value in out.items():
        assert value.dtype == np.dtype(dtype)
        np.testing.assert_allclose(value, exact[name], rtol=1e-4, atol=1e-5)


def test_integers_and_truth_values_keep_their_type() -> None:
    text = (
        "model m:\n  input k[t]: int<5>\n  input b[t]: bool\n"
        "  n[t] = k[t] + 1\n  both[t] = b[t] and k[t] > 1\n  output n[t], both[t]\n"
    )
    kernel = interpreter.compile(elaborate(text, "test"), dtype="float32")
    out = kernel({"k": np.array([0, 4]), "b": np.array([True, True])}, {"T": 2})
    assert (out["n"].dtype, out["n"].tolist()) == (np.int64, [1, 5])
    assert (out["both"].dtype, out["both"].tolist()) == (np.bool_, [False, True])


def test_a_batch_is_every_sequence_on_its_own() -> None:
    program = adjoint_of("lstm").bind(SIZES)
    kernel = interpreter.compile(program)
    data = batch_of(program, 5, 3)
    out = kernel(data, {"T": 5}, batch=3)
    for b in range(3):
        own = data | {v.name: data[v.name][b] for v in program.inputs}
        for name, value in kernel(own, {"T": 5}).items():
            np.testing.assert_array_equal(out[name][b], value)


def test_beyond_its_end_a_sequence_repeats_its_last_value_and_adjoints_are_zero() -> None:
    program = adjoint(lstm(), wrt=["W_ii", "x"])
    kernel = interpreter.compile(program)
    data = batch_of(program, 6, 3)
    ends = [6, 1, 4]
    out = kernel(data, {"T": 6}, batch=3, ragged=np.array(ends))
    for b, end in enumerate(ends):
        own = {k: v[b, :end] if k in ("x", "target") else v for k, v in data.items()}
        alone = kernel(own, {"T": end})
        np.testing.assert_array_equal(out["loss"][b], alone["loss"])
        np.testing.assert_array_equal(out["h"][b, :end], alone["h"])
        assert (out["h"][b, end:] == alone["h"][-1]).all()
        np.testing.assert_array_equal(out["x_bar"][b, :end], alone["x_bar"])
        assert (out["x_bar"][b, end:] == 0).all()


def test_the_padding_of_a_tangent_of_an_adjoint_is_zero_too() -> None:
    program = tangent(adjoint(lstm(), wrt=["x"]), wrt=["x"])
    data = batch_of(program, 4, 2)
    out = interpreter.compile(program)(data, {"T": 4}, batch=2, ragged=np.array([2, 4]))
    assert (out["x_bar_dot"][0, 2:] == 0).all()
    assert (out["h_dot"][0, 2:] == out["h_dot"][0, 1]).all()


def test_adjoints_of_parameters_can_be_summed_over_the_batch() -> None:
    program = adjoint(lstm(), wrt=["W_ii", "h0", "x"])
    data = batch_of(program, 3, 4)
    apart = interpreter.compile(program)(data, {"T": 3}, batch=4)
    summed = interpreter.compile(program, sum_adjoints=True)(data, {"T": 3}, batch=4)
    for name in ("W_ii_bar", "h0_bar"):
        np.testing.assert_allclose(summed[name], apart[name].sum(axis=0), rtol=1e-13)
    assert summed["x_bar"].shape == (4, 3, 3)
    assert summed["loss"].shape == (4,)


def test_a_batch_of_none_has_the_shapes_of_one() -> None:
    program = adjoint(lstm(), wrt=["W_ii"])
    data = batch_of(program, 3, 1)
    empty = data | {v.name: data[v.name][:0] for v in program.inputs}
    out = interpreter.compile(program)(empty, {"T": 3}, batch=0)
    assert out["h"].shape == (0, 3, 4)
    assert out["W_ii_bar"].shape == (0, 4, 3)
    summed = interpreter.compile(program, sum_adjoints=True)(empty, {"T": 3}, batch=0)
    assert summed["W_ii_bar"].tolist() == np.zeros((4, 3)).tolist()


def test_a_kernel_can_be_pickled_and_shared_by_threads() -> None:
    program = lstm()
    kernel = interpreter.compile(program)
    data = arrays(program, {"T": 3})
    expected = kernel(data, {"T": 3})["loss"]
    assert pickle.loads(pickle.dumps(kernel))(data, {"T": 3})["loss"] == expected
    found: list[Any] = []
    threads = [
        Thread(target=lambda T=T: found.append(kernel(arrays(program, {"T": T}), {"T": T})))
        for T in (2, 3, 4, 5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4


def test_a_program_with_free_sizes_is_refused() -> None:
    with pytest.raises(ValueError, match="lstm: the sizes D, H, K are not bound"):
        interpreter.compile(example("lstm"))
    with pytest.raises(ValueError, match="dtype is float64 or float32, not 'int8'"):
        interpreter.compile(lstm(), dtype="int8")


def test_an_expression_has_a_value() -> None:
    t, s, n = Poly.symbol("t"), Poly.symbol("s"), Poly.const(2)
    x = Ref("x", (s,), (n,))
    e = Reduce("sum", ("s",), Domain.range("s", 1, t), x * Position(s))
    env = {("x", (k,)): np.array([k, 1.0]) for k in (1, 2, 3)}
    assert interpreter.evaluate(e, env, {"t": 3}).tolist() == [14.0, 6.0]
    assert interpreter.evaluate(e, env, {"t": 0}).tolist() == [0.0, 0.0]
    nowhere = Guard(Domain.of((t - 5,)), Ref("x", (t + 9,), (n,)))
    assert interpreter.evaluate(nowhere, env, {"t": 3}).tolist() == [0.0, 0.0]
    top = Reduce("max", ("s",), Domain.range("s", 1, t), Ref("x", (s,), (n,)))
    assert interpreter.evaluate(top, env, {"t": 0}).tolist() == [-np.inf, -np.inf]
    with pytest.raises(KeyError):
        interpreter.evaluate(e, {}, {"t": 1})
