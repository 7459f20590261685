"""What must not depend on the number of steps, or only through the states: compiling and memory.

    python -m tests.benchmarks.lengths [--json FILE] [MODEL…]

*Compile*, in milliseconds, is what the first gradient takes beyond a later one of the same length,
each in a fresh process with nothing compiled, the smallest of several. *Memory* is what a gradient
with all states keeps beside its arguments and results, for a batch, over the bytes of the states
that the adjoint's equations read (`states`: what the model computes, by name or on the way), and
over these with the inputs that they read, which are kept step by step (`with inputs`).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import unfold
from tests.benchmarks.compiling import EXAMPLES, fresh
from unfold.expr import Call, Expr, names
from unfold.program import Program

MODELS = ("lstm", "gru", "elman", "birnn", "stacked_bigru", "pendulum_control", "neural_ode")
STEPS = (10, 100_000)
#: For the memory: large enough for the states to outweigh the weights.
SIZES = {"D": 64, "H": 128, "K": 8}
FALLBACK, T, B = 32, 1000, 32


def compiling(name: str, times: int) -> dict[int, float]:
    """Milliseconds by the number of steps."""
    found: dict[int, float] = dict.fromkeys(STEPS, float("inf"))
    for _ in range(times):
        for steps in STEPS:
            with tempfile.TemporaryDirectory() as folder:
                figures = fresh("ours", name, steps, folder)
                found[steps] = min(found[steps], figures["first"] - figures["again"])
    return found


def memory(name: str) -> dict[str, float]:
    """What is kept, in bytes, and its ratios to what the adjoint reads."""
    model = unfold.load(EXAMPLES / f"{name}.rec")
    sizes = {n: SIZES.get(n, FALLBACK) for n in model.sizes}
    fn = unfold.compile(model, sizes=sizes, dtype="float32", mode="reverse")
    kept = sum(fn.memory(T=T, B=B).work.values())
    program = model.adjoint().program
    read = read_back(program, model.program.losses)
    states = inputs = 0
    for v in program.vars.values():
        if v.name not in read or not v.axes:
            continue
        extents = [(a.hi - a.lo + 1).evaluate({"T": T}) for a in v.axes]
        size = 4 * B
        for n in (*extents, *(n.evaluate(sizes) for n in v.shape)):
            size *= n
        if v.role == "input":
            inputs += size
        else:
            states += size
    return {
        "kept": kept, "states": states, "inputs": inputs, "ratio": kept / states,
        "with inputs": kept / (states + inputs),
    }  # fmt: skip


def read_back(program: Program, losses: Iterable[str]) -> set[str]:
    """What an adjoint's equations read of what comes before them.

    That is what the loss is computed from, be it a variable of the model or an intermediate value
    (``W_hn @ h[t-1] + b_hn`` of a GRU). Vectors end to end are their parts, which count once.
    """
    right: dict[str, list[Expr]] = {}
    for eq in program.equations:
        right.setdefault(eq.name, []).append(eq.rhs)
    forward = reached(losses, right)
    back = {n for n in right if n not in forward}
    read = {n for name in back for e in right[name] for n in names(e)} - back
    joined = {n for n in right if all(isinstance(e, Call) and e.op == "concat" for e in right[n])}
    while read & joined:
        name = (read & joined).pop()
        read |= {n for e in right[name] for n in names(e)}
        joined.discard(name)
        read.discard(name)
    return read


def reached(start: Iterable[str], right: Mapping[str, Sequence[Expr]]) -> set[str]:
    """The names that some names are computed from."""
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [n for e in right.get(name, ()) for n in names(e)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.lengths")
    parser.add_argument("models", nargs="*", metavar="MODEL", default=list(MODELS))
    parser.add_argument("--times", type=int, default=3, help="processes for each figure")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    table = Table(title=f"compile: ms; memory: T = {T:,}, B = {B}, float32")
    table.add_column("model", no_wrap=True)
    columns = (*(f"compile, T = {n:,}" for n in STEPS), "kept MiB", "/ states", "/ with inputs")
    for column in columns:
        table.add_column(column, justify="right")
    found: dict[str, Any] = {}
    for name in options.models:
        times, kept = compiling(name, options.times), memory(name)
        found[name] = {"compile": times, "memory": kept}
        table.add_row(
            name, *(f"{times[n]:.0f}" for n in STEPS), f"{kept['kept'] / 2**20:.1f}",
            f"{kept['ratio']:.2f}", f"{kept['with inputs']:.2f}",
        )  # fmt: skip
    Console(width=100).print(table)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
