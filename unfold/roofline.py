"""How fast a compiled model runs, beside what the machine could do.

A roofline (Williams, Waterman and Patterson, *Communications of the ACM* 52 (4), 2009) bounds the
operations a second by the peak of the arithmetic units and by the bytes that memory delivers times
the operations done on each.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from .cost import Costs, Side
from .function import Function
from .gradcheck import random_arrays


@dataclass(frozen=True)
class Speed:
    """One kind of call.

    Attributes:
        seconds: of a call, the median of many, with Python's share.
        side: what is counted from the equations.
        flops: operations a second that were reached.
        share: of the arithmetic peak.
        bound: what the roofline says is the limit, ``"arithmetic"`` or ``"memory"``.
        roof: operations a second that the roofline allows.
    """

    seconds: float
    side: Side
    flops: float
    share: float
    bound: str
    roof: float


@dataclass(frozen=True)
class Bench:
    """What `bench` found.

    Attributes:
        compile: seconds from the model to the first gradient (or value, without a loss).
        costs: the bill.
        value, gradient: the calls; no gradient without a loss.
        peak_flops, bandwidth: of the machine, all threads that were asked for together.
        threads: how many.
    """

    compile: float
    costs: Costs
    value: Speed
    gradient: Speed | None
    peak_flops: float
    bandwidth: float
    threads: int


def bench(
    fn: Function, lengths: Mapping[str, int], batch: int | None = None, seconds: float = 0.5
) -> Bench:
    """Time a function on random data.

    Args:
        fn: as compiled; what it was compiled before is not timed again.
        lengths: every length of the model.
        batch: how many sequences; ``None`` for one without a batch axis.
        seconds: how long each kind of call is repeated, three times at least.

    Raises:
        InputError: as `Function.cost`.
    """
    costs = fn.cost(1 if batch is None else batch, **lengths)
    generator = np.random.default_rng(0)
    arrays = random_arrays(fn.program, costs.lengths, generator, batch)
    dtype = fn.options.dtype
    arrays = {n: a.astype(dtype) if a.dtype.kind == "f" else a for n, a in arrays.items()}
    params = {n: arrays[n] for n in fn.params}
    inputs: dict[str, Any] = {n: arrays[n] for n in fn.inputs}
    inputs |= _unseen(fn, costs.lengths)

    def value() -> Any:
        return fn(params, inputs)

    def gradient() -> Any:
        return fn.value_and_grad(params, inputs)

    start = time.perf_counter()
    (value if costs.gradient is None else gradient)()
    compiled = time.perf_counter() - start
    machine = importlib.import_module("unfold.backends.llvm.peak").peak(dtype)
    flops, bandwidth = machine.flops * fn.options.workers, machine.bandwidth
    sides = [(value, costs.forward), (gradient, costs.gradient)]
    first, second = (
        None if side is None else speed(typical(call, seconds), side, flops, bandwidth)
        for call, side in sides
    )
    assert first is not None
    return Bench(compiled, costs, first, second, flops, bandwidth, fn.options.workers)


def speed(seconds: float, side: Side, peak: float, bandwidth: float) -> Speed:
    """A time set beside the roofline."""
    by_memory = side.intensity * bandwidth
    reached = side.work.flops / seconds
    bound = "arithmetic" if peak <= by_memory else "memory"
    return Speed(seconds, side, reached, reached / peak, bound, min(peak, by_memory))


def typical(call: Callable[[], Any], seconds: float) -> float:
    """The median time of warm calls."""
    call()
    times: list[float] = []
    total = 0.0
    while len(times) < 3 or total < seconds:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
        total += times[-1]
    return median(times)


def _unseen(fn: Function, lengths: Mapping[str, int]) -> dict[str, int]:
    """The lengths that no array of a call tells."""
    told = {
        s
        for v in (*fn.program.params, *fn.program.inputs)
        for a in v.axes
        for s in a.lo.symbols | a.hi.symbols
    }
    return {n: k for n, k in lengths.items() if n not in told}
