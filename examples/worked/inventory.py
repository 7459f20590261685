"""How much to keep in stock on each day of the week, learnt from sales by the gradient of the cost.

    python examples/worked/inventory.py

The levels that a warehouse orders up to are the parameters of `base_stock.rec`; their gradient on
simulated sales is exact for these sales, and right on average (perturbation analysis). Where stock
is never too high to order nothing, the best level is known: a quantile of the demand until
the next order arrives (the newsvendor's). Both are compared on sales that none of them has seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import gamma

import unfold

plt.switch_backend("Agg")

HERE = Path(__file__).parent
OUT = HERE.parent / "out"
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

#: Sales of a day are gamma distributed: their means, and the scale of the distribution.
MEANS = np.array([8.0, 7.0, 7.0, 9.0, 14.0, 18.0, 5.0])
SCALE = 1.5
#: Days from an order to its arrival, as in the model; prices of a unit in stock and of one owed.
LEAD, HOLD, WAIT = 3, 1.0, 9.0

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """Levels by weekday, and mean cost a day on new sales, of each way to choose the levels."""

    levels: dict[str, Array]
    costs: dict[str, tuple[float, float]]  # mean, standard error
    history: Array
    stock: Array


def sales(sequences: int, days: int, seed: int) -> tuple[Array, NDArray[np.int64]]:
    """Sales and weekdays, each of shape (sequences, days)."""
    weekday = np.tile(np.arange(days) % 7, (sequences, 1))
    return np.random.default_rng(seed).gamma(MEANS[weekday] / SCALE, SCALE), weekday


def newsvendor() -> Array:
    """The level for each weekday: the quantile of the demand of the LEAD days behind it."""
    ahead = [sum(MEANS[(day + k) % 7] for k in range(1, LEAD + 1)) for day in range(7)]
    return np.asarray(gamma(np.array(ahead) / SCALE, scale=SCALE).ppf(WAIT / (HOLD + WAIT)))


def learn(seasons: int, updates: int, sequences: int, days: int, seed: int) -> tuple[Array, Array]:
    """Levels for so many seasons of a day each, and the cost at each update."""
    fn = unfold.compile(HERE / "base_stock.rec", P=seasons, hold=HOLD, wait=WAIT)
    trainer = fn.trainer(
        fn.init(), unfold.Adam(rate=0.5), schedule=unfold.schedules.Cosine(updates)
    )
    history = np.empty(updates)
    for k in range(updates):
        d, weekday = sales(sequences, days, seed + k)
        history[k] = trainer.step(d=d, season=weekday % seasons)
    return np.array(trainer.params["level"]), history


def run(updates: int = 600, sequences: int = 64, days: int = 182, seed: int = 1) -> Result:
    """Learn the levels, and compare them on new sales."""
    week, history = learn(7, updates, sequences, days, seed)
    same, _ = learn(1, updates, sequences, days, seed)
    levels = {"one level": np.repeat(same, 7), "newsvendor": newsvendor(), "learnt": week}

    fn = unfold.compile(HERE / "base_stock.rec", P=7, hold=HOLD, wait=WAIT)
    d, weekday = sales(256, 280, seed=0)
    costs = {}
    for name, level in levels.items():
        out = fn({"level": level}, d=d, season=weekday)
        costs[name] = float(out.loss.mean()), float(out.loss.std() / np.sqrt(len(d)))
    return Result(levels, costs, history, np.asarray(out["stock"][0]))


def plot(result: Result) -> Figure:
    """The levels by weekday, the cost while they are learnt, and the stock of some weeks."""
    figure = plt.figure(figsize=(10, 6.5))
    grid = figure.add_gridspec(2, 2)
    left, right = (figure.add_subplot(grid[0, k]) for k in range(2))
    below = figure.add_subplot(grid[1, :])
    styles: list[dict[str, Any]] = [
        {"marker": "_", "ms": 14, "color": "0.6"},
        {"marker": "o", "ms": 11, "color": "#0072b2", "fillstyle": "none"},
        {"marker": ".", "ms": 9, "color": "#d55e00"},
    ]
    for (name, level), style in zip(result.levels.items(), styles, strict=True):
        left.plot(DAYS, level, ls="", label=name, **style)
    left.set(ylabel="order up to (units)", title="levels")
    left.legend(frameon=False)
    right.plot(result.history, color="#d55e00", lw=1)
    right.axhline(result.costs["newsvendor"][0], color="#0072b2", lw=1, label="newsvendor")
    right.set(xlabel="update", ylabel="cost a day", title="learning", ylim=(0, None))
    right.legend(frameon=False)
    days = result.stock[:56]
    below.step(np.arange(len(days)), days, color="black", lw=1, where="mid")
    below.fill_between(
        np.arange(len(days)), days, 0, where=days < 0, step="mid", color="#d55e00", alpha=0.4,
        label="backlog",
    )  # fmt: skip
    below.axhline(0, color="grey", lw=0.8)
    below.set(xlabel="day", ylabel="stock (units)", title="eight weeks with the learnt levels")
    below.legend(frameon=False)
    for axes in (left, right, below):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def main() -> None:
    console = Console()
    result = run()
    table = Table("order up to", *DAYS, "cost a day", "±", title="levels, and costs on new sales")
    for name, level in result.levels.items():
        mean, error = result.costs[name]
        table.add_row(name, *(f"{v:.1f}" for v in level), f"{mean:.2f}", f"{error:.2f}")
    console.print(table)
    OUT.mkdir(exist_ok=True)
    figure = plot(result)
    figure.savefig(OUT / "inventory.png", dpi=150)
    plt.close(figure)
    console.print("wrote examples/out/inventory.png")


if __name__ == "__main__":
    main()
