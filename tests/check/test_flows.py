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
