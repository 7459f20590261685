"""How parameters start: the initialisers of a `.rec` file as arrays.

Each parameter draws from its own generator, seeded by the seed and its name, so that adding,
removing or reordering parameters changes no other.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .noise import whole_seed
from .program import Init, Program, Var

Array = NDArray[Any]


def initial_params(
    program: Program,
    seed: int = 0,
    lengths: Mapping[str, int] | None = None,
    dtype: Any = "float64",
) -> dict[str, Array]:
    """An array for every parameter of a bound program, by name, in order of declaration.

    A parameter on an axis draws each of its positions on its own. Raises `InputError` when an axis
    has a length that ``lengths`` does not give, or the seed is no whole
    number from 0 on.
    """
    # As the names that a program's text has, which dicts find without looking at their letters.
    return {sys.intern(v.name): initial(v, seed, lengths or {}, dtype) for v in program.params}


def initial(v: Var, seed: int, lengths: Mapping[str, int], dtype: Any = "float64") -> Array:
    """The start of one parameter; shape: the axes' entries, then the components."""
    axes = []
    for axis in v.axes:
        count = axis.hi - axis.lo + 1
        missing = sorted(count.symbols - set(lengths))
        if missing:
            name = missing[0]
            given = f"{name}=3" if name.isidentifier() else f'**{{"{name}": 3}}'
            raise InputError(f"{v.name} has {count} entries: give {name} as a keyword, `{given}`")
        axes.append(max(0, count.evaluate(lengths)))
    shape = tuple(n.evaluate({}) for n in v.shape)
    generator = np.random.default_rng([whole_seed(seed), *v.name.encode()])
    result = np.empty((*axes, *shape))
    for at in product(*map(range, axes)):
        result[at] = draw(v.init or Init(), shape, generator)
    return result.astype(np.dtype(dtype) if v.type.kind == "real" else np.int64)


def draw(init: Init, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """One array by the initialiser's rule."""
    if init.kind == "normal":
        return generator.normal(0.0, init.value, shape)
    if init.kind == "uniform":
        return generator.uniform(-init.value, init.value, shape)
    if init.kind == "glorot":
        return _glorot(shape, generator)
    if init.kind == "orthogonal":
        return _orthogonal(shape, generator)
    return np.broadcast_to(np.asarray(init.value, dtype=float), shape)


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many numbers come in and go out of a product with the array (rows out, columns in)."""
    if len(shape) < 2:
        return math.prod(shape), 1
    return shape[-1], math.prod(shape[:-1])


def _glorot(shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """Uniform with variance 2 / (in + out): Glorot and Bengio, "Understanding the difficulty of
    training deep feedforward neural networks", 2010."""
    half = math.sqrt(6.0 / max(1, sum(_fans(shape))))
    return generator.uniform(-half, half, shape)


def _orthogonal(shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """Orthonormal rows or columns: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear
    dynamics of learning in deep linear neural networks", 2014."""
    if len(shape) < 2:
        vector = generator.normal(size=shape)
        return vector / np.linalg.norm(vector) if vector.size else vector
    rows, columns = math.prod(shape[:-1]), shape[-1]
    tall = generator.normal(size=(max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    # With these signs the distribution is uniform (Mezzadri 2007).
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    return (q if rows >= columns else q.T).reshape(shape)
