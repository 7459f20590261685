"""Generation and forecasting: a causal model that reads what it wrote.

A prompt is read at the speed of a whole sequence, then the loop is closed (`unfold.rollout`) and
the steps that follow, draws included (`unfold.sampling`), are one call of native code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import vocabulary as words
from .errors import InputError
from .feeding import chosen
from .inputs import bind, listed, nearest, signature
from .noise import draws_of, generator
from .outputs import Outputs
from .rollout import Feed, Rollout
from .sampling import sampler
from .streaming import time_axis

if TYPE_CHECKING:
    from .compiler import Derived
    from .function import Function

Array = NDArray[Any]
NOISE = "token.u"  # what the draws of tokens are called, whatever the model


@dataclass(frozen=True)
class Generated:
    """What a model made. With a batch of prompts or several samples all arrays have its axis.

    Attributes:
        values: what was made and read again, one a step: tokens of shape (steps,), or real numbers
            of shape (steps, …).
        probabilities: of tokens: what each was drawn from, after temperature and selection; shape
            (steps, K). ``None`` for real numbers.
        outputs: the model's outputs at the steps that made the values, an array for each.
        text: of a model with a vocabulary: the tokens as text, of a batch a list of texts.
    """

    values: Array
    probabilities: Array | None
    outputs: Outputs
    text: Any = None

    @property
    def tokens(self) -> Array:
        """``values``, of a model over tokens."""
        return self.values


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        temperature: logits are divided by it; 0 takes the best token.
        top_k: only so many of the best; ``None`` for all.
        top_p: only the smallest set of the best that has this share of the probability (the
            nucleus) of those that ``top_k`` leaves; ``None`` for all.
        seed, first: of the draws; ``first`` is the number of the first sequence.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    first: int = 0

    def __post_init__(self) -> None:
        number = (int, float, np.integer, np.floating)
        if not isinstance(self.temperature, number) or not 0 <= self.temperature < np.inf:
            raise InputError(f"temperature is a number from 0 on, not {self.temperature!r}")
        if self.top_k is not None and (
            not isinstance(self.top_k, (int, np.integer)) or self.top_k < 1
        ):
            raise InputError(f"top_k is a positive number of tokens, not {self.top_k!r}")
        if self.top_p is not None and not (isinstance(self.top_p, number) and 0 < self.top_p <= 1):
            raise InputError(f"top_p is a share of the probability in (0, 1], not {self.top_p!r}")


def generate_iter(
    function: Function,
    params: Mapping[str, Any],
    prompt: Any,
    steps: int,
    *,
    sampling: Sampling,
    feed: Mapping[str, str] | None,
    samples: int | None,
    start: Any,
    vocabulary: Sequence[str] | None,
    chunk: int | None,
    inputs: Mapping[str, Any],
) -> Iterator[Generated]:
    """What a model makes, ``chunk`` steps at a time; see `Function.generate`."""
    if not isinstance(steps, (int, np.integer)) or isinstance(steps, bool) or steps < 0:
        raise InputError(f"steps is a number of steps, not {steps!r}")
    if samples is not None and (not isinstance(samples, (int, np.integer)) or samples < 1):
        raise InputError(f"samples is a positive number, not {samples!r}")
    if chunk is not None and (not isinstance(chunk, (int, np.integer)) or chunk < 1):
        raise InputError(f"chunk is a positive number of steps, not {chunk!r}")
    fed = chosen(function, feed)
    if vocabulary is None:
        vocabulary = getattr(params, "metadata", {}).get("vocabulary")
    made = _Generation(function, params, fed, sampling, vocabulary, inputs)
    made.read(*made.prompts(prompt, start), samples)
    return made.chunks(int(steps), chunk)


@dataclass
class _Generation:
    """A generation under way."""

    function: Function
    params: Mapping[str, Any]
    feed: Feed
    sampling: Sampling
    vocabulary: Sequence[str] | None
    inputs: Mapping[str, Any]
    size: int | None = None
    carried: dict[str, Array] = field(default_factory=dict)
    last: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        f, plan = self.function, self.function.step_program()
        self.plan, self.program = plan, f.program
        self.axes = {n: time_axis(v) or 0 for n, v in f.program.vars.items()}
        self.target = f.program.vars[self.feed.target]
        source = f.program.vars[self.feed.source]
        self.is_token = self.target.type.kind == "int" and source.type.kind == "real"
        self.tokens = 0
        if self.target.type.kind == "int":
            assert self.target.type.bound is not None
            self.tokens = self.target.type.bound.evaluate({})
        if self.is_token:
            link = sampler(self.tokens, self.sampling.temperature == 0)
            self.feed = replace(self.feed, link=link)
        if self.vocabulary is not None:
            if not self.tokens:
                raise InputError(f"vocabulary: {self.target.name} is no sequence of tokens")
            self.vocabulary = words.checked(self.vocabulary, self.tokens)
        drawn = [n for n in plan.moving if f.program.vars[n].noise is not None]
        if drawn:
            raise InputError(
                f"{f.program.name} draws at its steps ({listed(drawn)}); it generates by itself: "
                "call it, with a number of steps"
            )
        self.others = [n for n in plan.moving if n != self.target.name]
        known = {*self.others, *plan.static}
        for n in self.inputs:
            if n == self.target.name:
                raise InputError(f"{n} is what the prompt is for")
            if n not in f.program.vars and n not in f.program.lengths:
                hint = nearest(n, known)
                raise InputError(f"{f.program.name} has no input {n}{hint}")
        missing = [n for n in self.others if n not in self.inputs]
        if missing:
            raise InputError(
                f"{f.program.name} reads {listed(missing)} at every step: give it for the prompt "
                "and for the steps to come"
            )
        static = {n: v for n, v in self.inputs.items() if n not in self.others}
        self.stepper = f.stepper(self.params, **static)
        if self.stepper.batch is not None:
            raise InputError("inputs that are no sequences come without a batch axis")
        self.offset = 0

    # --- the prompt ---

    def prompts(self, prompt: Any, start: Any) -> tuple[list[Array], bool]:
        """Each prompt as an array over time, and whether there is a batch of them."""
        if start is not None and not self.tokens:
            raise InputError("start: only a model over tokens has a start symbol")
        begin = [] if start is None else [self._sequence(start if isinstance(start, str) else
                                                         [start], "start")]  # fmt: skip
        many = isinstance(prompt, (list, tuple)) and any(
            isinstance(p, str) or np.ndim(p) > len(self.target.shape) for p in prompt
        )
        rank = 1 + len(self.target.shape)
        if not isinstance(prompt, (str, list, tuple)) and prompt is not None:
            many = np.ndim(prompt) == rank + 1
        found = []
        for row in prompt if many else [prompt]:
            empty = row is None or (not isinstance(row, np.ndarray) and len(row) == 0)
            parts = begin if empty else [*begin, self._sequence(row, "prompt")]
            if not parts or not sum(len(p) for p in parts):
                hint = ", or a start symbol, start=…" if self.tokens else ""
                raise InputError(f"prompt: it is empty; give at least one step{hint}")
            found.append(np.concatenate(parts))
        if not found:
            raise InputError("prompt: there is none")
        return found, many

    def _sequence(self, value: Any, what: str) -> Array:
        if isinstance(value, str):
            if self.vocabulary is None:
                raise InputError(
                    f"{what}: a text needs a vocabulary: give vocabulary=…, or parameters whose "
                    "metadata has one"
                )
            return words.encoded(value, self.vocabulary)
        if not np.size(value) and self.tokens:
            return np.zeros(0, np.int64)
        array = np.asarray(value)
        if array.ndim != 1 + len(self.target.shape):
            d = self.function.declared.vars[self.target.name]
            raise InputError(
                f"{what}: expected a sequence for {d}, got an array of shape {array.shape}"
            )
        return array

    def read(self, prompts: list[Array], many: bool, samples: int | None) -> None:
        """Read the prompts, and go on from each of them as often as asked."""
        opened = self._derived(None)
        lengths = {len(p) for p in prompts}
        if self.others and len(lengths) > 1:
            raise InputError(
                "prompts of several lengths, and other inputs at every step: one by one"
            )
        self.offset = len(prompts[0])
        states, outputs = [], []
        for row, prompt in enumerate(prompts):
            given = {self.target.name: prompt}
            for n in self.others:
                given[n] = self._other(n, row if many else None, len(prompts))[: len(prompt)]
            arrays = self._bound(given, opened[1])
            arrays |= {c.before: self._initial(c, opened[0]) for c in opened[0].carried}
            results = self._run(opened[1], arrays, len(prompt), None)
            states.append({c.variable: results[c.after] for c in opened[0].carried})
            outputs.append({n: self._at(n, results[n], -1) for n in self.plan.outputs})
        each = samples or 1
        if not many and samples is None:
            self.carried, self.last = states[0], outputs[0]
            return
        self.size = len(prompts) * each
        rows = np.repeat(np.arange(len(prompts)), each)
        self.carried = {n: np.stack([s[n] for s in states])[rows] for n in states[0]}
        self.last = {n: np.stack([o[n] for o in outputs])[rows] for n in outputs[0]}
        self.rows, self.many = rows, many

    def _other(self, name: str, row: int | None, count: int) -> Array:
        """An input at every step, of one prompt, time first."""
        array = np.asarray(self.inputs[name])
        v = self.program.vars[name]
        rank = len(v.axes) + len(v.shape)
        if row is not None and array.ndim == rank + 1:
            if array.shape[0] != count:
                raise InputError(f"{name}: {count} prompts, and {array.shape[0]} of these")
            array = array[row]
        if array.ndim != rank:
            raise InputError(f"{name}: expected {v}, got an array of shape {array.shape}")
        return np.moveaxis(array, self.axes[name], 0)

    def _bound(self, given: Mapping[str, Array], derived: Derived) -> dict[str, Array]:
        """Sequences of one stream, checked; given with time in front."""
        f = self.function
        sig = signature(
            f.program, f.declared, f.compiler.sizes, f.options.dtype, f.options.check_finite
        )
        specs = {n: sig.specs[n] for n in given}
        placed = {n: np.moveaxis(np.asarray(a), 0, self.axes[n]) for n, a in given.items()}
        call = bind(
            replace(sig, specs=specs, lengths=("T",), minimum={"T": 1}, seen={}), {}, placed
        )
        return call.arrays

    def _initial(self, c: Any, long: Rollout) -> Array:
        """A state before the first step, oldest first."""
        lags = self.stepper.state[c.variable]
        return np.stack(lags[::-1], axis=c.axis)

    def _at(self, name: str, array: Array, step: int) -> Array:
        """One step of an output of a run without a batch."""
        return np.asarray(np.take(array, step, axis=self.axes[name]))

    # --- the steps that follow ---

    def chunks(self, steps: int, chunk: int | None) -> Iterator[Generated]:
        """What is made, so many steps at a time."""
        long, derived = self._derived(self.feed)
        dtype = np.dtype(self.function.options.dtype)
        name, lead = self.target.name, self.size is not None
        for c in long.carried:
            if c.variable == f"{self.feed.source}.fed":
                axis = c.axis + lead
                self.carried[c.variable] = np.expand_dims(self.last[self.feed.source], axis)
        chance = [
            generator(self.sampling.seed, NOISE, self.sampling.first + b)
            for b in range(self.size or 1)
        ]
        others = {n: self._coming(n, steps) for n in self.others}
        fixed: dict[str, Array] = {}
        draws = self.is_token and self.sampling.temperature > 0
        if draws:
            k, p = self.sampling.top_k, self.sampling.top_p
            values = {
                "temperature": float(self.sampling.temperature),
                "top_k": float(self.tokens if k is None else min(k, self.tokens)),
                "top_p": 1.0 if p is None else float(p),
                "order": np.arange(self.tokens),
            }
            for n, value in values.items():
                array = np.asarray(value, dtype)
                fixed[self.feed.inner(n)] = array if not lead else np.repeat(
                    array[None], self.size or 0, 0
                )  # fmt: skip
        done = 0
        while done < steps:
            count = min(chunk or steps, steps - done)
            arrays = {**fixed, **{c.before: self.carried[c.variable] for c in long.carried}}
            if draws:
                u = np.stack([draws_of("uniform", g, (count,)) for g in chance]).astype(dtype)
                arrays[self.feed.inner("u")] = u if lead else u[0]
            for n, rows in others.items():
                axis = self.axes[n] + lead
                arrays[n] = np.take(rows, range(done, done + count), axis=axis)
            results = self._run(derived, arrays, count, self.size)
            self.carried = {c.variable: results[c.after] for c in long.carried}
            yield self._made(results, name, count, lead)
            done += count
        if not steps:
            yield self._nothing(lead)

    def _made(self, results: dict[str, Array], name: str, count: int, lead: bool) -> Generated:
        shown = {}
        for n in self.plan.outputs:
            axis = self.axes[n] + lead
            before = np.expand_dims(self.last[n], axis)
            all_ = np.concatenate([before, results[n]], axis=axis)
            shown[n] = np.take(all_, range(count), axis=axis)
            self.last[n] = np.take(all_, count, axis=axis)
        if self.is_token:
            self._check(shown[self.feed.source])
        probabilities = results[self.feed.inner("p")] if self.is_token else None
        values = results[name]
        return Generated(values, probabilities, Outputs(shown), self._text(values))

    def _check(self, logits: Array) -> None:
        if np.isnan(logits).any() or not np.isfinite(logits.max(-1)).all():
            raise InputError(
                f"the logits {self.feed.source} are not finite: look at the parameters"
            )

    def _text(self, tokens: Array) -> Any:
        if self.vocabulary is None:
            return None
        if tokens.ndim == 1:
            return words.decoded(tokens, self.vocabulary)
        return [words.decoded(row, self.vocabulary) for row in tokens]

    def _nothing(self, lead: bool) -> Generated:
        """No steps: arrays without any."""
        shown = {
            n: np.take(np.expand_dims(a, self.axes[n] + lead), [], self.axes[n] + lead)
            for n, a in self.last.items()
        }
        values = shown[self.feed.source]
        if not self.is_token:
            return Generated(values, None, Outputs(shown), self._text(values))
        tokens = np.zeros(values.shape[:-1], np.int64)
        return Generated(tokens, values, Outputs(shown), self._text(tokens))

    def _coming(self, name: str, steps: int) -> Array:
        """An input for the steps to come; time where the model has it, a batch in front."""
        rows = []
        prompts = 1 if self.size is None else int(self.rows[-1]) + 1
        for row in range(prompts):
            array = self._other(name, row if self.size and self.many else None, prompts)
            have, need = len(array) - self.offset, steps - 1
            if have < need:
                raise InputError(
                    f"{name}: {self.offset} steps of the prompt and {steps} to come read "
                    f"{self.offset + need} of it, got {len(array)}"
                )
            bound = self._bound({name: array[: self.offset + steps]}, self._derived(None)[1])
            array = np.moveaxis(bound[name], self.axes[name], 0)[self.offset :]
            if len(array) < steps:
                # What the last step reads makes the value after the last: any number will do.
                array = np.concatenate([array, np.zeros((1, *array.shape[1:]), array.dtype)])
            rows.append(np.moveaxis(array, 0, self.axes[name]))
        return rows[0] if self.size is None else np.stack(rows)[self.rows]

    def _run(
        self, derived: Derived, arrays: Mapping[str, Array], steps: int, batch: int | None
    ) -> dict[str, Array]:
        fixed = self.stepper.fixed
        if batch is not None:
            params = set(self.function.params)
            fixed = {n: a if n in params else np.repeat(a[None], batch, 0)
                     for n, a in fixed.items()}  # fmt: skip
        given = {**fixed, **arrays}
        lengths = {**self.stepper.lengths, "T": steps}
        ready = {
            n: np.require(given[n], requirements=("C", "A", "E")) for n in derived.signature.specs
        }
        return derived.kernel(ready, lengths, batch, None)

    def _derived(self, feed: Feed | None) -> tuple[Rollout, Derived]:
        return self.function.rollout(feed)


__all__ = ["Generated", "Sampling", "generate_iter"]
