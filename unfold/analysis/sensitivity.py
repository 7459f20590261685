"""The derivative of an element in whole sequences: rows of Jacobians, by the adjoint.

Works for every model that has a gradient, whatever runs in which direction: the element's adjoint
is that of ``seed · element`` with ``seed`` an input, and all of its seeds run side by side, as a
batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..inputs import bind
from ..jacobian import Element, with_probe
from ..program import Program
from ..transform import adjoint
from ..transform.adjoint import full_output
from .run import Run

Array = NDArray[Any]
#: How many seeds run side by side.
SIDE_BY_SIDE = 16


def sensitivities(
    run: Run, of: str, wrt: Sequence[str]
) -> tuple[dict[str, Array], tuple[int, ...]]:
    """d of / d v for each variable v of ``wrt``, and the shape of ``of``.

    Args:
        of: ``"h[T]"``, ``"loss"``, ``"y"`` (all steps), ``"h[:, T]"``.
        wrt: variables of any role.

    Returns:
        For each an array of shape (components of ``of``, shape of v over its steps).

    Raises `InputError`.
    """
    element = Element.of(of, run.program)
    key = ("sensitivities", element, tuple(wrt))

    def build() -> tuple[Program, dict[str, str]]:
        probed, seed, probe = with_probe(run.program, element)
        result = adjoint(probed.with_(outputs=()), list(wrt), [probe])
        shown = {o.name for o in result.outputs}
        by_mark = {v.adjoint_of: v.name for v in result.vars.values() if v.name in shown}
        bars = {n: by_mark[n] for n in wrt}
        outputs = tuple(o for o in result.outputs if o.name in bars.values())
        return result.with_(outputs=outputs), {
            "seed": seed,
            **{f"d {n}": b for n, b in bars.items()},
        }

    derived = run.fn.compiler.derive(key, build)
    seed = derived.names["seed"]
    own = replace(
        derived.signature,
        specs={n: s for n, s in derived.signature.specs.items() if n != seed},
        seen={},
    )
    call = bind(own, run.params, run.data, None, run.seed)
    if call.batch is not None:
        raise InputError("an analysis is of one sequence, not of a batch")
    _check_range(run.program, element, of, call.lengths)
    shape = tuple(d.evaluate(call.lengths) for d in derived.signature.specs[seed].dims)
    width = int(np.prod(shape, initial=1))
    rows: dict[str, list[Array]] = {n: [] for n in wrt}
    for first in range(0, width, SIDE_BY_SIDE):
        count = min(SIDE_BY_SIDE, width - first)
        units = np.zeros((count, width), run.fn.options.dtype)
        units[np.arange(count), first + np.arange(count)] = 1
        arrays = {
            n: a
            if derived.signature.specs[n].role == "param"
            else np.ascontiguousarray(np.broadcast_to(a, (count, *a.shape)))
            for n, a in call.arrays.items()
        }
        arrays[seed] = units.reshape(count, *shape)
        results = derived.kernel(arrays, call.lengths, count, None)
        for n in wrt:
            rows[n].append(np.asarray(results[derived.names[f"d {n}"]], dtype=float))
    return {n: np.concatenate(parts) for n, parts in rows.items()}, shape


def _check_range(program: Program, element: Element, of: str, lengths: Mapping[str, int]) -> None:
    ranges = full_output(program, element.name).ranges
    for p, (lo, hi) in zip(element.index, ranges, strict=True):
        if p is not None:
            k, first, last = p.evaluate(lengths), lo.evaluate(lengths), hi.evaluate(lengths)
            if not first <= k <= last:
                raise InputError(f"{of}: {k} lies outside {first}..{last}")
