"""The continuous adjoint of a flow: how it differs from the discrete one, where it may stand."""

from __future__ import annotations

from functools import cache
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

import unfold
from unfold.compiler import Derived
from unfold.transform import adjoint

BACKENDS = ("numpy", "llvm")

#: Two coupled states, a vector and a number; inputs, parameters and a variable inside of the body;
#: a start that is no plain state; jumps on top.
NODE = """
model node(H):
    input dt[t]: real
    input x[t]: real[H]
    input e[t]: bool
    param W, V: real[H, H] ~ glorot
    param b: real[H] = 0
    param c: real = 0.3
    h[0] = b
    q[0] = c
    drive[t] = tanh(c * x[t]) + 0.1 * h[t-1]
    flow m[t], q[t] from h[t-1], 0.5 * q[t-1] by SCHEME(dt[t] * c, substeps = SUB, adjoint = ADJ):
        let inner = tanh(W @ m + drive[t])
        der(m) = V @ inner - c * q * m
        der(q) = -c * q + sum(m * b) + x[t][0]
    h[t] = where(e[t], m[t] + b * x[t], m[t])
    output h[t], q[t]
    minimize sum[t](sum(h[t] ** 2) + q[t])
"""
H, T = 3, 4
WRT = ["W", "V", "b", "c", "dt", "x", "h", "m", "q"]


@cache
def node(scheme: str, substeps: int, kind: str, backend: str = "llvm") -> Any:
    text = NODE.replace("SCHEME", scheme).replace("SUB", str(substeps)).replace("ADJ", kind)
    return unfold.compile(unfold.loads(text), H=H, backend=backend)


def data(batch: tuple[int, ...] = ()) -> tuple[dict[str, Any], dict[str, Any]]:
    r = np.random.default_rng(3)
    params = {
        "W": r.normal(size=(H, H)), "V": r.normal(size=(H, H)), "b": r.normal(size=H), "c": 0.7,
    }  # fmt: skip
    inputs = {
        "dt": r.uniform(0.2, 0.5, size=(*batch, T)),
        "x": r.normal(size=(*batch, T, H)),
        "e": r.random(size=(*batch, T)) < 0.5,
    }
    return params, inputs


PENDULUM = """
model pendulum:
    input dt[t]: real
    param k: real = 4
    param start: real = 1
    p[0] = start
    v[0] = 0
    flow p[t], v[t] from p[t-1], v[t-1] by SCHEME(dt[t], adjoint = KIND):
        der(p) = v
        der(v) = -k * sin(p) - 0.3 * v
    output p[t]
    minimize p[T] ** 2 + v[T]
"""


@pytest.mark.parametrize(
    # Heun's scheme gains an order: going back undoes the first term of its error.
    ("scheme", "order"),
    [("euler", 1), ("midpoint", 2), ("heun", 3), ("rk4", 4)],
)
def test_both_adjoints_meet_at_the_order_of_the_scheme(scheme: str, order: int) -> None:
    """Two units of time in ever smaller steps. At every size the discrete adjoint is the derivative
    of what is computed, by differences; the continuous one is not, and comes nearer by the order
    of the scheme."""
    fns = {
        kind: unfold.compile(
            unfold.loads(PENDULUM.replace("SCHEME", scheme).replace("KIND", kind)),
            backend="llvm",
        )
        for kind in ("discrete", "continuous")
    }
    counts = (40, 160, 320)
    apart: dict[str, list[float]] = {"k": [], "start": []}
    for count in counts:
        dt = np.full(count, 2 / count)
        params = {"k": 4.0, "start": 1.0}
        grads = {kind: fn.value_and_grad(params, dt=dt)[1] for kind, fn in fns.items()}
        for name, found in apart.items():
            e = 1e-5
            up, down = (
                float(fns["discrete"]({**params, name: params[name] + d}, dt=dt).loss)
                for d in (e, -e)
            )
            assert grads["discrete"][name] == pytest.approx((up - down) / (2 * e), rel=1e-7)
            found.append(abs(float(grads["continuous"][name] - grads["discrete"][name])))
    for name, found in apart.items():
        # The finest two tell the order; before, terms of higher order still count.
        slope = np.log2(found[-2] / found[-1])
        assert slope == pytest.approx(order, abs=0.15), name


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_values_and_tangents_do_not_depend_on_the_choice(kind: str) -> None:
    params, inputs = data()
    moved = {"c": np.array(1.0), "W": np.ones((H, H))}
    out, dots = node("rk4", 2, kind).jvp(params, moved, inputs)
    other, other_dots = node("rk4", 2, "discrete").jvp(params, moved, inputs)
    np.testing.assert_allclose(out["h"], other["h"], rtol=1e-13)
    np.testing.assert_allclose(dots["loss"], other_dots["loss"], rtol=1e-12)


def test_backends_agree_on_ragged_batches() -> None:
    params, inputs = data((3,))
    results = [
        node("rk4", 2, "continuous", backend).value_and_grad(
            params, inputs, wrt=WRT, lengths=[4, 1, 3], reduce="sum"
        )
        for backend in BACKENDS
    ]
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-12)
    for name in WRT:
        np.testing.assert_allclose(results[0][1][name], results[1][1][name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scheme", ["euler", "midpoint", "heun"])
def test_many_substeps_on_an_axis_are_those_written_out(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To rounding, on ragged batches; in a model that has an `n` of its own."""
    params, inputs = data((2,))
    text = NODE.replace("SCHEME", scheme).replace("SUB", "8").replace("ADJ", "continuous")
    text = text.replace("(H)", "(H, n = 2)").replace("* x[t])", "* x[t]) / n")

    def grads(backend: str) -> Any:
        fn = unfold.compile(unfold.loads(text), H=H, backend=backend)
        return fn.value_and_grad(params, inputs, wrt=WRT, lengths=[4, 2], reduce="sum")

    results = [grads(b) for b in BACKENDS]
    monkeypatch.setattr("unfold.check.flows.ROLLED", 100)
    monkeypatch.setattr("unfold.transform.continuous.ROLLED", 100)
    loss, written = grads("numpy")
    for value, found in results:
        assert value == pytest.approx(loss, rel=1e-13)
        for name in WRT:
            np.testing.assert_allclose(found[name], written[name], rtol=1e-11, atol=1e-13)


def test_the_size_of_the_adjoint_does_not_depend_on_the_number_of_substeps() -> None:
    text = NODE.replace("SCHEME", "rk4").replace("ADJ", "continuous")
    few, many = (unfold.loads(text.replace("SUB", n)).adjoint().program for n in ("8", "400"))
    assert len(few.equations) == len(many.equations)


def test_a_batch_is_its_sequences() -> None:
    params, inputs = data((2,))
    fn = node("midpoint", 1, "continuous")
    _, both = fn.value_and_grad(params, inputs, wrt=WRT, reduce="sum")
    each = [
        fn.value_and_grad(params, {k: v[b] for k, v in inputs.items()}, wrt=WRT)[1]
        for b in range(2)
    ]
    np.testing.assert_allclose(both["W"], each[0]["W"] + each[1]["W"], rtol=1e-10)
    np.testing.assert_allclose(both["h"], np.stack([g["h"] for g in each]), rtol=1e-10)


def test_the_adjoint_is_a_program_that_can_be_read_again() -> None:
    for scheme, substeps in (("euler", 2), ("rk4", 2), ("heun", 8)):
        text = NODE.replace("SCHEME", scheme).replace("SUB", str(substeps))
        text = text.replace("ADJ", "continuous")
        model = unfold.loads(text)
        again = unfold.loads(str(model))
        assert sorted(str(again).split()) == sorted(str(model).split())
        first, second = model.adjoint(), unfold.loads(str(model)).adjoint()
        assert sorted(str(first).split()) == sorted(str(second).split())
        printed = unfold.loads(str(first))
        params, inputs = data()
        out = unfold.compile(printed, H=H)(params, inputs)
        _, grads = node(scheme, substeps, "continuous").value_and_grad(params, inputs)
        for name, grad in grads.items():
            np.testing.assert_allclose(out[f"{name}_bar"], grad, rtol=1e-10, atol=1e-13)


def test_simplification_changes_no_number() -> None:
    """The raw form of the adjoint, evaluated by the interpreter."""
    fn = node("heun", 1, "continuous")
    params, inputs = data()
    raw = adjoint(fn.program.with_(outputs=()), ["W", "c"], None, simplified=False)
    derived: Derived = fn.compiler.compiled(raw)
    out, _ = fn.compiler.run(derived, params, inputs, {}, None)
    _, grads = fn.value_and_grad(params, inputs)
    np.testing.assert_allclose(out["W_bar"], grads["W"], rtol=1e-10)
    np.testing.assert_allclose(out["c_bar"], grads["c"], rtol=1e-10)


CELL = """
    model cell(H):
        input x[t]: real[H]
        param A: real[H, H] ~ glorot
        param start: real[H] ~ normal(0.5)
        h[0] = start
        flow h[t] from h[t-1] by rk4(0.5, adjoint = KIND):
            der(h) = tanh(A @ h + x[t])
        output h[t]
"""


def inside(kind: str, use: str) -> str:
    main = f"""
    model main(H):
        input x[t]: real[H]
        {use}
        output y[t]
        minimize sum[t](sum(y[t] ** 2))
"""
    return dedent(CELL.replace("KIND", kind)) + dedent(main)


@pytest.mark.parametrize(
    "use",
    [
        "enc = cell(x)\n        y[t] = enc.h[t]",
        "enc = reverse cell(x)\n        y[t] = enc.h[t] + x[t]",
        "layer[0] = x\n        layer[l] = cell(layer[l-1]) for l in 1..2"
        "\n        y[t] = layer.2.h[t]",
    ],
)
def test_models_inside_models_keep_it(use: str) -> None:
    x = 0.3 * np.random.default_rng(1).normal(size=(5, 2))
    grads = {}
    for kind in ("discrete", "continuous"):
        text = inside(kind, use)
        fn = unfold.compile(unfold.loads(text), H=2)
        grads[kind] = fn.value_and_grad(fn.init(seed=4), x=x, wrt=[*fn.params, "x"])[1]
    for name, grad in grads["discrete"].items():
        other = grads["continuous"][name]
        np.testing.assert_allclose(other, grad, rtol=2e-2, atol=2e-3)
        assert not np.allclose(other, grad, rtol=1e-9, atol=1e-12), "it is another adjoint"


@pytest.mark.parametrize("how", [unfold.Window(2), unfold.Horizon(2)])
def test_truncation_stops_it_where_it_stops_the_discrete_one(how: Any) -> None:
    text = inside("KIND", "enc = cell(x)\n        y[t] = enc.h[t]")
    x = 0.3 * np.random.default_rng(1).normal(size=(5, 2))
    found = []
    for kind in ("discrete", "continuous"):
        fn = unfold.compile(unfold.loads(text.replace("KIND", kind)), H=2, truncate=how)
        full = unfold.compile(unfold.loads(text.replace("KIND", kind)), H=2)
        params = fn.init(seed=4)
        found.append(fn.value_and_grad(params, x=x)[1]["enc.A"])
        whole = full.value_and_grad(params, x=x)[1]["enc.A"]
        assert np.max(np.abs(found[-1] - whole)) > 1e-2 * np.max(np.abs(whole))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(("scheme", "substeps"), [("rk4", 1), ("heun", 8)])
def test_second_derivatives_are_those_of_the_backward_program(scheme: str, substeps: int) -> None:
    fn = node(scheme, substeps, "continuous")
    params, inputs = data()
    product = fn.hvp(params, {"c": np.array(1.0)}, inputs)
    e = 1e-5
    up, down = (
        fn.value_and_grad({**params, "c": params["c"] + d}, inputs)[1]["V"] for d in (e, -e)
    )
    np.testing.assert_allclose(product["V"], (up - down) / (2 * e), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("rk4(0.1, adjoint = discreet)", "E0712"),
        ("rk4(0.1, adjoint = 1)", "E0712"),
        ("dopri5(0.1, adjoint = continuous)", "E0712"),
    ],
)
def test_mistakes_are_explained(method: str, code: str) -> None:
    text = f"""
        model m:
            h[0] = 1
            flow h[t] from h[t-1] by {method}:
                der(h) = -h
            output h[t]
    """
    with pytest.raises(unfold.RecError) as caught:
        unfold.loads(dedent(text))
    assert [d.code for d in caught.value.diagnostics] == [code]
