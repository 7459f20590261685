"""All comparisons with peers, one after the other: tables, JSON, and one picture of the ratios.

    python -m tests.benchmarks.every FOLDER

Needs the extra ``bench`` for the peers (PyTorch, JAX, numba); what is not installed is left out.
Nothing else should run beside it; it takes about an hour.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Ratios = list[tuple[str, float]]


@dataclass(frozen=True)
class Suite:
    """One comparison: its module below this folder, what it needs, and the ratios in its JSON.

    ``name`` is that of its results, if not the module's.
    """

    module: str
    needs: tuple[str, ...]
    options: tuple[str, ...]
    title: str
    ratios: Callable[[Any], Ratios]
    name: str = ""

    @property
    def called(self) -> str:
        return self.name or self.module


def _recurrent(found: Any) -> Ratios:
    named = []
    for row in found:
        t = row["task"]
        kind = t["cell"] + (f" x {t['layers']}" if t["layers"] > 1 else "")
        named.append((f"{kind} {t['B']}, {t['T']}, {t['I']}, {t['H']}", row["ratio"]))
    return named


def _systems(found: Any) -> Ratios:
    def name(row: Any) -> str:
        sizes = " ".join(f"{n}={k}" for n, k in row["sizes"].items())
        return f"{row['model']} {sizes} B={row['batch']}"

    return [(name(row), row["ratio"]) for row in found]


def _small(found: Any) -> Ratios:
    one = [(f"{n}, kernel", t["numba"] / t["kernel"]) for n, t in found.items() if "numba" in t]
    many = [(f"{n} x 1024", t["jax x 1024"] / t["call x 1024"]) for n, t in found.items()
            if "jax x 1024" in t]  # fmt: skip
    return one + many


def _training(found: Any) -> Ratios:
    return [(f"{n} / {peer}", t[peer] / t["step"]) for n, t in found.items()
            for peer in ("torch", "jax") if peer in t]  # fmt: skip


def _gallery(found: Any) -> Ratios:
    return [(f"{row['model']} B={row['batch']}", row["ratio"]) for row in found]


def _compiling(found: Any) -> Ratios:
    return [(n, f["jax"] / f["cold first"]) for n, f in found.items() if "jax" in f]


def _lengths(found: Any) -> Ratios:
    def states(name: str) -> float:
        return float(found[name]["memory"]["with inputs"])

    memory = [(f"{n}, memory / states", states(n)) for n in found]
    compiling = [(f"{n}, compile T = 100,000 / 10", f["compile"]["100000"] / f["compile"]["10"])
                 for n, f in found.items()]  # fmt: skip
    return memory + compiling


SUITES = (
    Suite("recurrent", ("torch",), (), "recurrent networks: faster peer / ours", _recurrent),
    Suite(
        "recurrent", ("torch",), ("--threads", "2"),
        "recurrent networks, 2 threads: faster peer / ours", _recurrent, "recurrent-2",
    ),
    Suite("unequal", ("torch",), (), "sequences of unequal length: PyTorch / ours", _recurrent),
    Suite("lengths", (), (), "what steps cost (nearer to 1 is better)", _lengths),
    Suite("small", (), (), "small systems: numba by hand, and JAX in a batch / ours", _small),
    Suite("systems", ("jax",), (), "attention, memory, chains: JAX / ours", _systems),
    Suite("training", (), (), "a step of training with Adam: peer / ours", _training),
    Suite("gallery", ("jax",), (), "every example, 50 steps: JAX / ours", _gallery),
    Suite(
        "compiling", ("jax",), ("--times", "2"),
        "time to the first gradient: JAX / ours, cold", _compiling,
    ),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.every", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="for JSON and the picture")
    parser.add_argument("--only", nargs="+", choices=[s.called for s in SUITES])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    panels: list[tuple[str, Ratios]] = []
    for suite in SUITES:
        if options.only and suite.called not in options.only:
            continue
        missing = [n for n in suite.needs if importlib.util.find_spec(n) is None]
        if missing:
            print(f"{suite.called} is left out: {', '.join(missing)} is not installed")
            continue
        target = options.folder / f"{suite.called}.json"
        command = [sys.executable, "-m", f"tests.benchmarks.{suite.module}", *suite.options]
        subprocess.run([*command, "--json", str(target)], check=True)
        panels.append((suite.title, suite.ratios(json.loads(target.read_text("utf-8")))))
    if panels:
        draw(panels, options.folder / "ratios.svg")
        print(f"wrote {options.folder / 'ratios.svg'}")


def draw(panels: list[tuple[str, Ratios]], path: Path) -> None:
    """Bars on a logarithmic axis: right of 1 we are faster."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    sizes = [len(rows) for _, rows in panels]
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(9, 0.28 * sum(sizes) + 1.1 * len(panels)), squeeze=False,
        gridspec_kw={"height_ratios": [max(n, 1) for n in sizes]}, layout="constrained",
    )  # fmt: skip
    for ax, (title, rows) in zip(axes[:, 0], panels, strict=True):
        values = [r if r else float("nan") for _, r in rows]
        bars = ax.barh([n for n, _ in rows], values, color="#4477aa")
        ax.bar_label(bars, labels=[f"{v:.2f}" for v in values], padding=3, fontsize=8)
        ax.axvline(1.0, color="#cc3311", linewidth=1)
        ax.set_xscale("log")
        ax.invert_yaxis()
        ax.set_title(title, fontsize=10, loc="left")
        ax.tick_params(labelsize=8)
        ax.margins(x=0.15)
    figure.savefig(path)


if __name__ == "__main__":
    main()
