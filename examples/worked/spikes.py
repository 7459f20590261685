"""What a neuron remembers of its own spikes, from a recording.

    python examples/worked/spikes.py

A neuron fires more easily with the stimulus, not at all right after a spike, and for a while less
easily (`spikes.rec`, a point process with its own history; Truccolo et al. 2005). The model of it
that fires by itself makes the recording; the other one, whose likelihood is maximized, finds the
filters again. Without the history it predicts worse, and its residuals show it: if a model is
right, the intervals between spikes, rescaled by its rate, are uniform (Brown et al., "The
time-rescaling theorem and its application to neural spike train data analysis", 2002).
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

#: The neuron of the recording. A bin is a millisecond.
TRUE = {
    "w": np.array([0.8, -0.5]),
    "b": np.array(-3.0),
    "R": np.array([-8.0, -5.0, -3.0, -1.5, -0.8, -0.4, 0.0, 0.4, 0.6, 0.4, 0.2, 0.0]),
}

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """Parameters, bits per spike on new data above a constant rate, and rescaled intervals."""

    params: dict[str, Array]
    bits: float
    rescaled: Array

    @property
    def distance(self) -> float:
        """The largest distance of the rescaled intervals from uniform (Kolmogorov and Smirnov),
        in units of its 95 % bound."""
        n = len(self.rescaled)
        steps = (np.arange(n) + 0.5) / n
        return float(np.abs(np.sort(self.rescaled) - steps).max() * np.sqrt(n) / 1.36)


def recording(bins: int, seed: int) -> tuple[Array, Array]:
    """A stimulus, slow noise of shape (bins, 2), and the spikes of the neuron, shape (bins,)."""
    noise = np.random.default_rng(seed).normal(size=(bins + 50, 2))
    window = np.hanning(50) / np.linalg.norm(np.hanning(50))
    x = np.stack([np.convolve(n, window, "valid")[:bins] for n in noise.T], axis=1)
    firing = unfold.compile(unfold.load(HERE / "spikes.rec", model="firing"), D=2)
    return x, np.asarray(firing(TRUE, x=x, seed=seed)["s"])


def fit(fn: unfold.Function, x: Array, s: Array, wrt: list[str]) -> dict[str, Array]:
    """The parameters of the largest likelihood; those not in ``wrt`` stay at their start."""
    start = fn.init() | {"R": np.zeros(len(TRUE["R"]))}
    found = unfold.minimize(fn, start, x=x, s=s, wrt=wrt, method="trust-ncg")
    return found.params


def judge(fn: unfold.Function, params: dict[str, Array], x: Array, s: Array) -> Fitted:
    """How well parameters foresee spikes that they were not fitted to."""
    out = fn(params, x=x, s=s)
    mean = s.mean()
    constant = -(mean * np.log(mean) + (1 - mean) * np.log1p(-mean))
    bits = (constant - out.loss) / mean / np.log(2)
    # In continuous time the integral of the rate between spikes is exponentially distributed; in
    # bins, what passes without a spike is -log(1 - p), and within a bin it is drawn.
    p = 1 / (1 + np.exp(-out["drive"]))
    passed = np.cumsum(-np.log1p(-p))
    spikes = np.flatnonzero(s)
    before = passed[spikes] + np.log1p(-p[spikes])
    within = -np.log1p(-np.random.default_rng(0).uniform(size=len(spikes)) * p[spikes])
    intervals = before[1:] + within[1:] - passed[spikes[:-1]]
    return Fitted(params, float(bits), -np.expm1(-intervals))


def run(bins: int = 60_000, seed: int = 1) -> dict[str, Fitted]:
    """Fit with and without the history, and judge on a second recording."""
    fn = unfold.compile(HERE / "spikes.rec", D=2)
    x, s = recording(bins, seed)
    other = recording(bins, seed + 1)
    ways = {"stimulus alone": ["w", "b"], "with its own spikes": ["w", "b", "R"]}
    return {name: judge(fn, fit(fn, x, s, wrt), *other) for name, wrt in ways.items()}


def plot(fits: dict[str, Fitted]) -> Figure:
    """The filters, and the rescaled intervals beside the diagonal."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4))
    colors = ("#0072b2", "#d55e00")
    lags = np.arange(1, len(TRUE["R"]) + 1)
    left.plot(lags, TRUE["R"], color="black", lw=1, label="the neuron's")
    left.plot(lags, fits["with its own spikes"].params["R"], "o", color=colors[1], label="found")
    left.axhline(0, color="grey", lw=0.8)
    left.set(xlabel="time since a spike (ms)", ylabel="what it adds to the drive")
    left.legend(frameon=False)
    for (name, f), color in zip(fits.items(), colors, strict=True):
        n = len(f.rescaled)
        right.plot((np.arange(n) + 0.5) / n, np.sort(f.rescaled), color=color, label=name)
    edge = np.array([0, 1])
    right.fill_between(
        edge, edge - 1.36 / np.sqrt(n), edge + 1.36 / np.sqrt(n), color="0.85", label="95 %"
    )
    right.set(xlabel="uniform", ylabel="rescaled intervals", xlim=(0, 1), ylim=(0, 1), aspect=1)
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def main() -> None:
    console = Console()
    fits = run()
    table = Table("model", "bits per spike", "distance from uniform (1 is the 95 % bound)")
    for name, f in fits.items():
        table.add_row(name, f"{f.bits:.3f}", f"{f.distance:.2f}")
    console.print(table)
    OUT.mkdir(exist_ok=True)
    figure = plot(fits)
    figure.savefig(OUT / "spikes.png", dpi=150)
    plt.close(figure)
    console.print("wrote examples/out/spikes.png")


if __name__ == "__main__":
    main()
