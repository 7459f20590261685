"""Memory and time of a gradient with all states and with checkpoints, at growing lengths.

    python -m tests.benchmarks.memory [MODEL] [--steps 1000 10000 100000] [NAME=SIZE …]

Each figure comes from a process of its own: the bytes that `Function.memory` tells, the same over
the bytes of the states that the adjoint reads, the peak of the resident set beyond what it was
before the first call, the best time of three calls.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import unfold

ROOT = Path(__file__).resolve().parents[2]


def peak() -> int:
    """The largest resident set so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measured(name: str, sizes: dict[str, int], steps: int, auto: bool) -> dict[str, float]:
    """The figures of one way, in this process."""
    how: Any = "auto" if auto else None
    model = unfold.load(ROOT / "examples" / f"{name}.rec")
    fn = unfold.compile(model, sizes=sizes, mode="reverse", checkpoint=how)
    rng = np.random.default_rng(0)
    data: dict[str, Any] = {}
    for v in fn.program.inputs:
        shape = [(a.hi - a.lo + 1).evaluate({"T": steps}) for a in v.axes]
        shape += [n.evaluate({}) for n in v.shape]
        data[v.name] = rng.uniform(0.1, 0.9, shape)
        if v.type.kind != "real":
            data[v.name] = rng.integers(0, 2, shape)
    params = fn.init()
    told = sum(fn.memory(T=steps).work.values())
    gradient = fn.cost(T=steps).gradient
    assert gradient is not None
    before, times = peak(), []
    for _ in range(3):
        start = time.perf_counter()
        fn.value_and_grad(params, **data)
        times.append(time.perf_counter() - start)
    needed = gradient.stored
    return {"told": told, "needed": needed, "peak": peak() - before, "seconds": min(times)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="lstm")
    parser.add_argument("sizes", nargs="*", help="NAME=SIZE")
    parser.add_argument("--steps", nargs="+", type=int, default=[1000, 10_000, 100_000])
    parser.add_argument("--one", choices=("all", "auto"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    stated = given.sizes or (["D=32", "H=64", "K=8"] if given.model == "lstm" else [])
    sizes = {n: int(k) for n, _, k in (part.partition("=") for part in stated)}
    if given.one:
        print(json.dumps(measured(given.model, sizes, given.steps[0], given.one == "auto")))
        return
    print(f"{'T':>8} {'':>5} {'told MiB':>10} {'needed':>6} {'peak MiB':>10} {'ms':>9} {'time':>6}")
    for steps in given.steps:
        base = 0.0
        for way in ("all", "auto"):
            command = [sys.executable, "-m", "tests.benchmarks.memory", given.model, *stated]
            command += ["--steps", str(steps), "--one", way]
            out = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(out.stdout)
            base = base or found["seconds"]
            mib = (found["told"] / 2**20, found["peak"] / 2**20)
            print(
                f"{steps:>8} {way:>5} {mib[0]:>10.2f} "
                f"{found['told'] / found['needed']:>6.2f} {mib[1]:>10.2f} "
                f"{1e3 * found['seconds']:>9.2f} {found['seconds'] / base:>6.2f}"
            )


if __name__ == "__main__":
    main()
