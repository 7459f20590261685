"""How far the native functions are from the truth, in units of the last place.

``python -m tests.backends.accuracy [samples]`` prints the table: each function in both formats, the
largest error found against mpmath, and where.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray

from unfold.backends.llvm import ir, jit, vecmath
from unfold.backends.llvm.body import INT, POINTER, SCALAR, VOID, Body, Type, Value, define

Array = NDArray[Any]

#: Functions of one operand: where to sample densely, and the exact function.
UNARY: dict[str, tuple[tuple[float, float], Callable[[Any], Any]]] = {
    "exp": ((-750, 712), mpmath.exp),
    "expm1": ((-40, 712), mpmath.expm1),
    "log": ((0, 10), mpmath.log),
    "log1p": ((-1, 10), mpmath.log1p),
    "tanh": ((-20, 20), mpmath.tanh),
    "sigmoid": ((-750, 40), lambda x: 1 / (1 + mpmath.exp(-x))),
    "softplus": ((-750, 40), lambda x: mpmath.log1p(mpmath.exp(x))),
    "sqrt": ((0, 10), mpmath.sqrt),
    "sin": ((-1e5, 1e5), mpmath.sin),
    "cos": ((-1e5, 1e5), mpmath.cos),
    "tan": ((-1e5, 1e5), mpmath.tan),
    "sinh": ((-712, 712), mpmath.sinh),
    "cosh": ((-712, 712), mpmath.cosh),
    "asin": ((-1, 1), mpmath.asin),
    "acos": ((-1, 1), mpmath.acos),
    "atan": ((-10, 10), mpmath.atan),
    "erf": ((-6, 6), mpmath.erf),
}


@lru_cache(maxsize=256)
def native(
    name: str, dtype: str, lanes: int, vector_bytes: int = 64, operands: int = 1
) -> Callable[..., Array]:
    """The function ``name`` as one of arrays, compiled for vectors of so many lanes.

    ``vector_bytes`` is the width of the registers of the machine that code is made for (at most
    those that this one has).
    """
    target = jit.host().narrow(vector_bytes)
    module = ir.Module(target)
    element = SCALAR[dtype]
    kind = Type(element.element, lanes)

    def write(b: Body) -> None:
        count, *pointers = b.args

        def step(i: Value, _: list[Value]) -> list[Value]:
            values = [b.load(b.at(p, i, element), kind) for p in pointers[:-1]]
            result = b.wrap(vecmath.emit(b.f, name, *values))
            b.store(result, b.at(pointers[-1], i, element))
            return []

        b.loop(count, [], step, by=lanes)

    define(module, "run", VOID, (INT, *[POINTER] * (operands + 1)), write, linkage="")
    library = jit.compile_ir(str(module), target=target)
    address = library.address("run")
    run = ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * (operands + 1))(address)

    def call(*arrays: Array) -> Array:
        count = len(arrays[0])
        room = -(-count // lanes) * lanes
        padded = [np.ones(room, dtype) for _ in arrays]
        for to, given in zip(padded, arrays, strict=True):
            to[:count] = given
        result = np.empty(room, dtype)
        run(room, *(a.ctypes.data for a in padded), result.ctypes.data)
        assert library is not None  # the code lives as long as this function
        return result[:count]

    return call


def samples(name: str, dtype: str, count: int, seed: int = 0) -> Array:
    """Arguments: dense where the function is interesting, and of all magnitudes."""
    rng = np.random.default_rng(seed)
    (low, high), _ = UNARY[name]
    if dtype == "float32":
        low, high = max(low, -110), min(high, 110)
    info = np.finfo(dtype)
    exponents = rng.integers(info.minexp - info.nmant, info.maxexp, count)
    signs = rng.choice([-1, 1], count)
    parts = [
        rng.uniform(low, high, count),
        rng.uniform(max(low, -2), min(high, 2), count),
        rng.uniform(max(low, -10), min(high, 10), count),
        np.ldexp(rng.uniform(1, 2, count), exponents) * signs,
        np.ldexp(rng.uniform(1, 2, count), rng.integers(-30, 8, count))
        * rng.choice([-1, 1], count),
    ]
    x = np.concatenate(parts).astype(dtype)
    return x[[_is_real(name, float(v)) for v in x]]


def _is_real(name: str, x: float) -> bool:
    limits = {"log": x > 0, "log1p": x > -1, "sqrt": x >= 0}
    if name in ("asin", "acos"):
        return abs(x) <= 1
    return limits.get(name, True)


def exact(function: Callable[..., Any], *arrays: Array) -> list[Any]:
    """The true values, to some 50 digits more than a double has."""
    with mpmath.workprec(220):
        return [
            function(*(mpmath.mpf(float(v)) for v in values))
            for values in zip(*arrays, strict=True)
        ]


def errors(got: Array, truth: list[Any]) -> Array:
    """The distance of each result from the truth in units of the last place of the truth."""
    info = np.finfo(got.dtype)
    smallest = mpmath.ldexp(1, info.minexp - info.nmant)
    largest = mpmath.mpf(float(info.max))
    found = []
    with mpmath.workprec(220):
        for g, t in zip(got, truth, strict=True):
            if abs(t) > largest:
                # Beyond the format: infinity, or the largest number where t rounds to it.
                t = mpmath.sign(t) * (largest + mpmath.ldexp(1, info.maxexp - 1 - info.nmant))
                found.append(0.0 if np.isinf(g) and np.sign(g) == mpmath.sign(t) else np.inf)
                continue
            exponent = mpmath.frexp(t)[1] - 1 if t else info.minexp
            unit = max(mpmath.ldexp(1, int(exponent) - info.nmant), smallest)
            found.append(float(abs(mpmath.mpf(float(g)) - t) / unit) if np.isfinite(g) else np.inf)
    return np.array(found)


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f"{'':10}{'float32':>26}{'float64':>30}")
    for name, (_, function) in UNARY.items():
        line = f"{name:10}"
        for dtype in ("float32", "float64"):
            x = samples(name, dtype, count)
            found = errors(native(name, dtype, 8)(x), exact(function, x))
            worst = int(np.argmax(found))
            line += f"{found[worst]:8.3f} at {x[worst]!s:<18} "
        print(line)


if __name__ == "__main__":
    main()
