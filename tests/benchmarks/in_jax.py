"""The gallery in JAX: every example as a loss of parameters and inputs, in all ways that we have.

- ``translated``: what `tests.benchmarks.translate` makes of the example's text,
- ``apart``: the same without putting loops together, where that makes a difference,
- ``by hand``: the twins of some examples, written by hand before there was a translation, and the
  dynamic programmes over two positions, for which there is none.

Where a figure stands for JAX it is that of the fastest of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from unfold.gradcheck import random_arrays
from unfold.program import Program

Loss = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]
Arrays = dict[str, Any]

#: Where all lengths at their usual number would be no task: a label as long as the signal has no
#: path if a letter is repeated, and a stack is not as deep as its sequence is long.
SHORT = {"ctc": {"L": 10}, "deep_stack": {"L": 4}}
#: By what parameters drawn at random are multiplied, so that an equation has one solution and
#: repeating it comes close to that where the steps become small.
SMALL = {"hopfield": 0.3}


def lengths_of(program: Program, steps: int) -> dict[str, int]:
    """A number for each run-time length."""
    return {**dict.fromkeys(program.lengths, steps), **SHORT.get(program.name, {})}


def arrays_of(
    program: Program, lengths: Mapping[str, int], dtype: str, batch: int | None = None
) -> tuple[Arrays, Arrays]:
    """Parameters and inputs of a bound program, drawn at random."""
    arrays = random_arrays(program, lengths, np.random.default_rng(0), batch)
    arrays = {n: a.astype(dtype) if a.dtype.kind == "f" else a for n, a in arrays.items()}
    params = {v.name: arrays[v.name] for v in program.params}
    if program.name in SMALL:
        params = {n: a * a.dtype.type(SMALL[program.name]) for n, a in params.items()}
    return params, {v.name: arrays[v.name] for v in program.inputs}


def variants(program: Program, lengths: Mapping[str, int]) -> dict[str, Loss]:
    """All ways to write a bound program in JAX, by what they are called."""
    from .scans import losses
    from .tables import TABLES
    from .translate import Untranslated, compiled, source
    from .twins import TWINS

    found: dict[str, Loss] = {}
    name = program.name
    try:
        texts = {"translated": source(program, lengths), "apart": source(program, lengths, False)}
        if texts["apart"][0] == texts["translated"][0]:
            del texts["apart"]
        found |= {way: compiled(*text) for way, text in texts.items()}
    except Untranslated:
        pass
    if name in TABLES:
        found["by hand"] = TABLES[name]
    elif name in TWINS:
        found["by hand"] = lambda p, i: TWINS[name]({**p, **i})
    elif name in losses():
        found["by hand"] = lambda p, i: losses()[name]({**p}, {**i})
    return found


def agree(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Raise ``AssertionError`` if gradients in float32 are not the same."""
    for n, g in theirs.items():
        largest = float(np.abs(g).max())
        np.testing.assert_allclose(ours[n], g, rtol=0, atol=2e-3 * largest + 2e-6, err_msg=n)
