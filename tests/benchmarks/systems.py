"""Attention, memory, probability and continuous time: value and gradient beside jitted JAX.

    python -m tests.benchmarks.systems [--batch 1 32] [--json FILE] [MODEL…]

At the sizes of the examples' reference data, and with every size and length ten times as large,
as `tests.benchmarks.gallery` measures all examples at one size.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.gallery import measure, one_core

SIZES: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "causal_attention": ({"D": 4, "P": 3, "Q": 5, "K": 2}, {"T": 8}),
    "ntm": ({"D": 3, "H": 5, "M": 4, "K": 2}, {"T": 8, "N": 6}),
    "hmm": ({"K": 3, "M": 4}, {"T": 9}),
    "neural_ode": ({"D": 2, "H": 4}, {"T": 9}),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.systems", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", default=[])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    one_core()
    table = Table(title="value and gradient, float32, one core: µs")
    for column in ("model", "sizes"):
        table.add_column(column)
    for column in ("batch", "ours", "jax", "ratio"):
        table.add_column(column, justify="right")
    found = []
    for name in options.models or SIZES:
        for scale in (1, 10):
            for batch in options.batch:
                at, steps = ({n: k * scale for n, k in group.items()} for group in SIZES[name])
                row = measure(name, at, steps, batch, options.seconds)
                row["sizes"] = {**at, **steps}
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
