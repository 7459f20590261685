"""How long a network remembers: the adding problem and the copy task, by length and by cell.

    python examples/worked/memory.py [--quick]

The two tasks that the LSTM was made for (`adding.rec`, `copying.rec`; Hochreiter and Schmidhuber
1997, Arjovsky et al. 2016), at lengths from 50 to 400, with an Elman network, a GRU and an LSTM.
All have the same number of units, the same data, Adam, clipped gradients, and at most the same
number of updates; a run ends before that when its task is solved. The rate of each cell is the best
of 0.001, 0.003, 0.01 and 0.02 on a seed that is not shown (an Elman network at length 50, the
others at 100). An Elman network starts with an orthogonal matrix; gates start so that memories span
times from 1 to T, evenly by their orders of magnitude (after Tallec and Ollivier, "Can recurrent
neural networks warp time?", 2018). README.md says what was tried before.
`--quick` takes two lengths and one seed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

import unfold

plt.switch_backend("Agg")

HERE = Path(__file__).parent
OUT = HERE.parent / "out"

CELLS = {"elman": "#000000", "gru": "#0072b2", "lstm": "#d55e00"}
RATES = {"elman": 3e-3, "gru": 2e-2, "lstm": 2e-2}
LENGTHS = 50, 100, 200, 400
HIDDEN, BATCH, UPDATES = 32, 32, 1500
#: Of the copy task: how many symbols are to be copied, and of how many kinds.
SYMBOLS, KINDS = 3, 4
#: Losses are averaged over so many updates, and tests are of so many sequences.
WINDOW, TESTS = 50, 500

Array = NDArray[Any]
Draw = np.random.Generator


def adding(size: int, steps: int, draw: Draw) -> dict[str, Array]:
    """Numbers from 0 to 1, one marked in each half, and the sums of the marked ones."""
    x = np.zeros((size, steps, 2))
    x[..., 0] = draw.uniform(size=(size, steps))
    rows = np.arange(size)
    first = draw.integers(0, steps // 2, size)
    second = draw.integers(steps // 2, steps, size)
    x[rows, first, 1] = x[rows, second, 1] = 1
    return {"x": x, "y": x[rows, first, 0] + x[rows, second, 0]}


def copying(size: int, steps: int, draw: Draw) -> dict[str, Array]:
    """Symbols, a pause, the sign, and a pause again in which they are to be said."""
    symbols = draw.integers(0, KINDS, (size, SYMBOLS))
    x = np.full((size, steps), KINDS)
    x[:, :SYMBOLS] = symbols
    x[:, steps - SYMBOLS] = KINDS + 1
    y = np.zeros((size, steps), np.int64)
    y[:, steps - SYMBOLS :] = symbols
    return {"x": x, "y": y}


def close(out: unfold.Outputs, data: dict[str, Array]) -> float:
    """The share of sums that are off by less than 0.1."""
    return float((np.abs(out["guess"] - data["y"]) < 0.1).mean())


def copied(out: unfold.Outputs, data: dict[str, Array]) -> float:
    """The share of symbols that are said rightly."""
    said = out["guess"].argmax(-1)
    return float((said == data["y"])[:, -SYMBOLS:].mean())


@dataclass(frozen=True)
class Task:
    """A task: what it draws, how it is judged, and the loss and the score of who remembers nothing.

    A run is over when the mean loss of WINDOW updates is below ``solved``.
    """

    draw: Callable[[int, int, Draw], dict[str, Array]]
    score: Callable[[unfold.Outputs, dict[str, Array]], float]
    measure: str
    solved: float
    blind: float
    chance: float
    sizes: dict[str, float] = field(default_factory=dict)


TASKS = {
    # The sum of two uniform numbers has the variance 1/6, and is within 0.1 of 1 in 19 % of cases.
    "adding": Task(adding, close, "sums right within 0.1", 1e-3, 1 / 6, 0.19),
    "copying": Task(copying, copied, "symbols right", 0.02, float(np.log(KINDS)), 1 / KINDS,
                    {"K": KINDS, "N": SYMBOLS}),
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One run: the losses of its updates, and loss and score in the test."""

    losses: Array
    loss: float
    score: float
    solved: bool
    seconds: float


Results = dict[tuple[str, str, int], list[Run]]


def compiled(task: str, cell: str, hidden: int = HIDDEN) -> unfold.Function:
    text = (HERE / f"{task}.rec").read_text(encoding="utf-8").replace("lstm", cell)
    sizes = {"H": hidden, **TASKS[task].sizes}
    return unfold.compile(unfold.loads(text), sizes=sizes, dtype="float32")


def start(fn: unfold.Function, cell: str, steps: int, seed: int) -> dict[str, Array]:
    """Initial parameters; a gate with the bias b keeps its memory for about 1 + exp(b) steps."""
    params: dict[str, Array] = fn.init(seed)
    if cell != "elman":
        gate = "net.bf" if cell == "lstm" else "net.bz"
        bias = np.random.default_rng(seed).uniform(0, np.log(steps - 1), params[gate].shape)
        params[gate] = bias.astype(params[gate].dtype)
        if cell == "lstm":
            params["net.bi"] = -params[gate]
    return params


def train(fn: unfold.Function, task: Task, cell: str, steps: int, seed: int, updates: int) -> Run:
    """Train on sequences that are drawn as they are needed, until the task is solved."""
    since = time.perf_counter()
    draw = np.random.default_rng([seed, steps])
    trainer = fn.trainer(start(fn, cell, steps, seed), unfold.Adam(RATES[cell]), clip_norm=1.0)
    losses: list[float] = []
    solved = False
    while len(losses) < updates and not solved:
        losses.append(float(trainer.step(task.draw(BATCH, steps, draw))))
        solved = len(losses) >= WINDOW and float(np.mean(losses[-WINDOW:])) < task.solved
    test = task.draw(TESTS, steps, np.random.default_rng([seed, steps, 1]))
    out = fn(trainer.params, test)
    seconds = time.perf_counter() - since
    return Run(np.array(losses), float(out.loss.mean()), task.score(out, test), solved, seconds)


def run(
    lengths: Sequence[int] = LENGTHS,
    seeds: Sequence[int] = range(3),
    updates: int = UPDATES,
    cells: Sequence[str] = tuple(CELLS),
    tasks: Sequence[str] = tuple(TASKS),
) -> Results:
    """All runs, by task, cell and length."""
    work = [(t, c, n, s) for t in tasks for c in cells for n in lengths for s in seeds]
    functions = {(t, c): compiled(t, c) for t in tasks for c in cells}
    results: Results = {}
    for task, cell, steps, seed in track(work, "training", console=Console(stderr=True)):
        one = train(functions[task, cell], TASKS[task], cell, steps, seed, updates)
        results.setdefault((task, cell, steps), []).append(one)
    return results


def plot(results: Results) -> Figure:
    """For each task the score by length, and the losses at the greatest length."""
    tasks = [t for t in TASKS if any(key[0] == t for key in results)]
    lengths = sorted({key[2] for key in results})
    figure, rows = plt.subplots(len(tasks), 2, figsize=(10, 3.4 * len(tasks)), squeeze=False)
    for task, (scores, losses) in zip(tasks, rows, strict=True):
        for k, (cell, color) in enumerate(CELLS.items()):
            every = [results[task, cell, n] for n in lengths if (task, cell, n) in results]
            if not every:
                continue
            # Each seed is a point; a little aside, where others would cover it.
            for n, runs in zip(lengths, every, strict=True):
                aside = np.full(len(runs), n * 1.04 ** (k - 1))
                scores.plot(aside, [r.score for r in runs], "o", ms=4, color=color, alpha=0.6)
            median = [np.median([r.score for r in runs]) for runs in every]
            scores.plot(lengths, median, color=color, label=_name(cell))
            for r in every[-1]:
                smooth = np.convolve(r.losses, np.ones(WINDOW) / WINDOW, "valid")
                losses.semilogy(np.arange(len(smooth)) + WINDOW, smooth, color=color, lw=1)
        scores.axhline(TASKS[task].chance, color="0.6", lw=1, ls="--", label="without a memory")
        losses.axhline(TASKS[task].blind, color="0.6", lw=1, ls="--")
        scores.set(xscale="log", xticks=lengths, xticklabels=lengths, xlabel="length",
                   ylabel=TASKS[task].measure, ylim=(0, 1.03), title=task)  # fmt: skip
        scores.minorticks_off()
        losses.set(xlabel="update", ylabel="loss", title=f"length {lengths[-1]}, each seed")
        for axes in (scores, losses):
            axes.spines[["top", "right"]].set_visible(False)
    rows[0, 0].legend(frameon=False, loc="center left")
    figure.tight_layout()
    return figure


def _name(cell: str) -> str:
    return "Elman" if cell == "elman" else cell.upper()


def tabulated(results: Results) -> Table:
    """Medians over seeds, and in how many updates tasks were solved."""
    table = Table("task", "length", "cell", "score", "loss", "solved", "updates", "seconds a run",
                  title="medians over seeds; the score is the share that is right")  # fmt: skip
    for (task, cell, steps), runs in sorted(results.items(), key=lambda i: (i[0][0], i[0][2])):
        score, loss, seconds, updates = (
            float(np.median(values))
            for values in zip(
                *((r.score, r.loss, r.seconds, len(r.losses)) for r in runs), strict=True
            )
        )
        table.add_row(
            task, str(steps), _name(cell), f"{score:.1%}", f"{loss:.4f}",
            f"{sum(r.solved for r in runs)} of {len(runs)}", f"{updates:.0f}", f"{seconds:.1f}",
        )  # fmt: skip
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python examples/worked/memory.py")
    parser.add_argument("--quick", action="store_true", help="two lengths, one seed")
    quick = parser.parse_args().quick
    console = Console()
    results = run(lengths=LENGTHS[:2], seeds=[0]) if quick else run()
    console.print(tabulated(results))
    OUT.mkdir(exist_ok=True)
    figure = plot(results)
    figure.savefig(OUT / "memory.png", dpi=150)
    plt.close(figure)
    console.print("wrote examples/out/memory.png")


if __name__ == "__main__":
    main()
