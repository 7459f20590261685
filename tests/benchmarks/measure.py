"""What is measured of one model: its way from text to first gradient, and each call after."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import unfold
import unfold.backends.llvm
from unfold.gradcheck import random_arrays

# Sizes by their names in the examples; any other is FALLBACK.
SIZES = {"D": 8, "H": 16, "K": 4}
FALLBACK = 8
SECONDS = 0.3  # for the calls of one length


@dataclass(frozen=True)
class Timing:
    """One model at one number of steps.

    Attributes:
        compile: seconds from the text to the end of the first gradient, without Python's imports.
        call: seconds of value and gradient, the median over many calls.
    """

    model: str
    steps: int
    sizes: dict[str, int]
    compile: float
    call: float


def measure(path: Path, steps: int, dtype: str, threads: int) -> Timing:
    """Time a model; cold only in a process that has compiled nothing."""
    start = time.perf_counter()
    model = unfold.load(path)
    sizes = {name: SIZES.get(name, FALLBACK) for name in model.sizes}
    fn = unfold.compile(model, sizes=sizes, dtype=dtype, threads=threads)
    elapsed = time.perf_counter() - start

    lengths = dict.fromkeys(model.program.lengths, steps)
    arrays = random_arrays(fn.program, lengths, np.random.default_rng(0))
    params = {name: arrays[name] for name in fn.params}
    inputs: dict[str, Any] = {name: arrays[name] for name in fn.inputs}

    def call() -> Any:
        return fn.value_and_grad(params, **inputs)

    start = time.perf_counter()
    call()
    elapsed += time.perf_counter() - start
    return Timing(model.name, steps, sizes, elapsed, typical(call))


def typical(call: Callable[[], Any]) -> float:
    """The median of as many calls as fit in SECONDS, and of five at least."""
    times: list[float] = []
    while len(times) < 5 or sum(times) < SECONDS:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return median(times)
