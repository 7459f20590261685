"""How long the first gradient takes: with nothing compiled, in the next process, and in JAX.

    python -m tests.benchmarks.compiling [--steps 50] [--json FILE] [MODEL…]
    python -m tests.benchmarks.compiling --lengths 10 100000 [MODEL…]

Every figure is milliseconds in a fresh process whose Python finds its bytecode, the smallest of
several processes: *read* from the text to the model, *first* from `unfold.compile` to the end of
the first gradient, and *jax* from `jax.jit` to the end of the first gradient of the same loss, in
the fastest of the ways that `tests.benchmarks.in_jax` has to write it; its gradients are compared
with ours before the figure counts.
*Cold*: the cache holds nothing but the parser's tables; what Python imports for it is imported
before, as JAX is. *Warm*: the process before has filled the cache; nothing but `unfold` is imported
before, so that all that a call needs counts.

With ``--lengths`` it is the time until code for sequences of each length is there, nothing being
cached: the lengths take turns, and the figures are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
#: Sizes by their names in the examples; any other is FALLBACK.
SIZES = {"D": 8, "H": 16, "K": 4}
FALLBACK = 8

Figures = dict[str, float]
BYTECODE = tempfile.TemporaryDirectory(prefix="unfold-bytecode")
TABLES = tempfile.TemporaryDirectory(prefix="unfold-tables")


# --- in the fresh process ---------------------------------------------------------------------


def prepared() -> None:
    """Import what is imported when code is first generated."""
    import networkx as nx  # noqa: F401

    import unfold.backends.llvm.code
    import unfold.check
    import unfold.syntax.parse
    import unfold.transform  # noqa: F401


def example(name: str) -> tuple[Any, dict[str, int], Figures]:
    """An example, its sizes, and what it took to read it."""
    import unfold

    start = time.perf_counter()
    model = unfold.load(EXAMPLES / f"{name}.rec")
    read = time.perf_counter() - start
    return model, {n: SIZES.get(n, FALLBACK) for n in model.sizes}, {"read": read}


def arrays_for(model: Any, sizes: dict[str, int], steps: int) -> tuple[dict[str, Any], ...]:
    """Parameters and inputs, drawn at random."""
    from tests.benchmarks.in_jax import arrays_of, lengths_of

    program = model.program.bind(sizes, {})
    return arrays_of(program, lengths_of(program, steps), "float32")


def ways_of(name: str, steps: int) -> dict[str, Any]:
    """The ways to write an example in JAX."""
    from tests.benchmarks.in_jax import lengths_of, variants

    model, sizes, _ = example(name)
    program = model.program.bind(sizes, {})
    return variants(program, lengths_of(program, steps))


def ours(name: str, steps: int, warm: bool) -> Figures:
    import numpy as np

    import unfold

    kept = Path(os.environ["UNFOLD_CACHE"]) / "arrays"
    if warm:
        params, inputs = (dict(np.load(f"{kept}.{k}.npz")) for k in range(2))
    else:
        prepared()
    model, sizes, figures = example(name)
    if not warm:
        params, inputs = arrays_for(model, sizes, steps)
        for k, part in enumerate((params, inputs)):
            np.savez(f"{kept}.{k}.npz", **part)
    start = time.perf_counter()
    fn = unfold.compile(model, sizes=sizes, dtype="float32")
    fn.value_and_grad(params, inputs)
    figures["first"] = time.perf_counter() - start
    for _ in range(3):  # the second one makes the code of quick calls
        start = time.perf_counter()
        fn.value_and_grad(params, inputs)
        figures["again"] = time.perf_counter() - start
    return figures


def code(name: str, steps: int) -> Figures:
    """How long it takes until there is code for a length."""
    import unfold

    prepared()
    model, sizes, _ = example(name)
    start = time.perf_counter()
    fn = unfold.compile(model, sizes=sizes, dtype="float32")
    kernel: Any = fn.compiler.gradient(tuple(fn.params), fn.program.losses).kernel
    kernel.new_slot(dict.fromkeys(model.program.lengths, steps), None)
    return {"code": time.perf_counter() - start}


def jax_ways(name: str, steps: int) -> Figures:
    """The time of the first gradient in JAX, written in the way that ``UNFOLD_WAY`` names."""
    import jax

    import unfold
    from tests.benchmarks.in_jax import agree

    model, sizes, _ = example(name)
    loss = ways_of(name, steps)[os.environ["UNFOLD_WAY"]]
    params, inputs = arrays_for(model, sizes, steps)
    expected = unfold.compile(model, sizes=sizes, dtype="float32").value_and_grad(params, inputs)[1]
    jax.block_until_ready(jax.numpy.zeros(1) + 1)  # JAX sets itself up
    start = time.perf_counter()
    found = jax.block_until_ready(jax.jit(jax.value_and_grad(loss))(params, inputs)[1])
    elapsed = time.perf_counter() - start
    agree(expected, found)
    return {"first": elapsed}


INSIDE = {
    "ours": lambda name, steps: ours(name, steps, warm=False),
    "warm": lambda name, steps: ours(name, steps, warm=True),
    "code": code,
    "jax": jax_ways,
}

# --- in this process --------------------------------------------------------------------------


def fresh(what: str, name: str, steps: int, folder: str, way: str | None = None) -> Figures:
    """The figures of one new process, in milliseconds."""
    command = [sys.executable, "-m", "tests.benchmarks.compiling", f"--in={what}", name]
    # An installed package has its bytecode beside it; a working copy may not write any.
    bytecode = os.environ.get("PYTHONPYCACHEPREFIX") or BYTECODE.name
    more = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": bytecode}
    if way is not None:
        more["UNFOLD_WAY"] = way
    out = subprocess.run(
        [*command, "--steps", str(steps)],
        env={**os.environ, **more, "UNFOLD_CACHE": folder},
        capture_output=True, check=True, text=True,
    ).stdout  # fmt: skip
    return {k: 1e3 * v for k, v in json.loads(out).items()}


@cache
def tables(other: bool) -> str:
    """A cache in which one of the smallest examples is."""
    folder = TABLES.name + ("/other" if other else "/first")
    fresh("ours", "queue" if other else "inventory", 10, folder)
    return folder


def measure(name: str, steps: int, times: int, peer: bool) -> Figures:
    """The smallest of several processes for each figure."""
    rounds: list[Figures] = []
    ways = list(ways_of(name, steps)) if peer else []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            # Another example has left the parser's tables in the cache.
            shutil.copytree(tables(name == "inventory"), folder, dirs_exist_ok=True)
            cold = fresh("ours", name, steps, folder)
            warm = fresh("warm", name, steps, folder)
            found = {f"cold {k}": v for k, v in cold.items()}
            found |= {f"warm {k}": v for k, v in warm.items()}
            for way in ways:
                found[f"jax {way}"] = fresh("jax", name, steps, folder, way)["first"]
            rounds.append(found)
    least = {k: min(r[k] for r in rounds) for k in rounds[0]}
    return least | ({"jax": min(least[f"jax {way}"] for way in ways)} if ways else {})


def by_length(names: Sequence[str], lengths: Sequence[int], times: int) -> dict[str, Figures]:
    """Medians for each length, which take turns."""
    found: dict[str, Figures] = {}
    for name in names:
        rounds = [
            {str(n): fresh("code", name, n, "off")["code"] for n in lengths} for _ in range(times)
        ]
        found[name] = {n: median(r[n] for r in rounds) for n in rounds[0]}
    return found


def has_jax() -> bool:
    from importlib.util import find_spec

    return find_spec("jax") is not None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.compiling")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: all examples, or lstm")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--lengths", type=int, nargs="+", help="time code for these lengths")
    parser.add_argument("--times", type=int, default=3, help="processes for each figure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the figures there")
    parser.add_argument("--in", dest="inside", choices=list(INSIDE), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        (name,) = options.models
        print(json.dumps(INSIDE[options.inside](name, options.steps)))
        return
    console = Console(width=None if sys.stdout.isatty() else 100)
    if options.lengths:
        names = options.models or ["lstm"]
        found = by_length(names, options.lengths, options.times)
        table = Table(title="milliseconds until there is code")
        table.add_column("model", no_wrap=True)
        for n in options.lengths:
            table.add_column(f"T = {n:,}", justify="right")
        for name in names:
            table.add_row(name, *(f"{t:.0f}" for t in found[name].values()))
        console.print(table)
        if options.json:
            options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
        return

    peer = has_jax()
    columns = ("cold read", "cold first", "warm read", "warm first", "jax")
    table = Table(title=f"milliseconds to the first gradient, T = {options.steps}")
    table.add_column("model", no_wrap=True)
    for column in (*columns, "jax / cold"):
        table.add_column(column, justify="right")
    found = {}
    if options.json and options.json.exists():
        found = json.loads(options.json.read_text("utf-8"))
    if peer:
        # The first process of JAX writes the bytecode of what it imports.
        fresh("jax", "queue", 10, "off", "by hand")
    with console.status("") as status:
        for name in options.models or sorted(p.stem for p in EXAMPLES.glob("*.rec")):
            status.update(name)
            f = found[name] = measure(name, options.steps, options.times, peer)
            if options.json:
                options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
            ratio = f"{f['jax'] / f['cold first']:.1f}" if "jax" in f else ""
            table.add_row(name, *(f"{f[c]:.1f}" if c in f else "" for c in columns), ratio)
    console.print(table)


if __name__ == "__main__":
    main()
