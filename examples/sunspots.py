"""Forecast the yearly sunspot numbers with a GRU, and draw what was computed.

    python examples/sunspots.py

Compiles `sunspots.rec` to native code, trains it by Adam on the full gradient through 220 years,
keeps the parameters that do best on the 30 years after them, and judges those by years that had no
part in it. Writes to examples/out/: the forecasts beside the truth, the unrolled graph, and the
graph of its adjoint.
"""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # pictures go to files, whether or not there is a screen

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import unfold

Array = NDArray[np.float64]
Params = dict[str, Array]

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"

VALIDATION, TEST = 1920, 1950  # the first year of each; the years before are for training
FREE_RUN = 22  # years, two cycles of the sun
LINEAR = 9  # years that the linear forecast looks back on
HIDDEN = 16
UPDATES = 800


def read_table(path: Path) -> tuple[NDArray[np.int64], Array]:
    """Years and numbers of a `year,sunspots` table whose comments start with #."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    return (
        np.array([int(row["year"]) for row in rows]),
        np.array([float(row["sunspots"]) for row in rows]),
    )


# The numbers are counts, whose noise grows with their size: the square root evens it out.
def scaled(numbers: Array) -> Array:
    return np.sqrt(numbers)[..., None] / 10


def unscaled(x: Array) -> Array:
    return np.square(10 * np.maximum(x[..., 0], 0))


def rms(error: Array) -> float:
    return float(np.sqrt(np.mean(np.square(error))))


class Adam:
    """Kingma and Ba, "Adam: a method for stochastic optimization", 2015, arXiv:1412.6980."""

    def __init__(self, params: Params, rate: float, decay: float) -> None:
        self.rate, self.decay, self.steps = rate, decay, 0
        self.mean = {name: np.zeros_like(p) for name, p in params.items()}
        self.square = {name: np.zeros_like(p) for name, p in params.items()}

    def update(self, params: Params, grads: Params) -> None:
        self.steps += 1
        for name, g in grads.items():
            m, s = self.mean[name], self.square[name]
            m += 0.1 * (g - m)
            s += 0.001 * (g * g - s)
            m_hat = m / (1 - 0.9**self.steps)
            s_hat = s / (1 - 0.999**self.steps)
            params[name] -= self.rate * (
                m_hat / (np.sqrt(s_hat) + 1e-8) + self.decay * params[name]
            )


def train(
    fn: unfold.Function, x: Array, split: int, console: Console
) -> tuple[Params, list[float], list[float]]:
    """Train on x[:split] and choose by the forecasts of x[split:]; shape of x: (years, 1).

    Returns the chosen parameters, and the losses on both parts before each update.
    """
    params: Params = fn.init(seed=1)
    adam = Adam(params, rate=3e-3, decay=1e-2)
    chosen, losses, validation = params, [], []
    bar = Progress(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.5f}"),
        TimeElapsedColumn(),
        console=console,
    )
    with bar:
        task = bar.add_task("training", total=UPDATES, loss=np.nan)
        for _ in range(UPDATES):
            ahead = one_step(fn, params, x)[split - 1 : -1]
            validation.append(rms(ahead - x[split:]) ** 2)
            if validation[-1] == min(validation):
                chosen = {name: value.copy() for name, value in params.items()}
            loss, grads = fn.value_and_grad(params, x=x[: split - 1], next=x[1:split])
            losses.append(float(loss))
            adam.update(params, grads)
            bar.update(task, advance=1, loss=loss)
    return chosen, losses, validation


def one_step(fn: unfold.Function, params: Params, x: Array) -> Array:
    """The forecast of x[t+1] from x[1..t], for every t; shape of x."""
    return np.asarray(fn(params, x=x, next=x)["y"])


def free_run(fn: unfold.Function, params: Params, x: Array, years: int) -> Array:
    """The forecasts of the years after x, each made from those before it; shape (years, 1)."""
    made: Array = fn.generate(params, x, years, feed={"x": "y"}).values
    return made


def linear(x: Array, split: int) -> Array:
    """The forecast of x[t+1] as a linear function of the LINEAR years up to t, fitted on x[:split].

    Shape of x; where there are not yet so many years, NaN.
    """
    past = np.concatenate([x[k : len(x) - LINEAR + 1 + k] for k in range(LINEAR)], axis=1)
    past = np.concatenate([past, np.ones((len(past), 1))], axis=1)
    weights = np.linalg.lstsq(past[: split - LINEAR], x[LINEAR:split], rcond=None)[0]
    return np.concatenate([np.full((LINEAR - 1, 1), np.nan), past @ weights])


def next_year(forecast: Array) -> Array:
    """Forecasts as numbers, each at the index of the year that it speaks of; the first is NaN."""
    return np.concatenate([[np.nan], unscaled(forecast[:-1])])


def plot(
    years: NDArray[np.int64], numbers: Array, ahead: Array, free: Array,
    losses: list[float], validation: list[float],
) -> Figure:  # fmt: skip
    """The forecasts beside the truth, from 50 years before the test on; below, the losses."""
    test = int(np.searchsorted(years, TEST))
    figure, (top, below) = plt.subplots(2, 1, figsize=(10, 6.5), height_ratios=[2.2, 1])
    shown = slice(test - 50, None)
    top.plot(years[shown], numbers[shown], color="black", lw=1.2, label="observed")
    top.plot(years[shown], ahead[shown], color="tab:blue", lw=1.2, label="one year ahead")
    top.plot(
        years[test : test + FREE_RUN], free, "--", color="tab:red", lw=1.5,
        label=f"free run of {FREE_RUN} years",
    )  # fmt: skip
    top.axvline(TEST - 0.5, color="grey", lw=0.8)
    top.annotate("test →", (TEST, 0.98), xycoords=("data", "axes fraction"), va="top", color="grey")
    top.set(xlabel="year", ylabel="sunspot number", ylim=(0, None))
    top.legend(loc="upper left", frameon=False)
    below.semilogy(losses, color="tab:blue", label=f"years before {VALIDATION}")
    below.semilogy(validation, color="tab:orange", label=f"{VALIDATION}-{TEST - 1}")
    below.set(xlabel="update", ylabel="loss")
    below.legend(frameon=False)
    for axes in (top, below):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def main() -> None:
    console = Console()
    OUT.mkdir(exist_ok=True)
    years, numbers = read_table(HERE / "data" / "sunspots.csv")
    x = scaled(numbers)
    split, test = (int(np.searchsorted(years, first)) for first in (VALIDATION, TEST))

    model = unfold.load(HERE / "sunspots.rec")
    start = time.perf_counter()
    fn = unfold.compile(model, H=HIDDEN, backend="llvm", dtype="float64")
    fn.value_and_grad(fn.init(), x=x[:2], next=x[1:3])  # what is called first is compiled then
    console.print(f"gradient compiled in {1e3 * (time.perf_counter() - start):.0f} ms")

    start = time.perf_counter()
    params, losses, validation = train(fn, x[:test], split, console)
    elapsed = time.perf_counter() - start
    best = int(np.argmin(validation))
    console.print(
        f"loss {losses[0]:.5f} before, {losses[best]:.5f} after {best} updates, the best of "
        f"{UPDATES} on {VALIDATION}-{TEST - 1} (together {elapsed:.1f} s)"
    )

    ahead = next_year(one_step(fn, params, x))
    free = unscaled(free_run(fn, params, x[:test], FREE_RUN))
    table = Table("root mean square error of the forecast", f"before {VALIDATION}",
                  f"{VALIDATION}-{TEST - 1}", f"{TEST}-{years[-1]}")  # fmt: skip
    for name, forecast in [
        ("the same number as this year", np.concatenate([[np.nan], numbers[:-1]])),
        (f"linear in the last {LINEAR} years", next_year(linear(x, split))),
        ("GRU", ahead),
    ]:
        error = forecast - numbers
        parts = error[LINEAR:split], error[split:test], error[test:]
        table.add_row(name, *(f"{rms(part):.1f}" for part in parts))
    console.print(table)
    following = numbers[test : test + FREE_RUN]
    console.print(
        f"free run of {FREE_RUN} years from {TEST}: off by {rms(free - following):.1f}, "
        f"where the mean of the years before is off by "
        f"{rms(numbers[:test].mean() - following):.1f}"
    )

    figure = plot(years, numbers, ahead, free, losses, validation)
    figure.savefig(OUT / "sunspots.png", dpi=150)
    plt.close(figure)
    model.unfold(steps=4).draw(OUT / "sunspots-unrolled.svg")
    model.adjoint().unfold(4).draw(OUT / "sunspots-adjoint.svg")
    for path in sorted(OUT.glob("sunspots*")):
        console.print(f"wrote {os.path.relpath(path)}")


if __name__ == "__main__":
    main()
