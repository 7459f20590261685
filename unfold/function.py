"""A compiled model: one function for every length and batch size, and what one may ask of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from .compiler import Derived, Options
from .errors import InputError
from .evaluation import NO_PARAMS, Evaluation
from .outputs import Outputs
from .program import Program

if TYPE_CHECKING:
    from .bill import Bill
    from .cost import Costs
    from .debug import Report
    from .generate import Generated
    from .jacobian import Bias
    from .rollout import Feed, Rollout
    from .stepper import Stepper
    from .streaming import StepProgram
    from .train import Trainer

Array = NDArray[Any]


class Function(Evaluation):
    """A model compiled for given sizes. Made by `unfold.compile`; may be called from several
    threads at once, and pickled.

    The calls themselves, values and derivatives, are those of `Evaluation`.

    Attributes:
        compiler: makes and keeps the kernels of what derives from the model.
    """

    def __init__(
        self,
        declared: Program,
        sizes: Mapping[str, int],
        constants: Mapping[str, float],
        options: Options,
    ) -> None:
        super().__init__(declared, sizes, constants, options)
        self._lock = threading.RLock()
        self._full: Function | None = None
        self._rollouts: dict[tuple[Any, ...] | None, tuple[Rollout, Derived]] = {}
        self._steps: tuple[StepProgram, tuple[Derived, Derived]] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        c = self.compiler
        return Function, (c.declared, c.sizes, c.constants, c.options)

    # --- derivatives in full, and what truncation costs ---

    def jacobian(
        self,
        of: str,
        wrt: str,
        params: Mapping[str, Any],
        data: Mapping[str, Any] | None = None,
        /,
        *,
        mode: str | None = None,
        **inputs: Any,
    ) -> Array:
        """The full derivative of one variable in another, for one sequence.

        Args:
            of: a variable or an element of it, ``"h[T]"``, ``"loss"``, ``"y"`` (all steps).
            wrt: an input, a parameter or a state, ``"h[1]"``, ``"W"``, ``"x[3]"``. The derivative
                in a state is the response to an amount added to it.
            mode: ``"reverse"`` runs once for each number of ``of``, ``"forward"`` once for each of
                ``wrt`` (inputs and parameters only), ``"auto"`` takes the fewer runs; default: the
                mode of the compilation.

        Returns:
            An array of the shape of ``of`` followed by that of ``wrt``.

        Raises:
            InputError: unknown names or positions, a batch.
        """
        from .jacobian import jacobian

        return jacobian(self, of, wrt, params, data, mode or self.options.mode, **inputs)

    def truncation_bias(
        self, params: Mapping[str, Any], data: Mapping[str, Any] | None = None, /, **call: Any
    ) -> Bias:
        """How far the truncated gradient is from the full one, on these data.

        Takes what `value_and_grad` takes; the function must have been compiled with ``truncate``.
        """
        from .jacobian import compare

        if self.options.truncate is None:
            raise InputError("this function is not truncated: compile(…, truncate=Window(10))")
        if self._full is None:
            options = replace(self.options, truncate=None)
            self._full = Function(
                self.declared, self.compiler.sizes, self.compiler.constants, options
            )
        _, cut = self.value_and_grad(params, data, **call)
        _, full = self._full.value_and_grad(params, data, **call)
        return compare(cut, full)

    def cost(
        self, B: int = 1, *, memory: bool | int = False, solve_steps: int = 1, **lengths: int
    ) -> Costs:
        """The bill of a call before anything runs: parameters, operations and bytes.

        Args:
            B: the number of sequences.
            memory: also the bytes that a gradient allocates, keeping all states and with
                checkpoints. Its code is compiled for that, nothing runs.
            solve_steps: how many steps the solver of an implicit equation is taken to need.
            lengths: every length of the model, ``T=1000``.

        Raises:
            InputError: a length is missing, unknown or too small.
        """
        from .cost import costs

        found = costs(self.program, lengths, B, self.options.dtype, solve_steps)
        if not memory or found.gradient is None:
            return found
        from .bill import memory as memory_of

        stored = memory_of(self.compiler, self.differentiable(None), self.declared.losses, found)
        return replace(found, memory=stored)

    # --- training ---

    def trainer(self, params: Mapping[str, Any], optimiser: Any, **options: Any) -> Trainer:
        """The model in training: ``trainer.step(x=x)`` computes a gradient and changes parameters.

        Args:
            params: where they start; they are copied, `Trainer.params` holds those that change.
            optimiser: `unfold.SGD`, `unfold.RMSprop`, `unfold.Adam`, `unfold.AdamW`, or a `.rec`
                model of your own, `unfold.Optimiser`.
            options: see `unfold.train.Trainer`: ``clip_norm``, ``clip_value``, ``decay``,
                ``schedule``, ``wrt``, ``loss``, ``reduce``, ``keep``.

        Raises:
            InputError: wrong parameters or options.
        """
        from .train import Trainer

        return Trainer(self, params, optimiser, **options)

    # --- values that are not finite ---

    def debug(
        self,
        params: Mapping[str, Any] = NO_PARAMS,
        data: Mapping[str, Any] | None = None,
        /,
        *,
        lengths: Any = None,
        seed: int = 0,
        first: int = 0,
        backward: bool = True,
        wrt: str | Sequence[str] | None = None,
        loss: str | Sequence[str] | None = None,
        strict: bool = False,
        **inputs: Any,
    ) -> Report:
        """Find the first value that is not finite: ``print(fn.debug(params, x=x, y=y))``.

        The model is run with all of its variables kept, on this function's backend and in its
        dtype, then its adjoint; the report names the equation, the step, the sequence, and what
        happened inside. A clean run is reported with the range of each variable. Memory is that of
        all variables of one sequence, forward and backward.

        Args:
            params, data, lengths, seed, first, inputs: as in a call.
            backward: whether to look at the gradient as well, if there is a loss.
            wrt, loss: as for `value_and_grad`.
            strict: whether every infinite value counts. By default -inf and what follows from it
                may stand for the logarithm of 0, and infinite constants for themselves, unless
                they turn into NaN or make a loss or a gradient infinite.

        Raises:
            InputError: as a call does, but arrays may hold what is not finite.
        """
        from .debug import debug

        losses = self.targets(loss) if loss is not None or self.declared.losses else ()
        return debug(
            self.compiler, params, data, inputs, lengths=lengths, draws=(seed, first),
            wrt=self.differentiable(wrt) if backward else (), losses=losses, strict=strict,
        )  # fmt: skip

    # --- memory ---

    def memory(
        self,
        *,
        B: int | None = None,
        wrt: str | Sequence[str] | None = None,
        loss: str | Sequence[str] | None = None,
        **lengths: int,
    ) -> Bill:
        """What a gradient needs, in bytes, before it runs: ``print(fn.memory(T=1000, B=32))``.

        Args:
            B: the number of sequences; ``None`` for one without a batch axis.
            wrt, loss: as for `value_and_grad`.
            lengths: the model's lengths, ``T=1000``.

        With ``checkpoint`` these are the storages of a segment, and ``borders``. Storages are those
        of one thread; on the interpreter, the variables of one sequence.

        Raises:
            InputError: a length that is missing or unknown.
        """
        from .bill import bill

        derived = self.compiler.gradient(self.differentiable(wrt), self.targets(loss))
        return bill(derived, lengths, B)

    # --- one step at a time ---

    def stepper(
        self, params: Mapping[str, Any] = NO_PARAMS, *, seed: int = 0, first: int = 0, **inputs: Any
    ) -> Stepper:
        """A causal model that runs one step at a time and carries its state.

        Args:
            params: as in a call; they are not copied where they are C-contiguous and of the
                function's dtype.
            seed, first: of random draws, as in a call.
            inputs: those that are no sequences. What no step needs, targets say, may be left out.

        Raises:
            InputError: the model looks ahead or reads all of its past: with the equation that does.
        """
        from .stepper import Stepper

        return Stepper(self, params, inputs, seed, first)

    def step(
        self, params: Mapping[str, Any], state: Any = None, /, **inputs: Any
    ) -> tuple[Outputs, Any]:
        """One step: the outputs and the next state. ``state`` is ``None`` before the first."""
        static = {n: v for n, v in inputs.items() if n in self.step_program().static}
        moving = {n: v for n, v in inputs.items() if n not in static}
        stepper = self.stepper(params, **static)
        if state is not None:
            stepper.state = state
        return stepper.step(**moving), stepper.state

    def step_program(self) -> StepProgram:
        """The program of one step. Raises `InputError` if the model looks ahead."""
        return self._streaming()[0]

    def streaming(self) -> tuple[Derived, Derived]:
        """The kernels of one step, and of the states before the first."""
        return self._streaming()[1]

    def rollout(self, feed: Feed | None) -> tuple[Rollout, Derived]:
        """Many steps from a carried state, and their kernel; with ``feed`` the model reads what it
        wrote (see `unfold.rollout`). Raises `InputError` if the model looks ahead."""
        from .rollout import rollout
        from .streaming import time_axis

        kind = (
            None
            if feed is None
            else (feed.target, feed.source, feed.link and feed.link.program.name)
        )
        with self._lock:
            found = self._rollouts.get(kind)
            if found is None:
                axes = {n: time_axis(v) or 0 for n, v in self.program.vars.items()}
                made = rollout(self.step_program(), axes, feed)
                key = ("rollout", kind)
                found = made, self.compiler.derive(key, lambda: (made.program, {}))
                self._rollouts[kind] = found
            return found

    def _streaming(self) -> tuple[StepProgram, tuple[Derived, Derived]]:
        from .stepper import compile_steps
        from .streaming import step_program

        with self._lock:
            if self._steps is None:
                plan = step_program(self.program, self.declared)
                self._steps = plan, compile_steps(self, plan)
            return self._steps

    def generate(
        self,
        params: Mapping[str, Any],
        prompt: Any,
        steps: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        first: int = 0,
        feed: Mapping[str, str] | None = None,
        samples: int | None = None,
        start: Any = None,
        vocabulary: Sequence[str] | None = None,
        **inputs: Any,
    ) -> Generated:
        """What the model makes when it reads what it wrote: tokens drawn from its logits, or a
        forecast that is fed back.

        All steps are one call of native code, draws included; a prompt is read before as any
        sequence is.

        Args:
            params: as in a call; ``load_params`` brings a vocabulary along.
            prompt: what the model reads first. Tokens, a text (with a vocabulary), or real numbers
                of shape (steps, …); a batch is a list of these, of any lengths, or an array with
                one more axis. May be empty where ``start`` is given.
            steps: how many values to make.
            temperature: the logits are divided by it; 0 takes the best token.
            top_k: draw from so many of the best tokens only (and those equally good).
            top_p: draw from the nucleus only: the smallest set of the best tokens that has this
                share of the probability (Holtzman et al., "The curious case of neural text
                degeneration", 2020), of those that ``top_k`` leaves.
            seed, first: of the draws, which depend on them and on the number of the sequence alone:
                ``first`` is that of the batch's first one.
            feed: ``{"x": "y"}``: input ``x`` reads output ``y`` one step later; logits are drawn
                from. Default: the output over t with a component for each token of the input.
            samples: go on so many times from each prompt; the results have a batch axis then, those
                of one prompt next to each other.
            start: a token, or its text, that every prompt begins with.
            vocabulary: token number to text; default: that of the metadata of ``params``.
            inputs: inputs beside; those over t for the prompt and for the steps to come (the last
                step reads none).

        Returns:
            The values, what they were drawn from, the outputs and the text.

        Raises:
            InputError: what is wrong with the arguments; a model that looks ahead.
        """
        from .generate import Sampling, generate_iter

        parts = generate_iter(
            self, params, prompt, steps, feed=feed, samples=samples, start=start,
            sampling=Sampling(temperature, top_k, top_p, seed, first), vocabulary=vocabulary,
            chunk=None, inputs=inputs,
        )  # fmt: skip
        return next(parts)

    def generate_iter(
        self,
        params: Mapping[str, Any],
        prompt: Any,
        steps: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        first: int = 0,
        feed: Mapping[str, str] | None = None,
        samples: int | None = None,
        start: Any = None,
        vocabulary: Sequence[str] | None = None,
        chunk: int = 1,
        **inputs: Any,
    ) -> Iterator[Generated]:
        """As `generate`, ``chunk`` steps at a time: the same values, as they come."""
        from .generate import Sampling, generate_iter

        return generate_iter(
            self, params, prompt, steps, feed=feed, samples=samples, start=start,
            sampling=Sampling(temperature, top_k, top_p, seed, first), vocabulary=vocabulary,
            chunk=chunk, inputs=inputs,
        )  # fmt: skip
