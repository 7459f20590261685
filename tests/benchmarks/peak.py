"""What the processor can do: multiply-adds a second with all operands in registers and L1.

    python -m tests.benchmarks.peak

Shares of this figure say how good a matrix kernel is. It moves with the clock, so it is measured
again beside every figure that is divided by it.
"""

from __future__ import annotations

import ctypes
import time
from functools import lru_cache

import numpy as np

from unfold.backends.llvm import jit
from unfold.backends.llvm.body import INT, POINTER, SCALAR, VOID, Body, Type, Value, define
from unfold.backends.llvm.ir import Module

#: Sums side by side: enough to hide the latency of an addition on every processor known.
SUMS = 12
#: Rounds of a call: about a tenth of a millisecond.
ROUNDS = 20_000


@lru_cache
def _kernel(dtype: str) -> tuple[jit.Library, int]:
    target = jit.host()
    element = SCALAR[dtype]
    wide = Type(element.element, target.lanes(dtype))
    module = Module(target)

    def write(b: Body) -> None:
        times, data = b.args
        x = b.load(data, wide)
        zero = [b.const(wide, 0.0)] * SUMS

        def round_(_: Value, sums: list[Value]) -> list[Value]:
            y = b.load(b.at(data, wide.lanes, element), wide)
            return [b.madd(x, y, s) for s in sums]

        sums = b.loop(times, zero, round_)
        total = sums[0]
        for s in sums[1:]:
            total = total + s
        b.store(total, data)

    define(module, "peak", VOID, (INT, POINTER), write, linkage="")
    library = jit.compile_ir(str(module), target=target)
    return library, library.address("peak")


def rate(dtype: str = "float32", seconds: float = 0.01) -> float:
    """The best of several short measurements, in operations a second (a multiply-add is two)."""
    _, address = _kernel(dtype)
    run = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(address)
    lanes = jit.host().lanes(dtype)
    data = np.zeros(4 * lanes, dtype)
    best, spent = float("inf"), 0.0
    while spent < seconds:
        start = time.perf_counter()
        run(ROUNDS, data.ctypes.data)
        elapsed = time.perf_counter() - start
        best, spent = min(best, elapsed), spent + elapsed
    return 2.0 * lanes * SUMS * ROUNDS / best


if __name__ == "__main__":
    for name in ("float32", "float64"):
        print(f"{name}: {rate(name, 0.2) / 1e9:.1f} GFLOP/s on one core")
