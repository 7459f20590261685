"""A causal model at work, one step at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .inputs import bind, signature
from .outputs import Outputs
from .streaming import TIME, State, StepProgram, time_axis

if TYPE_CHECKING:
    from .compiler import Derived
    from .function import Function

Array = NDArray[Any]


class Stepper:
    """A causal model at work: carries its state from step to step.

    Attributes:
        state: the carried values by variable, the most recent first; may be kept and set.
        steps: how many steps were made since the start.
    """

    def __init__(
        self, function: Function, params: Mapping[str, Any], inputs: Mapping[str, Any]
    ) -> None:
        self._function = function
        self._step, self._start = function.streaming()
        self._plan = function.step_program()
        plan = self._plan
        wrong = [n for n in inputs if n in plan.moving]
        if wrong:
            raise InputError(f"{wrong[0]} is a sequence: give it to `step`, one element at a time")
        options = function.options
        own = signature(
            function.program,
            function.declared,
            function.compiler.sizes,
            options.dtype,
            options.check_finite,
        )
        once = {n: s for n, s in own.specs.items() if s.role == "param" or n in plan.static}
        # Inputs that no step needs, targets say, are welcome.
        given = {n: v for n, v in inputs.items() if n in once or n not in own.specs}
        lengths = tuple(n for n in own.lengths if n != TIME)
        bound = bind(replace(own, specs=once, lengths=lengths), params, given)
        self._fixed, self._lengths, self._batch = bound.arrays, bound.lengths, bound.batch
        self._params = set(function.params)
        step = signature(
            plan.program,
            function.declared.with_(vars=plan.declared),
            function.compiler.sizes,
            options.dtype,
            options.check_finite,
        )
        self._moving = replace(step, specs={n: step.specs[n] for n in plan.moving}, lengths=())
        self.reset()

    def reset(self) -> None:
        """Back to before the first step."""
        self.steps = 0
        self._size = self._batch
        self.state = self._initial()

    def step(self, **inputs: Any) -> Outputs:
        """One step: this step's element of each input sequence, all with a batch axis or none.

        Returns this step's element of each output sequence.
        """
        plan = self._plan
        call = bind(self._moving, {}, inputs)
        if call.batch is not None and call.batch != self._size:
            self._widen(call.batch)
        if self._size is not None and call.batch is None and plan.moving:
            raise InputError(
                f"the state is that of {self._size} sequences, but the inputs have no batch axis"
            )
        arrays = {**self._fixed, **call.arrays}
        for state in plan.states:
            arrays |= dict(zip(state.names, self.state[state.variable], strict=True))
        if plan.clock is not None:
            now = np.asarray(self.steps + 1, dtype=np.int64)
            arrays[plan.clock] = now if self._size is None else np.full(self._size, now)
        kernel = self._step.kernel
        results = kernel(
            {n: np.require(arrays[n], requirements=("C", "A")) for n in self._step.signature.specs},
            self._lengths,
            self._size,
            None,
        )
        for state in plan.states:
            newest = results.get(state.variable, call.arrays.get(state.variable))
            assert newest is not None
            self.state[state.variable] = (newest, *self.state[state.variable][:-1])
        self.steps += 1
        return Outputs({n: results[n] for n in plan.outputs})

    def _widen(self, batch: int) -> None:
        """Repeat what was given once for every sequence of the batch."""
        if self._size is not None:
            raise InputError(f"the state is that of {self._size} sequences, the inputs of {batch}")

        def wide(a: Array) -> Array:
            return np.repeat(a[None], batch, axis=0)

        self._fixed = {n: a if n in self._params else wide(a) for n, a in self._fixed.items()}
        self.state = {n: tuple(wide(a) for a in values) for n, values in self.state.items()}
        self._size = batch

    def _initial(self) -> dict[str, tuple[Array, ...]]:
        """The states before the first step; zeros where nothing defines them."""
        known = self._before()
        states: dict[str, tuple[Array, ...]] = {}
        for state in self._plan.states:
            zero, lags = self._zero(state), len(state.names)
            values = known.get(state.variable)
            if values is None:
                states[state.variable] = (zero,) * lags
                continue
            axis = time_axis(self._function.program.vars[state.variable]) or 0
            axis += self._batch is not None
            have = values.shape[axis]
            states[state.variable] = tuple(
                np.take(values, have - 1 - lag, axis=axis) if lag < have else zero
                for lag in range(lags)
            )
        return states

    def _before(self) -> dict[str, Array]:
        """What is defined of the carried variables at t <= 0."""
        program = self._start.program
        if not program.outputs:
            return {}
        arrays = {n: self._fixed[n] for n in self._start.signature.specs}
        least = {n: program.minimum.get(n, 1) for n in program.lengths}
        batch = self._batch if any(n not in self._params for n in arrays) else None
        values = self._start.kernel(arrays, {**least, **self._lengths}, batch, None)
        if batch is None and self._batch is not None:
            return {n: np.repeat(a[None], self._batch, axis=0) for n, a in values.items()}
        return values

    def _zero(self, state: State) -> Array:
        """One value of a state, zero."""
        v = self._plan.program.vars[state.names[0]]
        shape = tuple((a.hi - a.lo + 1).evaluate(self._lengths) for a in v.axes)
        shape += tuple(n.evaluate({}) for n in v.shape)
        if self._batch is not None:
            shape = (self._batch, *shape)
        kinds = {"int": "int64", "bool": "bool"}
        return np.zeros(shape, np.dtype(kinds.get(v.type.kind, self._function.options.dtype)))


def compile_steps(function: Function, plan: StepProgram) -> tuple[Derived, Derived]:
    """The kernels of a step and of its start."""
    derive = function.compiler.derive
    step = derive(("step",), lambda: (plan.program, {}))
    return step, derive(("start",), lambda: (plan.start, {}))
