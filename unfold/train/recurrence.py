"""The step of an optimiser's recurrence, compiled, on flat buffers.

before:  w[t,k] = w[t-1,k] - rate[t] * g[t,k]       (a `.rec` model over the steps of training)
after:   an update in native code: g, rate -> the next w, in place
requires: the names of `unfold.train.optimisers`, and a model that runs one step at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..api import compile
from ..errors import InputError
from ..expr import names
from ..function import Function
from ..inputs import listed
from ..program import Program
from ..stepper import Stepper
from ..streaming import StepProgram

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
    fn = compile(model, backend="llvm", dtype=dtype, sizes=constants)
    length = _checked(fn.program)
    plan = fn.step_program()
    given = {"decay": decay} if "decay" in fn.inputs else {}
    if not given and decay.any():
        raise InputError(f"{fn.program.name} has no input decay[k], so weights cannot decay")
    start = Stepper(fn, {"w0": weights}, given).state
    kernel: Any = fn.streaming()[0].kernel
    gradient = np.zeros_like(weights)
    rate, clock = np.zeros((), dtype), np.zeros((), np.int64)
    arrays: dict[str, Array] = {"g": gradient, "rate": rate, "decay": decay}
    carried: list[Carried] = []
    if "w0" in fn.streaming()[0].signature.specs:
        # Steps that look back to the start, which the weights have left.
        arrays["w0"] = weights.copy()
        carried.append(Carried("w0", (arrays["w0"],), None))
    if plan.clock is not None:
        arrays[plan.clock] = clock
    results = _results(fn, plan, weights)
    pairs: list[tuple[str, str]] = []
    moves: list[tuple[Array, Array]] = []
    read = frozenset().union(*(names(eq.rhs) for eq in plan.program.equations))
    for state in plan.states:
        if not read & set(state.names):
            continue  # a momentum of 0, say
        # Buffers of its own for each: the start may use one array for several.
        values = [np.array(a, order="C") for a in start[state.variable]]
        if state.variable == "w":
            values[0] = weights
        arrays |= dict(zip(state.names, values, strict=True))
        newest = results.get(state.variable, arrays.get(state.variable))
        assert newest is not None
        swaps = len(values) == 1 and state.variable in results and state.variable != "w"
        if swaps:
            pairs.append((state.names[0], state.variable))
        else:
            older = zip(reversed(values), reversed([newest, *values[:-1]]), strict=True)
            moves += list(older)
        if state.variable != "w" or len(values) > 1:
            carried.append(
                Carried(state.variable, tuple(values), len(pairs) - 1 if swaps else None)
            )
    if all(s.variable != "w" for s in plan.states):
        moves.append((weights, results["w"]))
    update = kernel.update(
        {length: weights.size}, arrays, results, gradient, rate, clock, pairs, moves,
        clip_norm, clip_value,
    )  # fmt: skip
    return Recurrence(update, weights, gradient, tuple(carried))


def _results(fn: Function, plan: StepProgram, weights: Array) -> dict[str, Array]:
    """A buffer for each result of a step."""
    kernel: Any = fn.streaming()[0].kernel
    lengths = dict.fromkeys(plan.program.lengths, weights.size)
    shapes = kernel.shapes(lengths, None)
    return {n: np.zeros(shape, kind) for n, (shape, kind) in shapes.items()}


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
    more = [v.name for v in program.inputs if v.name not in ("g", "rate", "decay")]
    more += [v.name for v in program.params if v.name != "w0"]
    if more:
        raise refuse(f"nothing is known of its {listed(more)}")
    if any(v.noise for v in program.inputs) or any(eq.solver for eq in program.equations):
        raise refuse("it draws numbers or solves equations")
    lengths = [n for n in program.lengths if n != "T"]
    if len(lengths) != 1:
        raise refuse(f"its lengths are {listed(program.lengths)}")
    taken = [n for n in program.vars if n in RESERVED]
    if taken:
        raise refuse(f"the name {taken[0]} is the trainer's own")
    return lengths[0]


__all__ = ["Carried", "Recurrence", "recurrence"]
