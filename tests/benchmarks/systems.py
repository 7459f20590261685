"""Attention, memory, probability and continuous time: value and gradient beside jitted JAX.

    python -m tests.benchmarks.systems [--batch 1 32] [--json FILE] [MODEL…]

At the sizes of the examples' reference data, and with every size and length ten times as large.
float32, one thread: the process is pinned to one core before any library is loaded. Calls take
turns; every figure is a median.
"""

from __future__ import annotations

import argparse
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
from unfold.gradcheck import random_arrays

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"

SIZES: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "causal_attention": ({"D": 4, "P": 3, "Q": 5, "K": 2}, {"T": 8}),
    "ntm": ({"D": 3, "H": 5, "M": 4, "K": 2}, {"T": 8, "N": 6}),
    "hmm": ({"K": 3, "M": 4}, {"T": 9}),
    "neural_ode": ({"D": 2, "H": 4}, {"T": 9}),
}

Call = Callable[[], Any]


def measure(name: str, scale: int, batch: int, seconds: float) -> dict[str, Any]:
    """Microseconds of one call, ours and JAX's; gradients are compared first."""
    sizes, lengths = ({n: k * scale for n, k in group.items()} for group in SIZES[name])
    calls = pair(name, sizes, lengths, batch)
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {who: [] for who in calls}
    start = time.perf_counter()
    while time.perf_counter() - start < seconds or len(times["ours"]) < 5:
        for who, call in calls.items():
            took: list[float] = []
            while sum(took) < 0.005:
                before = time.perf_counter()
                call()
                took.append(time.perf_counter() - before)
            times[who].append(median(took))
    us = {who: 1e6 * median(t) for who, t in times.items()}
    ratio = us["jax"] / us["ours"]
    return {"model": name, "sizes": {**sizes, **lengths}, "batch": batch, "us": us, "ratio": ratio}


def pair(name: str, sizes: dict[str, int], lengths: dict[str, int], batch: int) -> dict[str, Call]:
    """The two calls, which give the same gradients. A batch of 1 is a sequence without batch."""
    import jax

    from tests.benchmarks.twins import TWINS

    fn = unfold.compile(EXAMPLES / f"{name}.rec", sizes=sizes, dtype="float32")
    many = batch if batch > 1 else None
    arrays = random_arrays(fn.program, lengths, np.random.default_rng(0), many)
    arrays = {n: a.astype("float32") if a.dtype.kind == "f" else a for n, a in arrays.items()}
    params = {n: arrays[n] for n in fn.params}
    inputs: dict[str, Any] = {n: arrays[n] for n in fn.inputs}

    def ours() -> Any:
        return fn.value_and_grad(params, inputs)

    def loss(p: dict[str, Any], given: dict[str, Any]) -> Any:
        if many is None:
            return TWINS[name]({**p, **given})
        return jax.vmap(lambda one: TWINS[name]({**p, **one}))(given).mean()

    gradient = jax.jit(jax.value_and_grad(loss))
    placed = jax.device_put(params)
    data = {n: a.astype("int32") if a.dtype.kind == "i" else a for n, a in inputs.items()}
    data = jax.device_put(data)

    def theirs() -> Any:
        return jax.block_until_ready(gradient(placed, data))

    value, grads = ours()
    other, slopes = theirs()
    np.testing.assert_allclose(value, other, rtol=1e-4)
    for n, g in grads.items():
        largest = float(np.abs(slopes[n]).max())
        np.testing.assert_allclose(g, slopes[n], rtol=0, atol=2e-3 * largest + 1e-7, err_msg=n)
    return {"ours": ours, "jax": theirs}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.systems", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", default=[])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    table = Table(title="value and gradient, float32, one core: µs")
    for column in ("model", "sizes"):
        table.add_column(column)
    for column in ("batch", "ours", "jax", "ratio"):
        table.add_column(column, justify="right")
    found = []
    for name in options.models or SIZES:
        for scale in (1, 10):
            for batch in options.batch:
                row = measure(name, scale, batch, options.seconds)
                found.append(row)
                sizes = " ".join(f"{n}={k}" for n, k in row["sizes"].items())
                us = row["us"]
                table.add_row(
                    name, sizes, str(batch), f"{us['ours']:.1f}", f"{us['jax']:.1f}",
                    f"{row['ratio']:.2f}",
                )  # fmt: skip
    Console(width=100).print(table)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
