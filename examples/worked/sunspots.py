"""Forecast the yearly sunspot numbers with a GRU, and draw what was computed.

    python examples/worked/sunspots.py

Compiles `examples/sunspots.rec` to native code, trains it by the full gradient through 220 years,
keeps the parameters that do best on the 30 years after them, and judges those by years that had no
part in it. Writes to examples/out/: the forecasts beside the truth, the unrolled graph, and the
graph of its adjoint.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import unfold

plt.switch_backend("Agg")  # pictures go to files, whether or not there is a screen

HERE = Path(__file__).parent
EXAMPLES = HERE.parent
OUT = EXAMPLES / "out"

VALIDATION, TEST = 1920, 1950  # the first year of each; the years before are for training
LEAD = 40  # years that the state has read when validation begins; they count in its loss as well
FREE_RUN = 22  # years, two cycles of the sun
LINEAR = 9  # years that the linear forecast looks back on

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """Numbers and forecasts by year, shape (years,), NaN where there is no forecast yet."""

    years: NDArray[np.int64]
    numbers: Array
    forecasts: dict[str, Array]
    free: Array  # the FREE_RUN years from TEST on, each made from those before it
    fit: unfold.Fit


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
    return np.sqrt(numbers)[:, None] / 10


def unscaled(x: Array) -> Array:
    return np.square(10 * np.maximum(x[:, 0], 0))


def rms(error: Array) -> float:
    return float(np.sqrt(np.mean(np.square(error))))


def run(updates: int = 800, hidden: int = 16, seed: int = 1) -> Result:
    """Train on the years before VALIDATION, choose by those before TEST, forecast all."""
    years, numbers = read_table(EXAMPLES / "data" / "sunspots.csv")
    x = scaled(numbers)
    split, test = (int(np.searchsorted(years, first)) for first in (VALIDATION, TEST))
    fit = unfold.fit(
        EXAMPLES / "sunspots.rec",
        {"x": x[: split - 1], "next": x[1:split]},
        validation={"x": x[split - LEAD - 1 : test - 1], "next": x[split - LEAD : test]},
        optimiser=unfold.AdamW(rate=3e-3, decay=1e-2),
        epochs=updates,  # there is one sequence: an update is an epoch
        seed=seed,
        H=hidden,
    )
    fn = fit.function
    forecasts = {
        "the same number as this year": numbers[:-1],
        f"linear in the last {LINEAR} years": unscaled(linear(x, split)[:-1]),
        "GRU": unscaled(fn(fit.params, x=x, next=x)["y"][:-1]),
    }
    shifted = {name: np.concatenate([[np.nan], ahead]) for name, ahead in forecasts.items()}
    free = fn.generate(fit.params, x[:test], FREE_RUN, feed={"x": "y"}).values
    return Result(years, numbers, shifted, unscaled(free), fit)


def linear(x: Array, split: int) -> Array:
    """The forecast of x[t+1] as a linear function of the LINEAR years up to t, fitted on x[:split].

    Shape of x; where there are not yet so many years, NaN.
    """
    past = np.concatenate([x[k : len(x) - LINEAR + 1 + k] for k in range(LINEAR)], axis=1)
    past = np.concatenate([past, np.ones((len(past), 1))], axis=1)
    weights = np.linalg.lstsq(past[: split - LINEAR], x[LINEAR:split], rcond=None)[0]
    return np.concatenate([np.full((LINEAR - 1, 1), np.nan), past @ weights])


def errors(result: Result) -> dict[str, Array]:
    """The root mean square error of each forecast: in training, in validation, in the test."""
    split, test = (int(np.searchsorted(result.years, first)) for first in (VALIDATION, TEST))
    parts = slice(LINEAR, split), slice(split, test), slice(test, None)
    return {
        name: np.array([rms((forecast - result.numbers)[part]) for part in parts])
        for name, forecast in result.forecasts.items()
    }


def plot(result: Result) -> Figure:
    """The forecasts beside the truth, from 50 years before the test on; below, the losses."""
    years, test = result.years, int(np.searchsorted(result.years, TEST))
    figure, (top, below) = plt.subplots(2, 1, figsize=(10, 6.5), height_ratios=[2.2, 1])
    shown = slice(test - 50, None)
    top.plot(years[shown], result.numbers[shown], color="black", lw=1.2, label="observed")
    ahead = result.forecasts["GRU"]
    top.plot(years[shown], ahead[shown], color="tab:blue", lw=1.2, label="one year ahead")
    top.plot(
        years[test : test + FREE_RUN], result.free, "--", color="tab:red", lw=1.5,
        label=f"free run of {FREE_RUN} years",
    )  # fmt: skip
    top.axvline(TEST - 0.5, color="grey", lw=0.8)
    top.annotate("test →", (TEST, 0.98), xycoords=("data", "axes fraction"), va="top", color="grey")
    top.set(xlabel="year", ylabel="sunspot number", ylim=(0, None))
    top.legend(loc="upper left", frameon=False)
    history = result.fit.history
    below.semilogy([h["loss"] for h in history], color="tab:blue", label="training")
    below.semilogy([h["validation"] for h in history], color="tab:orange", label="validation")
    below.set(xlabel="update", ylabel="loss")
    below.legend(frameon=False)
    for axes in (top, below):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def main() -> None:
    console = Console()
    result = run()
    history, best = result.fit.history, result.fit.best_epoch
    console.print(
        f"loss {history[0]['loss']:.5f} before, {history[best - 1]['loss']:.5f} at update {best}, "
        f"the best of {len(history)} on {VALIDATION}-{TEST - 1} "
        f"({sum(h['seconds'] for h in history):.1f} s)"
    )
    table = Table("root mean square error of the forecast", f"before {VALIDATION}",
                  f"{VALIDATION}-{TEST - 1}", f"{TEST}-{result.years[-1]}")  # fmt: skip
    for name, parts in errors(result).items():
        table.add_row(name, *(f"{part:.1f}" for part in parts))
    console.print(table)
    test = int(np.searchsorted(result.years, TEST))
    following = result.numbers[test : test + FREE_RUN]
    console.print(
        f"free run of {FREE_RUN} years from {TEST}: off by {rms(result.free - following):.1f}, "
        f"where the mean of the years before is off by "
        f"{rms(result.numbers[:test].mean() - following):.1f}"
    )

    OUT.mkdir(exist_ok=True)
    figure = plot(result)
    figure.savefig(OUT / "sunspots.png", dpi=150)
    plt.close(figure)
    model = unfold.load(EXAMPLES / "sunspots.rec")
    model.unfold(steps=4).draw(OUT / "sunspots-unrolled.svg")
    model.adjoint().unfold(4).draw(OUT / "sunspots-adjoint.svg")
    for path in sorted(OUT.glob("sunspots*")):
        console.print(f"wrote examples/out/{path.name}")


if __name__ == "__main__":
    main()
