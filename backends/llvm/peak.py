"""What the machine can do at most, measured: the two lines of a roofline.

Williams, Waterman and Patterson, *Roofline: an insightful visual performance model for multicore
architectures*, Communications of the ACM 52 (4), 2009.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .body import DOUBLE, FLOAT, INT, POINTER, VOID, Body, Type, Value, define
from .ir import Module
from .jit import HostTarget, Library, compile_ir, host

#: Fused multiply-adds of one round: two a cycle with a latency of four or five want eight to ten.
_CHAINS = 12
_ROUNDS = 20_000
#: Bytes of each of the two arrays that are copied: larger than a cache.
_COPIED = 1 << 26


@dataclass(frozen=True)
class Peak:
    """Of one core.

    Attributes:
        flops: floating-point operations a second, from fused multiply-adds on registers.
        bandwidth: bytes a second, read and written, of a copy between large arrays.
    """

    flops: float
    bandwidth: float


def peak(dtype: str, seconds: float = 0.1) -> Peak:
    """Measure one core of this machine for ``"float32"`` or ``"float64"``, ``seconds`` for each of
    the two figures."""
    return Peak(flops(dtype, seconds), bandwidth(seconds))


def flops(dtype: str, seconds: float) -> float:
    """Floating-point operations a second at most: the best of many tries in ``seconds``."""
    library = _compiled(dtype)
    run = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(library.address("multiply"))
    lanes = host().lanes(dtype)
    result = np.zeros(lanes, dtype)
    return 2 * lanes * _CHAINS * _ROUNDS / _best(lambda: run(_ROUNDS, result.ctypes.data), seconds)


def bandwidth(seconds: float) -> float:
    """Bytes a second at most, read and written: the best of many tries in ``seconds``."""
    source, sink = np.zeros(_COPIED, np.uint8), np.ones(_COPIED, np.uint8)
    return 2 * _COPIED / _best(lambda: np.copyto(sink, source), seconds)


def _best(action: Callable[[], object], seconds: float) -> float:
    best, start = float("inf"), time.perf_counter()
    while best == float("inf") or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - before)
    return best


@lru_cache
def _compiled(dtype: str) -> Library:
    target = host()
    kind = FLOAT if dtype == "float32" else DOUBLE
    return compile_ir(_loop(kind, target.lanes(dtype), target))


def _loop(element: Type, lanes: int, target: HostTarget) -> str:
    """The IR of ``multiply(rounds, out)``: chains of x = x * a + b that nothing can shorten."""
    module = Module(target)
    kind = Type(element.element, lanes)

    def write(b: Body) -> Value | None:
        rounds, out = b.args
        # What is loaded is not known to the compiler.
        a = b.load(out, kind)
        chains = [b.const(kind, float(n)) for n in range(_CHAINS)]
        ends = b.loop(rounds, chains, lambda _i, xs: [b.madd(x, a, a) for x in xs])
        total = ends[0]
        for x in ends[1:]:
            total = total + x
        b.store(total, out)
        return None

    define(module, "multiply", VOID, (INT, POINTER), write, linkage="")
    return str(module)
