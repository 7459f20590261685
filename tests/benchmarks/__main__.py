"""Time the examples: from the text to the first gradient, and every gradient after.

    python -m tests.benchmarks [--steps 50 5000] [--json FILE] [MODEL…]

Every compilation runs in a fresh process, so that nothing is warm; it must not depend on the steps.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.measure import Timing, measure

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help="names of examples; default: all"
    )
    parser.add_argument("--steps", type=int, nargs="+", default=[50, 5000])
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    options = parser.parse_args()

    paths = [EXAMPLES / f"{name}.rec" for name in options.models] or sorted(EXAMPLES.glob("*.rec"))
    table = Table(title="value and gradient: ms to compile, µs to call")
    table.add_column("model", no_wrap=True)
    table.add_column("sizes", no_wrap=True)
    for steps in options.steps:
        table.add_column(f"compile\nT = {steps}", justify="right")
        table.add_column(f"call\nT = {steps}", justify="right")

    found: list[Timing] = []
    console = Console(width=None if sys.stdout.isatty() else 100)
    with console.status("") as status:
        for path in paths:
            status.update(path.stem)
            row = [fresh(path, steps, options.dtype, options.threads) for steps in options.steps]
            sizes = " ".join(f"{name}={n}" for name, n in row[0].sizes.items())
            figures = (f for t in row for f in (f"{1e3 * t.compile:.0f}", f"{1e6 * t.call:.1f}"))
            table.add_row(path.stem, sizes, *figures)
            found += row
    console.print(table)
    if options.json:
        options.json.write_text(json.dumps([asdict(t) for t in found], indent=1), encoding="utf-8")


def fresh(path: Path, steps: int, dtype: str, threads: int) -> Timing:
    """`measure` in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (path, steps, dtype, threads))


if __name__ == "__main__":
    main()
