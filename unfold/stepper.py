"""A causal model at work, one step at a time."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import buffers, state
from .compiler import merged
from .errors import InputError
from .inputs import Call, Spec, bind, kind_of, listed, nearest, signature
from .noise import draws_of, generator
from .outputs import Outputs
from .program import TIME
from .quick_step import Rings, quick_step
from .state import StreamState
from .streaming import State, StepProgram, time_axis

if TYPE_CHECKING:
    from .compiler import Derived
    from .function import Function

Array = NDArray[Any]
_NOTHING: dict[str, Any] = {}
_KINDS = {"int": np.dtype(np.int64), "bool": np.dtype(np.bool_)}
_NUMBERS = {
    "int": (int, np.int64, np.int32),
    "real": (int, float, np.int64, np.float64, np.float32),
    "bool": (bool, np.bool_),
}


class Stepper:
    """A causal model at work: carries its state from step to step. Made by `Function.stepper`.

    The streams of a batch are independent of each other; how many there are is told by ``inputs``
    that are no sequences, or by the first step. A stepper belongs to one thread at a time. It may
    be copied and pickled, and goes on from where it is.
    """

    #: The last values, and how many steps were made when each stream began.
    _rings: Rings
    _origin: Array
    #: The generators of random sequences, made when they are first needed.
    _chance: dict[str, list[np.random.Generator]]
    #: A native step, its record and what belongs there at each turn; whether it was tried to make.
    _quick: Any
    _record: Any
    _images: list[bytes]
    _tried: bool

    def __init__(
        self,
        function: Function,
        params: Mapping[str, Any],
        inputs: Mapping[str, Any],
        seed: int = 0,
        first: int = 0,
    ) -> None:
        self._function = function
        self._plan = function.step_program()
        self._step, self._start = function.streaming()
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
        bound = bind(
            replace(own, specs=once, lengths=lengths), params, given, seed=seed, first=first
        )
        self._fixed = {n: np.require(a, requirements=("C", "A")) for n, a in bound.arrays.items()}
        self._given = self._fixed  # before it is repeated for the streams of a batch
        self._lengths, self._batch = bound.lengths, bound.batch
        self._params = set(function.params)
        self._seed, self._first = seed, first
        step = signature(
            plan.program,
            function.declared.with_(vars=plan.declared),
            {**function.compiler.sizes, **self._lengths},
            options.dtype,
            options.check_finite,
        )
        specs = {n: _at(step.specs[n], self._lengths) for n in plan.moving}
        self._drawn = {n: s for n, s in specs.items() if s.noise is not None}
        self._moving = replace(step, specs=specs, lengths=())
        self.reset()

    # --- steps ---

    def step(
        self,
        data: Mapping[str, Any] | None = None,
        /,
        *,
        out: Mapping[str, Any] | None = None,
        **inputs: Any,
    ) -> Outputs:
        """One step: this step's element of each input sequence, all with a batch axis or none.

        Args:
            data: inputs by name, beside or instead of keywords.
            out: arrays by the names of outputs, which these are written to; as in a call.
            inputs: of the shape of one element: ``real[D]``, of a batch ``real[B, D]``. Those that
                no step needs, targets say, are welcome, and not read.

        Returns:
            This step's element of each output sequence. Writing to it changes no state.

        Raises:
            InputError: what is wrong with the inputs; no step was made.
            SolverError: an implicit equation has no solution; no step was made.
        """
        given = inputs if data is None else merged(data, inputs)
        if len(given) > len(self._plan.moving):
            given = self._needed(given)
        if self._drawn:
            given = {**self._draws(given), **given}
        quick = self._quick
        if quick is not None:
            rings = self._rings
            self._record[:] = self._images[rings.turn]
            found = quick(_NOTHING, given)
            if found is None:
                found = quick(_NOTHING, self._as_arrays(given))
            if found is not None:
                rings.turn = (rings.turn + 1) % rings.places
                self._made += 1
                if out is not None:
                    return Outputs.of(self._place(out, found, given))
                return Outputs.of(found)
        return self._checked(given, out)

    def _needed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Without the inputs that no step needs, as targets are where a loss alone reads them.

        Raises `InputError` for one that is no sequence.
        """
        for name in self._plan.static:
            if name in given:
                raise InputError(f"{name} is no sequence: give it once, to `stepper`")
        moving, known = self._plan.moving, set(self._function.inputs)
        return {n: v for n, v in given.items() if n in moving or n not in known}

    def _as_arrays(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Numbers of Python's and scalars of NumPy's as the arrays that native code reads."""
        dtype, specs = self._moving.dtype, self._moving.specs
        made: dict[str, Any] = {}
        for name, value in given.items():
            s = specs.get(name)
            if s is not None and type(value) in _NUMBERS[s.kind]:
                made[name] = np.array(value, dtype if s.kind == "real" else _KINDS[s.kind])
            else:
                made[name] = value
        return made

    def _checked(self, given: Mapping[str, Any], out: Mapping[str, Any] | None) -> Outputs:
        """A step whose arguments are checked in Python."""
        plan = self._plan
        call = bind(self._moving, {}, self._needed(given))
        if call.batch is not None and call.batch != self._size:
            self._widen(call.batch)
        if self._size is not None and call.batch is None and plan.moving:
            raise InputError(
                f"the state is that of {self._size} sequences, but the inputs have no batch axis"
            )
        rings = self._rings
        now = rings.now(rings.turn)
        arrays = {**self._fixed, **call.arrays, **now}
        results = self._step.kernel(
            {n: np.require(arrays[n], requirements=("C", "A")) for n in self._step.signature.specs},
            self._lengths,
            self._size,
            None,
        )
        shown = {n: results[n] for n in plan.outputs}
        if out is not None:
            shown = self._place(out, shown, call.arrays)
        for s in plan.states:
            np.copyto(now[s.newest], results[s.newest])
        rings.advance()
        self._made += 1
        self._learn(call)
        return Outputs(shown)

    def _place(
        self, out: Mapping[str, Any], results: Mapping[str, Any], given: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The results, those of ``out`` in the arrays given for them."""
        known = buffers.known(out, self._plan.outputs, "output")
        read = {n: a for n, a in given.items() if isinstance(a, np.ndarray)}
        return buffers.place(known, {n: np.asarray(a) for n, a in results.items()}, read)

    def _learn(self, call: Call) -> None:
        """Prepare native code for steps like this one, once for each number of streams."""
        if self._tried:
            return
        self._tried = True
        found = quick_step(
            self._step, self._plan.moving, self._plan.outputs, self._fixed, self._rings,
            call.arrays, self._lengths, self._size,
        )  # fmt: skip
        if found is not None:
            self._quick, self._record, self._images = found

    def _draws(self, given: Mapping[str, Any]) -> dict[str, Array]:
        """This step's element of each random sequence that is not given."""
        missing = {n: s for n, s in self._drawn.items() if n not in given}
        if not missing:
            return {}
        if not self._chance:
            if self._size is None:
                # The other inputs tell how many streams there are.
                rest = {n: s for n, s in self._moving.specs.items() if n not in missing}
                batch = bind(replace(self._moving, specs=rest), {}, given).batch
                if batch is not None:
                    self._widen(batch)
            self._chance = {n: self._generators(n) for n in self._drawn}
        made = {}
        for name, s in missing.items():
            shape = tuple(d.evaluate(self._lengths) for d in s.dims)
            rows = [draws_of(s.noise or "", g, shape) for g in self._chance[name]]
            values = rows[0] if self._size is None else np.stack(rows)
            made[name] = np.ascontiguousarray(values, self._moving.dtype)
        return made

    def _generators(self, name: str) -> list[np.random.Generator]:
        """The generators of one random sequence, at each stream's next step."""
        s = self._drawn[name]
        shape = tuple(d.evaluate(self._lengths) for d in s.dims)
        steps = np.broadcast_to(self.steps, self._size or 1)
        made = []
        for b, count in enumerate(steps):
            g = generator(self._seed, name, self._first + b)
            draws_of(s.noise or "", g, (int(count), *shape))
            made.append(g)
        return made

    # --- state ---

    @property
    def steps(self) -> int | Array:
        """How many steps were made since the start; of a batch, an array of shape (B,)."""
        if self._size is None:
            return self._made - int(self._origin)
        return self._made - np.broadcast_to(self._origin, self._size)

    @property
    def fixed(self) -> dict[str, Array]:
        """Parameters and inputs that are the same at every step, as they were checked."""
        return self._fixed

    @property
    def lengths(self) -> dict[str, int]:
        """The lengths that do not grow with the steps."""
        return self._lengths

    @property
    def batch(self) -> int | None:
        """How many streams there are; ``None`` for one without a batch axis."""
        return self._size

    @property
    def state(self) -> StreamState:
        """The carried values by variable, the most recent first: a copy, read-only.

        May be set to a state that was kept, of this stepper or of another one of the same model and
        number of streams, or to a dict of arrays. Raises `InputError` for one that does not fit.
        """
        return state.frozen(self._rings.values(), self.steps)

    @state.setter
    def state(self, value: Mapping[str, Any]) -> None:
        if not isinstance(value, Mapping):
            raise InputError(f"state: expected a dict from names to arrays, got {kind_of(value)}")
        own = {s.variable: s for s in self._plan.states}
        for name in value:
            if name not in own:
                hint = nearest(str(name), own) or f"; it carries {listed(own or ['nothing'])}"
                raise InputError(f"state: {self._function.program.name} carries no {name}{hint}")
        missing = [n for n in own if n not in value]
        if missing:
            raise InputError(f"state: {listed(missing)} missing")
        size = self._size_of(value)
        if size != self._size:
            if size is None or self._size is not None:
                have = "one stream" if self._size is None else f"{self._size} streams"
                come = "one stream" if size is None else f"{size} streams"
                raise InputError(f"state: the stepper has {have}, this is the state of {come}")
            self._widen(size)
        steps = value.steps if isinstance(value, StreamState) else self.steps
        values = {n: self._lags(s, value[n]) for n, s in own.items()}
        self._begin(values, np.asarray(steps, np.int64))

    def _size_of(self, value: Mapping[str, Any]) -> int | None:
        """How many streams a state is of, by its first variable."""
        for s in self._plan.states:
            if len(value[s.variable]):
                first = np.asarray(value[s.variable][0])
                return first.shape[0] if first.ndim > len(self._shape(s)) else None
        return self._size

    def _lags(self, s: State, values: Any) -> tuple[Array, ...]:
        """The values of one variable, checked."""
        lead = () if self._size is None else (self._size,)
        shape, dtype = lead + self._shape(s), self._dtype(s)
        if len(values) != len(s.names):
            raise InputError(
                f"state[{s.variable!r}]: expected {len(s.names)} values, the most recent first, "
                f"got {len(values)}"
            )
        found = []
        for k, value in enumerate(values):
            array = np.asarray(value)
            if array.shape != shape or not np.can_cast(array.dtype, dtype, "same_kind"):
                raise InputError(
                    f"state[{s.variable!r}][{k}]: expected an array of {dtype} of shape {shape}, "
                    f"got one of {array.dtype} of shape {array.shape}"
                )
            found.append(array.astype(dtype))
        return tuple(found)

    def reset(self, where: Any = None) -> None:
        """Back to before the first step.

        Args:
            where: truth values of shape (B,): which streams of a batch begin anew; default: all,
                and the number of streams is open again, unless inputs given once tell it.

        Raises:
            InputError: ``where`` does not fit.
        """
        if where is None:
            self._made = 0
            self._size = self._batch
            self._fixed = self._given
            self._begin(self._initial(), np.zeros((), np.int64))
            return
        mask = np.asarray(where)
        if self._size is None:
            raise InputError("where: there is one stream only; `reset()` begins it anew")
        if mask.dtype != np.bool_ or mask.shape != (self._size,):
            raise InputError(
                f"where: expected truth values of shape ({self._size},), "
                f"got {mask.dtype} of shape {mask.shape}"
            )
        fresh = self._initial()
        values = self._rings.values()
        for name, lags in fresh.items():
            for old, new in zip(values[name], lags, strict=True):
                old[mask] = new[mask]
        origin = np.broadcast_to(self._origin, self._size).copy()
        origin[mask] = self._made
        self._origin, self._chance = origin, {}

    def _begin(self, values: Mapping[str, tuple[Array, ...]], steps: Array) -> None:
        """Go on from a state."""
        self._rings = Rings(self._plan.states, values)
        self._origin = np.asarray(self._made - steps)
        self._chance = {}
        self._quick = self._record = None
        self._images = []
        self._tried = False

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to an `.npz` or a `.safetensors`, whole or not at all; not the
        parameters.

        Raises:
            InputError: another suffix.
            OSError: the file cannot be written.
        """
        state.save(path, self.state, self._about())

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on from the state in a file.

        Raises:
            InputError: it holds no state, or that of another model, other sizes, another dtype.
            OSError: the file cannot be read.
        """
        self.state = state.load(path, self._about())

    def _about(self) -> dict[str, Any]:
        """What a file says of the model."""
        f = self._function
        return {
            "model": f.program.name, "sizes": dict(f.compiler.sizes), "dtype": f.options.dtype,
            "seed": self._seed,
        }  # fmt: skip

    def copy(self) -> Stepper:
        """Another stepper that goes on from here by itself; function and parameters are shared."""
        return copy.copy(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Stepper:
        return self.copy()

    def __getstate__(self) -> dict[str, Any]:
        values = self._rings.values()
        kept = {**self.__dict__, "_values": values, "_steps": np.asarray(self.steps, np.int64)}
        for name in ("_rings", "_quick", "_record", "_images", "_chance", "_plan", "_step",
                     "_start"):  # fmt: skip
            del kept[name]
        return kept

    def __setstate__(self, kept: dict[str, Any]) -> None:
        values, steps = kept.pop("_values"), kept.pop("_steps")
        self.__dict__.update(kept)
        self._plan = self._function.step_program()
        self._step, self._start = self._function.streaming()
        self._begin(values, steps)

    # --- before the first step ---

    def _widen(self, batch: int) -> None:
        """Repeat what was given once for every sequence of the batch."""
        if self._size is not None:
            raise InputError(f"the state is that of {self._size} sequences, the inputs of {batch}")

        def wide(a: Array) -> Array:
            return np.repeat(a[None], batch, axis=0)

        self._fixed = {n: a if n in self._params else wide(a) for n, a in self._fixed.items()}
        values = {n: tuple(wide(a) for a in lags) for n, lags in self._rings.values().items()}
        self._size = batch
        self._begin(values, np.broadcast_to(self._made - self._origin, batch))

    def _initial(self) -> dict[str, tuple[Array, ...]]:
        """The states before the first step; zeros where nothing defines them."""
        known = self._before()
        states: dict[str, tuple[Array, ...]] = {}
        for s in self._plan.states:
            lead = () if self._size is None else (self._size,)
            zero, lags = np.zeros(lead + self._shape(s), self._dtype(s)), len(s.names)
            values = known.get(s.variable)
            if values is None:
                states[s.variable] = (zero,) * lags
                continue
            axis = time_axis(self._function.program.vars[s.variable]) or 0
            axis += self._size is not None
            have = values.shape[axis]
            states[s.variable] = tuple(
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
        batch = self._size if any(n not in self._params for n in arrays) else None
        values = self._start.kernel(arrays, {**least, **self._lengths}, batch, None)
        if batch is None and self._size is not None:
            return {n: np.repeat(a[None], self._size, axis=0) for n, a in values.items()}
        return values

    def _shape(self, s: State) -> tuple[int, ...]:
        """The shape of one value of a state in one stream."""
        v = self._plan.program.vars[s.names[0]]
        axes = tuple((a.hi - a.lo + 1).evaluate(self._lengths) for a in v.axes)
        return axes + tuple(n.evaluate({}) for n in v.shape)

    def _dtype(self, s: State) -> np.dtype[Any]:
        kind = self._plan.program.vars[s.names[0]].type.kind
        return _KINDS.get(kind, np.dtype(self._function.options.dtype))


def compile_steps(function: Function, plan: StepProgram) -> tuple[Derived, Derived]:
    """The kernels of a step and of its start."""
    derive = function.compiler.derive
    step = derive(("step",), lambda: (plan.program, {}))
    return step, derive(("start",), lambda: (plan.start, {}))


def _at(s: Spec, lengths: Mapping[str, int]) -> Spec:
    """What is expected where the lengths are known."""
    return replace(s, dims=tuple(d.subs(lengths) for d in s.dims))
