"""What a call costs beside its computation, and what threads gain.

    python -m tests.benchmarks.calls

The first table has the public calls of a small recurrence, and the native code alone, called with
one pointer; beside them, if numba is installed, the same forward sweep in a jitted function. The
second one has an LSTM of 32 sequences with 1, 2, … threads. All figures are medians.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import unfold
from unfold.backends.llvm.kernel import Kernel
from unfold.backends.llvm.slots import Slot
from unfold.compiler import Derived, Options

SMALL = """
model leaky:
    input  x[t]: real
    param  a: real = 0.9
    param  b: real = 0.3
    h[0] = 0
    h[t] = a * h[t-1] + b * x[t]
    loss = sum[t](h[t] ** 2)
    output h[t]
    minimize loss
"""
LARGE = """
from cells use lstm
model following(D, H):
    input x[t]: real[D]
    input y[t]: real[H]
    c = lstm(x, H)
    loss = mean[t](sum((c.h[t] - y[t]) ** 2))
    minimize loss
"""
STEPS = 20
B, T, D, H = 32, 100, 64, 128
SECONDS = 0.5


def main() -> None:
    console = Console()
    console.print(overhead())
    console.print(scaling())


def overhead() -> Table:
    """The public calls of a small system beside the native code alone."""
    fn = unfold.compile(SMALL)
    params, x = fn.init(), np.random.default_rng(0).normal(size=STEPS)
    xs = np.tile(x, (8, 1))
    out = {"a": np.zeros(()), "b": np.zeros(())}
    rows: dict[str, tuple[float, float]] = {}
    for what, call, derived, batch in (
        ("fn(params, x=x)", lambda: fn(params, x=x), fn.compiler.value(), None),
        ("value_and_grad", lambda: fn.value_and_grad(params, x=x), _gradient(fn), None),
        ("value_and_grad, 8 sequences", lambda: fn.value_and_grad(params, x=xs), _gradient(fn), 8),
        (
            "value_and_grad, out=", lambda: fn.value_and_grad(params, x=x, out=out),
            _gradient(fn), None,
        ),
    ):  # fmt: skip
        rows[what] = typical(call), _native(derived, params, xs if batch else x, batch)
    table = Table(title=f"{STEPS} steps of a scalar recurrence, µs")
    for column in ("call", "in all", "native code", "beside it"):
        table.add_column(column, justify="left" if column == "call" else "right")
    for what, (all_, native) in rows.items():
        table.add_row(what, *(f"{1e6 * v:.2f}" for v in (all_, native, all_ - native)))
    jitted = _numba()
    if jitted is not None:
        a, b = 0.9, 0.3
        table.add_row("numba, values alone", f"{1e6 * typical(lambda: jitted(a, b, x)):.2f}")
    return table


def scaling() -> Table:
    """Value and gradient of an LSTM with more and more threads, measured in turn."""
    chance = np.random.default_rng(0)
    data: dict[str, Any] = {
        "x": chance.normal(size=(B, T, D)).astype(np.float32),
        "y": chance.normal(size=(B, T, H)).astype(np.float32),
    }
    cores = Options(threads="auto").workers
    counts = sorted({1, 2, cores} | {n for n in (4, 8, 16, 32) if n < cores})
    fns = [unfold.compile(LARGE, D=D, H=H, dtype="float32", threads=n) for n in counts]
    params = fns[0].init()
    times: list[list[float]] = [[] for _ in fns]
    for _ in range(2):
        for fn in fns:
            fn.value_and_grad(params, data)
    end = time.perf_counter() + 8 * SECONDS
    while time.perf_counter() < end:
        for fn, own in zip(fns, times, strict=True):
            start = time.perf_counter()
            fn.value_and_grad(params, data)
            own.append(time.perf_counter() - start)
    table = Table(title=f"LSTM, {B} sequences, T={T}, D={D}, H={H}, float32; {cores} cores")
    for column in ("threads", "ms", "faster"):
        table.add_column(column, justify="right")
    for n, own in zip(counts, times, strict=True):
        gain = median(times[0]) / median(own)
        table.add_row(str(n), f"{1e3 * median(own):.2f}", f"{gain:.2f}x")
    return table


def typical(call: Callable[[], Any]) -> float:
    """The median of many rounds of calls, in seconds a call."""
    for _ in range(5):
        call()
    found: list[float] = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(200):
            call()
        found.append((time.perf_counter() - start) / 200)
    return median(found)


def _gradient(fn: unfold.Function) -> Derived:
    return fn.compiler.gradient(tuple(fn.params), fn.program.losses)


def _native(derived: Derived, params: dict[str, Any], x: Any, batch: int | None) -> float:
    """Seconds of the native code of a call, called with the address of its record."""
    kernel = derived.kernel
    assert isinstance(kernel, Kernel)
    slot = kernel.new_slot({"T": STEPS}, batch)
    assert isinstance(slot, Slot)
    arrays = {**params, "x": x}
    results = [np.empty(shape, kind) for shape, kind in slot.shapes]
    slot.run([arrays[n] for n in slot.entry.given], results)
    run, address = slot.entry.run, slot.address
    return typical(lambda: run(address))


def _numba() -> Callable[..., Any] | None:
    try:
        import numba
    except ImportError:
        return None

    @numba.njit
    def forward(a, b, x):  # type: ignore[no-untyped-def]
        h = np.empty(len(x))
        last, loss = 0.0, 0.0
        for t in range(len(x)):
            last = a * last + b * x[t]
            h[t] = last
            loss += last * last
        return loss, h

    return forward


if __name__ == "__main__":
    main()
