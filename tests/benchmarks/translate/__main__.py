"""Show what a model is in JAX, or hold all of them against our gradients.

    python -m tests.benchmarks.translate MODEL [--steps 50]
    python -m tests.benchmarks.translate --check [MODEL…]

With ``--check`` value and gradients in every real parameter and input are compared in float64, for
every way that `tests.benchmarks.in_jax` knows, at lengths that differ from one another; the largest
distance is printed, relative to the largest gradient of its array. It is at most 1e-10, or the exit
status is 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

import unfold
from tests.benchmarks.compiling import EXAMPLES, FALLBACK, SIZES
from tests.benchmarks.in_jax import arrays_of, lengths_of, variants

from . import source

#: Fixed points are found to within a tolerance; theirs are 1e-12 or so.
WITHIN = 1e-10


def show(name: str, steps: int) -> None:
    """Print the text of a model."""
    program = bound(name)
    text, constants = source(program, lengths_of(program, steps))
    for constant, array in constants.items():
        print(f"# {constant}: {array.dtype} of the shape {array.shape}")
    print(text, end="")


def bound(name: str) -> Any:
    program = unfold.load(EXAMPLES / f"{name}.rec").program
    return program.bind({n: SIZES.get(n, FALLBACK) for n in program.sizes}, {})


def check(name: str) -> dict[str, tuple[float, str]]:
    """How far each way of a model is from our gradients, and in which array."""
    import jax

    program = bound(name)
    lengths = {n: k - 2 * at for at, (n, k) in enumerate(lengths_of(program, 11).items())}
    params, inputs = arrays_of(program, lengths, "float64")
    real = [v.name for v in (*program.params, *program.inputs) if v.type.kind == "real"]
    fn = unfold.compile(program)
    fixed = {s for v in (*program.params, *program.inputs) for a in v.axes for s in a.hi.symbols}
    free = {n: k for n, k in lengths.items() if n not in fixed}
    value, grads = fn.value_and_grad(params, {**inputs, **free}, wrt=real)
    found = {}
    for way, loss in variants(program, lengths).items():

        def of(moved: dict[str, Any], loss: Any = loss) -> Any:
            mine = [{n: moved.get(n, a) for n, a in part.items()} for part in (params, inputs)]
            return loss(*mine)

        start = {n: a for n, a in {**params, **inputs}.items() if n in real}
        other, slopes = jax.jit(jax.value_and_grad(of))(start)
        gaps = {"the value": abs(float(other) - float(value)) / max(1.0, abs(float(value)))}
        for n in real:
            gap = np.abs(grads[n] - slopes[n]).max(initial=0.0)
            gaps[n] = float(gap / max(np.abs(slopes[n]).max(initial=0.0), 1e-3))
        worst = max(gaps, key=lambda n: gaps[n] if gaps[n] == gaps[n] else np.inf)
        found[way] = gaps[worst], worst
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.translate")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default with --check: all")
    parser.add_argument("--check", action="store_true", help="compare with our gradients")
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()
    if not options.check:
        for name in options.models:
            show(Path(name).stem, options.steps)
        return 0
    import jax

    jax.config.update("jax_enable_x64", True)
    wrong = 0
    for name in options.models or sorted(p.stem for p in EXAMPLES.glob("*.rec")):
        for way, (gap, where) in check(name).items():
            bad = not gap <= WITHIN
            wrong += bad
            print(f"{name}, {way}: {gap:.1e} ({where}){'  WRONG' if bad else ''}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
