"""A small training run that others kill.

python -m tests.train.killed FOLDER OUT [carry]        one run, as far as it comes
python -m tests.train.killed --loop 50                 fifty runs, killed (-9) at moments of
                                                       chance, against one left alone
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import unfold

TEXT = """
model m(D, H):
    input  x[t]: real[D]
    input  y[t]: real
    param  W: real[H, D]  ~ glorot
    param  U: real[H, H]  ~ orthogonal
    param  v, h0: real[H] ~ normal(0.5)
    random e[t]: real[H]  ~ normal
    h[0] = h0
    h[t] = tanh(W @ x[t] + U @ h[t-1] + 0.01 * e[t])
    loss = mean[t]((v @ h[t] - y[t]) ** 2)
    minimize loss
"""
ROOT = Path(__file__).parent.parent.parent


def run(folder: str | None, carry: int | None, epochs: int = 36) -> unfold.Fit:
    """The run: dropout-like noise, unequal lengths, validation, everything that could go wrong."""
    rng = np.random.default_rng(0)
    xs = [rng.normal(size=(int(n), 2)) for n in rng.integers(5, 30, 40)]
    data: dict[str, Any] = {"x": xs, "y": [np.cumsum(x[:, 0]) * 0.1 for x in xs]}
    return unfold.fit(
        TEXT,
        data,
        H=4,
        epochs=epochs,
        batch=8,
        validation=0.2,
        optimiser=unfold.Adam(rate=1e-2),
        schedule=unfold.schedules.Cosine(600),
        clip_norm=1.0,
        carry=carry,
        folder=folder,
        save_every=0.01,
        log_updates=True,
    )


def start(folder: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    """The run in a process of its own."""
    command = [sys.executable, "-m", "tests.train.killed", str(folder), str(out), *more]
    # What is compiled once need not be compiled after each death.
    here = {**os.environ, "UNFOLD_CACHE": str(out.parent / "cache")}
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, env=here)


def what_it_left(folder: Path) -> tuple[bytes, list[dict[str, Any]]]:
    """The bits of the parameters, and the metrics without times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    times = ("seconds", "sequences_per_second")
    return (folder / "params.safetensors").read_bytes(), [
        {k: v for k, v in line.items() if k not in times} for line in lines
    ]


def told(folder: Path) -> int:
    """How many updates the run has told of so far."""
    try:
        return (folder / "metrics.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def killed_until_done(
    folder: Path, out: Path, chance: random.Random, *more: str, most: int = 4
) -> int:
    """Kill the run at most so many times, while it trains, until it gets through; how often."""
    kills = 0
    while True:
        process = start(folder, out, *more)
        # The moment is counted in updates: seconds, on a quick machine, come after the end.
        until = told(folder) + chance.randrange(1, 20)
        while kills < most and process.poll() is None and told(folder) < until:
            time.sleep(0.001)
        if kills < most and process.poll() is None:
            time.sleep(chance.uniform(0.0, 0.005))
            process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        if process.returncode == 0:
            return kills
        if process.returncode != -signal.SIGKILL:
            raise RuntimeError(said.decode())
        kills += 1


def loop(count: int) -> None:
    """Many runs; raises if one of them ends otherwise than the undisturbed one."""
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        place, kills = Path(name), 0
        for more in ((), ("7",)):
            whole = place / f"whole{len(more)}"
            if start(whole, place / "out.npz", *more).wait():
                raise RuntimeError("the undisturbed run failed")
            for k in range(count // 2):
                folder = place / "killed"
                shutil.rmtree(folder, ignore_errors=True)
                kills += killed_until_done(folder, place / "out.npz", chance, *more, most=2)
                if what_it_left(folder) != what_it_left(whole):
                    raise RuntimeError(f"run {k} ended otherwise")
                print(f"run {k + 1}, {'carry' if more else 'batches'}: {kills} kills", flush=True)
        print(f"{count} runs, {kills} kills: all ended with the bits of the undisturbed run")


if __name__ == "__main__":
    # A job in the background has Ctrl-C ignored, and hands that on.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.argv[1] == "--loop":
        loop(int(sys.argv[2]))
    else:
        steps = int(sys.argv[3]) if len(sys.argv) > 3 else None
        run(sys.argv[1], steps).save(sys.argv[2])
