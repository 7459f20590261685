"""Value and gradient of every example beside jitted JAX: one sequence, and a batch.

    python -m tests.benchmarks.gallery [--batch 1 32] [--steps 50] [--json FILE] [MODEL…]

At the sizes of `tests.benchmarks.compiling`. JAX's figure is that of the fastest of the ways that
`tests.benchmarks.in_jax` has to write the model, a batch by `jax.vmap`; gradients are compared
first. float32, one thread: the process is pinned to one core before any library is loaded, and JAX
computes in the thread that calls it, which is what is fastest for it there. Some milliseconds of
calls of each take turns; a figure is the smallest of their medians. With ``--json`` a file that is
there is added to.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from tests.benchmarks.compiling import EXAMPLES, FALLBACK, SIZES
from tests.benchmarks.in_jax import agree, arrays_of, lengths_of, variants

Call = Callable[[], Any]


def one_core() -> None:
    """Pin the process to one core, and JAX to the thread that calls it; before JAX is loaded."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)


def measure(
    name: str,
    sizes: Mapping[str, int],
    lengths: Mapping[str, int] | int,
    batch: int,
    seconds: float,
) -> dict[str, Any]:
    """Microseconds of one call, ours and those of each way in JAX.

    Args:
        lengths: a number for each, or the steps of all (`tests.benchmarks.in_jax.lengths_of`).
        batch: 1 is a sequence without a batch axis.
    """
    calls = ways(name, sizes, lengths, batch)
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
    # What else runs on the machine only ever adds to a time.
    us = {who: 1e6 * min(t) for who, t in times.items()}
    us["jax"] = min(t for who, t in us.items() if who != "ours")
    return {"model": name, "batch": batch, "us": us, "ratio": us["jax"] / us["ours"]}


def ways(
    name: str, sizes: Mapping[str, int], lengths: Mapping[str, int] | int, batch: int
) -> dict[str, Call]:
    """The calls, which all give the same gradients."""
    import jax

    import unfold

    fn = unfold.compile(EXAMPLES / f"{name}.rec", sizes=sizes, dtype="float32")
    if isinstance(lengths, int):
        lengths = lengths_of(fn.program, lengths)
    many = batch if batch > 1 else None
    params, inputs = arrays_of(fn.program, lengths, "float32", many)
    placed = jax.device_put(params)
    data = {n: a.astype("int32") if a.dtype.kind == "i" else a for n, a in inputs.items()}
    data = jax.device_put(data)
    value, grads = fn.value_and_grad(params, inputs)
    found: dict[str, Call] = {"ours": lambda: fn.value_and_grad(params, inputs)}
    for way, loss in variants(fn.program, lengths).items():

        def total(p: Any, given: Any, loss: Any = loss) -> Any:
            if many is None:
                return loss(p, given)
            return jax.vmap(lambda one: loss(p, one))(given).mean()

        gradient = jax.jit(jax.value_and_grad(total))
        other, slopes = gradient(placed, data)
        np.testing.assert_allclose(value, other, rtol=1e-4)
        agree(grads, slopes)
        found[way] = lambda gradient=gradient: jax.block_until_ready(gradient(placed, data))  # type: ignore[misc]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gallery")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: all examples")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    one_core()
    import unfold

    rows: list[dict[str, Any]] = []
    if options.json and options.json.exists():
        rows = json.loads(options.json.read_text("utf-8"))
    for name in options.models or sorted(p.stem for p in EXAMPLES.glob("*.rec")):
        names = unfold.load(EXAMPLES / f"{name}.rec").sizes
        sizes = {n: SIZES.get(n, FALLBACK) for n in names}
        for batch in options.batch:
            row = measure(name, sizes, options.steps, batch, options.seconds)
            rows = [r for r in rows if (r["model"], r["batch"]) != (name, batch)] + [row]
            if options.json:
                options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    Console(width=100).print(table(rows))


def table(rows: list[dict[str, Any]]) -> Table:
    found = Table(title="value and gradient, float32, one core: µs")
    found.add_column("model", no_wrap=True)
    for column in ("batch", "ours", "jax", "ratio"):
        found.add_column(column, justify="right")
    for row in rows:
        us = row["us"]
        figures = f"{us['ours']:.1f}", f"{us['jax']:.1f}", f"{row['ratio']:.2f}"
        found.add_row(row["model"], str(row["batch"]), *figures)
    return found


if __name__ == "__main__":
    main()
