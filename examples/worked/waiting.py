"""How fast a server should be, from the gradient of the waiting time along one simulated day.

    python examples/worked/waiting.py

Customers come at random and wait (`waiting.rec`, Lindley's recurrence); speed costs money. The
gradient of the mean time in the system, taken through the recurrence, is right on average although
the waiting time has kinks (Ho and Cao 1983), which the M/M/1 queue shows: there the mean is
1 / (speed - rate), its slope -1 / (speed - rate)^2, and the best speed is rate + 1 / sqrt(price).
Differences of two simulations say the same, with more noise, if not both see the same customers.
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

#: Customers per unit of time, and the price of a unit of speed.
RATE, PRICE = 1.0, 1.0
BEST = RATE + 1 / np.sqrt(PRICE)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """Slopes by the gradient and by differences, of each simulation, and the path of the speed."""

    speeds: Array
    times: Array  # (speeds, simulations): mean times in the system
    slopes: Array  # (speeds, simulations): their gradients
    differences: Array  # (speeds, simulations): of two simulations that share no customer
    path: Array


def customers(days: int, count: int, seed: int) -> dict[str, Array]:
    """Gaps between customers and the work of each, of shape (days, count)."""
    draw = np.random.default_rng(seed)
    return {
        "gap": draw.exponential(1 / RATE, (days, count)),
        "work": draw.exponential(1.0, (days, count)),
    }


def run(
    count: int = 20_000, days: int = 20, updates: int = 300, speeds: int = 8, seed: int = 0
) -> Result:
    """Compare slopes at some speeds, then tune the speed on days of `count` customers."""
    fn = unfold.compile(HERE / "waiting.rec", price=PRICE)
    tried = np.linspace(1.5, 3.0, speeds)
    times, slopes, differences = (np.empty((speeds, days)) for _ in range(3))
    for k, speed in enumerate(tried):
        for day in range(days):
            today, other = (customers(1, count, seed + 2 * day + n) for n in range(2))
            today, other = ({n: a[0] for n, a in c.items()} for c in (today, other))
            loss, grads = fn.value_and_grad({"speed": speed}, today)
            times[k, day] = loss - PRICE * speed
            slopes[k, day] = grads["speed"] - PRICE
            step = 0.05
            above = fn({"speed": speed + step}, other).loss - PRICE * (speed + step)
            below = fn({"speed": speed - step}, today).loss - PRICE * (speed - step)
            differences[k, day] = (above - below) / (2 * step)

    trainer = fn.trainer(
        {"speed": 3.0}, unfold.Adam(rate=0.05), schedule=unfold.schedules.Cosine(updates)
    )
    path = np.empty(updates + 1)
    path[0] = 3.0
    for k in range(updates):
        trainer.step(customers(4, count // 4, seed + 1000 + k))
        path[k + 1] = trainer.params["speed"]
    return Result(tried, times, slopes, differences, path)


def plot(result: Result) -> Figure:
    """Times and slopes beside the theory, and how the speed is found."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 4))
    fine = np.linspace(result.speeds[0], result.speeds[-1], 200)
    for axes, values, theory in (
        (left, result.times, 1 / (fine - RATE)),
        (middle, result.slopes, -1 / (fine - RATE) ** 2),
    ):
        axes.plot(fine, theory, color="black", lw=1, label="M/M/1")
        if values is result.slopes:
            axes.errorbar(
                result.speeds + 0.02, result.differences.mean(1), result.differences.std(1),
                fmt="s", color="0.6", capsize=3, label="differences, other customers",
            )  # fmt: skip
        axes.errorbar(
            result.speeds, values.mean(1), values.std(1), fmt="o", color="#0072b2", capsize=3,
            label="by gradient" if values is result.slopes else "simulated",
        )  # fmt: skip
        axes.set(xlabel="speed")
        axes.legend(frameon=False)
    left.set(ylabel="mean time in the system")
    middle.set(ylabel="its slope")
    right.plot(result.path, color="#d55e00", lw=1.2)
    right.axhline(BEST, color="black", lw=1, label="the best speed")
    right.set(xlabel="update", ylabel="speed")
    right.legend(frameon=False)
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def main() -> None:
    console = Console()
    result = run()
    table = Table(
        "speed", "M/M/1", "simulated", "M/M/1", "by gradient", "by differences",
        title="mean time in the system, and its slope in the speed (± of one day)",
    )  # fmt: skip
    for k, speed in enumerate(result.speeds):
        rows = result.times[k], result.slopes[k], result.differences[k]
        time, slope, difference = (f"{r.mean():.2f} ± {r.std():.2f}" for r in rows)
        theory = 1 / (speed - RATE)
        table.add_row(
            f"{speed:.2f}", f"{theory:.2f}", time, f"{-(theory**2):.2f}", slope, difference
        )
    console.print(table)
    console.print(f"speed found: {result.path[-1]:.3f}; the best one is {BEST:.3f}")
    OUT.mkdir(exist_ok=True)
    figure = plot(result)
    figure.savefig(OUT / "waiting.png", dpi=150)
    plt.close(figure)
    console.print("wrote examples/out/waiting.png")


if __name__ == "__main__":
    main()
