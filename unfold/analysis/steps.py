"""The step of a causal model as a map from states to states, with its exact Jacobian.

before:  h[t] = tanh(W @ x[t] + U @ h[t-1]) + S @ h[t-2]
after:   z -> F_t(z) and dF_t/dz, where z stacks what the next step needs: h[t-1], h[t-2]
requires: what `unfold.streaming` requires: states that read no later step and a fixed number of
earlier ones.

`F_t` is the model's own step program and its Jacobian that program's tangent, so neither knows of
any architecture. All steps of a run, and all directions, are one batch of the compiled step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler import Derived
from ..errors import InputError
from ..expr import reads
from ..program import TIME, Output, Program
from ..streaming import StepProgram, step_program, time_axis
from ..transform import tangent
from .run import Run, carried, named_states

Array = NDArray[Any]
#: How many rows a call of the step has at most, and how many bytes all Jacobians may take.
ROWS, MOST_BYTES = 4096, 2**30


@dataclass(frozen=True)
class Slot:
    """A part of the stacked state z: ``variable`` as it was ``lag`` steps ago.

    ``name`` is the input of the step program that holds it, ``shape`` that of one value.
    """

    variable: str
    lag: int
    name: str
    start: int
    shape: tuple[int, ...]

    @property
    def stop(self) -> int:
        return self.start + math.prod(self.shape)

    @property
    def part(self) -> slice:
        return slice(self.start, self.stop)


@dataclass(frozen=True)
class StepMap:
    """The steps of one run as maps. Made by `step_map`.

    Attributes:
        slots: the parts of z, in order.
        size: the number of components of z.
        states: z before each step and after the last, shape (T+1, size).
        fixed: the arrays that all steps share; ``moving``: the others, one element for each step.
        clock: those of ``moving`` that hold the number of the step.
    """

    run: Run
    plan: StepProgram
    derived: Derived
    slots: tuple[Slot, ...]
    size: int
    states: Array
    fixed: Mapping[str, Array]
    moving: Mapping[str, Array]
    lengths: Mapping[str, int]
    clock: tuple[str, ...]

    @property
    def steps(self) -> int:
        return len(self.states) - 1

    def slots_of(self, variable: str) -> list[Slot]:
        """The slots of a variable, the most recent first."""
        return [s for s in self.slots if s.variable == variable]

    @property
    def variables(self) -> list[str]:
        return list(dict.fromkeys(s.variable for s in self.slots))

    def jacobians(self) -> Array:
        """dF_t/dz at the states of the run, for t = 1..T; shape (T, size, size)."""
        return self.at(self.states[:-1], np.arange(self.steps))[1]

    def at(
        self, z: Array, steps: Array, given: Mapping[str, Array] | None = None
    ) -> tuple[Array, Array]:
        """F_t(z) and its Jacobian.

        Args:
            z: shape (m, size).
            steps: shape (m,); which steps of the run (from 0) the inputs are those of.
            given: inputs that are held instead, one element each.

        Returns:
            Arrays of shapes (m, size) and (m, size, size).

        Raises `InputError` where they would take more than a gigabyte.
        """
        m, n = len(z), self.size
        if m * n * n * 8 > MOST_BYTES:
            raise InputError(
                f"{m} Jacobians of {n} x {n} take {m * n * n * 8 / 2**30:.1f} GiB: analyse fewer "
                "steps, smaller sizes, or some of the states (`states=`)"
            )
        after, rows = np.empty((m, n)), np.empty((m, n, n))
        most = max(1, ROWS // n)
        for k in range(0, m, most):
            part = slice(k, min(m, k + most))
            count = len(z[part])
            directions = np.tile(np.eye(n), (count, 1))
            value, dot = self._call(
                np.repeat(z[part], n, axis=0), directions, np.repeat(steps[part], n), given
            )
            after[part] = value[::n]
            rows[part] = dot.reshape(count, n, n).transpose(0, 2, 1)
        return after, rows

    def advance(self, z: Array, steps: Array, given: Mapping[str, Array] | None = None) -> Array:
        """F_t(z) alone; shape (m, size)."""
        parts = [
            self._call(z[k : k + ROWS], np.zeros_like(z[k : k + ROWS]), steps[k : k + ROWS], given)
            for k in range(0, len(z), ROWS)
        ]
        return np.concatenate([value for value, _ in parts]) if parts else np.empty_like(z)

    def _call(
        self, z: Array, direction: Array, steps: Array, given: Mapping[str, Array] | None
    ) -> tuple[Array, Array]:
        """F(z) and its derivative along directions, row by row."""
        rows = len(z)
        arrays: dict[str, Array] = dict(self.fixed)
        for name, values in self.moving.items():
            held = (given or {}).get(name)
            arrays[name] = (
                values[steps] if held is None else np.broadcast_to(held, (rows, *np.shape(held)))
            )
        dots = self.derived.names
        for s in self.slots:
            arrays[s.name] = z[:, s.part].reshape(rows, *s.shape)
            arrays[dots[s.name]] = direction[:, s.part].reshape(rows, *s.shape)
        specs = self.derived.signature.specs
        real = self.run.fn.options.dtype
        ready = {
            n: np.require(arrays[n], real if specs[n].kind == "real" else None, ("C", "A"))
            for n in specs
        }
        results = self.derived.kernel(ready, dict(self.lengths), rows, None)
        value, dot = np.empty((rows, self.size)), np.empty((rows, self.size))
        for s in self.slots:
            if s.lag == 1:
                value[:, s.part] = results[s.variable].reshape(rows, -1)
                dot[:, s.part] = results[dots[s.variable]].reshape(rows, -1)
                continue
            before = next(r for r in self.slots_of(s.variable) if r.lag == s.lag - 1)
            value[:, s.part], dot[:, s.part] = z[:, before.part], direction[:, before.part]
        return value, dot


def step_map(run: Run, states: str | list[str] | tuple[str, ...] | None = None) -> StepMap:
    """The steps of a run as maps.

    Args:
        states: the variables whose step is wanted (with all they need); default: all that an
            equation reads some steps before its own.

    Raises:
        InputError: no state is carried forward, or an equation prevents one step at a time.
    """
    program = run.program
    wanted = carried(program) if states is None else named_states(program, states)
    if not wanted:
        raise InputError(
            f"{program.name} carries no real state from step to step: no equation reads a variable "
            "over t at an earlier step"
        )
    outputs = tuple(Output(n, tuple((a.lo, a.hi) for a in program.vars[n].axes)) for n in wanted)
    plan = step_program(program.with_(outputs=outputs, losses=()), run.fn.declared)
    timed = [s for s in plan.states if s.variable != plan.clock]
    carried_too = [s for s in timed if program.vars[s.variable].role == "variable"]
    real = [s for s in carried_too if program.vars[s.variable].type.kind == "real"]
    if not real:
        raise InputError(f"the step of {', '.join(wanted)} reads no state of the step before")
    order = {n: k for k, n in enumerate(program.vars)}
    real.sort(key=lambda s: order[s.variable])
    derived = _compiled(run, plan, [s.variable for s in real], [n for s in real for n in s.names])

    values, arrays, lengths = run.values([s.variable for s in carried_too], whole=True)
    steps = lengths[TIME]
    first = {
        s.variable: axis.lo.evaluate(lengths)
        for s in carried_too
        for axis in [program.vars[s.variable].axes[time_axis(program.vars[s.variable]) or 0]]
    }
    slots: list[Slot] = []
    start = 0
    for state in real:
        shape = values[state.variable].shape[1:]
        for lag, name in enumerate(state.names, 1):
            slots.append(Slot(state.variable, lag, name, start, shape))
            start = slots[-1].stop
    z = np.zeros((steps + 1, start))
    for s in slots:
        z[:, s.part] = _behind(values[s.variable], first[s.variable], s.lag, steps + 1).reshape(
            steps + 1, -1
        )

    moving: dict[str, Array] = {}
    for name in plan.moving:
        moving[name] = _over_time(program, name, arrays[name], lengths, 0, steps)
    for state in timed:
        if state in real:
            continue
        for lag, name in enumerate(state.names, 1):
            if state.variable in values:
                values_ = values[state.variable]
                moving[name] = _behind(values_, first[state.variable], lag, steps)
            else:
                moving[name] = _over_time(
                    program, state.variable, arrays[state.variable], lengths, lag, steps
                )
    # The clock counts the steps that were made before.
    clock = tuple(n for s in plan.states if s.variable == plan.clock for n in s.names)
    moving |= {name: np.arange(steps) for name in clock}
    needed = set(derived.signature.specs)
    fixed = {n: a for n, a in arrays.items() if n in needed and n not in moving}
    return StepMap(
        run,
        plan,
        derived,
        tuple(slots),
        start,
        z,
        fixed,
        {n: a for n, a in moving.items() if n in needed},
        {n: k for n, k in lengths.items() if n != TIME},
        clock,
    )


def _compiled(run: Run, plan: StepProgram, variables: list[str], lags: list[str]) -> Derived:
    """The step and its tangent in the states, as a kernel whose batch shares all static inputs."""

    def build() -> tuple[Program, dict[str, str]]:
        step = plan.program
        outputs = tuple(
            Output(n, tuple((a.lo, a.hi) for a in step.vars[n].axes)) for n in variables
        )
        step = step.with_(
            vars={
                n: replace(v, role="param") if n in plan.static else v for n, v in step.vars.items()
            },
            outputs=outputs,
        )
        moved = tangent(step, lags)
        dots = {v.tangent_of: v.name for v in moved.vars.values() if v.tangent_of}
        used = {r.ref.name for eq in moved.equations for r in reads(eq.rhs)}
        names = {*lags, *(dots[n] for n in lags)}
        kept = {
            n: v for n, v in moved.vars.items() if v.role == "variable" or n in used or n in names
        }
        return moved.with_(vars=kept), {n: dots[n] for n in (*variables, *lags)}

    return run.fn.compiler.derive(("step map", tuple(variables)), build)


def _behind(values: Array, first: int, lag: int, count: int) -> Array:
    """The values ``lag`` steps before each of the steps 1..count; zero where there are none.

    ``values`` begin at step ``first``.
    """
    found = np.zeros((count, *values.shape[1:]), values.dtype)
    for k in range(count):
        at = k + 1 - lag - first
        if 0 <= at < len(values):
            found[k] = values[at]
    return found


def _over_time(
    program: Program, name: str, array: Array, lengths: Mapping[str, int], lag: int, steps: int
) -> Array:
    """An input at ``lag`` steps before each of the steps 1..T, time first."""
    v = program.vars[name]
    k = time_axis(v) or 0
    first = v.axes[k].lo.evaluate(lengths)
    return _behind(np.moveaxis(array, k, 0), first, lag, steps)
