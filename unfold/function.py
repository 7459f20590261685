"""A compiled model: one function for every length and batch size."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import buffers, forward
from .compiler import Compiler, Derived, Options, directions, merged
from .errors import InputError
from .init import initial_params
from .inputs import Call, listed, nearest
from .outputs import Outputs
from .program import Program, Var
from .shortcut import Shortcut

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
REDUCTIONS = ("mean", "sum", "none")


class Function:
    """A model compiled for given sizes. Made by `unfold.compile`; may be called from several
    threads at once, and pickled.

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
        self.compiler = Compiler(declared, sizes, constants, options)
        self._full: Function | None = None
        self._value: Shortcut | None = None
        self._gradients: dict[tuple[Any, ...], Shortcut] = {}
        self._tangents: dict[tuple[str, ...], Shortcut] = {}
        self._hessians: dict[tuple[Any, ...], Shortcut] = {}
        self._forward: dict[tuple[tuple[str, ...], tuple[str, ...]], forward.Tangents] = {}
        self._real_params = tuple(v.name for v in declared.params if v.type.kind == "real")
        self._lock = threading.RLock()
        self._rollouts: dict[tuple[Any, ...] | None, tuple[Rollout, Derived]] = {}
        self._steps: tuple[StepProgram, tuple[Derived, Derived]] | None = None

    # --- what it is ---

    @property
    def program(self) -> Program:
        """The program with its sizes and constants fixed."""
        return self.compiler.program

    @property
    def declared(self) -> Program:
        """The program as it was written."""
        return self.compiler.declared

    @property
    def options(self) -> Options:
        """How the function was compiled."""
        return self.compiler.options

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs, in order of declaration."""
        return [v.name for v in self.declared.inputs]

    @property
    def params(self) -> list[str]:
        """The names of the parameters, in order of declaration."""
        return [v.name for v in self.declared.params]

    def __repr__(self) -> str:
        o = self.options
        fixed = ", ".join(
            f"{k}={v}" for k, v in {**self.compiler.sizes, **self.compiler.constants}.items()
        )
        return f"<Function {self.program.name}({fixed}) {o.backend} {o.dtype}>"

    def __reduce__(self) -> tuple[Any, ...]:
        c = self.compiler
        return Function, (c.declared, c.sizes, c.constants, c.options)

    def init(self, seed: int = 0, **lengths: int) -> dict[str, Array]:
        """Initial parameters by name, drawn as the model says (`~ glorot`, `= 0`, …).

        Every parameter depends on the seed and its own name only. ``lengths`` are needed by
        parameters that live on a run-time axis.
        """
        return initial_params(self.program, seed, lengths, self.options.dtype)

    # --- values and derivatives ---

    def __call__(
        self,
        params: Mapping[str, Any],
        data: Mapping[str, Any] | None = None,
        /,
        *,
        lengths: Any = None,
        seed: int = 0,
        first: int = 0,
        out: Mapping[str, Any] | None = None,
        **inputs: Any,
    ) -> Outputs:
        """The outputs and losses.

        Args:
            params: an array for every parameter; scalars may be numbers.
            data: inputs by name, beside or instead of keywords.
            lengths: integers of shape (B,): each sequence's own length in a padded batch.
            seed: of the model's `random` draws (also of the derivatives below); a draw can be
                given as an input instead.
            first: the number of the batch's first sequence, so that a divided batch draws what the
                whole one does.
            out: arrays by the names of outputs, which these are written to instead of new ones;
                C-contiguous, of the output's shape and dtype, apart from all inputs. After a
                `SolverError` their contents are not defined.
            inputs: an array for every input, of the declared rank or all with one leading batch
                axis; lengths that no array fixes, ``T=50``.

        Raises:
            InputError: see `unfold.inputs`.
        """
        shortcut = self._value
        if shortcut is not None and lengths is None and (data is None or not inputs):
            into = () if out is None else (out,)
            quick = shortcut.call(params, inputs if data is None else data, *into)
            if quick is not None:
                return Outputs.of(quick)
        value = self.compiler.value()
        given = merged(data, inputs)
        if out is not None:
            out = buffers.known(out, [o.name for o in value.program.outputs], "output")
        results, call = self.compiler.run(
            value, params, None, given, lengths, draws=(seed, first), out=out
        )
        if out:
            results = buffers.place(out, results, call.arrays)
        if shortcut is None:
            shortcut = self._value = Shortcut(value, {"shown": {n: n for n in results}})
        shortcut.learn(params, given, call)
        return Outputs(results)

    def value_and_grad(
        self,
        params: Mapping[str, Any],
        data: Mapping[str, Any] | None = None,
        /,
        *,
        wrt: str | Sequence[str] | None = None,
        loss: str | Sequence[str] | None = None,
        reduce: str = "mean",
        lengths: Any = None,
        seed: int = 0,
        first: int = 0,
        out: Mapping[str, Any] | None = None,
        **inputs: Any,
    ) -> tuple[Any, dict[str, Array]]:
        """The loss and its gradients.

        Args:
            wrt: names of parameters, real inputs, or states (whose gradients are the costates);
                default: all parameters.
            loss: the losses that are added; default: all.
            reduce: over a batch, ``"mean"``, ``"sum"``, or ``"none"`` (a value for each sequence,
                gradients of the sum). A sequence counts once, whatever its length.
            out: arrays by the names of gradients, which these are written to; as in a call.

        Returns:
            The value and a dict from names to gradients of the same shapes as what they are
            gradients of.
        """
        key = _named(wrt), _named(loss), reduce
        shortcut = self._gradients.get(key)
        if shortcut is not None and lengths is None and (data is None or not inputs):
            into = () if out is None else (out,)
            quick = shortcut.call(params, inputs if data is None else data, *into)
            if quick is not None:
                return quick
        if reduce not in REDUCTIONS:
            raise InputError(f"reduce is one of {listed(REDUCTIONS)}, not {reduce!r}")
        names, targets = self.differentiable(wrt), self.targets(loss)
        if out is not None:
            out = buffers.known(out, names, "gradient of")
        given = merged(data, inputs)
        losses, grads, call, derived = self.differentiate(
            params, given, names, targets, lengths, (seed, first), out
        )
        if derived is not None:
            if shortcut is None:
                request = {"shown": derived.names, "losses": targets, "reduce": reduce}
                shortcut = self._gradients[key] = Shortcut(derived, request)
            shortcut.learn(params, given, call)
        value, grads = reduced(added(losses), grads, reduce, call)
        return value, buffers.place(out, grads, call.arrays) if out else grads

    def differentiate(
        self,
        params: Mapping[str, Any],
        inputs: Mapping[str, Any],
        wrt: tuple[str, ...],
        losses: tuple[str, ...],
        lengths: Any,
        draws: tuple[int, int],
        out: Mapping[str, Any] | None,
    ) -> tuple[list[Array], dict[str, Array], Call, Derived | None]:
        """Each loss, the gradients of their sum (over the batch as well), and the checked call.

        The last of the results is the program that was run, or ``None`` if it was another than the
        gradient's. Gradients stand in ``out`` where that was possible.
        """
        if forward.is_chosen(self.compiler, wrt):
            moved = self._forward_mode(wrt, losses)
            return *forward.value_and_grad(moved, params, inputs, lengths, draws), None
        derived = self.compiler.gradient(wrt, losses)
        results, call = self.compiler.run(
            derived, params, None, inputs, lengths, draws=draws, out=out
        )
        grads = {name: results[bar] for name, bar in derived.names.items()}
        return [results[n] for n in losses], grads, call, derived

    def _forward_mode(self, wrt: tuple[str, ...], losses: tuple[str, ...]) -> forward.Tangents:
        found = self._forward.get((wrt, losses))
        if found is None:
            found = self._forward[wrt, losses] = forward.tangents(self.compiler, wrt, losses)
        return found

    def jvp(
        self,
        params: Mapping[str, Any],
        tangents: Mapping[str, Any],
        data: Mapping[str, Any] | None = None,
        /,
        *,
        lengths: Any = None,
        seed: int = 0,
        first: int = 0,
        **inputs: Any,
    ) -> tuple[Outputs, Outputs]:
        """The outputs, and their derivative along a direction (forward mode).

        ``tangents`` holds an array for each parameter or input that moves, of its shape.
        """
        key = tuple(tangents)
        shortcut = self._tangents.get(key)
        if shortcut is not None and lengths is None and (data is None or not inputs):
            quick = shortcut.call(params, inputs if data is None else data, tangents)
            if quick is not None:
                return Outputs.of(quick[0]), Outputs.of(quick[1])
        names = self._directions(tangents, "tangents")
        derived = self.compiler.tangent(names)
        given = merged(data, inputs)
        results, call = self.compiler.run(
            derived, params, None, given, lengths, tangents, (seed, first)
        )
        values = {n: a for n, a in results.items() if n not in derived.names.values()}
        if shortcut is None:
            request = {"shown": {n: n for n in values}, "moved": derived.names}
            shortcut = self._tangents[key] = Shortcut(derived, request, directions(derived, names))
        shortcut.learn(params, given, call)
        return Outputs(values), Outputs({n: results[d] for n, d in derived.names.items()})

    def hvp(
        self,
        params: Mapping[str, Any],
        vectors: Mapping[str, Any],
        data: Mapping[str, Any] | None = None,
        /,
        *,
        wrt: str | Sequence[str] | None = None,
        loss: str | Sequence[str] | None = None,
        reduce: str = "mean",
        lengths: Any = None,
        seed: int = 0,
        first: int = 0,
        **inputs: Any,
    ) -> dict[str, Array]:
        """The product of the loss's Hessian with a vector: the derivative of the gradient.

        ``vectors`` holds an array for each parameter or input in which the vector is not zero;
        the result has the rows of ``wrt`` (default: all parameters).
        """
        key = tuple(vectors), _named(wrt), _named(loss), reduce
        shortcut = self._hessians.get(key)
        if shortcut is not None and lengths is None and (data is None or not inputs):
            quick = shortcut.call(params, inputs if data is None else data, vectors)
            if quick is not None:
                return quick
        if reduce not in REDUCTIONS:
            raise InputError(f"reduce is one of {listed(REDUCTIONS)}, not {reduce!r}")
        names = self._directions(vectors, "vectors")
        derived = self.compiler.hessian(names, self.differentiable(wrt), self.targets(loss))
        given = merged(data, inputs)
        results, call = self.compiler.run(
            derived, params, None, given, lengths, vectors, (seed, first)
        )
        if shortcut is None:
            share = "mean" if reduce == "mean" else "sum"
            request = {"shown": derived.names, "scalars": False, "reduce": share}
            shortcut = self._hessians[key] = Shortcut(derived, request, directions(derived, names))
        shortcut.learn(params, given, call)
        rows = {name: results[dot] for name, dot in derived.names.items()}
        return reduced(np.zeros(()), rows, reduce, call)[1]

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
        params: Mapping[str, Any],
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
        self, params: Mapping[str, Any], *, seed: int = 0, first: int = 0, **inputs: Any
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

    # --- names that callers give ---

    def differentiable(self, wrt: str | Sequence[str] | None) -> tuple[str, ...]:
        """The names in ``wrt``, or those of all real parameters. Raises `InputError`."""
        if wrt is None:
            return self._real_params
        names = (wrt,) if isinstance(wrt, str) else tuple(wrt)
        for name in names:
            self._real(name, self.program.vars, "wrt")
        return tuple(dict.fromkeys(names))

    def _directions(self, tangents: Mapping[str, Any], what: str) -> tuple[str, ...]:
        known = {v.name: v for v in self.program.vars.values() if v.role in ("input", "param")}
        for name in tangents:
            self._real(name, known, what)
        return tuple(v for v in known if v in tangents)

    def _real(self, name: str, known: Mapping[str, Var], what: str) -> None:
        if name not in known:
            kind = "" if what == "wrt" else "input or parameter "
            hint = nearest(name, known)
            raise InputError(f"{what}: {self.program.name} has no {kind}{name}{hint}")
        if known[name].type.kind != "real":
            kind = str(self.declared.vars[name].type)
            raise InputError(f"{what}: {name} is {kind}, and derivatives are of real numbers")

    def targets(self, loss: str | Sequence[str] | None) -> tuple[str, ...]:
        """The names in ``loss``, or those of all losses. Raises `InputError`."""
        if loss is None:
            if not self.declared.losses:
                raise InputError(
                    f"{self.program.name} has no `minimize` line: name what to differentiate, "
                    '`loss="…"`'
                )
            return self.declared.losses
        names = (loss,) if isinstance(loss, str) else tuple(loss)
        for name in names:
            v = self.program.vars.get(name)
            scalars = [
                u.name for u in self.program.vars.values()
                if u.role == "variable" and not u.shape and not u.axes and u.type.kind == "real"
            ]  # fmt: skip
            if v is None or name not in scalars:
                hint = nearest(name, scalars) or f"; its scalars are {listed(scalars or ['none'])}"
                raise InputError(f"loss: {self.program.name} has no real scalar {name}{hint}")
        return tuple(dict.fromkeys(names))


def _named(names: str | Sequence[str] | None) -> str | tuple[str, ...] | None:
    """Names as a caller gives them, to be looked up by."""
    return names if names is None or isinstance(names, str) else tuple(names)


def added(losses: Sequence[Array]) -> Any:
    """The sum of losses, for each sequence."""
    return losses[0] if len(losses) == 1 else sum(losses[1:], start=losses[0])


def reduced(
    value: Any, grads: dict[str, Array], reduce: str, call: Call
) -> tuple[Any, dict[str, Array]]:
    """Sums over the batch as they come from a kernel, turned into what was asked for."""
    if call.batch is None:
        return value[()], grads
    if reduce == "none":
        return value, grads
    if reduce == "sum":
        return _total(value, 1), grads
    if call.batch == 0:
        raise InputError(
            'the mean over a batch of no sequences is undefined; `reduce="sum"` gives zeros'
        )
    share = 1.0 / call.batch
    return (
        _total(value, call.batch),
        {name: np.multiply(g, g.dtype.type(share), out=g) for name, g in grads.items()},
    )


def _total(value: Array, divisor: int) -> Any:
    """The sum over a batch, divided; added by halves, as quick calls do."""
    if not value.ndim:
        return value[()]
    sums = value.astype(np.float64)
    while len(sums) > 1:
        half = (len(sums) + 1) // 2
        sums[: len(sums) - half] += sums[half:]
        sums = sums[:half]
    return value.dtype.type(sums.sum() / divisor)
