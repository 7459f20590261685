"""Gradients in forward mode: one tangent for each component of what the gradient is taken in.

Reverse mode computes a gradient in any number of parameters by one sweep back, for which the steps
of the forward sweep are kept. Forward mode needs one run along each unit direction and keeps
nothing: for one scalar parameter it is less work, and its memory does not grow with the number of
steps. The directions run side by side, as a batch (Griewank and Walther, *Evaluating Derivatives*,
2008, section 3.1, "vector mode").
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiler import Compiler, Derived
from .errors import InputError
from .inputs import Call, Signature, bind
from .program import Output, Program
from .shortcut import Shortcut

Array = NDArray[Any]
MODES = ("auto", "forward", "reverse")
#: How many directions run side by side at most: what a run takes grows with them.
SIDE_BY_SIDE = 64


def is_chosen(compiler: Compiler, wrt: Sequence[str]) -> bool:
    """Whether the options of a compiled model ask for forward mode for a gradient in ``wrt``.

    ``"auto"`` takes it where it is no more work than reverse mode: the losses are added to one
    number, so ``wrt`` may have one component as well. Raises `InputError` where ``"forward"`` is
    asked for and impossible.
    """
    mode = compiler.options.mode
    if mode == "reverse":
        return False
    found = [compiler.declared.vars[n] for n in wrt]
    state = next((v.name for v in found if v.role == "variable"), None)
    if mode == "forward":
        if state is not None:
            raise InputError(
                f"wrt: {state} is a state, and forward mode moves inputs and parameters only; "
                'its gradient, the costate, needs mode="reverse" or "auto"'
            )
        return True
    if state is not None or len(found) != 1 or found[0].axes:
        return False
    return all(n.subs(compiler.sizes).constant == 1 for n in found[0].shape)


@dataclass(frozen=True)
class Tangents:
    """The tangents of the losses as a compiled program whose directions are inputs.

    Attributes:
        derived: it; its ``names`` map losses to their tangents.
        directions: the input that is the direction of each of ``wrt``.
        signature: what a call takes, which is all but the directions.
    """

    derived: Derived
    directions: dict[str, str]
    signature: Signature


def tangents(compiler: Compiler, wrt: tuple[str, ...], losses: tuple[str, ...]) -> Tangents:
    """What `value_and_grad` runs, made when it is first asked for."""

    def build() -> tuple[Program, dict[str, str]]:
        from .transform import tangent

        outputs = tuple(Output(n) for n in losses)
        result = tangent(compiler.differentiated.with_(outputs=outputs, losses=()), wrt)
        marked = {v.tangent_of: v.name for v in result.vars.values() if v.tangent_of}
        # Shared by the batch or not, a parameter's direction is each sequence's own.
        free = {marked[n]: replace(result.vars[marked[n]], role="input") for n in wrt}
        return result.with_(vars={**result.vars, **free}), {n: marked[n] for n in losses}

    derived = compiler.derive(("tangents", wrt, losses), build)
    marked = {v.tangent_of: v.name for v in derived.program.vars.values() if v.tangent_of}
    directions = {n: marked[n] for n in wrt}
    own = {n: s for n, s in derived.signature.specs.items() if n not in directions.values()}
    return Tangents(derived, directions, replace(derived.signature, specs=own, seen={}))


def shortcut(compiled: Tangents, reduce: str) -> Shortcut | None:
    """The shortest way through calls with a single sequence, for one loss and one number."""
    names, directions = compiled.derived.names, compiled.directions
    if len(names) != 1 or len(directions) != 1:
        return None
    (((loss, dot),), ((moved, direction),)) = names.items(), directions.items()
    if compiled.derived.program.vars[direction].shape:
        return None
    request = {"shown": {moved: dot}, "losses": (loss,), "reduce": reduce}
    one = np.ones((), compiled.signature.dtype)
    derived = replace(compiled.derived, signature=compiled.signature)
    return Shortcut(derived, request, fixed={direction: one})


def value_and_grad(
    compiled: Tangents,
    params: Mapping[str, Any],
    inputs: Mapping[str, Any],
    lengths: Any,
    draws: tuple[int, int],
) -> tuple[list[Array], dict[str, Array], Call]:
    """The losses, the gradients of their sum (over the batch as well, for parameters), and the
    checked call."""
    call = bind(compiled.signature, params, inputs, lengths, *draws)
    own = {n: s.role == "input" for n, s in compiled.signature.specs.items()}
    # One number for each component: of a parameter, or of an input of every sequence.
    skipped = {n: 1 if own[n] and call.batch is not None else 0 for n in compiled.directions}
    shapes = {n: call.arrays[n].shape[k:] for n, k in skipped.items()}
    width = sum(math.prod(s) for s in shapes.values())
    found: list[Array] = []
    losses: list[Array] = []
    for first in range(0, max(width, 1), SIDE_BY_SIDE):
        count = max(min(SIDE_BY_SIDE, width - first), 1)
        results = _run(compiled, call, shapes, first, count)
        moved = [results[dot] for dot in compiled.derived.names.values()]
        found.append(sum(moved[1:], start=moved[0]).reshape(count, call.batch or -1)
                     if call.batch != 0 else np.zeros((count, 0), moved[0].dtype))  # fmt: skip
        losses = losses or [
            results[n].reshape(count, *(() if call.batch is None else (call.batch,)))[0]
            for n in compiled.derived.names
        ]
    rows = np.concatenate(found)
    grads: dict[str, Array] = {}
    start = 0
    for n, shape in shapes.items():
        size = math.prod(shape)
        part = rows[start : start + size]
        start += size
        grads[n] = (
            np.ascontiguousarray(part.T).reshape(call.arrays[n].shape)
            if skipped[n]
            else part.sum(axis=1).reshape(shape)
        )
    return losses, grads, call


def _run(
    compiled: Tangents, call: Call, shapes: Mapping[str, tuple[int, ...]], first: int, count: int
) -> dict[str, Array]:
    """One run along the unit directions ``first``, ``first + 1``, …, as a batch of them all."""
    specs = compiled.derived.signature.specs
    batch = call.batch
    alone = batch is None and count == 1
    rows = count * (1 if batch is None else batch)

    def side_by_side(name: str, a: Array) -> Array:
        if alone or specs[name].role == "param" or count == 1:
            return a
        once = a[None] if batch is None else a
        return np.ascontiguousarray(np.tile(once, (count,) + (1,) * (once.ndim - 1)))

    arrays = {n: side_by_side(n, a) for n, a in call.arrays.items()}
    start = -first
    for n, shape in shapes.items():
        size = math.prod(shape)
        units = np.zeros((count, 1 if batch is None else batch, size), call.arrays[n].dtype)
        for k in range(max(0, start), min(count, start + size)):
            units[k, :, k - start] = 1
        start += size
        units = units.reshape(shape if alone else (rows, *shape))
        arrays[compiled.directions[n]] = units
    ragged = None if call.ragged is None else np.tile(call.ragged, count)
    kernel = compiled.derived.kernel
    return kernel(arrays, call.lengths, None if alone else rows, ragged)


__all__ = ["MODES", "Tangents", "is_chosen", "tangents", "value_and_grad"]
