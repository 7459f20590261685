"""Swinging a pendulum to the top with a torque that cannot lift it there at once.

    python examples/worked/pendulum.py

The whole trajectory of torques is what is looked for (Pontryagin et al. 1962): the adjoint of
`pendulum_control.rec` gives the slope of the cost in all of them at once, L-BFGS-B keeps them
within what the motor can do, and SLSQP holds the end to the top exactly. The adjoints of the two
states are the costates; where the torque is within its bounds, the optimum has
r u + omega_bar / (m l^2) = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import unfold

plt.switch_backend("Agg")

HERE = Path(__file__).parent
OUT = HERE.parent / "out"

#: How long it may take (s), gravity (m/s^2), the largest torque (N m); length 1 m, mass 1 kg.
DURATION, GRAVITY, TORQUE = 6.0, 9.81, 2.0
#: What costs: torque all the time, and at the end the distance from the top and the speed.
WEIGHTS = {
    "q_theta": 0.0, "q_omega": 0.0, "r_u": 0.1, "s_theta": 100.0, "s_omega": 20.0,
}  # fmt: skip

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Swing:
    """Times, torques, angles and speeds (T,), the costate of the speed, and how it was found."""

    time: Array
    u: Array
    theta: Array
    omega: Array
    costate: Array
    cost: float
    iterations: int
    message: str

    @property
    def miss(self) -> float:
        """How far from the top the pendulum ends, in rad."""
        return float(abs(self.theta[-1] - np.pi))

    @property
    def wanted(self) -> Array:
        """The torque at which the cost of a step and the costate balance, without bounds."""
        return -self.costate / WEIGHTS["r_u"]


def run(steps: int = 240, most: int = 2000) -> dict[str, Swing]:
    """Swing up by penalties alone, and then with the end as a constraint."""
    dt = DURATION / steps
    time = dt * np.arange(1, steps + 1, dtype=np.float64)
    fn = unfold.compile(HERE.parent / "pendulum_control.rec")
    params = fn.init() | WEIGHTS
    data = {"dt": dt, "grav": GRAVITY, "theta_ref": np.pi}
    # A push at the pendulum's own frequency is where the search begins: at rest the slope is 0.
    u = np.sin(np.sqrt(GRAVITY) * (time - dt))
    bounds = {"u": (-TORQUE, TORQUE)}

    def swing(found: unfold.Minimum) -> Swing:
        out = fn(found.params, found.inputs)
        _, grads = fn.value_and_grad(found.params, found.inputs, wrt=["omega"])
        return Swing(
            time, found.inputs["u"], out["theta"], out["omega"], grads["omega"],
            found.loss, found.result.nit, found.message,
        )  # fmt: skip

    penalised = unfold.minimize(
        fn,
        params,
        data,
        u=u,
        wrt="u",
        bounds=bounds,
        options={"maxiter": most, "ftol": 1e-12},
    )
    held = unfold.minimize(
        fn, params, data, u=penalised.inputs["u"], wrt="u", bounds=bounds,
        constraints={"theta[T]": np.pi, "omega[T]": 0.0}, options={"maxiter": most},
    )  # fmt: skip
    return {"penalties (L-BFGS-B)": swing(penalised), "constraints (SLSQP)": swing(held)}


def plot(swings: dict[str, Swing]) -> Figure:
    """Angle, torque and costate over time."""
    figure, (top, middle, below) = plt.subplots(3, 1, figsize=(9, 7), sharex=True)
    penalised, _ = swings.values()
    for (name, s), color, line in zip(
        swings.items(), ("#0072b2", "#d55e00"), ("-", "--"), strict=True
    ):
        top.plot(s.time, s.theta, line, color=color, label=name)
        middle.plot(s.time, s.u, line, color=color)
    below.plot(penalised.time, penalised.u, color="#0072b2", label="torque (penalties)")
    below.plot(
        penalised.time, penalised.wanted, ":", color="black", label="minus costate over its price"
    )
    top.axhline(np.pi, color="grey", lw=0.8)
    for axes in (middle, below):
        axes.axhspan(-TORQUE, TORQUE, color="0.93", zorder=0)
    top.set(ylabel="angle (rad)")
    top.set_yticks([-np.pi / 2, 0, np.pi / 2, np.pi], ["-π/2", "0", "π/2", "π"])
    middle.set(ylabel="torque (N m)")
    below.set(ylabel="torque and what the\ncostate asks for (N m)", xlabel="time (s)", ylim=(-3, 5))
    for axes in (top, below):
        axes.legend(frameon=False, loc="upper left")
    for axes in (top, middle, below):
        axes.spines[["top", "right"]].set_visible(False)
    figure.align_ylabels()
    figure.tight_layout()
    return figure


def main() -> None:
    console = Console()
    swings = run()
    table = Table("", "cost", "iterations", "off the top (rad)", "speed at the end (rad/s)")
    for name, s in swings.items():
        table.add_row(
            name, f"{s.cost:.4f}", str(s.iterations), f"{s.miss:.1e}", f"{abs(s.omega[-1]):.1e}"
        )
    console.print(table)
    OUT.mkdir(exist_ok=True)
    figure = plot(swings)
    figure.savefig(OUT / "pendulum.png", dpi=150)
    plt.close(figure)
    console.print("wrote examples/out/pendulum.png")


if __name__ == "__main__":
    main()
