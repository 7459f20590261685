"""The rates of a reaction from noisy concentrations, and how sure one can be of them.

    python examples/worked/rates.py

`rates.rec` integrates A <-> B -> C between the measurements. Newton's method with exact products of
the Hessian finds the rates that fit best; the Hessian at the minimum, over the variance of the
noise, is the information that the data hold, and gives standard errors. A hundred repetitions of
the experiment show that they are true: 95 % intervals cover the rates 95 times in a hundred.
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
from scipy.linalg import expm

import unfold

plt.switch_backend("Agg")

HERE = Path(__file__).parent
OUT = HERE.parent / "out"

#: What is looked for (per minute), the measurements (minutes) and their noise (of 1 at the start).
RATES = {"A → B": 0.9, "B → A": 0.3, "B → C": 0.15}
TIMES = np.concatenate([np.arange(0.25, 4, 0.25), np.arange(4, 21, 1.0)])
NOISE = 0.03

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """Of each experiment: measurements, logarithms of rates, their standard errors; and the curves
    of the first."""

    seen: Array  # (experiments, T, 3)
    found: Array  # (experiments, 3)
    errors: Array  # (experiments, 3)
    fitted: Array  # (T, 3)

    @property
    def coverage(self) -> Array:
        """The share of the experiments whose 95 % interval holds the rate, for each rate."""
        off = np.abs(self.found - np.log(list(RATES.values())))
        return np.asarray((off < 1.96 * self.errors).mean(0))


def concentrations(times: Array) -> Array:
    """The exact concentrations at some times, shape (T, 3): the matrix exponential."""
    forth, back, away = RATES.values()
    matrix = np.array([[-forth, back, 0], [forth, -back - away, 0], [0, away, 0]])
    return np.stack([expm(matrix * t)[:, 0] for t in times])


def run(experiments: int = 100, seed: int = 0) -> Result:
    """Simulate experiments and estimate the rates of each."""
    fn = unfold.compile(HERE / "rates.rec")
    dt = np.diff(TIMES, prepend=0)
    clean = concentrations(TIMES)
    seen = clean + np.random.default_rng(seed).normal(0, NOISE, (experiments, *clean.shape))
    found, errors = np.empty((experiments, 3)), np.empty((experiments, 3))
    for k in range(experiments):
        data = {"dt": dt, "seen": seen[k]}
        best = unfold.minimize(fn, fn.init(), data, method="trust-exact")
        curvature = [
            fn.hvp(best.params, {"log_k": unit}, data)["log_k"] for unit in np.eye(3)
        ]  # fmt: skip
        variance = 2 * best.loss / (clean.size - 3)
        found[k] = best.params["log_k"]
        errors[k] = np.sqrt(np.diag(np.linalg.inv(curvature)) * variance)
    fitted = fn({"log_k": found[0]}, dt=dt, seen=seen[0])["c"]
    return Result(seen, found, errors, fitted)


def plot(result: Result) -> Figure:
    """The first experiment with its fit, and the estimates of all."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    colors = ("#0072b2", "#d55e00", "#009e73")
    for k, (name, color) in enumerate(zip("ABC", colors, strict=True)):
        left.plot(TIMES, result.seen[0, :, k], ".", color=color)
        left.plot(TIMES, result.fitted[:, k], color=color, label=name)
    left.set(xlabel="time (min)", ylabel="concentration", title="one experiment")
    left.legend(frameon=False)
    for k, (rate, color) in enumerate(zip(RATES.values(), colors, strict=True)):
        order = np.argsort(result.found[:, k])
        mean, error = result.found[order, k], result.errors[order, k]
        at = k + np.linspace(-0.35, 0.35, len(order))
        right.errorbar(
            at, np.exp(mean), np.exp(mean) * 1.96 * error, fmt=".", ms=3, lw=0.5, color=color
        )
        right.plot([k - 0.4, k + 0.4], [rate, rate], color="black", lw=1.2)
    right.set_xticks(range(3), list(RATES))
    right.set(yscale="log", ylabel="rate (1/min)", title="all, with 95 % intervals")
    right.set_yticks([0.1, 0.2, 0.5, 1.0], ["0.1", "0.2", "0.5", "1"])
    right.minorticks_off()
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def main() -> None:
    console = Console()
    result = run()
    table = Table("rate", "true", "estimate", "spread", "standard error", "95 % intervals hold")
    for k, (name, rate) in enumerate(RATES.items()):
        table.add_row(
            name, f"{rate:.3f}", f"{np.exp(result.found[:, k].mean()):.3f}",
            f"{100 * result.found[:, k].std():.1f} %", f"{100 * result.errors[:, k].mean():.1f} %",
            f"{100 * result.coverage[k]:.0f} %",
        )  # fmt: skip
    console.print(table)
    OUT.mkdir(exist_ok=True)
    figure = plot(result)
    figure.savefig(OUT / "rates.png", dpi=150)
    plt.close(figure)
    console.print("wrote examples/out/rates.png")


if __name__ == "__main__":
    main()
