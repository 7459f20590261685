"""The step of an optimiser's recurrence, compiled, on flat buffers.

before:  w[t,k] = w[t-1,k] - rate[t] * g[t,k]       (a `.rec` model over the steps of training)
after:   an update in native code: g, rate -> the next w, in place
requires: the names of `unfold.train.optimisers`, and a model that runs one step at a time.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..api import compile, loads
from ..compiler import Derived
from ..errors import InputError
from ..expr import names
from ..function import Function
from ..inputs import listed
from ..program import Program
from ..stepper import Stepper
from ..streaming import State
from ..transform import simplify

Array = NDArray[Any]
#: Keys of a trainer's state beside those of the optimiser.
RESERVED = ("param", "steps")


@dataclass(frozen=True)
class Carried:
    """A state of an optimiser: ``values[k]`` is the one of k+1 steps ago.

    ``pair`` is the number of the update's pair that holds the first one, if it changes places.
    """

    name: str
    values: tuple[Array, ...]
    pair: int | None


@dataclass(frozen=True)
class Recurrence:
    """An optimiser at work.

    Attributes:
        update: its native step, see `unfold.backends.llvm.update.Update`.
        weights, gradient: flat, of all entries.
        carried: its states beside the weights.
    """

    update: Any
    weights: Array
    gradient: Array
    carried: tuple[Carried, ...]

    def states(self) -> dict[str, tuple[Array, ...]]:
        """The buffers of the states at this moment, by variable, the most recent first."""
        return {
            c.name: c.values if c.pair is None else (self.update.current(c.pair), *c.values[1:])
            for c in self.carried
        }


def recurrence(
    model: Any,
    constants: dict[str, float],
    weights: Array,
    decay: Array,
    clip_norm: float,
    clip_value: float,
) -> Recurrence:
    """Compile an optimiser for entries that start as ``weights``, which it changes in place.

    Raises `InputError` for a model that is no optimiser.
    """
    dtype = weights.dtype
    fn = _function(model, constants, dtype.name)
    length = _checked(fn.program)
    given = {"decay": decay} if "decay" in fn.inputs else {}
    if not given and decay.any():
        raise InputError(f"{fn.program.name} has no input decay[k], so weights cannot decay")
    start = Stepper(fn, {"w0": weights}, given).state
    states, derived = _step(fn)
    kernel: Any = derived.kernel
    gradient = np.zeros_like(weights)
    rate, clock = np.zeros((), dtype), np.zeros((), np.int64)
    arrays: dict[str, Array] = {"g": gradient, "rate": rate, "decay": decay}
    shapes = kernel.shapes({length: weights.size}, None)
    results = {n: np.zeros(shape, kind) for n, (shape, kind) in shapes.items()}
    carried: list[Carried] = []
    pairs: list[tuple[str, str]] = []
    moves: list[tuple[Array, Array]] = []
    if "w0" in derived.signature.specs:
        # Steps that look back to the start, which the weights have left.
        arrays["w0"] = weights.copy()
        carried.append(Carried("w0", (arrays["w0"],), None))
    if "w" in results:
        moves.append((weights, results["w"]))
    for state in states:
        if state.variable == fn.step_program().clock:
            arrays[state.names[0]] = clock
            continue
        values = [np.array(a, order="C") for a in start[state.variable]]
        pair = None
        if state.variable == "w":
            values[0] = weights
        elif len(values) == 1:
            pair = len(pairs)
            pairs.append((state.names[0], state.newest))
        if pair is None:
            newer = [results[state.newest], *values[:-1]]
            moves += list(zip(reversed(values), reversed(newer), strict=True))
        arrays |= dict(zip(state.names, values, strict=True))
        if state.variable != "w":
            carried.append(Carried(state.variable, tuple(values), pair))
        elif len(values) > 1:
            carried.append(Carried("w", tuple(values), None))
    update = kernel.update(
        {length: weights.size}, arrays, results, gradient, rate, clock, pairs, moves,
        clip_norm, clip_value,
    )  # fmt: skip
    return Recurrence(update, weights, gradient, tuple(carried))


def _function(model: Any, constants: dict[str, float], dtype: str) -> Function:
    """The optimiser compiled; one that comes as a file or a text once for many trainers."""
    name = "<text>"
    if isinstance(model, os.PathLike) or (isinstance(model, str) and "\n" not in model):
        name = os.fspath(model)
        model = Path(model).read_text(encoding="utf-8")
    if isinstance(model, str):
        return _from_text(model, name, tuple(sorted(constants.items())), dtype)
    return compile(model, backend="llvm", dtype=dtype, sizes=constants)


@lru_cache(maxsize=32)
def _from_text(
    text: str, name: str, constants: tuple[tuple[str, float], ...], dtype: str
) -> Function:
    return compile(loads(text, name), backend="llvm", dtype=dtype, sizes=dict(constants))


def _step(fn: Function) -> tuple[list[State], Derived]:
    """The states that matter to the weights, and the program of a step that returns their newest
    values, and those of the weights if no step reads them."""
    plan = fn.step_program()
    read = frozenset().union(*(names(eq.rhs) for eq in plan.program.equations))
    states = [s for s in plan.states if read & set(s.names)]
    wanted = {s.newest for s in states if s.variable != plan.clock}
    if all(s.variable != "w" for s in states):
        wanted.add("w")
    outputs = tuple(o for o in plan.program.outputs if o.name in wanted)
    only = plan.program.with_(outputs=outputs)
    return states, fn.compiler.derive(("update",), lambda: (simplify(only), {}))


def _checked(program: Program) -> str:
    """The length of the axis of entries. Raises `InputError` for what is no optimiser."""
    name = program.name

    def refuse(why: str) -> InputError:
        return InputError(
            f"{name} is no optimiser: {why}. An optimiser has the inputs g[t,k] and rate[t], the "
            "parameter w0[k] and the output w[t,k]; it may have the input decay[k]"
        )

    wanted = {"g": ("input", 2), "rate": ("input", 1), "w0": ("param", 1), "w": ("variable", 2)}
    for n, (role, axes) in wanted.items():
        v = program.vars.get(n)
        if v is None or v.role != role:
            raise refuse(f"it has no {'equation for' if role == 'variable' else role} {n}")
        if len(v.axes) != axes or v.shape or v.type.kind != "real":
            raise refuse(f"{n} has another type")
    if all(o.name != "w" for o in program.outputs):
        raise refuse("w is no output")
    if any(v.noise for v in program.inputs) or any(eq.solver for eq in program.equations):
        raise refuse("it draws numbers or solves equations")
    more = [v.name for v in program.inputs if v.name not in ("g", "rate", "decay")]
    more += [v.name for v in program.params if v.name != "w0"]
    if more:
        raise refuse(f"nothing is known of its {listed(more)}")
    lengths = [n for n in program.lengths if n != "T"]
    if len(lengths) != 1:
        raise refuse(f"its lengths are {listed(program.lengths)}")
    taken = [n for n in program.vars if n in RESERVED]
    if taken:
        raise refuse(f"the name {taken[0]} is the trainer's own")
    return lengths[0]


__all__ = ["Carried", "Recurrence", "recurrence"]
