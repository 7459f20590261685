"""A flow is the equations of its scheme, and what is wrong with it is said."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

import unfold
from unfold.check import check_text

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def equations(source: str) -> list[str]:
    lines = str(unfold.loads(dedent(source))).splitlines()
    return [line.strip() for line in lines if "=" in line and "param" not in line]


def test_euler_is_one_line() -> None:
    assert equations("""
        model m:
            param k: real = 1
            h[0] = 1
            flow h[t] from h[t-1] by euler(0.1):
                der(h) = -k * h
            output h[t]
    """) == ["h[0] = 1", "h.k1[t] = -k * h[t-1]", "h[t] = h[t-1] + 0.1 * h.k1[t]"]


def test_stages_read_the_slopes_before_them() -> None:
    assert equations("""
        model m:
            input dt[t]: real
            h[0] = 1
            flow h[t] from h[t-1] by midpoint(dt[t]):
                let rate = 2
                der(h) = -rate * h
            output h[t]
    """)[1:] == [
        "h.k1[t] = -2 * h[t-1]",
        "h.k2[t] = -2 * (h[t-1] + dt[t] * (h.k1[t] / 2))",
        "h[t] = h[t-1] + dt[t] * h.k2[t]",
    ]


def oscillator(scheme: str, steps: int) -> tuple[float, float]:
    source = f"""
        model oscillator:
            p[0] = 1
            v[0] = 0
            flow p[t], v[t] from p[t-1], v[t-1] by {scheme}:
                der(p) = v
                der(v) = -4 * sin(p[t]) - 0.3 * v
            output p[t], v[t]
    """
    out = unfold.compile(dedent(source), backend="numpy")({}, T=steps)
    return float(out.p[-1]), float(out.v[-1])


def fine_solution(steps: int = 4000) -> Any:
    """The same equation by a scheme of another family, at a very small step (leapfrog)."""

    def slope(y: Any) -> Any:
        return np.array([y[1], -4 * np.sin(y[0]) - 0.3 * y[1]])

    # Richardson extrapolation of the modified midpoint rule (Gragg 1965): order 4 and far smaller
    # errors than the schemes under test have at their steps.
    def gragg(n: int) -> Any:
        h = 2 / n
        before = np.array([1.0, 0.0])
        now = before + h * slope(before)
        for _ in range(n - 1):
            before, now = now, before + 2 * h * slope(now)
        return (before + now + h * slope(now)) / 2

    return (4 * gragg(steps) - gragg(steps // 2)) / 3


@pytest.mark.parametrize(
    ("scheme", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2), ("rk4", 4)]
)
def test_each_scheme_has_its_order(scheme: str, order: int) -> None:
    exact = fine_solution()
    errors = []
    for steps in (40, 80):
        p, v = oscillator(f"{scheme}({2 / steps})", steps)
        errors.append(np.hypot(p - exact[0], v - exact[1]))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)


def test_substeps_are_smaller_steps() -> None:
    p, v = oscillator("rk4(0.2, substeps = 4)", 5)
    assert (p, v) == pytest.approx(oscillator("rk4(0.05)", 20), rel=1e-13)


@pytest.mark.parametrize(
    ("line", "body", "codes"),
    [
        ("flow h[t] from h[t-1] by rk5(0.1):", ["der(h) = -h"], ["E0711"]),
        ("flow h[t] from h[t-1] by rk4():", ["der(h) = -h"], ["E0712"]),
        ("flow h[t] from h[t-1] by rk4(0.1, sub = 2):", ["der(h) = -h"], ["E0712"]),
        ("flow h[t] from h[t-1] by rk4(0.1, substeps = 0):", ["der(h) = -h"], ["E0712"]),
        ("flow h[t] from h[t-1] by rk4(0.1):", ["der(g) = -h"], ["E0713"]),
        ("flow h[t] from h[t-1] by rk4(0.1):", ["der(h) = -h", "der(h) = h"], ["E0713"]),
        ("flow h[t] from h[t-1] by rk4(0.1):", ["a[t] = 1", "der(h) = -h"], ["E0713"]),
        ("flow h[t] from h[t-1] by dopri5(0.1, rtol = 2):", ["der(h) = -h"], ["E0712"]),
        ("flow h[t] from h[t-1] by dopri5(0.1, substeps = 2):", ["der(h) = -h"], ["E0712"]),
        ("flow h[t] from h[t-1] by rk4(0.1):", ["der(h) = -kk * h"], ["E0201"]),
    ],
)
def test_mistakes_in_a_flow_are_reported_once(line: str, body: list[str], codes: list[str]) -> None:
    text = f"model m:\n    h[0] = 1\n    {line}\n"
    text += "".join(f"        {b}\n" for b in body) + "    output h[t]\n"
    assert [d.code for d in check_text(text)] == codes


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_costates_through_a_flow_are_those_of_the_reference(backend: str) -> None:
    """The pendulum of `examples/pendulum_control.rec` as a flow, by Euler's method:
    its costates at every step, the final one among them."""
    ref = np.load(Path(__file__).parent.parent / "data" / "pendulum_control.npz")
    source = (EXAMPLES / "pendulum_control.rec").read_text()
    head, tail = source.split("    theta[t] =")
    tail = tail[tail.index("    running") :]
    flow = """\
    flow theta[t], omega[t] from theta[t-1], omega[t-1] by euler(dt):
        der(theta) = omega
        der(omega) = -(grav / length) * sin(theta) - damping * omega + u[t] / (mass * length ** 2)
"""
    fn = unfold.compile(unfold.loads(head + flow + tail), backend=backend)
    given = {kind: {k.split("/")[1]: ref[k] for k in ref if k.startswith(kind)}
             for kind in ("input", "param", "grad")}  # fmt: skip
    wrt = ["theta", "omega", *given["grad"]]
    loss, grads = fn.value_and_grad(given["param"], given["input"], wrt=wrt)
    assert loss == pytest.approx(float(ref["output/loss"]), rel=1e-13)
    costates = np.stack([grads.pop("theta"), grads.pop("omega")], axis=-1)
    np.testing.assert_allclose(costates[-len(ref["output/costate"]) :], ref["output/costate"],
                               rtol=1e-11, atol=1e-13)  # fmt: skip
    for name, grad in grads.items():
        np.testing.assert_allclose(grad, given["grad"][name], rtol=1e-11, atol=1e-13)


MANY = """
model many(H):
    input dt[t]: real
    input x[t]: real[H]
    param A: real[H, H] ~ glorot
    param b: real[H] = 0.2
    h[0] = b
    q[0] = 0.3
    flow h[t], q[t] from h[t-1], 0.5 * q[t-1] by SCHEME(dt[t], substeps = SUB):
        der(h) = tanh(A @ h + x[t]) - q * h
        der(q) = sum(h * b) - q
    output h[t], q[t]
    minimize sum[t](sum(h[t] ** 2) + q[t])
"""


def many(scheme: str, substeps: int, backend: str) -> tuple[float, dict[str, Any]]:
    r = np.random.default_rng(5)
    text = MANY.replace("SCHEME", scheme).replace("SUB", str(substeps))
    fn = unfold.compile(unfold.loads(text), H=2, backend=backend)
    params = {"A": r.normal(size=(2, 2)), "b": r.normal(size=2)}
    data = {"dt": r.uniform(0.2, 0.5, size=(2, 3)), "x": r.normal(size=(2, 3, 2))}
    wrt = [*params, *data, "h"]
    loss, grads = fn.value_and_grad(params, data, wrt=wrt, lengths=[3, 2], reduce="sum")
    return float(loss), grads


@pytest.mark.parametrize("scheme", ["euler", "heun", "rk4"])
def test_many_substeps_on_an_axis_are_those_written_out(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values, gradients and costates, to rounding, on ragged batches."""
    loss, grads = many(scheme, 8, "numpy")
    native, native_grads = many(scheme, 8, "llvm")
    monkeypatch.setattr("unfold.check.flows.ROLLED", 100)
    written, written_grads = many(scheme, 8, "numpy")
    assert loss == pytest.approx(written, rel=1e-14)
    assert native == pytest.approx(written, rel=1e-13)
    for name, expected in written_grads.items():
        np.testing.assert_allclose(grads[name], expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(native_grads[name], expected, rtol=1e-12, atol=1e-14)


def test_the_size_of_a_program_does_not_depend_on_the_number_of_substeps() -> None:
    texts = [
        str(unfold.loads(MANY.replace("SCHEME", "rk4").replace("SUB", str(n))).adjoint())
        for n in (8, 400)
    ]
    assert texts[0].count("\n") == texts[1].count("\n")
    assert len(texts[1]) - len(texts[0]) < 100, "the number stands there, and nothing else of it"


@pytest.mark.parametrize("method", ["dopri5(0.2, max_steps = {})", "rk4(0.2, substeps = {})"])
def test_two_flows_have_an_axis_each(method: str) -> None:
    """Of different lengths, beside an `n` of the model's own."""
    source = f"""
        model m:
            axis n: 3
            input u[n]: real
            p[0] = 1
            q[0] = 1
            flow p[t] from p[t-1] by {method.format(10)}:
                der(p) = -p * sum[n](u[n])
            flow q[t] from q[t-1] by {method.format(20)}:
                der(q) = -2 * q
            output p[t], q[t]
    """
    out = unfold.compile(dedent(source))({}, u=np.full(3, 1 / 3), T=4)
    now = 0.2 * np.arange(1, 5)
    np.testing.assert_allclose(out.p, np.exp(-now), rtol=1e-6)
    np.testing.assert_allclose(out.q, np.exp(-2 * now), rtol=1e-6)


@pytest.mark.parametrize("how", ["reverse cell(x)", "cell(x)"])
def test_many_substeps_inside_of_models(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = dedent(f"""
        model cell(H):
            input x[t]: real[H]
            param A: real[H, H] ~ glorot
            h[0] = 0
            flow h[t] from h[t-1] by heun(0.5, substeps = 8):
                der(h) = tanh(A @ h + x[t])
            output h[t]
        model main(H):
            input x[t]: real[H]
            layer[0] = x
            layer[l] = cell(layer[l-1]) for l in 1..2
            last = {how}
            y[t] = layer.2.h[t] + last.h[t]
            output y[t]
            minimize sum[t](sum(y[t] ** 2))
    """)
    x = np.random.default_rng(1).normal(size=(4, 2))

    def grads(backend: str) -> dict[str, Any]:
        fn = unfold.compile(unfold.loads(text), H=2, backend=backend)
        return dict(fn.value_and_grad(fn.init(seed=4), x=x, wrt=[*fn.params, "x"])[1])

    found = [grads("numpy"), grads("llvm")]
    monkeypatch.setattr("unfold.check.flows.ROLLED", 100)
    for name, expected in grads("numpy").items():
        for got in found:
            np.testing.assert_allclose(got[name], expected, rtol=1e-11, atol=1e-14)
