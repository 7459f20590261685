"""One training step of recurrent networks, ours against PyTorch's and JAX's, on one core or more.

    python -m tests.benchmarks.recurrent [--cells lstm gru elman] [--only N…] [--seconds 2]
        [--threads N] [--json FILE]

Everything runs in one process, pinned to the cores before any library is loaded, in alternation;
figures are medians. The share of the peak is that of all matrix products alone: what a step does
besides them counts as lost.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from tests.benchmarks.peers import Step, Task, in_torch_layout, jax_step, ours, torch_step
from unfold.backends.llvm.peak import flops

SIZES = [
    (1, 50, 8, 16),
    (1, 100, 32, 32),
    (16, 100, 32, 64),
    (32, 100, 64, 128),
    (32, 50, 256, 256),
    (64, 50, 512, 512),
    (16, 25, 1024, 1024),
    (17, 60, 50, 100),
]


#: Seconds after which nobody's threads are waiting busily (those of OpenMP do so for 0.2), and for
#: how long cores that were idle then are at work before anything is measured.
PAUSE, WARM = 0.3, 0.03


def tasks(cells: list[str], only: list[int] | None) -> list[Task]:
    """The networks of the table."""
    chosen = range(len(SIZES)) if only is None else only
    found = [Task(c, *SIZES[n]) for c in cells for n in chosen if c != "bigru"]
    if "bigru" in cells:
        sizes = [(16, 100, 32, 64), (32, 50, 256, 256)]
        found += [Task("gru", *s, layers=3, both_ways=True) for s in sizes]
    return found


def measure(task: Task, seconds: float, threads: int, with_peers: bool) -> dict[str, Any]:
    """Medians of alternated calls in milliseconds, and the share of the peak."""
    mine = ours(task, threads=threads)
    steps: dict[str, Step | None] = {"ours": mine}
    if with_peers:
        steps |= {"torch": torch_step(task, threads), "jax": jax_step(task)}
    rounds = {name: step for name, step in steps.items() if step is not None}
    expected = check(task, rounds)
    times: dict[str, list[float]] = {name: [] for name in rounds}
    peaks: list[float] = []
    for step in rounds.values():
        step()
    spent = 0.0
    while spent < seconds or len(peaks) < 5:
        peaks.append(peak(threads))
        for name, step in rounds.items():
            if threads > 1:
                # Threads of the one before may still be waiting for work, and busy with that.
                time.sleep(PAUSE)
                until = time.perf_counter() + WARM
                while time.perf_counter() < until:
                    step()
            took: list[float] = []
            while sum(took) < 0.01:
                start = time.perf_counter()
                step()
                took.append(time.perf_counter() - start)
            times[name].append(median(took))
            spent += sum(took)
    ms = {name: 1e3 * median(t) for name, t in times.items()}
    share = task.flops / (ms["ours"] * 1e-3) / median(peaks)
    peers = [t for name, t in ms.items() if name != "ours"]
    found = {"task": vars(task), "ms": ms, "share": share, "difference": expected}
    found["ratio"] = min(peers) / ms["ours"] if peers else None
    return found


def peak(threads: int) -> float:
    """The floating-point operations a second of so many cores together, all being busy: where two
    of them are the halves of one, they have no more than one."""
    if threads == 1:
        return flops("float32", 0.002)
    with ThreadPoolExecutor(threads) as cores:
        return sum(cores.map(flops, ["float32"] * threads, [0.01] * threads))


def check(task: Task, steps: dict[str, Step]) -> float:
    """The largest difference of a gradient, relative to its largest entry; it must be small."""
    value, grads = steps["ours"]()
    mine = in_torch_layout(task, grads)
    worst = 0.0
    for name, step in steps.items():
        if name == "ours":
            continue
        other, theirs = step()
        np.testing.assert_allclose(value, other, rtol=1e-4)
        for key, g in theirs.items():
            gap = np.abs(np.asarray(g) - mine[key]).max() / np.abs(g).max()
            worst = max(worst, float(gap))
    assert worst < 1e-3, f"gradients differ by {worst:.1e}"
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", nargs="+", default=["lstm", "gru", "elman", "bigru"])
    parser.add_argument("--only", nargs="+", type=int, help="numbers of sizes")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each network")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--alone", action="store_true", help="without peers")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[-options.threads :]
    os.sched_setaffinity(0, cores)
    table = Table(title="value and gradient, float32: ms")
    for name in ("network", "B, T, I, H"):
        table.add_column(name, no_wrap=True)
    for name in ("ours", "torch", "jax", "ratio", "of peak"):
        table.add_column(name, justify="right")
    found = []
    for task in tasks(options.cells, options.only):
        row = measure(task, options.seconds, options.threads, not options.alone)
        found.append(row)
        if options.json:
            options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
        layers = f" x {task.layers}, both ways" if task.both_ways else ""
        ms = [f"{row['ms'][n]:.3f}" if n in row["ms"] else "" for n in ("ours", "torch", "jax")]
        ratio = f"{row['ratio']:.2f}" if row["ratio"] else ""
        sizes = f"{task.B}, {task.T}, {task.I}, {task.H}"
        table.add_row(task.cell + layers, sizes, *ms, ratio, f"{100 * row['share']:.0f} %")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
