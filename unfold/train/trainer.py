"""Training, one step a call: the gradient and the optimiser's step, in native code.

All trained parameters live in one flat buffer, and so does their gradient; the arrays of
`Trainer.params` are views of the first. A step of a size that has come before runs as one call of
native code: arguments checked, gradient computed into its buffer, its norm taken, the optimiser's
recurrence carried one step on (see `unfold.backends.llvm.quick` and `update`). Python does what
that declines, with the same results to the bit.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import buffers
from ..compiler import merged
from ..errors import DivergenceError, InputError, UnfoldError
from ..evaluation import added, reduced
from ..function import Function
from ..inputs import bind, kind_of, listed, nearest, signature
from ..shortcut import Shortcut
from .losses import weighted
from .names import by_name
from .recurrence import Recurrence, recurrence
from .schedules import Constant, Schedule

Array = NDArray[Any]
#: How many rates are computed at a time.
_AHEAD = 1024


class Trainer:
    """A model in training. Made by `Function.trainer`; for one thread at a time: a step that
    another thread begins meanwhile is refused.

    Args:
        function: what is trained.
        params: where it starts, an array for every parameter; they are copied.
        optimiser: `SGD`, `RMSprop`, `Adam`, `AdamW` or an `Optimiser` of your own.
        clip_norm: the most that the Euclidean norm of the whole gradient may be: one that is longer
            is multiplied by ``clip_norm / (norm + 1e-6)``, as PyTorch's `clip_grad_norm_` does.
        clip_value: the most that an entry may be, of either sign; applied after ``clip_norm``, so
            that both bounds hold.
        decay: how much weights decay, a number for all parameters that are trained or a dict from
            patterns of their names (``"W*"``, ``"*.b"``) to numbers, of which the first that fits
            counts; 0 where none does. Default: the optimiser's. What decay means is the optimiser's
            too: AdamW shrinks weights, the others add ``decay * w`` to the clipped gradient.
        schedule: by what the rate is multiplied, a function of the number of steps made and of
            nothing else (see `unfold.schedules`); it is asked some steps ahead.
        wrt: the parameters that are trained, the others stay as they are; default: all.
        loss: as for `Function.value_and_grad`, or a dict from losses to the weights with which they
            are added.
        reduce: over a batch, ``"mean"`` or ``"sum"``.

    Raises:
        InputError: arguments that do not fit, or an optimiser that is none.

    Attributes:
        function: what is trained.
        optimiser, schedule: how.
        outputs: those of the model that ``keep`` names, as the last step computed them, with the
            parameters before its change. (Such a trainer does without the one native call.)
    """

    def __init__(
        self,
        function: Function,
        params: Mapping[str, Any],
        optimiser: Any,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        decay: Any = None,
        schedule: Schedule | None = None,
        wrt: str | Sequence[str] | None = None,
        loss: str | Sequence[str] | Mapping[str, float] | None = None,
        reduce: str = "mean",
        keep: Sequence[str] = (),
    ) -> None:
        if isinstance(optimiser, type) or not hasattr(optimiser, "recurrence"):
            such = ", with its rate:" if callable(optimiser) else ", such as"
            raise InputError(
                f"expected an optimiser{such} unfold.Adam(rate=1e-3), got {kind_of(optimiser)}"
            )
        if reduce not in ("mean", "sum"):
            raise InputError(f'reduce is "mean" or "sum" in training, not {reduce!r}')
        if schedule is not None and not callable(schedule):
            raise InputError(f"schedule is a function of the step, not {kind_of(schedule)}")
        self.function = weighted(function, loss) if isinstance(loss, Mapping) else function
        self.optimiser = optimiser
        self.schedule: Schedule = Constant() if schedule is None else schedule
        self._rate = _positive("rate", optimiser.rate, least=0.0)
        self._reduce = reduce
        self._keep = tuple(keep)
        self.outputs: dict[str, Array] = {}
        self._targets = self.function.targets(None if isinstance(loss, Mapping) else loss)
        self._lock = threading.Lock()
        given = _checked(self.function, params)
        self._trained = _trained(self.function, wrt)
        self._flat = _Flat.of({n: given[n] for n in self._trained})
        decays = by_name(optimiser.decay if decay is None else decay, self._trained, "decay")
        model, constants = optimiser.recurrence
        self._recurrence: Recurrence = recurrence(
            model,
            constants,
            self._flat.data,
            self._flat.filled(decays),
            _positive("clip_norm", clip_norm),
            _positive("clip_value", clip_value),
        )
        self._update = self._recurrence.update
        self._gradients = self._flat.views(self._recurrence.gradient)
        views = self._flat.views(self._flat.data)
        self._params = {n: views[n] if n in views else given[n].copy() for n in given}
        self._shortcut: Shortcut | None = None
        self._quick: Any = _declined

    def __repr__(self) -> str:
        name = self.function.program.name
        return f"<Trainer of {name}: {self.optimiser}, {self.steps} steps>"

    # --- what it knows ---

    @property
    def params(self) -> dict[str, Array]:
        """The parameters at this moment, by name. The arrays of those that are trained are live:
        a step changes them, and what is written to them is trained on. Copy what is to stay."""
        return dict(self._params)

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return int(self._update.steps)

    @property
    def grad_norm(self) -> float:
        """The Euclidean norm of the last step's gradient, in all that is trained, before it was
        clipped; NaN before the first step, and after `state` was set."""
        return float(self._update.norm) if self.steps else math.nan

    @property
    def rate(self) -> float:
        """The rate of the next step."""
        return self._rate_of(self.steps)

    # --- a step ---

    def step(
        self,
        data: Mapping[str, Any] | None = None,
        /,
        *,
        lengths: Any = None,
        seed: int | None = None,
        **inputs: Any,
    ) -> Any:
        """One step: the gradient on these data, and the optimiser's change of the parameters.

        Args:
            data, inputs, lengths: as for `Function.value_and_grad`.
            seed: of the model's `random` draws; by default the number of steps made before, so
                that no two steps draw the same.

        Returns:
            The loss, before the change.

        Raises:
            DivergenceError: the loss or the gradient is not finite. Parameters and state are then
                what they were, and the next step may be tried with other data.
            InputError: see `unfold.inputs`; nothing has changed.
        """
        if lengths is None and (data is None or not inputs):
            loss = self._quick(self._params, inputs if data is None else data)
            if loss is not None:
                return loss
        return self._in_python(merged(data, inputs), lengths, seed)

    def _in_python(self, inputs: Mapping[str, Any], lengths: Any, seed: int | None) -> Any:
        with self._lock:
            update = self._update
            if update.busy:
                raise UnfoldError("a trainer makes one step at a time, and another thread is at it")
            update.busy = True
            try:
                return self._step(inputs, lengths, self.steps if seed is None else seed)
            finally:
                update.busy = False

    def _step(self, inputs: Mapping[str, Any], lengths: Any, seed: int) -> Any:
        update = self._update
        if not update.supplied:
            update.supply(self._rates(), forever=isinstance(self.schedule, Constant))
        losses, grads, call, derived = self._differentiate(inputs, lengths, (seed, 0))
        value, grads = reduced(added(losses), grads, self._reduce, call)
        buffers.place(self._gradients, grads, call.arrays)
        if not np.isfinite(value) or update(1.0):
            raise self._diverged(value)
        if derived is not None:
            if self._shortcut is None:
                request = {
                    "shown": derived.names, "losses": self._targets, "reduce": self._reduce,
                    "update": update, "into": self._gradients,
                }  # fmt: skip
                self._shortcut = Shortcut(derived, request)
            self._shortcut.learn(self._params, inputs, call)
            self._quick = self._shortcut.call
        return value

    def _differentiate(
        self, inputs: Mapping[str, Any], lengths: Any, draws: tuple[int, int]
    ) -> Any:
        """Losses, gradients, the checked call, and what can run as one native call next time."""
        if not self._keep:
            return self.function.differentiate(
                self._params, inputs, self._trained, self._targets, lengths, draws, self._gradients
            )
        compiler = self.function.compiler
        derived = compiler.gradient(self._trained, self._targets, self._keep)
        results, call = compiler.run(
            derived, self._params, None, inputs, lengths, draws=draws, out=self._gradients
        )
        self.outputs = {n: results[n] for n in self._keep}
        grads = {name: results[bar] for name, bar in derived.names.items()}
        return [results[n] for n in self._targets], grads, call, None

    def _diverged(self, value: Any) -> DivergenceError:
        wrong = [n for n, g in self._gradients.items() if not np.isfinite(g).all()]
        return DivergenceError(self.steps + 1, float(value), tuple(wrong))

    def _rates(self) -> list[float]:
        """The rates of the next steps."""
        first = self.steps
        rates = [self._rate_of(first)]
        if isinstance(self.schedule, Constant):
            return rates
        try:
            for step in range(first + 1, first + _AHEAD):
                rates.append(self._rate_of(step))
        except Exception:  # A schedule may end: it is asked again when it matters.
            pass
        return rates

    def _rate_of(self, step: int) -> float:
        factor = self.schedule(step)
        rate = self._rate * float(factor)
        if not math.isfinite(rate):
            raise InputError(f"schedule: the factor of step {step} is {factor!r}")
        return rate

    # --- saved and restored ---

    @property
    def state(self) -> dict[str, Any]:
        """A copy of all that the next step depends on beside its data: arrays and numbers by name.

        ``steps``; every parameter, as ``param.W``; what the optimiser carries, for each parameter
        (``m.W``) or once (``ones1``). It can be set, and training goes on to the same bits.
        """
        found: dict[str, Any] = {"steps": self.steps}
        return found | {n: a.copy() for n, a in self._buffers().items()}

    @state.setter
    def state(self, saved: Mapping[str, Any]) -> None:
        there = self._buffers()
        wanted = {"steps", *there}
        for name in saved:
            if name not in wanted:
                raise InputError(f"state: this trainer has no {name}{nearest(str(name), wanted)}")
        missing = sorted(wanted - set(saved))
        if missing:
            raise InputError(
                f"state: {listed(missing)} {'is' if len(missing) == 1 else 'are'} missing"
            )
        steps = np.asarray(saved["steps"])
        if steps.ndim or steps.dtype.kind not in "iu" or steps < 0:
            raise InputError(f"state: steps is a number of steps, not {saved['steps']!r}")
        arrays = {n: np.asarray(saved[n]) for n in there}
        for name, own in there.items():
            a = arrays[name]
            if a.shape != own.shape or a.dtype != own.dtype:
                raise InputError(
                    f"state: {name} is an array of {own.dtype} of shape {own.shape}, not of "
                    f"{a.dtype} of shape {a.shape}"
                )
        with self._lock:
            for name, own in there.items():
                np.copyto(own, arrays[name])
            self._update.steps = int(steps)
            self._update.norm = math.nan
            self._update.supply([])

    def _buffers(self) -> dict[str, Array]:
        """All that changes, in place, by the names of `state`."""
        found = {f"param.{n}": a for n, a in self._params.items()}
        for name, values in self._recurrence.states().items():
            for k, array in enumerate(values):
                own = name if k == 0 else f"{name}.{k + 1}"
                if array.shape == self._flat.data.shape:
                    found |= {f"{own}.{n}": v for n, v in self._flat.views(array).items()}
                else:
                    found[own] = array
        return found


class _Flat:
    """One flat buffer for several arrays, one after the other."""

    def __init__(self, data: Array, shapes: dict[str, tuple[int, ...]]) -> None:
        self.data = data
        self.shapes = shapes

    @staticmethod
    def of(arrays: Mapping[str, Array]) -> _Flat:
        """A copy of arrays of one dtype."""
        flat = np.concatenate([a.reshape(-1) for a in arrays.values()])
        return _Flat(flat, {n: a.shape for n, a in arrays.items()})

    def views(self, data: Array) -> dict[str, Array]:
        """The parts of a buffer, by name."""
        found, start = {}, 0
        for n, shape in self.shapes.items():
            size = math.prod(shape)
            found[n] = data[start : start + size].reshape(shape)
            start += size
        return found

    def filled(self, numbers: Mapping[str, float]) -> Array:
        """A buffer with a number for each part."""
        data = np.zeros_like(self.data)
        for n, part in self.views(data).items():
            part[...] = numbers[n]
        return data


def _checked(function: Function, params: Mapping[str, Any]) -> dict[str, Array]:
    """The parameters as arrays of the function's dtype. Raises `InputError`."""
    options = function.options
    own = signature(function.program, function.declared, function.compiler.sizes, options.dtype)
    specs = {n: s for n, s in own.specs.items() if s.role == "param"}
    used = {symbol for s in specs.values() for dim in s.dims for symbol in dim.symbols}
    lengths = tuple(n for n in own.lengths if n in used)
    return bind(replace(own, specs=specs, lengths=lengths), params, {}).arrays


def _trained(function: Function, wrt: str | Sequence[str] | None) -> tuple[str, ...]:
    names = function.differentiable(wrt)
    for n in names:
        role = function.program.vars[n].role
        if role != "param":
            kind = "an input" if role == "input" else "computed"
            raise InputError(f"wrt: parameters are trained, and {n} is {kind}")
    if not names:
        raise InputError(f"{function.program.name} has no real parameter to train")
    return names


def _positive(name: str, value: Any, least: float | None = None) -> float:
    """The number; infinity for None. Raises `InputError`."""
    if value is None and least is None:
        return math.inf
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(
        value, bool
    )
    if not number or not math.isfinite(value) or value < 0 or (least is None and value == 0):
        raise InputError(f"{name} is a positive number, not {value!r}")
    return float(value)


def _declined(params: Any, inputs: Any) -> Any:
    """What is done before the first step."""


__all__ = ["Trainer"]
