"""How long the first gradient takes: with nothing compiled, in the next process, and in JAX.

    python -m tests.benchmarks.compiling [--steps 50] [--json FILE] [MODEL…]

Every figure is milliseconds in a fresh process, without Python's imports, the smallest of several
processes: *read* from the text to the model, *first* from `unfold.compile` to the end of the first
gradient (*cold*: the cache holds nothing but the parser's tables; *warm*: the process before has
filled it), and *jax* from `jax.jit` to the end of the first gradient of the same loss.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
#: Sizes by their names in the examples; any other is FALLBACK.
SIZES = {"D": 8, "H": 16, "K": 4}
FALLBACK = 8
PEERS = (
    "lstm", "gru", "causal_attention", "ntm", "hmm", "neural_ode",
    "inventory", "queue", "kinetics", "pendulum_control",
)  # fmt: skip

Figures = dict[str, float]


# --- in the fresh process ---------------------------------------------------------------------


def example(name: str, steps: int) -> tuple[Any, dict[str, Any], dict[str, Any], Figures]:
    """A function, arrays for it, and what it took to read and compile the example."""
    import networkx as nx  # noqa: F401 - imported when first used, which is not to be measured

    import unfold
    import unfold.backends.llvm
    import unfold.check
    import unfold.syntax.parse
    from unfold.gradcheck import random_arrays

    start = time.perf_counter()
    model = unfold.load(EXAMPLES / f"{name}.rec")
    read = time.perf_counter()
    sizes = {n: SIZES.get(n, FALLBACK) for n in model.sizes}
    fn = unfold.compile(model, sizes=sizes, dtype="float32")
    compiled = time.perf_counter()
    lengths = dict.fromkeys(model.program.lengths, steps)
    arrays = random_arrays(fn.program, lengths, np.random.default_rng(0))
    arrays = {n: a.astype("float32") if a.dtype.kind == "f" else a for n, a in arrays.items()}
    params, inputs = ({n: arrays[n] for n in names} for names in (fn.params, fn.inputs))
    return fn, params, inputs, {"read": read - start, "first": compiled - read}


def ours(name: str, steps: int) -> Figures:
    fn, params, inputs, figures = example(name, steps)
    start = time.perf_counter()
    fn.value_and_grad(params, inputs)
    figures["first"] += time.perf_counter() - start
    for _ in range(3):  # the second one makes the code of quick calls
        start = time.perf_counter()
        fn.value_and_grad(params, inputs)
        figures["again"] = time.perf_counter() - start
    return figures


def jax_one(name: str, steps: int) -> Figures:
    import jax

    from tests.benchmarks.scans import losses
    from tests.benchmarks.twins import TWINS

    fn, params, inputs, _ = example(name, steps)
    loss = losses().get(name) or (lambda p, i: TWINS[name]({**p, **i}))
    expected = fn.value_and_grad(params, inputs)[1]
    jax.block_until_ready(jax.numpy.zeros(1) + 1)  # JAX sets itself up
    start = time.perf_counter()
    found = jax.block_until_ready(jax.jit(jax.value_and_grad(loss))(params, inputs)[1])
    elapsed = time.perf_counter() - start
    for n, g in found.items():
        np.testing.assert_allclose(g, expected[n], rtol=2e-3, atol=2e-4)
    return {"first": elapsed}


# --- in this process --------------------------------------------------------------------------


def fresh(what: str, name: str, steps: int, folder: str) -> Figures:
    """The figures of one new process, in milliseconds."""
    command = [sys.executable, "-m", "tests.benchmarks.compiling", f"--in={what}", name]
    out = subprocess.run(
        [*command, "--steps", str(steps)],
        env={**os.environ, "UNFOLD_CACHE": folder},
        stdout=subprocess.PIPE, check=True, text=True,
    ).stdout  # fmt: skip
    return {k: 1e3 * v for k, v in json.loads(out).items()}


def measure(name: str, steps: int, times: int, peer: bool) -> Figures:
    """The smallest of several processes for each figure."""
    rounds: list[Figures] = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            # The smallest example leaves the parser's tables in the cache.
            fresh("ours", "inventory" if name != "inventory" else "queue", steps, folder)
            cold = fresh("ours", name, steps, folder)
            warm = fresh("ours", name, steps, folder)
            found = {f"cold {k}": v for k, v in cold.items()}
            found |= {f"warm {k}": v for k, v in warm.items()}
            if peer:
                found["jax"] = fresh("jax", name, steps, folder)["first"]
            rounds.append(found)
    return {k: min(r[k] for r in rounds) for k in rounds[0]}


def has_jax() -> bool:
    from importlib.util import find_spec

    return find_spec("jax") is not None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.compiling")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: all examples")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--times", type=int, default=3, help="processes for each figure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--in", dest="inside", choices=["ours", "jax"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        (name,) = options.models
        work = ours if options.inside == "ours" else jax_one
        print(json.dumps(work(name, options.steps)))
        return

    peers = PEERS if has_jax() else ()
    columns = ("cold read", "cold first", "warm read", "warm first", "jax")
    table = Table(title=f"milliseconds to the first gradient, T = {options.steps}")
    table.add_column("model", no_wrap=True)
    for column in (*columns, "jax / cold"):
        table.add_column(column, justify="right")
    found = {}
    console = Console(width=None if sys.stdout.isatty() else 100)
    with console.status("") as status:
        for name in options.models or sorted(p.stem for p in EXAMPLES.glob("*.rec")):
            status.update(name)
            f = found[name] = measure(name, options.steps, options.times, name in peers)
            ratio = f"{f['jax'] / f['cold first']:.1f}" if "jax" in f else ""
            table.add_row(name, *(f"{f[c]:.1f}" if c in f else "" for c in columns), ratio)
    console.print(table)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
