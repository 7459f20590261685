"""Sizes read off the arrays of a call, so that a command line need not repeat them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .poly import Poly
from .program import Program


def inferred_sizes(
    program: Program, arrays: Mapping[str, Any], stated: Mapping[str, float]
) -> dict[str, float]:
    """``stated`` and the sizes that the arrays of parameters and inputs tell.

    Where arrays contradict each other the first one counts; the call that follows says so.
    """
    known: dict[str, float] = dict(stated)
    pending: list[tuple[Poly, int]] = []
    for v in (*program.params, *program.inputs):
        if v.name in arrays:
            # The components are the last axes, whether or not there is a batch.
            shape = np.shape(arrays[v.name])
            count = len(v.shape)
            if len(shape) >= count:
                pending += zip(v.shape, shape[len(shape) - count :], strict=True)
    progress = True
    while progress:
        progress = False
        for declared, actual in pending:
            rest = declared.subs({n: int(k) for n, k in known.items() if n in program.sizes})
            symbol = next(iter(rest.symbols), None)
            if symbol is None or len(rest.symbols) > 1 or not rest.is_affine:
                continue
            value, remainder = divmod(actual - rest.offset, rest.coefficient(symbol))
            if not remainder and value >= 1:
                known[symbol] = value
                progress = True
    return known
