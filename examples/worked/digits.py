"""Handwritten digits, read row by row: eight steps of eight pixels, and a name after the last one.

    python examples/worked/digits.py

A GRU and an LSTM (`digits.rec`) on scikit-learn's 1,797 digits of 8 x 8 pixels, beside logistic
regression, which sees all pixels at once. A quarter of the digits is for the test; nothing is
chosen by it: all runs take the same number of epochs. The read-out is trained on the last row only,
and still tells what the network makes of the rows before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import unfold

plt.switch_backend("Agg")

HERE = Path(__file__).parent
OUT = HERE.parent / "out"

CELLS = "gru", "lstm"
CLASSES = 10

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Data:
    """Rows of pixels from 0 to 1, of shape (pictures, rows, pixels), and the digits."""

    x: Array
    digit: NDArray[np.int64]


@dataclass(frozen=True)
class Result:
    """Runs by cell, one for each seed, and what they make of the test."""

    fits: dict[str, list[unfold.Fit]]
    accuracy: dict[str, Array]  # (seeds, rows): after so many rows, in the test
    regression: float
    test: Data


def load() -> tuple[Data, Data]:
    """The digits to train on, and those of the test: the same share of each."""
    pictures, digits = load_digits(return_X_y=True)
    parts = train_test_split(
        pictures.reshape(-1, 8, 8) / 16, digits, test_size=0.25, stratify=digits, random_state=0
    )
    return Data(parts[0], parts[2]), Data(parts[1], parts[3])


def model(cell: str) -> unfold.Model:
    text = (HERE / "digits.rec").read_text(encoding="utf-8")
    return unfold.loads(text.replace("gru", cell))


def run(seeds: Sequence[int] = range(5), epochs: int = 40, hidden: int = 64) -> Result:
    train, test = load()
    fits: dict[str, list[unfold.Fit]] = {cell: [] for cell in CELLS}
    for cell in CELLS:
        for seed in seeds:
            fit = unfold.fit(
                model(cell),
                {"x": train.x, "digit": train.digit},
                optimiser=unfold.Adam(rate=3e-3),
                epochs=epochs,
                seed=seed,
                dtype="float32",
                H=hidden,
                K=CLASSES,
            )
            fits[cell].append(fit)
    accuracy = {
        cell: np.array([right(fit.function, fit.params, test) for fit in fits[cell]])
        for cell in CELLS
    }
    regression = LogisticRegression(max_iter=1000).fit(train.x.reshape(-1, 64), train.digit)
    score = float(regression.score(test.x.reshape(-1, 64), test.digit))
    return Result(fits, accuracy, score, test)


def logits(fn: unfold.Function, params: dict[str, Array], data: Data) -> Array:
    """The logits after every row, of shape (pictures, rows, classes)."""
    return np.asarray(fn(params, x=data.x, digit=data.digit)["y"])


def right(fn: unfold.Function, params: dict[str, Array], data: Data) -> Array:
    """The share of pictures named rightly after each row; shape (rows,)."""
    named = logits(fn, params, data).argmax(-1)
    return np.asarray((named == data.digit[:, None]).mean(0))


def plot(result: Result) -> Figure:
    """Losses, accuracy by row, and what is thought of four digits row by row."""
    figure = plt.figure(figsize=(12, 4.2))
    panels: Any = figure.subfigures(1, 3, width_ratios=[1, 1, 1.1])
    left, middle, thoughts = panels
    losses, rows = left.subplots(), middle.subplots()
    for cell, color in zip(CELLS, ("#0072b2", "#d55e00"), strict=True):
        for k, fit in enumerate(result.fits[cell]):
            label = cell.upper() if k == 0 else None
            losses.semilogy([h["loss"] for h in fit.history], color=color, lw=0.8, label=label)
        mean, spread = (f(result.accuracy[cell], axis=0) for f in (np.mean, np.std))
        rows.errorbar(np.arange(1, 9), mean, spread, fmt="o-", color=color, capsize=3,
                      label=cell.upper())  # fmt: skip
    rows.axhline(result.regression, color="black", lw=1, label="logistic regression")
    losses.set(xlabel="epoch", ylabel="loss in training")
    rows.set(xlabel="rows read", ylabel="accuracy in the test", ylim=(0, 1))
    for axes in (losses, rows):
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    fit, shown = result.fits["gru"][0], 4
    values = logits(
        fit.function, fit.params, Data(result.test.x[:shown], result.test.digit[:shown])
    )
    share = np.exp(values - values.max(-1, keepdims=True))
    share /= share.sum(-1, keepdims=True)
    for k, (picture, chances) in enumerate(thoughts.subplots(shown, 2)):
        picture.imshow(result.test.x[k], cmap="Greys")
        chances.imshow(share[k], cmap="Blues", vmin=0, vmax=1, aspect="auto")
        picture.set_axis_off()
        chances.set(xticks=range(CLASSES), yticks=[])
        chances.tick_params(length=0, labelbottom=k == shown - 1)
    thoughts.suptitle("four digits, and what the GRU\nthinks of them row by row", fontsize=10)
    return figure


def main() -> None:
    console = Console()
    result = run()
    table = Table("", "accuracy", "worst, best", "loss in training", "seconds",
                  title=f"{len(result.test.digit)} digits of the test")  # fmt: skip
    for cell in CELLS:
        last = result.accuracy[cell][:, -1]
        loss = np.mean([fit.history[-1]["loss"] for fit in result.fits[cell]])
        seconds = np.mean([sum(h["seconds"] for h in fit.history) for fit in result.fits[cell]])
        table.add_row(
            f"{cell.upper()}, {len(last)} seeds", f"{last.mean():.1%} ± {last.std():.1%}",
            f"{last.min():.1%}, {last.max():.1%}", f"{loss:.4f}", f"{seconds:.1f}",
        )  # fmt: skip
    table.add_row("logistic regression", f"{result.regression:.1%}", "", "", "")
    console.print(table)
    OUT.mkdir(exist_ok=True)
    figure = plot(result)
    figure.savefig(OUT / "digits.png", dpi=150)
    plt.close(figure)
    console.print("wrote examples/out/digits.png")


if __name__ == "__main__":
    main()
