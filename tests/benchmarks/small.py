"""Value and gradient of small systems against what a careful programmer would write.

    python -m tests.benchmarks.small [--json FILE] [MODEL…]

One sequence, against an adjoint written by hand in numba; 1,024 of them in a batch, against a
jitted, vmapped JAX scan. float64, one thread. All take turns; every figure is a median, in µs.
``kernel`` is native code alone, without anything that Python does for a call.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import unfold
from tests.benchmarks import by_hand, scans
from unfold.backends.llvm import jit

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
#: The steps of a sequence.
STEPS = {"inventory": 50, "kinetics": 1000, "queue": 50, "pendulum_control": 50}
BATCH = 1024
ROUNDS, SECONDS = 15, 0.004

Array = NDArray[Any]
Call = Callable[[], Any]
Repeated = Callable[[int], Any]

_REPEAT = """
define void @repeat(ptr %f, ptr %record, i64 %n) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  call void %f(ptr %record)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""


class Case:
    """One model with data for a batch, and for one sequence."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps = STEPS[name]
        self.fn = unfold.compile(EXAMPLES / f"{name}.rec")
        rng = np.random.default_rng(0)
        # Names as a program's text has them.
        self.params: dict[str, Array] = {}
        for v in self.fn.program.params:
            self.params[sys.intern(v.name)] = rng.uniform(
                0.5, 1.5, [n.evaluate({}) for n in v.shape]
            )
        self.batch: dict[str, Array] = {}
        for v in self.fn.program.inputs:
            shape = (BATCH, self.steps) if v.axes else (BATCH,)
            self.batch[sys.intern(v.name)] = rng.uniform(
                0.0, 0.02 if v.name == "dt" else 2.0, shape
            )
        self.one = {n: np.asarray(v[0]) for n, v in self.batch.items()}

    def ours(self, inputs: dict[str, Array]) -> Call:
        """The public call."""
        return lambda: self.fn.value_and_grad(self.params, inputs)

    def kernel(self, inputs: dict[str, Array], batch: int | None) -> Repeated:
        """Native code alone: called from native code with a record that is ready."""
        c = self.fn.compiler
        made: Any = c.gradient(tuple(self.fn.params), self.fn.program.losses).kernel
        slot = made.new_slot({"T": self.steps}, batch)
        results = [np.empty(shape, kind) for shape, kind in slot.shapes]
        arrays = {**self.params, **inputs}
        given = [arrays[n] for n in slot.entry.given]
        slot.entry.pack(slot._block, 8 * slot.objects, *map(id, given), *map(id, results))
        run = ctypes.cast(slot.entry.run, ctypes.c_void_p).value
        library = jit.compile_ir(_REPEAT)
        types = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
        repeat = ctypes.CFUNCTYPE(None, *types)(library.address("repeat"))
        kept = (slot, results, given, library)
        return lambda n: (repeat(run, slot.address, n), kept)

    def by_hand(self) -> tuple[Call, Repeated]:
        """The hand-written adjoint called from Python, and from compiled code."""
        numba: Any = importlib.import_module("numba")
        f = numba.njit(error_model="numpy")(getattr(by_hand, self.name))
        states = np.zeros((2, self.steps))
        grads = np.zeros(sum(v.size for v in self.params.values()))
        values = [v[()] for v in (*self.one.values(), *self.params.values())]

        def repeat(n: Any, *args: Any) -> Any:
            total = 0.0
            for _ in range(n):
                total += f(*args)
            return total

        compiled = numba.njit(repeat)

        def call() -> tuple[Any, dict[str, Array]]:
            loss, found, start = f(*values, states, grads), {}, 0
            for n, v in self.params.items():
                found[n] = grads[start : start + v.size].reshape(v.shape)
                start += v.size
            return loss, found

        return call, lambda n: compiled(n, *values, states, grads)

    def scanned(self, inputs: dict[str, Array], batched: bool) -> Call:
        """The jitted gradient of the mean over the batch."""
        jax: Any = importlib.import_module("jax")
        jax.config.update("jax_enable_x64", True)
        loss = scans.losses()[self.name]

        def mean(params: Any, data: Any) -> Any:
            return jax.vmap(loss, (None, 0))(params, data).mean() if batched else loss(params, data)

        f = jax.jit(jax.value_and_grad(mean))
        params = {n: jax.numpy.asarray(v) for n, v in self.params.items()}
        data = {n: jax.numpy.asarray(v) for n, v in inputs.items()}
        return lambda: jax.block_until_ready(f(params, data))


def times(work: dict[str, Repeated]) -> dict[str, float]:
    """Seconds of each, the median of rounds in which all take turns."""
    counts, found = {}, {name: [] for name in work}  # type: dict[str, int], dict[str, list[float]]
    for name, f in work.items():
        f(1)
        start = time.perf_counter()
        f(1)
        once = time.perf_counter() - start
        counts[name] = max(1, round(SECONDS / max(once, 1e-7)))
    for _ in range(ROUNDS):
        for name, f in work.items():
            start = time.perf_counter()
            f(counts[name])
            found[name].append((time.perf_counter() - start) / counts[name])
    return {name: median(values) for name, values in found.items()}


def repeated(call: Call) -> Repeated:
    """A call made so many times from Python."""

    def run(n: int) -> None:
        for _ in range(n):
            call()

    return run


def agree(name: str, ours: Any, other: Any) -> None:
    """Both gradients are the same; SystemExit if they are not."""
    for n, a, b in [
        ("the value", ours[0], other[0]),
        *((n, ours[1][n], b) for n, b in other[1].items()),
    ]:
        if not np.allclose(a, b, rtol=1e-9, atol=1e-11):
            raise SystemExit(f"{name}: {n} is {a} here and {b} there")


def measure(name: str) -> dict[str, float]:
    """Microseconds by what was timed."""
    case = Case(name)
    has = {peer: importlib.util.find_spec(peer) is not None for peer in ("numba", "jax")}
    one: dict[str, Repeated] = {
        "kernel": case.kernel(case.one, None),
        "call": repeated(case.ours(case.one)),
    }
    many: dict[str, Repeated] = {
        "kernel x 1024": case.kernel(case.batch, BATCH),
        "call x 1024": repeated(case.ours(case.batch)),
    }
    if has["numba"]:
        call, one["numba"] = case.by_hand()
        agree(name, case.ours(case.one)(), call())
    if has["jax"]:
        call = case.scanned(case.batch, True)
        agree(name, case.ours(case.batch)(), call())
        many["jax x 1024"] = repeated(call)
    return {n: 1e6 * t for n, t in {**times(one), **times(many)}.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.small", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(STEPS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    options = parser.parse_args()

    table = Table(title="value and gradient: µs")
    columns = ["kernel", "numba", "call", "kernel x 1024", "call x 1024", "jax x 1024"]
    for title in ("model", *columns[:2], "ratio", *columns[2:], "ratio"):
        table.add_column(title, justify="right" if title != "model" else "left")
    found = {}
    for name in options.models or STEPS:
        t = found[name] = measure(name)
        cells = {c: f"{t[c]:.2f}" if c in t else "" for c in columns}
        below = f"{t['kernel'] / t['numba']:.2f}" if "numba" in t else ""
        above = f"{t['jax x 1024'] / t['call x 1024']:.1f}" if "jax x 1024" in t else ""
        row = [cells[c] for c in columns]
        table.add_row(name, *row[:2], below, *row[2:], above)
    Console(width=110).print(table)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
