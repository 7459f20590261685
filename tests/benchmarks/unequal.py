"""Batches of sequences of unequal length: ours against PyTorch's packed sequences, on one core.

    python -m tests.benchmarks.unequal [--cells lstm gru elman] [--seconds 1] [--json FILE]

Lengths are drawn evenly between a quarter of the steps and all of them. ``full`` is our time for
the same batch without ``lengths=``: with no work on padding the quotient is the filled share.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import unfold
from tests.benchmarks.peers import Task, text

SIZES = [(16, 100, 32, 64), (32, 100, 64, 128), (32, 50, 256, 256), (17, 60, 50, 100)]


def packed(task: Task, lengths: Any) -> Callable[[], object] | None:
    """A step of PyTorch's network on a packed sequence; None without PyTorch."""
    if importlib.util.find_spec("torch") is None:
        return None
    torch = importlib.import_module("torch")
    pack = importlib.import_module("torch.nn.utils.rnn").pack_padded_sequence
    torch.set_num_threads(1)
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "elman": torch.nn.RNN}[task.cell]
    net = kind(task.I, task.H, batch_first=True)
    x, ends = torch.from_numpy(task.data()), torch.from_numpy(lengths)

    def step() -> object:
        net.zero_grad(set_to_none=True)
        out, _ = net(pack(x, ends, batch_first=True, enforce_sorted=False))
        loss = out.data.square().mean()
        loss.backward()
        return loss.item()

    return step


def measure(task: Task, seconds: float) -> dict[str, Any]:
    """Medians of alternated calls, in milliseconds of processor time."""
    chance = np.random.default_rng(0)
    lengths = chance.integers(task.T // 4, task.T + 1, task.B)
    lengths[0] = task.T
    fn = unfold.compile(unfold.loads(text(task), model="main"), D=task.I, H=task.H, dtype="float32")
    params, x = fn.init(), task.data()
    steps: dict[str, Callable[[], object]] = {
        "ours": lambda: fn.value_and_grad(params, x=x, lengths=lengths),
        "full": lambda: fn.value_and_grad(params, x=x),
    }
    peer = packed(task, lengths)
    if peer is not None:
        steps["torch"] = peer
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    while sum(map(sum, times.values())) < seconds or len(times["ours"]) < 5:
        for name, step in steps.items():
            start = time.process_time()
            step()
            times[name].append(time.process_time() - start)
    ms = {name: 1e3 * median(t) for name, t in times.items()}
    filled = float(lengths.mean() / task.T)
    ratio = ms["torch"] / ms["ours"] if "torch" in ms else None
    return {"task": vars(task), "ms": ms, "filled": filled, "ratio": ratio}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.unequal")
    parser.add_argument("--cells", nargs="+", default=["lstm", "gru", "elman"])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each network")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
    table = Table(title="value and gradient, sequences of unequal length, float32: ms")
    for name in ("network", "B, T, I, H"):
        table.add_column(name, no_wrap=True)
    for name in ("ours", "full", "filled", "torch", "ratio"):
        table.add_column(name, justify="right")
    found = []
    for task in (Task(c, *s) for c in options.cells for s in SIZES):
        row = measure(task, options.seconds)
        found.append(row)
        ms = row["ms"]
        peer = (f"{ms['torch']:.2f}", f"{row['ratio']:.2f}") if row["ratio"] else ("", "")
        sizes = f"{task.B}, {task.T}, {task.I}, {task.H}"
        table.add_row(
            task.cell,
            sizes,
            f"{ms['ours']:.2f}",
            f"{ms['full']:.2f}",
            f"{row['filled']:.2f}",
            *peer,
        )
    Console(width=100).print(table)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
