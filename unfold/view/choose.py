"""What the page shows a model at work on: sizes, lengths, parameters and data.

What is not given is chosen small, and every choice is written down in a note that the page and the
terminal show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..api import compile
from ..errors import InputError
from ..function import Function
from ..gradcheck import random_arrays
from ..inputs import listed, nearest
from ..program import Program
from ..sizes import inferred_sizes

Array = NDArray[Any]

#: Sizes that are not given, one after the other: small, and different, to tell them apart.
SMALL = (3, 4, 5, 2, 6, 7, 8, 9)
#: Lengths that are not given.
STEPS = 6


@dataclass(frozen=True)
class Setting:
    """A compiled model with one sequence to run.

    Attributes:
        function: compiled for native code.
        params, data: arrays by name; ``data`` has the lengths that no array fixes.
        vocabulary: the text of each token, if the parameters' metadata says it.
        seed: of what was drawn.
        notes: what was chosen because it was not given, in sentences.
    """

    function: Function
    params: dict[str, Array]
    data: dict[str, Any]
    vocabulary: tuple[str, ...] | None
    seed: int
    notes: tuple[str, ...]


def choose(
    program: Program,
    params: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    *,
    sizes: Mapping[str, float] | None = None,
    steps: int | None = None,
    seed: int = 0,
) -> Setting:
    """Complete what was given of a run.

    Args:
        params: all parameters (``metadata`` of what `unfold.load_params` reads names the sizes and
            the vocabulary), or none.
        data: all inputs, for one sequence or for a batch, whose first sequence is taken.
        sizes: sizes, constants and lengths by name.
        steps: every length that is not given (default 6).

    Raises:
        InputError: an unknown name, an input or parameter that is missing beside others.
    """
    metadata: Mapping[str, Any] = getattr(params, "metadata", None) or {}
    given = {**(sizes or {})}
    lengths = {n: _length(n, given.pop(n)) for n in list(given) if n in program.lengths}
    if steps is not None and steps < 1:
        raise InputError(f"steps is a positive number, not {steps}")
    notes: list[str] = []
    arrays, known = _arrays(program, params, data, notes)
    stated = {
        n: v for n, v in dict(metadata.get("sizes") or {}).items() if n in program.sizes
    } | given  # fmt: skip
    found = inferred_sizes(program, {**known, **arrays}, stated)
    chosen: dict[str, int] = {}
    small = iter(n for n in (*SMALL, *range(10, 99)) if n not in found.values())
    for name in program.sizes:
        if name not in found:
            chosen[name] = next(small)
    function = compile(program, sizes={**found, **chosen})
    free = _free_lengths(program, {**known, **arrays}, lengths)
    for name in free:
        # A length that is shown step by step; one that is required to be longer than that is.
        lengths[name] = max(steps or STEPS, program.minimum.get(name, 1))
    if chosen:
        notes.append("Sizes were not given: " + ", ".join(f"{n} = {k}" for n, k in chosen.items()))
    drawn = [v for v in program.inputs if v.name not in arrays and v.noise is None]
    if drawn:
        generator = np.random.default_rng(seed)
        random = random_arrays(function.program, {**_all_lengths(program), **lengths}, generator)
        arrays |= {v.name: random[v.name] for v in drawn}
        names = listed([v.name for v in drawn])
        notes.append(f"Data were not given: {names} drawn at random, seed {seed}")
    if program.params and not known:
        known = function.init(seed, **lengths)
        notes.append(f"Parameters were not given: initial ones, seed {seed}")
    return Setting(
        function,
        {n: np.asarray(a) for n, a in known.items()},
        {**arrays, **{n: lengths[n] for n in _unfixed(program, lengths)}},
        _vocabulary(metadata),
        seed,
        tuple(notes),
    )


def _length(name: str, value: float) -> int:
    if isinstance(value, bool) or value != int(value) or value < 1:
        raise InputError(f"{name} is a length: a positive integer, not {value!r}")
    return int(value)


def _arrays(
    program: Program,
    params: Mapping[str, Any] | None,
    data: Mapping[str, Any] | None,
    notes: list[str],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The given inputs of one sequence, and the given parameters."""
    held = {**(params or {}), **(data or {})}
    own = {v.name for v in program.params}
    known = {n: a for n, a in held.items() if n in own}
    arrays = {n: np.asarray(a) for n, a in held.items() if n not in own}
    ragged = arrays.pop("lengths", None) if "lengths" not in program.vars else None
    inputs = {v.name: v for v in program.inputs}
    for name in arrays:
        if name not in inputs:
            raise InputError(f"{program.name} has no input or parameter {name}"
                             f"{nearest(name, [*inputs, *own])}")  # fmt: skip
    for what, some, all_ in (
        ("parameters", known, own),
        ("inputs", arrays, {n for n, v in inputs.items() if v.noise is None}),
    ):
        missing = sorted(all_ - set(some))
        if some and missing:
            raise InputError(f"some {what} are given, and {listed(missing)} missing")
    wide = [n for n, a in arrays.items() if a.ndim == len(inputs[n].axes + inputs[n].shape) + 1]
    if wide and len(wide) == len(arrays):
        count = len(arrays[wide[0]])
        if count == 0:
            raise InputError("the data are a batch of no sequences")
        notes.append(f"The data are a batch of {count}: the first sequence is shown")
        arrays = {n: a[0] for n, a in arrays.items()}
        if ragged is not None:
            end = int(np.ravel(ragged)[0])
            arrays = {
                n: a[:end] if any("T" in x.hi.symbols for x in inputs[n].axes[:1]) else a
                for n, a in arrays.items()
            }
    return dict(arrays), known


def _free_lengths(
    program: Program, arrays: Mapping[str, Any], lengths: Mapping[str, int]
) -> list[str]:
    """The lengths that neither an array nor a number tells."""
    told = {
        s for v in (*program.inputs, *program.params) if v.name in arrays
        for a in v.axes for s in a.lo.symbols | a.hi.symbols
    }  # fmt: skip
    return [n for n in program.lengths if n not in told and n not in lengths]


def _all_lengths(program: Program) -> dict[str, int]:
    return {n: max(STEPS, program.minimum.get(n, 1)) for n in program.lengths}


def _unfixed(program: Program, lengths: Mapping[str, int]) -> list[str]:
    """The lengths that a call has to be told beside its arrays."""
    fixed = {
        s for v in (*program.inputs, *program.params) if v.noise is None for a in v.axes
        for s in a.lo.symbols | a.hi.symbols
    }  # fmt: skip
    return [n for n in lengths if n not in fixed]


def _vocabulary(metadata: Mapping[str, Any]) -> tuple[str, ...] | None:
    words = metadata.get("vocabulary")
    return tuple(map(str, words)) if words else None
