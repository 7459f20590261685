"""Training steps of cells, and a machine that is not this one."""

from __future__ import annotations

from tests.benchmarks.peers import CELLS
from unfold.backends.llvm import jit

ARM = jit.HostTarget("aarch64-unknown-linux-gnu", "+neon", 16, 32)


def text(cell: str) -> str:
    return f"""{CELLS}
model main(D, H):
    input  x[t]: real[D]
    net = {cell}(x, H)
    loss = mean[t](mean(net.h[t] ** 2))
    output net.h[t]
    minimize loss
"""
