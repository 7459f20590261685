"""Memory and time of a gradient with all states and with checkpoints, at growing lengths.

    python -m tests.benchmarks.memory [MODEL] [--steps 1000 10000 100000] [NAME=SIZE …]

The bytes that `Function.memory` tells, the same over the bytes of the states that the adjoint
reads, and the peak of the resident set beyond what it was before the first call, each in a process
of its own. Times are of one process, where both ways take turns: the medians of some calls, and
that of the ratios of neighbours.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import unfold

ROOT = Path(__file__).resolve().parents[2]
WAYS = ("all", "auto")
#: Sizes by their names in the examples; any other is FALLBACK.
SIZES = {"D": 32, "H": 64, "K": 8}
FALLBACK = 16
TURNS = 9


def peak() -> int:
    """The largest resident set so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def prepared(
    name: str, sizes: dict[str, int], steps: int, how: str
) -> tuple[unfold.Function, Callable[[], object]]:
    """The compiled model, and a call of its gradient on random data."""
    model = unfold.load(ROOT / "examples" / f"{name}.rec")
    checkpoint = "auto" if how == "auto" else None
    known = {n: SIZES.get(n, FALLBACK) for n in model.sizes} | sizes
    fn = unfold.compile(model, sizes=known, mode="reverse", checkpoint=checkpoint)
    rng = np.random.default_rng(0)
    data: dict[str, Any] = {}
    for v in fn.program.inputs:
        shape = [(a.hi - a.lo + 1).evaluate({"T": steps}) for a in v.axes]
        shape += [n.evaluate({}) for n in v.shape]
        data[v.name] = rng.uniform(0.1, 0.9, shape)
        if v.type.kind != "real":
            data[v.name] = rng.integers(0, 2, shape)
    params = fn.init()
    return fn, lambda: fn.value_and_grad(params, **data)


def space(name: str, sizes: dict[str, int], steps: int, how: str) -> dict[str, float]:
    """The bytes of one way, in this process."""
    fn, call = prepared(name, sizes, steps, how)
    gradient = fn.cost(T=steps).gradient
    assert gradient is not None
    before = peak()
    call()
    told = sum(fn.memory(T=steps).work.values())
    return {"told": told, "needed": gradient.stored, "peak": peak() - before}


def seconds(name: str, sizes: dict[str, int], steps: int) -> dict[str, float]:
    """The times of both ways, taking turns in this process."""
    calls = [prepared(name, sizes, steps, how)[1] for how in WAYS]
    for call in calls:
        call()
    found: list[list[float]] = []
    for _ in range(TURNS):
        found.append([])
        for call in calls:
            start = time.perf_counter()
            call()
            found[-1].append(time.perf_counter() - start)
    medians = dict(zip(WAYS, map(median, zip(*found, strict=True)), strict=True))
    return {**medians, "ratio": median(auto / whole for whole, auto in found)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="lstm")
    parser.add_argument("sizes", nargs="*", help="NAME=SIZE")
    parser.add_argument("--steps", nargs="+", type=int, default=[1000, 10_000, 100_000])
    parser.add_argument("--one", choices=(*WAYS, "times"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    sizes = {n: int(k) for n, _, k in (part.partition("=") for part in given.sizes)}
    if given.one == "times":
        print(json.dumps(seconds(given.model, sizes, given.steps[0])))
        return
    if given.one:
        print(json.dumps(space(given.model, sizes, given.steps[0], given.one)))
        return
    print(f"{'T':>8} {'':>5} {'told MiB':>10} {'needed':>6} {'peak MiB':>10} {'ms':>9} {'time':>6}")
    for steps in given.steps:
        command = [sys.executable, "-m", "tests.benchmarks.memory", given.model, *given.sizes]
        command += ["--steps", str(steps), "--one"]

        def fresh(one: str, command: list[str] = command) -> dict[str, float]:
            out = subprocess.run([*command, one], capture_output=True, text=True, check=True)
            found: dict[str, float] = json.loads(out.stdout)
            return found

        times = fresh("times")
        for way in WAYS:
            found = fresh(way)
            mib = (found["told"] / 2**20, found["peak"] / 2**20)
            ratio = times["ratio"] if way == "auto" else 1
            print(
                f"{steps:>8} {way:>5} {mib[0]:>10.2f} "
                f"{found['told'] / found['needed']:>6.2f} {mib[1]:>10.2f} "
                f"{1e3 * times[way]:>9.2f} {ratio:>6.2f}"
            )


if __name__ == "__main__":
    main()
